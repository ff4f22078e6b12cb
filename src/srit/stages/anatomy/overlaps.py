"""How much of what one training changed was also changed by another."""

from __future__ import annotations

from typing import NamedTuple

from srit.intervals import Verdicts


class OverlapCounts(NamedTuple):
    """Problems by the outcomes of two trainings of one model; as in `scores.Overlap`."""

    n: int
    agree: int
    wrong_before: int
    newly_a: int
    newly_b: int
    newly_both: int
    lost_a: int
    lost_b: int
    lost_both: int


def count_overlap(before: Verdicts, a: Verdicts, b: Verdicts) -> OverlapCounts:
    """Count the verdicts of two models on the same problems, and of the model that both were trained from."""
    import numpy as np

    was, now_a, now_b = (np.asarray(right, dtype=bool) for right in (before, a, b))
    counts = {
        "agree": now_a == now_b,
        "wrong_before": ~was,
        "newly_a": ~was & now_a,
        "newly_b": ~was & now_b,
        "newly_both": ~was & now_a & now_b,
        "lost_a": was & ~now_a,
        "lost_b": was & ~now_b,
        "lost_both": was & ~now_a & ~now_b,
    }
    return OverlapCounts(n=len(was), **{name: int(found.sum()) for name, found in counts.items()})


def in_common(newly_a: int, newly_b: int, newly_both: int) -> float | None:
    """Return the share of the problems newly right after either training that are so after both; None: there are none.

    Source: Jaccard 1912, doi 10.1111/j.1469-8137.1912.tb05611.x.
    """
    either = newly_a + newly_b - newly_both
    return newly_both / either if either else None


def by_chance(wrong_before: int, newly_a: int, newly_b: int) -> float | None:
    """Return what `in_common` would be if the two trainings were independent."""
    both = newly_a * newly_b / wrong_before if wrong_before else 0.0
    either = newly_a + newly_b - both
    return both / either if either else None
