"""Teachers: sources of step-by-step answers. One file for each teacher, and the parts of the `openai` one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, Protocol

from srit.records import Problem

CUT = "cut: raise teacher.max_tokens"


class Question(NamedTuple):
    """What a teacher is asked: a problem and the CoT prompt it makes."""

    problem: Problem
    prompt: str  # instruction, question, choices and "Let's think step by step."
    failed_before: bool = False  # an earlier run asked it and got no answer


class Answer(NamedTuple):
    """What a teacher said to one question."""

    problem_id: str
    text: str | None  # exactly as the teacher gave it; None: no whole answer, and `reason` says why
    reason: str  # "" for an answer, else why there is none ("no recording", "cut: …", …)
    n_calls: int = 0  # requests sent for it
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    settled: bool = True  # asking again would not help; if not, a later run asks again
    cut: bool = False  # it stopped at `limit`; a higher one would give more
    limit: int | None = None  # tokens it was allowed; None: the teacher has no such limit
    raw: str = ""  # what arrived instead of a whole answer


class Teacher(Protocol):
    """Answers questions, in any order, each as soon as it has it."""

    name: str  # kept with every demonstration
    identity: dict[str, object]  # all that shapes an answer except its limit: part of the key it is stored under

    @property
    def max_tokens(self) -> int | None:
        """The limit of one answer; None: the teacher has none."""
        ...

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """One Answer for each question; yielded at once so that the caller stores it at once.

        Raises:
            TeacherError: it refused or gave up; all answers before were yielded.
        """
        ...


def answer_key(identity: Mapping[str, object], prompt: str) -> str:
    """What an answer is stored under: all that shapes it, and nothing that does not."""
    return hashlib.sha256(json.dumps([identity, prompt], sort_keys=True).encode()).hexdigest()
