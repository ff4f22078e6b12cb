"""The events of a run, for whoever watches it: a screen, a program that reads its output, or a user's function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol


class Said(NamedTuple):
    """An answer that a model or teacher gave."""

    text: str
    verdict: str  # "right", "wrong", "unread" or "error"


def _nothing() -> Iterator[Said]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Line:
    """A message for a person: it begins with "ok   ", "WARN " or five spaces."""

    text: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The run's directory is open, and its recipe.yaml says what is run."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The run's directory is about to be closed."""

    finished: bool  # False: an error or a signal stopped the work


@dataclass(frozen=True, slots=True)
class Begun:
    """A stage that has begun."""

    stage: str
    fingerprint: str = ""  # fingerprint of what it is made from, as in the manifest


@dataclass(frozen=True, slots=True)
class Made:
    """A stage that was made."""

    stage: str
    seconds: float
    counts: Mapping[str, object]  # as in the manifest


@dataclass(frozen=True, slots=True)
class Taken:
    """A stage that another run had already made."""

    stage: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A stage that was already done, and is kept."""

    stage: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far some work has come."""

    what: str
    done: int
    total: int
    unit: str = "answers"
    earlier: int | None = None  # how many of those done come from an earlier run; None: all before the first report
    n_tokens: Callable[[], int] = lambda: 0  # since the previous report
    metrics: Mapping[str, float] = field(default_factory=dict)  # of the last training step, as its log keeps them
    said: Callable[[], Iterator[Said]] = _nothing  # judges some of the new answers, one by one, which takes time


Event = Line | Opened | Closing | Begun | Made | Taken | Kept | Progressed
Watch = Callable[[Event], None]


class Counted(Protocol):
    """Takes the number of answers so far, the total, and a function that judges new ones for whoever watches."""

    def __call__(self, done: int, total: int, said: Callable[[], Iterator[Said]] = _nothing, /) -> None: ...


def uncounted(done: int, total: int, said: Callable[[], Iterator[Said]] = _nothing, /) -> None:
    """Report to nobody."""


# What people read in place of some names of the files.
_WORDS = {
    "n_calls": "calls",
    "n_prompt_tokens": "prompt tokens",
    "n_completion_tokens": "completion tokens",
    "n_uncounted": "calls whose tokens were not counted",
    "delta": "change",
}


def worded(counts: Mapping[str, object]) -> dict[str, str]:
    """Return a stage's counts as people read them, without lists and mappings."""
    return {_WORDS.get(name, name): _word(n) for name, n in counts.items() if isinstance(n, (int, float, str))}


def _word(n: float | str) -> str:
    if isinstance(n, bool):
        return "yes" if n else "no"
    if isinstance(n, str):
        return n
    return f"{n:,.0f}" if n == round(n) else f"{n:.4g}"


def as_line(event: Event) -> str | None:
    """Return an event as a line for a log; None if it needs none."""
    match event:
        case Line(text):
            return text
        case Begun(stage):
            return f"{stage} …"
        case Made(stage, seconds, counts):
            said = ", ".join(f"{name} {value}" for name, value in worded(counts).items())
            return f"{stage} done in {seconds:.0f} s  {said}".rstrip()
        case Taken(stage):
            return f"{stage} taken from a run that did the same work"
        case Opened() | Closing() | Kept() | Progressed():
            return None


def in_words(report: Callable[[str], None], progress: Callable[[str, int, int], None]) -> Watch:
    """Return a watcher that passes lines to one function and progress (name, done, total) to another."""

    def watch(event: Event) -> None:
        if isinstance(event, Progressed):
            progress(event.what, event.done, event.total)
        elif (line := as_line(event)) is not None:
            report(line)

    return watch


def headed(heading: str, watch: Watch) -> Watch:
    """Return a watcher that passes on events under a heading, for one run among several."""

    def under(event: Event) -> None:
        match event:
            case Line(text):
                watch(Line(f"  {text}"))
            case Progressed(what):
                watch(replace(event, what=f"{heading}: {what}"))
            case Begun(stage) | Made(stage) | Taken(stage):
                watch(replace(event, stage=f"{heading}: {stage}"))

    return under
