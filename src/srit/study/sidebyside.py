"""Two studies → their claims, and every figure that both have, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator

from srit.study.claims import points, verdicts
from srit.study.figures import Figure, Key, Results, figure
from srit.study.page import markdown
from srit.study.tables import Entry, Table


def side_by_side(a: Results, b: Results) -> str:
    """Markdown: the sentences of both, then each common cell's accuracies and their difference."""
    lines = [f"# {a.name} and {b.name}", ""]
    for side, results in (("A", a), ("B", b)):
        lines += [f"- {side}: {verdict.sentence}" for verdict in verdicts(results)]
    table = Table(
        "compare", "Figures of both", ("cell", "model", "task", "prompt", "A", "B", "B − A"), list(_rows(a, b))
    )
    note = "Percent, and points with a 95 % interval of the two studies as independent."
    return "\n".join([*lines, "", markdown(table._replace(note=note))])


def _rows(a: Results, b: Results) -> Iterator[tuple[Entry, ...]]:
    for key in a.answers:
        if key in b.answers:
            both = [figure(results, [key]) for results in (a, b)]
            if both[0] is not None and both[1] is not None:
                yield _row(key, both[0], both[1])


def _row(key: Key, a: Figure, b: Figure) -> tuple[Entry, ...]:
    change = b.mean - a.mean
    # Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<873, method 10, from the two intervals.
    low = change - math.hypot(b.mean - b.ci95.low, a.ci95.high - a.mean)
    high = change + math.hypot(b.ci95.high - b.mean, a.mean - a.ci95.low)
    shown = f"{points(change)} ({points(low)} to {points(high)})"
    means = [Entry(f"{100 * side.mean:.1f}") for side in (a, b)]
    return (*map(Entry, key), *means, Entry(shown, strong=low > 0 or high < 0))
