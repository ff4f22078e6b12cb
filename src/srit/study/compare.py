"""Two studies → their claims, and every figure that both have, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator

from srit.records.scores import Interval
from srit.signed import change_points
from srit.study.claims import findings
from srit.study.estimates import Estimate, Key, Marked, StudyResults, accuracy, common_seeds, difference
from srit.study.page import markdown
from srit.study.tables.entries import Entry, Table, place

_B = "b: "  # prefix of the names of b's cells when both studies' answers are together
_NOTE = (
    "Percent, and points with a 95 % interval. The difference is paired, over the seeds in which both had the same "
    "problems; where there are none, the two studies count as independent (marked i)."
)


def side_by_side(a: StudyResults, b: StudyResults) -> str:
    """Return Markdown: the sentences of both, then each common cell's accuracies and their difference."""
    lines = [f"# {a.record.study.name} and {b.record.study.name}", ""]
    for side, results in (("A", a), ("B", b)):
        lines += [f"- {side}: {finding.sentence}" for finding in findings(results)]
    columns = ("cell", "model", "task", "prompt", "A", "B", "B − A")
    rows = list(_rows(a.marks, b.marks))
    if not rows:
        names = [", ".join(cell.cell for cell in results.cells) for results in (a, b)]
        nothing = "The two have no finished cell of the same name with a common model, task and prompt. A: {}. B: {}."
        return "\n".join([*lines, "", nothing.format(*names)])
    return "\n".join([*lines, "", markdown(Table("compare", "Figures of both", columns, rows, _NOTE))])


def _rows(a: Marked, b: Marked) -> Iterator[tuple[Entry, ...]]:
    both = {**a, **{_in_b(key): rows for key, rows in b.items()}}
    for key in a:
        seeds = common_seeds(both, [(_in_b(key), key)])
        alike = {one: {seed: both[one][seed] for seed in seeds} for one in (key, _in_b(key))} if seeds else both
        of_a, of_b = accuracy(alike, [key]), accuracy(alike, [_in_b(key)])
        if of_a is not None and of_b is not None:
            paired = difference(alike, [(_in_b(key), key)])
            change = paired.mean if paired else of_b.mean - of_a.mean
            ci95 = paired.ci95 if paired else independent(of_a, of_b)
            shown = change_points(change, ci95) + ("" if paired else " i")
            means = [Entry(f"{100 * side.mean:.1f}") for side in (of_a, of_b)]
            yield (*place(key), *means, Entry(shown, strong=ci95.low > 0 or ci95.high < 0))


def _in_b(key: Key) -> Key:
    return key._replace(cell=_B + key.cell)


def independent(a: Estimate, b: Estimate) -> Interval:
    """Return the 95 % interval of b - a from the intervals of both.

    Source: Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<873, method 10.
    """
    change = b.mean - a.mean
    low = math.hypot(b.mean - b.ci95.low, a.ci95.high - a.mean)
    high = math.hypot(b.ci95.high - b.mean, a.mean - a.ci95.low)
    return Interval(change - low, change + high)
