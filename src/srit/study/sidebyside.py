"""Two studies → their claims, and every figure that both have, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from srit.scores import Interval
from srit.study.claims import change_points, verdicts
from srit.study.figures import Figure, Key, Results, common_seeds, difference, figure
from srit.study.page import markdown
from srit.study.tables import Entry, Table

_B = "b: "  # before the names of b's cells, where both studies' answers stand together
_NOTE = (
    "Percent, and points with a 95 % interval: over the seeds in which both had the same problems, paired; "
    "where there are none, of the two studies as independent (marked i)."
)


def side_by_side(a: Results, b: Results) -> str:
    """Markdown: the sentences of both, then each common cell's accuracies and their difference."""
    lines = [f"# {a.name} and {b.name}", ""]
    for side, results in (("A", a), ("B", b)):
        lines += [f"- {side}: {verdict.sentence}" for verdict in verdicts(results)]
    columns = ("cell", "model", "task", "prompt", "A", "B", "B − A")
    rows = list(_rows(a, b))
    if not rows:
        named = (", ".join(cell["cell"] for cell in results.cells) for results in (a, b))
        told = "No finished cell of one has the name, a model, a task and a prompt of one of the other. A: {}. B: {}."
        return "\n".join([*lines, "", told.format(*named)])
    return "\n".join([*lines, "", markdown(Table("compare", "Figures of both", columns, rows, _NOTE))])


def _rows(a: Results, b: Results) -> Iterator[tuple[Entry, ...]]:
    both = a._replace(answers={**a.answers, **{_in_b(key): rows for key, rows in b.answers.items()}})
    for key in a.answers:
        seeds = common_seeds(both, [(_in_b(key), key)])
        alike = _only(both, [key, _in_b(key)], seeds) if seeds else both
        of_a, of_b = figure(alike, [key]), figure(alike, [_in_b(key)])
        if of_a is not None and of_b is not None:
            paired = difference(alike, [(_in_b(key), key)])
            change = paired.mean if paired else of_b.mean - of_a.mean
            ci95 = paired.ci95 if paired else independent(of_a, of_b)
            shown = change_points(change, ci95) + ("" if paired else " i")
            means = [Entry(f"{100 * side.mean:.1f}") for side in (of_a, of_b)]
            yield (*map(Entry, key), *means, Entry(shown, strong=ci95.low > 0 or ci95.high < 0))


def _only(results: Results, keys: Sequence[Key], seeds: Sequence[int]) -> Results:
    return results._replace(answers={key: {seed: results.answers[key][seed] for seed in seeds} for key in keys})


def _in_b(key: Key) -> Key:
    return key._replace(cell=_B + key.cell)


def independent(a: Figure, b: Figure) -> Interval:
    """95 % interval of b - a from the intervals of both.

    Source: Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<873, method 10.
    """
    change = b.mean - a.mean
    low = math.hypot(b.mean - b.ci95.low, a.ci95.high - a.mean)
    high = math.hypot(b.ci95.high - b.mean, a.mean - a.ci95.low)
    return Interval(change - low, change + high)
