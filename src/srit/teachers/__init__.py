"""Teachers: sources of step-by-step answers. One file a teacher."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from srit.records import Problem


class Question(NamedTuple):
    """What a teacher is asked: a problem and the CoT prompt it makes."""

    problem: Problem
    prompt: str  # instruction, question, choices and "Let's think step by step."


class Answer(NamedTuple):
    """What a teacher said to one question."""

    problem_id: str
    text: str | None  # None: refused; `reason` says why
    reason: str  # "" for an answer, else why there is none ("no recording", "cut by max_tokens", …)
    n_calls: int = 0  # requests sent for it
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    settled: bool = True  # asking again would not help; if not, a later run asks again


class Teacher(Protocol):
    """Answers questions, in any order, each as soon as it has it."""

    name: str  # kept with every demonstration
    identity: dict[str, object]  # all that shapes an answer: part of the key it is stored under

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """One Answer for each question; yielded at once so that the caller stores it at once.

        Raises:
            TeacherError: it refused or gave up; all answers before were yielded.
        """
        ...


def answer_key(identity: Mapping[str, object], prompt: str) -> str:
    """What an answer is stored under: all that shapes it, and nothing that does not."""
    return hashlib.sha256(json.dumps([identity, prompt], sort_keys=True).encode()).hexdigest()
