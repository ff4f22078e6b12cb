"""Delays Ctrl-C and SIGTERM while work must not be interrupted: paid answers, or a training step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_SECONDS = (
    0.25  # seconds in which a second signal counts as the same stop: `timeout` signals the process, then its group
)


class Stop:
    """The signal that asked this process to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None  # None: no signal has come
        self.since = 0.0  # on the monotonic clock


# The blocks that are delaying a stop, the innermost last.
_delaying: list[Stop] = []


def is_stopping() -> bool:
    """Return whether this process was asked to stop, and first finishes what must not be interrupted."""
    return any(stop.signal is not None for stop in _delaying)


def ask_to_stop(number: int) -> None:
    """Send this process a signal to stop, unless it is already stopping: a second one would end it at once."""
    if not is_stopping():
        signal.raise_signal(number)


@contextmanager
def delayed_stop(wake: Callable[[], None] = lambda: None) -> Iterator[Stop]:
    """Delay a first SIGINT, SIGTERM or SIGHUP until the block ends; let a second one take effect at once.

    Args:
        wake: called from the signal handler; it must not block.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread handles signals
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handled = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}

    def restore() -> None:
        for number, handler in handled.items():
            signal.signal(number, handler)

    def record(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if stop.signal is None:
            stop.signal, stop.since = number, now
            wake()
        elif now - stop.since > SAME_SECONDS:
            restore()
            signal.raise_signal(number)

    for number in handled:
        signal.signal(number, record)
    _delaying.append(stop)
    try:
        yield stop
    finally:
        _delaying.remove(stop)
        restore()
    if stop.signal is not None:
        signal.raise_signal(stop.signal)
