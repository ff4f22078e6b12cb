"""How far a piece of work has come, how fast it goes, and what was last seen of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from srit.watching import Begun, Event, Line, Made, Progressed, Said, Taken, Watch

LOOK_SECONDS = 1.0  # between looks at answers, which are judged for the display
JUDGING_SECONDS = 0.05  # that a look may take before it starts on another answer
MINUTE = 60
STOPPING = "stopping as soon as what is in hand is saved; Ctrl-C again stops at once"


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known about a piece of work; None for what is not known yet."""

    what: str
    done: int
    total: int
    unit: str
    per_second: float | None
    tokens_per_second: float | None
    seconds_left: float | None
    loss: float | None
    looked_at: int  # answers that were judged for the display
    right: int  # of these
    said: Said | None  # the last of them


class _Mark(NamedTuple):
    time: float
    done: int
    n_tokens: int


class Course:
    """Follows one piece of work by its reports."""

    def __init__(self, first: Progressed, began: float) -> None:
        """
        Args:
            began: when the work began, which is before its first report, on the clock of `time.monotonic`.
        """
        earlier = first.done - 1 if first.earlier is None else first.earlier
        # The first interval includes loading the model, so it counts only until there is another.
        self._marks = [_Mark(began, earlier, 0)]
        self._last, self._looked = first, -LOOK_SECONDS
        self._looked_at = self._right = 0
        self._said: Said | None = None

    def hear(self, event: Progressed, now: float) -> None:
        """Take a report."""
        self._last = event
        begin = self._marks[0]
        if event.done <= begin.done:  # of an earlier run
            return
        n_tokens = self._marks[-1].n_tokens + event.n_tokens()
        self._marks = [*self._marks[:2], _Mark(now, event.done, n_tokens)]
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look(event)

    def _look(self, event: Progressed) -> None:
        began = time.monotonic()
        for said in event.said():
            self._said = said
            self._looked_at += 1
            self._right += said.verdict == "right"
            if time.monotonic() - began > JUDGING_SECONDS:
                return

    @property
    def is_done(self) -> bool:
        """Whether all of it is done."""
        return self._last.done == self._last.total

    def figures(self, now: float) -> Figures:
        """Return what is known at a given time."""
        event, last = self._last, self._marks[-1]
        since = self._marks[min(1, max(0, len(self._marks) - 2))]
        seconds = last.time - since.time
        rate = (last.done - since.done) / seconds if seconds > 0 else None
        tokens = (last.n_tokens - since.n_tokens) / seconds if seconds > 0 and last.n_tokens else None
        left = max(0.0, (event.total - event.done) / rate - (now - last.time)) if rate else None
        counts = (self._looked_at, self._right, self._said)
        loss = event.metrics.get("loss")
        return Figures(event.what, event.done, event.total, event.unit, rate, tokens, left, loss, *counts)


class Current:
    """What is being done: the stage, or what the last message says if there is none, and its current piece of work."""

    def __init__(self) -> None:
        self._doing, self._began = "preparing", time.monotonic()
        self._in_stage = False
        self._course: Course | None = None

    def progressed(self, course: Course, now: float) -> None:
        """Take the progress of a piece of work."""
        self._course = course
        if course.is_done:
            self._began = now

    def happened(self, event: Event) -> None:
        """Take any other event."""
        match event:
            case Line(text) if self._in_stage or not text.startswith("     "):
                return
            case Line(text):
                self._doing = text.strip()
            case Begun(stage):
                self._doing, self._in_stage = stage, True
            case Made() | Taken():
                self._doing, self._in_stage = "working", False
        self._course, self._began = None, time.monotonic()

    def figures(self, now: float) -> Figures | None:
        """Return how far the current piece of work has come; None between two of them."""
        return self._course.figures(now) if self._course and not self._course.is_done else None

    def wait(self, now: float) -> str:
        """Say what is being done, and for how long, when there are no figures."""
        return f"{self._doing}  {clock(now - self._began)}"


def following(progressed: Callable[[Course, float], None], happened: Callable[[Event], None]) -> Watch:
    """Return a watcher that passes on each piece of work with the time of its reports, and all other events."""
    began, course, what = time.monotonic(), None, ""

    def watch(event: Event) -> None:
        nonlocal began, course, what
        now = time.monotonic()
        if not isinstance(event, Progressed):
            if not isinstance(event, Line):
                began, course = now, None
            return happened(event)
        if course is None or what != event.what:
            course, what = Course(event, began), event.what
        course.hear(event, now)
        progressed(course, now)
        if event.done == event.total:
            began, course = now, None

    return watch


def in_words(figures: Figures) -> str:
    """Say the rates, the loss and the share of right answers, as far as they are known."""
    parts = []
    if figures.per_second:
        parts.append(_rate(figures.per_second, figures.unit))
    if figures.tokens_per_second:
        parts.append(_rate(figures.tokens_per_second, "tokens"))
    if figures.loss is not None:
        parts.append(f"loss {figures.loss:.3f}")
    if figures.looked_at:
        parts.append(f"{figures.right / figures.looked_at:.0%} right of {figures.looked_at:,} looked at")
    return ", ".join(parts)


def _rate(per_second: float, unit: str) -> str:
    if per_second >= 0.1:
        return f"{per_second:,.{0 if per_second >= 10 else 1}f} {unit}/s"
    return f"{per_second * MINUTE:.1f} {unit}/min"


def clock(seconds: float) -> str:
    """Return a duration as on a clock: "0:07", "2:03:10"."""
    minutes, rest = divmod(round(seconds), MINUTE)
    hours, minutes = divmod(minutes, MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
