"""Answers a teacher has already given, and whether one of them still holds under the limit that is set now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from srit.teachers import CUT, Answer, Question, Teacher, answer_key


class Paid(NamedTuple):
    """All that a run, or the runs of a study, were ever answered."""

    answers: Mapping[str, Sequence[Answer]]  # by `answer_key`, in order of arrival
    keep: Callable[[str, Answer], None]  # adds one; returns once it cannot be lost
    earlier_limits: tuple[int, ...]  # teacher.max_tokens of earlier runs: keys used to include it
    in_vain: set[str]  # keys of what this process asked without success; the next one asks again


def said_to(question: Question, teacher: Teacher, paid: Paid) -> list[Answer]:
    """All that the teacher ever answered to a question, under any limit."""
    said = list(paid.answers.get(answer_key(teacher.identity, question.prompt), ()))
    if teacher.max_tokens is None:
        return said
    for limit in dict.fromkeys([teacher.max_tokens, *paid.earlier_limits]):
        key = answer_key({**teacher.identity, "max_tokens": limit}, question.prompt)
        said += [_with_limit(answer, limit) for answer in paid.answers.get(key, ())]
    return said


def _with_limit(answer: Answer, limit: int) -> Answer:
    """An answer from when the limit was part of the key and "stop" was always believed."""
    if answer.text is not None and answer.n_completion_tokens >= limit:
        return cut_at(limit, answer)
    return answer._replace(limit=limit, cut=answer.reason.startswith("cut"))


def cut_at(limit: int, answer: Answer) -> Answer:
    """A whole answer as it would have been under a limit it does not fit."""
    return answer._replace(text=None, reason=CUT, cut=True, limit=limit, raw=answer.text or answer.raw)


def holding(said: Iterable[Answer], limit: int | None) -> Answer | None:
    """The answer that asking under this limit would give again; None: the question has to be asked.

    Args:
        said: answers to one question, under any limits.
        limit: teacher.max_tokens as it is set now.
    """
    under = [answer for one in said if (answer := _under(one, limit)) is not None]
    return next((answer for answer in under if answer.text is not None), under[0] if under else None)


def _under(answer: Answer, limit: int | None) -> Answer | None:
    if not answer.settled:
        return None
    if limit is None or answer.limit is None or limit == answer.limit:
        return answer
    if limit > answer.limit:
        return None if answer.cut else answer
    if answer.cut or (answer.text is None and not answer.n_completion_tokens):
        return answer
    # Under a lower limit than it was written with, a missing count leaves open whether it fits.
    if not answer.n_completion_tokens:
        return None
    return cut_at(limit, answer) if answer.n_completion_tokens >= limit else answer
