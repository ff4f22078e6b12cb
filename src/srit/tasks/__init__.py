"""Tasks: problems, how they are presented to a model, and how an answer is read and judged.

Each family of tasks has a file or folder that declares everything srit needs to know about it: `FAMILY = Family(…)`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from srit.errors import DataError, JudgeError, RecipeError
from srit.kinds import FAMILIES, Finding
from srit.records import Problem, Split, Verdict


class Reading(NamedTuple):
    """What was read out of a model's text."""

    answer: str | None  # normalized: a letter, a number as text, or the text itself
    span: tuple[int, int] | None  # characters of the text it was read from
    reason: str  # the rule that read it, or why there was nothing to read


class Judgment(NamedTuple):
    """A reading and its verdict."""

    answer: str | None
    span: tuple[int, int] | None
    reason: str
    verdict: Verdict


class Task(Protocol):
    """A benchmark or a generator of problems."""

    @property
    def name(self) -> str:
        """What a recipe calls it."""
        ...

    @property
    def about(self) -> str:
        """One line for `srit tasks`: what, sizes, license, how answers are read."""
        ...

    @property
    def instruction(self) -> str:
        """i of the method: put before every question."""
        ...

    @property
    def has_choices(self) -> bool:
        """Whether its problems, or some of them, have options to choose among."""
        ...

    def load(self, split: Split, *, data: Path | None, limit: int | None, seed: int) -> Iterable[Problem]:
        """Yield the problems of a split, in a fixed order.

        Args:
            split: "train", "dev" (where a benchmark has a validation split) or "test".
            data: a folder laid out as NAME/SPLIT.jsonl.gz; None: the hub, or generated.
            limit: the most problems, drawn by `seed`; None: all.
            seed: decides which problems.

        Raises:
            DataError: there is no data, or a row cannot be used; names file, line and field.
        """
        ...

    def source(self, split: Split, *, data: Path | None) -> str:
        """Return what `load` makes problems from: the file's checksum, or the generator's version; "" for our own code.

        The hub is not asked: what was read from it once is kept in the run.

        Raises:
            DataError: there is no such file.
        """
        ...

    def phrase(self, problem: Problem) -> str:
        """Return the question as a model sees it, with its choices, but without instruction and trigger."""
        ...

    def read(self, text: str, problem: Problem) -> Reading:
        """Return the final answer of a text, in bounded time and without evaluating anything."""
        ...

    def equal(self, answer: str, gold: str) -> bool:
        """Return whether a read answer is the gold one.

        Raises:
            JudgeError: it could not be decided.
        """
        ...

    def solve(self, problem: Problem) -> str | None:
        """Return a worked solution that ends in "The answer is X.", or None if there is no solver."""
        ...


@runtime_checkable
class Counted(Protocol):
    """A task that can say how many problems it has without the network, before they are made."""

    def count(self, split: Split, *, data: Path | None, limit: int | None) -> int | None:
        """Return how many problems `load` yields; None: they are not on this machine.

        Raises:
            DataError: the data is not there, or is damaged.
        """
        ...


@runtime_checkable
class JudgedByFile(Protocol):
    """A task whose answers may be judged by a file of the user's own."""

    def judge_sources(self) -> dict[str, str]:
        """Return checksums of the files that judge answers; {}: srit's own code does."""
        ...


@dataclass(frozen=True)
class Family:
    """Everything that srit needs to know about a family of tasks."""

    about: str | None  # in Markdown: a line, then what `srit tasks --markdown` says where the family lists no names
    names: Callable[[], Sequence[str]]  # that a recipe can use, as far as they can be listed
    knows: Callable[[str], bool]  # whether a name is one of the family's
    make: Callable[[str], Task]  # the task of a name that it knows
    doctor: Callable[[], Sequence[Finding]] = tuple  # lines of `srit doctor`
    # The kinds of problems that a task has; tasks of one family may share some. Usually each is a kind of its own.
    kinds: Callable[[str], frozenset[str]] = lambda name: frozenset({name})


def task_names() -> list[str]:
    """Return every name that a recipe can use, family by family."""
    return [name for _, family in FAMILIES.all(Family) for name in family.names()]


def task_page() -> str:
    """Return a page of srit's own tasks in Markdown; similar names of one family share a line."""
    lines = [
        "# Tasks",
        "",
        "Written by `make docs`. A `choice` is read as a letter or an option's text, a `number` as a number, `math`",
        "as LaTeX: [answer-reading.md](answer-reading.md) has the rules, and how well they do. Sizes are the hub's;",
        "a local folder (`data:` in the recipe) counts as it is.",
    ]
    for family in _own():
        first, *more = (family.about or "").strip().splitlines()
        lines += ["", f"## {first}", "", "| task | what |", "| --- | --- |"]
        alike: dict[str, list[str]] = {}
        for name in family.names():
            alike.setdefault(family.make(name).about, []).append(f"`{name}`")
        lines += [f"| {', '.join(names)} | {about} |" for about, names in alike.items()]
        if not alike:
            lines[-2:] = more[1:] or ["Any such name."]
        elif more:
            lines += more
    return "\n".join(lines) + "\n"


def find_task(name: str) -> Task:
    """Return the task with that name; srit's own come first.

    Raises:
        RecipeError: there is none; names the nearest, and the plug-ins that could not be asked.
    """
    if (family := _family_of(name)) is not None:
        return family.make(name)
    raise RecipeError(unknown_task(name))


def unknown_task(name: str) -> str:
    """Return the message that there is no task of that name."""
    near = difflib.get_close_matches(name, task_names(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    broken = [f"; {finding.found}" for finding in FAMILIES.findings(Family) if not finding.ok]
    return f"there is no task {name!r}: {hint}`srit tasks` lists them all{''.join(broken)}"


def without_problems(name: str, split: Split) -> DataError:
    """Return the error that a task has no problems in a split."""
    share = "raise its share in split=TRAIN/DEV/TEST" if "split=" in name else "take another task"
    return DataError(f"{name}: its {split} split has no problems: add some, or {share}")


def kinds_of(name: str) -> frozenset[str]:
    """Return the kinds of problems of the task with that name; an unknown name is a kind of its own."""
    family = _family_of(name)
    return frozenset({name}) if family is None else family.kinds(name)


def is_task(name: str) -> bool:
    """Return whether a family has a task of that name."""
    return _family_of(name) is not None


def _family_of(name: str) -> Family | None:
    families = chain(_own(), (family for _, family in FAMILIES.all(Family)))
    return next((family for family in families if family.knows(name)), None)


def _own() -> Iterator[Family]:
    return (FAMILIES.find(name, Family) for name in FAMILIES.own())


def judge(task: Task, problem: Problem, text: str) -> Judgment:
    """Read the answer of a text and compare it with the problem's gold answer."""
    reading = task.read(text, problem)
    if reading.answer is None:
        return Judgment(None, reading.span, reading.reason, "unread")
    try:
        right = task.equal(reading.answer, problem.answer)
    except JudgeError as error:
        return Judgment(reading.answer, reading.span, str(error), "error")
    return Judgment(reading.answer, reading.span, reading.reason, "right" if right else "wrong")
