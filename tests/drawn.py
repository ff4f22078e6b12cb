"""Inputs that are drawn by number: a failure names its number, which draws the same input again."""

import os
from contextlib import contextmanager

FUZZED = int(os.environ.get("FUZZED", "2000"))  # inputs of a kind
SECONDS = 3.0  # for one input; none takes 1 on an idle machine, and processor time counts more beside other work


@contextmanager
def named(number):
    try:
        yield
    except BaseException as error:
        error.add_note(f"input number {number}")
        raise
