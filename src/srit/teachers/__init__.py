"""Teachers: sources of step-by-step answers. One file a teacher, and the files that `openai` is made of."""

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
    text: str | None  # as it was given; None: there is no whole answer, and `reason` says why
    reason: str  # "" for an answer, else why there is none ("no recording", "cut: …", …)
    n_calls: int = 0  # requests sent for it
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    settled: bool = True  # asking again would not help; if not, a later run asks again
    cut: bool = False  # it stopped at `limit`: a higher one would give more
    limit: int | None = None  # tokens that it was allowed; None: a teacher without such a limit
    raw: str = ""  # where there is no whole answer: what arrived instead of one


class Teacher(Protocol):
    """Answers questions, in any order, each as soon as it has it."""

    name: str  # kept with every demonstration
    identity: dict[str, object]  # all that shapes an answer but its limit: the key it is stored under

    @property
    def max_tokens(self) -> int | None:
        """Of one answer; None: a teacher without such a limit."""
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
