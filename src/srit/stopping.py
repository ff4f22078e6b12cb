"""Ctrl-C and SIGTERM while paid work is on its way: it is waited for a little, and no more is begun."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ONE_SIGNAL = 0.25  # seconds within which a second one is the same: `timeout` signals the process and then its group


class Stop:
    """Whether this process was told to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.since = 0.0  # on the monotonic clock


@contextmanager
def stop_noted(wake: Callable[[], None]) -> Iterator[Stop]:
    """A first SIGINT or SIGTERM is noted, and takes its effect when this is left; a second one takes it at once.

    Args:
        wake: called by the signal's handler.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals are handled by the main thread alone
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
