"""Handles output that nobody reads any more: a closed pipe, a closed terminal, a full disk under a log."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import ParamSpec

from srit.stopping import ask_to_stop

Shown = ParamSpec("Shown")


def while_read(show: Callable[Shown, None]) -> Callable[Shown, None]:
    """Show something as long as possible; then continue silently, or stop as after SIGHUP if the reader has hung up.

    An error here would end the work at once, and lose the paid answers in flight. A command that ignores SIGHUP, as
    nohup has it, also goes on without its terminal.
    """

    def shown(*args: Shown.args, **kwargs: Shown.kwargs) -> None:
        try:
            show(*args, **kwargs)
        except SystemExit:  # how rich 15 ends a process whose pipe is closed
            has_hung_up = True
        except OSError as error:
            has_hung_up = error.errno == errno.EPIPE
        else:
            return
        silence()
        if has_hung_up:  # for a closed terminal, the kernel itself sends SIGHUP
            ask_to_stop(signal.SIGHUP)

    return shown


def silence() -> None:
    """Discard what is written to a stream that accepts nothing any more."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # one that was closed before srit began is None
        try:
            stream.flush()
            os.write(stream.fileno(), b"")  # fails if its terminal is gone
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
