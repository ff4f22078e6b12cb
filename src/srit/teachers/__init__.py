"""Teachers: sources of step-by-step answers.

Each kind has a file or folder that declares everything srit needs to know about it: `TEACHER = TeacherKind(…)`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from srit.compute.mapping import Engine
from srit.kinds import TEACHERS, Finding
from srit.recipe import Student, TeacherSettings
from srit.records import Problem
from srit.run_directory import Json
from srit.settings import Configured

CUT = "cut: raise teacher.max_tokens"


class Question(NamedTuple):
    """A problem and its CoT prompt, which a teacher is asked."""

    problem: Problem
    prompt: str  # instruction, question, choices and "Let's think step by step."
    failed_before: bool = False  # an earlier run asked it and got no answer


class Answer(NamedTuple):
    """A teacher's answer to one question, or the reason that there is none."""

    problem_id: str
    text: str | None  # exactly as the teacher gave it; None: there is no complete answer, and `reason` says why
    reason: str  # "" for an answer, otherwise why there is none ("no recording", "cut: …", …)
    n_calls: int = 0  # requests sent for it
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    settled: bool = True  # asking again would give the same; False: a later run asks again
    cut: bool = False  # it stopped at `limit`; a higher one would give more
    limit: int | None = None  # tokens that it could have; None: the teacher has no limit
    raw: str = ""  # what arrived instead of a complete answer
    model: str = ""  # that answered, as the server says; "": the one that was asked
    n_uncounted: int = 0  # replies to it whose tokens were not counted


class Teacher(Protocol):
    """Answers questions in any order, each as soon as its answer is known."""

    name: str  # kept with every demonstration
    identity: dict[str, object]  # all that shapes an answer except its limit: part of its storage key

    @property
    def max_tokens(self) -> int | None:
        """The limit of one answer in tokens; None: the teacher has none."""
        ...

    def answer(self, questions: Sequence[Question]) -> Generator[Answer | list[Answer]]:
        """Yield one Answer for each question, at once, so that the caller can store it at once.

        Answers that arrive at the same time may be yielded as a list: they are stored together, with one disk sync.

        An OSError thrown into it means that its last answers could not be stored: it must ask nothing more, yield the
        answers in flight, and raise.

        Raises:
            TeacherError: it refused or gave up; all answers up to then were yielded.
        """
        ...


CallEvent = Literal[
    "sent",
    "answered",
    "unusable",  # a reply came, and no answer was in it
    "not accepted",  # nothing was charged
    "lost",  # whether it was answered and charged is unknown
]


class Spent(NamedTuple):
    """What was spent on a teacher."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


UNSPENT = Spent()


def answer_key(identity: Mapping[str, object], prompt: str) -> str:
    """Return the key of a stored answer: a hash of all that shapes it, and of nothing else."""
    return hashlib.sha256(json.dumps([identity, prompt], sort_keys=True).encode()).hexdigest()


class Call(NamedTuple):
    """What happened to a call that costs money."""

    key: str  # of its answer
    event: CallEvent
    raw: str = ""  # what came in place of an answer


Record = Callable[[Sequence[Call]], None]


def not_recorded(calls: Sequence[Call]) -> None:
    """Record nothing."""


class Surroundings(NamedTuple):
    """What a teacher may need to know about the run that asks it."""

    dtype: Literal["auto", "float32", "bfloat16"]  # that the student is computed in
    rows: int  # answers decoded at once on this machine
    report: Callable[[str], None]  # shows a line to a person
    engine: Engine  # computes what this machine, or others, must do for the teacher
    system: str | None = None  # what a system turn before each question says; None: there is no such turn
    sample: int = 0  # which of several answers to each question to give
    spent: Spent = UNSPENT  # so far, by the run or the study that it is part of
    # Records calls that cost money, those of a moment together: before they are sent, and once their ends are known.
    record: Record = not_recorded


class TeacherWork(NamedTuple):
    """What asking takes, at most."""

    calls: int = 0  # to a server
    sampled: int = 0  # tokens written on this machine


Settings = TypeVar("Settings", bound=TeacherSettings)


def _no_work(settings: TeacherSettings, questions: int) -> TeacherWork:
    return TeacherWork()


def _no_price(settings: TeacherSettings, calls: int, prompt_tokens: int) -> float | None:
    return None


def _all_fields(settings: TeacherSettings) -> Mapping[str, Json]:
    return settings.model_dump(mode="json")


def _no_sources(settings: TeacherSettings) -> Mapping[str, Json]:
    return {}


def _no_model(settings: TeacherSettings) -> Student | None:
    return None


def _one(settings: TeacherSettings) -> int:
    return 1


def _not_looked(settings: TeacherSettings) -> Iterable[Finding]:
    return ()


@dataclass(frozen=True)
class TeacherKind(Configured[Settings]):
    """Everything that srit needs to know about a kind of teacher; `settings` are its fields in the recipe."""

    make: Callable[[Settings, Surroundings], Teacher]
    work: Callable[[Settings, int], TeacherWork] = _no_work  # of so many questions
    price: Callable[[Settings, int, int], float | None] = _no_price  # dollars of calls with prompts of so many tokens
    shaping: Callable[[Settings], Mapping[str, Json]] = _all_fields  # the settings on which its answers depend
    sources: Callable[[Settings], Mapping[str, Json]] = _no_sources  # checksums of files that its answers depend on
    samples: Callable[[Settings], int] = _one  # answers to each training problem
    model: Callable[[Settings], Student | None] = _no_model  # that this machine loads for it
    doctor: Callable[[], Sequence[Finding]] = tuple  # its lines in `srit doctor`
    # For `srit plan`: checks that the teacher is available, without asking it anything; raises the run's error.
    look: Callable[[Settings], Iterable[Finding]] = _not_looked
    kept: bool = False  # whether one teacher serves a whole run, and keeps what it finds out
    free: bool = False  # whether its answers cost nothing to repeat
    remembered: bool = True  # whether a stored answer stays the answer to its prompt; False: more decides, such as data


def teacher_kind(name: str) -> TeacherKind[Any]:
    """Return the kind with that name.

    Raises:
        RecipeError: there is none, or its plug-in does not work.
    """
    return TEACHERS.find(name, TeacherKind)
