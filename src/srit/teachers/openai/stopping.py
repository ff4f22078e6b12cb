"""Ctrl-C and SIGTERM while paid work is in flight: no more is begun, and what is in flight gets a few seconds."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ONE_SIGNAL = 0.25  # seconds in which a second one is the same: `timeout` signals the process and then its group


class Stop:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.since = 0.0  # on the monotonic clock


@contextmanager
def stop_noted(wake: Callable[[], None]) -> Iterator[Stop]:
    """Notes a first SIGINT or SIGTERM, which takes effect when this block is left; a second takes effect at once.

    Args:
        wake: called from the signal handler.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread handles signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}

    def restore() -> None:
        for number, handler in heard.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if stop.signal is None:
            stop.signal, stop.since = number, now
            wake()
        elif now - stop.since > ONE_SIGNAL:
            restore()
            signal.raise_signal(number)

    for number in heard:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        restore()
    if stop.signal is not None:
        signal.raise_signal(stop.signal)
