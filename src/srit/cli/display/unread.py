"""Output that nobody reads any more: a closed pipe, a terminal that is gone, a full disk behind a log."""

from __future__ import annotations

import errno
import os
import signal
import sys

from srit.stopping import ask_to_stop
from srit.watching import Event, Watch


def shown_while_read(watch: Watch) -> Watch:
    """Show events until they cannot be; then go on in silence, or stop as after SIGHUP where a reader has hung up.

    An error from here would end the work wherever it stands, and lose the paid answers that are on their way.
    """

    def shown(event: Event) -> None:
        try:
            watch(event)
        except SystemExit:  # how rich 15 ends a process whose pipe is closed
            has_hung_up = True
        except OSError as error:
            has_hung_up = error.errno == errno.EPIPE
        else:
            return
        silence()
        if has_hung_up:  # the kernel itself tells of a terminal that is gone
            ask_to_stop(signal.SIGHUP)

    return shown


def silence() -> None:
    """Send to nobody what is written to a stream that takes nothing any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
