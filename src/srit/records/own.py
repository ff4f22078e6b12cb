"""Reads files whose records are in the order of their problems, problem by problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TypeVar

from srit.errors import DataError
from srit.records import Completion, Demonstration, Pair, Problem

Record = TypeVar("Record", Completion, Pair)


def with_own(problems: Iterable[Problem], records: Iterable[Record]) -> Iterator[tuple[Problem, list[Record]]]:
    """Yield each problem with its records; both must be in the same order.

    Raises:
        DataError: a record belongs to none of the problems, or is out of order.
    """
    groups = groupby(records, key=lambda record: record.problem_id)
    waiting, own = next(groups, (None, iter(())))
    for problem in problems:
        if problem.id == waiting:
            yield problem, list(own)
            waiting, own = next(groups, (None, iter(())))
        else:
            yield problem, []
    if waiting is not None:
        raise DataError(f"the answers to problem {waiting!r:.80} are out of order: delete their file and rerun")


def key_of(record: Problem | Demonstration | Completion | Pair) -> str:
    """Return the key of a problem or a record: ids are unique only within their task."""
    return f"{record.task}\0{record.id if isinstance(record, Problem) else record.problem_id}"
