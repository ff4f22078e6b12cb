"""Reuse answers that a teacher has already given, as far as they are valid under the current limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from srit.teachers import CUT, Answer, Question, Teacher, answer_key


class Paid(NamedTuple):
    """All answers that a run, or the runs of a study, ever got."""

    answers: Mapping[str, Sequence[Answer]]  # by `answer_key`, in order of arrival
    keep: Callable[[str, Answer], None]  # stores one under its key, and returns once it cannot be lost
    earlier_limits: tuple[int, ...]  # teacher.max_tokens of earlier runs: keys once included it
    in_vain: set[str]  # keys of the questions that this process asked without success; the next process asks again


def earlier_answers(question: Question, teacher: Teacher, paid: Paid) -> list[Answer]:
    """Return all answers that the teacher ever gave to a question, under any limit."""
    answers = list(paid.answers.get(answer_key(teacher.identity, question.prompt), ()))
    if teacher.max_tokens is None:
        return answers
    for limit in dict.fromkeys([teacher.max_tokens, *paid.earlier_limits]):
        key = answer_key({**teacher.identity, "max_tokens": limit}, question.prompt)
        answers += [_with_limit(answer, limit) for answer in paid.answers.get(key, ())]
    return answers


def _with_limit(answer: Answer, limit: int) -> Answer:
    """Complete an answer from when the limit was part of the key and every "stop" was believed."""
    if answer.text is not None and answer.n_completion_tokens >= limit:
        return cut_at(limit, answer)
    return answer._replace(limit=limit, cut=answer.reason.startswith("cut"))


def cut_at(limit: int, answer: Answer) -> Answer:
    """Return what a complete answer would have been under a limit that it exceeds."""
    return answer._replace(text=None, reason=CUT, cut=True, limit=limit, raw=answer.text or answer.raw)


def valid_answer(answers: Iterable[Answer], limit: int | None) -> Answer | None:
    """Return the answer that asking under this limit would give again; None: the question has to be asked.

    Args:
        answers: to one question, under any limits.
        limit: the current teacher.max_tokens; None: the teacher has no limit.
    """
    valid = [answer for one in answers if (answer := _valid_under(one, limit)) is not None]
    return next((answer for answer in valid if answer.text is not None), valid[0] if valid else None)


def _valid_under(answer: Answer, limit: int | None) -> Answer | None:
    if not answer.settled:
        return None
    if limit is None or answer.limit is None or limit == answer.limit:
        return answer
    if limit > answer.limit:
        return None if answer.cut else answer
    if answer.cut or (answer.text is None and not answer.n_completion_tokens):
        return answer
    # Without a count of its tokens, nobody knows whether an answer fits under a lower limit.
    if not answer.n_completion_tokens:
        return None
    return cut_at(limit, answer) if answer.n_completion_tokens >= limit else answer
