"""A log, which has no terminal: a line for each event, and one now and then while a piece of work takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from srit.cli.display.course import STOPPING, Course, Current, clock, following, in_words
from srit.cli.display.unread import while_read
from srit.stopping import is_stopping
from srit.watching import Event, Watch, as_line

LINE_SECONDS = 30.0  # that a log may stay silent
LOOK_SECONDS = 1.0  # between looks at how long it has been silent


@contextmanager
def log(say: Callable[[str], None]) -> Iterator[Watch]:
    """Say every event while the block runs, and what is being done whenever that takes long."""
    entries, ended = Entries(say), threading.Event()
    remind = while_read(entries.remind)

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            remind(time.monotonic())

    reminding = threading.Thread(target=look, name="log", daemon=True)
    reminding.start()
    try:
        yield following(entries.progressed, entries.happened)
    finally:
        ended.set()
        reminding.join()


class Entries:
    """What a log says."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._spoken = say, time.monotonic()
        self._current, self._stopping = Current(), False

    def progressed(self, course: Course, now: float) -> None:
        """Take the progress of a piece of work."""
        self._current.progressed(course, now)

    def happened(self, event: Event) -> None:
        """Take any other event, and say it."""
        self._current.happened(event)
        if (line := as_line(event)) is not None:
            self._spoken = time.monotonic()
            self._say(line)

    def remind(self, now: float) -> None:
        """Say that the work is stopping, and what is being done if the log has been silent for long."""
        if is_stopping() and not self._stopping:
            self._stopping = True
            self._say(f"     {STOPPING}")
        if now - self._spoken < LINE_SECONDS:
            return
        self._spoken, figures = now, self._current.figures(now)
        if figures is None:
            return self._say(f"     {self._current.wait(now)}")
        left = "" if figures.seconds_left is None else f"{clock(figures.seconds_left)} left"
        rest = ", ".join(filter(None, (in_words(figures), left)))
        self._say(f"     {figures.what} {figures.done}/{figures.total}  {rest}".rstrip())
