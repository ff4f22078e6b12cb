"""How much of what one training changed another one changed too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class OverlapCounts(NamedTuple):
    """Problems by what two trainings of one model made of them; as in `scores.Overlap`."""

    n: int
    agree: int
    wrong_before: int
    newly_a: int
    newly_b: int
    newly_both: int
    lost_a: int
    lost_b: int
    lost_both: int


def count_overlap(before: Sequence[bool], a: Sequence[bool], b: Sequence[bool]) -> OverlapCounts:
    """Count the verdicts of two models on the same problems, and of the model that both were trained from."""
    rows = list(zip(before, a, b, strict=True))
    return OverlapCounts(
        n=len(rows),
        agree=sum(x == y for _, x, y in rows),
        wrong_before=sum(not was for was, _, _ in rows),
        newly_a=sum(x and not was for was, x, _ in rows),
        newly_b=sum(y and not was for was, _, y in rows),
        newly_both=sum(x and y and not was for was, x, y in rows),
        lost_a=sum(was and not x for was, x, _ in rows),
        lost_b=sum(was and not y for was, _, y in rows),
        lost_both=sum(was and not x and not y for was, x, y in rows),
    )


def in_common(newly_a: int, newly_b: int, newly_both: int) -> float | None:
    """Return the share of the problems newly right with either training that are so with both; None if there are none.

    Source: Jaccard 1912, doi 10.1111/j.1469-8137.1912.tb05611.x.
    """
    either = newly_a + newly_b - newly_both
    return newly_both / either if either else None


def by_chance(wrong_before: int, newly_a: int, newly_b: int) -> float | None:
    """Return what `in_common` would be if the two trainings had nothing to do with each other."""
    both = newly_a * newly_b / wrong_before if wrong_before else 0.0
    either = newly_a + newly_b - both
    return both / either if either else None
