"""Answers that a teacher has already given: which are still valid, and how new ones are stored."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from srit.errors import MachineError
from srit.teachers import CUT, Answer, Question, Teacher, answer_key
from srit.teachers.journal import NotCopied, NotWritten, encoded
from srit.teachers.ledger import Calls, Unreadable, as_row
from srit.watching import Counted, uncounted


class Paid(NamedTuple):
    """All answers that a run, or the runs of a study, ever received."""

    answers: Mapping[str, Sequence[Answer]]  # by `answer_key`, in order of arrival
    keep: Callable[[Sequence[tuple[str, Answer]]], None]  # stores answers by key, and returns once they cannot be lost
    earlier_limits: tuple[int, ...]  # teacher.max_tokens of earlier runs: keys once included it
    in_vain: set[str]  # keys of the questions that this process asked without success; the next process asks again
    calls: Mapping[str, Calls] = {}  # by `answer_key`, of teachers that record them
    unreadable: Unreadable | None = None  # answers that were paid for and cannot be read
    report: Callable[[str], None] = lambda line: None  # shows a line to a person
    progress: Counted = uncounted  # takes how many answers there are so far


def stored(arriving: Generator[Answer | list[Answer]], key_of: Callable[[Answer], str], paid: Paid) -> Iterator[Answer]:
    """Yield each answer once it is stored. One that cannot be stops the teacher; those in flight are still taken.

    Raises:
        MachineError: an answer could not be stored. Each such answer was shown as the line that stores it.
    """
    unstored = 0
    try:
        came = next(arriving, None)
        while came is not None:
            kept, errors = _kept(came if isinstance(came, list) else [came], key_of, paid)
            yield from kept
            unstored += sum(not isinstance(error, NotCopied) for error in errors)
            came = arriving.throw(errors[0]) if errors else next(arriving, None)
    except NotCopied as error:
        raise MachineError(str(error.strerror)) from None
    except NotWritten as error:
        shown = f"{unstored} answer{'s' if unstored > 1 else ''} could not be stored: append the lines above to it. "
        message = f"{error.filename}: {error.strerror}. {shown if unstored else ''}Fix this and rerun to continue"
        raise MachineError(message) from None


def _kept(
    answers: list[Answer], key_of: Callable[[Answer], str], paid: Paid
) -> tuple[list[Answer], Sequence[NotWritten]]:
    """Store answers together, or else one by one; return those that are stored, and why the others are not."""
    came = [(key_of(answer), answer) for answer in answers]
    try:
        paid.keep(came)
    except NotCopied as error:
        return [], [error]
    except NotWritten as error:
        if len(came) > 1:  # there may still be room for some of them
            each = [_kept([answer], key_of, paid) for answer in answers]
            return [one for kept, _ in each for one in kept], [why for _, errors in each for why in errors]
        paid.report(encoded(as_row(*came[0])).decode().rstrip())
        return [], [error]
    return answers, []


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
    """Complete an answer from the time when the limit was part of the key and every "stop" was trusted."""
    if answer.text is not None and answer.n_completion_tokens >= limit:
        return cut_at(limit, answer)
    return answer._replace(limit=limit, cut=answer.reason.startswith("cut"))


def cut_at(limit: int, answer: Answer) -> Answer:
    """Return what a complete answer would have been under a limit that it exceeds."""
    return answer._replace(text=None, reason=CUT, cut=True, limit=limit, raw=answer.text or answer.raw)


def valid_answer(answers: Iterable[Answer], limit: int | None) -> Answer | None:
    """Return the stored answer that asking under this limit would repeat; None: the question has to be asked.

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
    # Without a count of its tokens, it is unknown whether an answer fits under a lower limit.
    if not answer.n_completion_tokens:
        return None
    return cut_at(limit, answer) if answer.n_completion_tokens >= limit else answer
