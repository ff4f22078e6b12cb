"""What the stages of a run take when there are many problems."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from growth import grown

PROBLEMS = int(os.environ.get("PROBLEMS", "1000000"))
MEGABYTES = 500  # beside the imports


@pytest.mark.parametrize("n", [20, pytest.param(PROBLEMS, marks=pytest.mark.slow)])  # a few show that it works
def test_problems_go_through_every_stage_in_bounded_memory(tmp_path, n):
    took = {found["step"]: found for found in grown(tmp_path, n)}

    print("\n", *took.values(), sep="\n")
    assert max(found["megabytes"] for found in took.values()) < MEGABYTES
