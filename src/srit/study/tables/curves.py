"""Accuracies over an axis of numbers, and over rounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from srit.records import Model, PromptKind
from srit.run_directory import Json
from srit.stages.results import DOMAINS, INSTRUCTED, REFINED
from srit.study.estimates import Estimate, Key, StudyResults, accuracy, domain_tasks, main_prompt
from srit.study.labels import ARM
from srit.study.records import CellRecord
from srit.study.tables.entries import ACCURACY, Entry, Table


class Point(NamedTuple):
    """A mean and both ends of its 95 % interval, in percent."""

    x: float
    mean: float
    low: float
    high: float


class Line(NamedTuple):
    """One line of a curve."""

    label: str
    points: list[Point]


class Curve(NamedTuple):
    """Accuracies over a field's values."""

    name: str
    title: str
    x: str
    lines: list[Line]


def make_curves(results: StudyResults) -> list[Curve]:
    """Make a curve over each axis of numbers, and over the rounds of cells with several."""
    main = main_prompt(results)
    numeric = [name for name, values in results.record.study.axes.items() if _is_numeric(values)]
    curves = []
    for domain in ("in", "out"):
        for axis in numeric:
            lines = list(_axis_lines(results, axis, domain, main))
            curves.append(Curve(f"over-{_file(axis)}-{domain}", f"Over {axis}, {DOMAINS[domain]}", axis, lines))
        rounds = list(_round_lines(results, domain, main))
        curves.append(Curve(f"over-rounds-{domain}", f"Over rounds, {DOMAINS[domain]}", "round", rounds))
    return [curve for curve in curves if any(len(line.points) > 1 for line in curve.lines)]


def curve_table(curve: Curve) -> Table:
    """Return a curve's points as a table."""
    xs = sorted({point.x for line in curve.lines for point in line.points})
    rows = []
    for line in curve.lines:
        at = {p.x: f"{p.mean:.1f} ({p.low:.1f}–{p.high:.1f})" for p in line.points}
        rows.append((Entry(line.label), *(Entry(at.get(x, "")) for x in xs)))
    return Table(curve.name, curve.title, ("", *(f"{curve.x} {x:g}" for x in xs)), rows, ACCURACY)


def _axis_lines(results: StudyResults, axis: str, domain: str, prompt: PromptKind) -> Iterator[Line]:
    cells_of: dict[tuple[str, ...], list[CellRecord]] = {}
    for cell in results.cells:
        wanted = {*results.record.study.axes, ARM} - {axis}
        cells_of.setdefault(tuple(label for name, label in cell.labels.items() if name in wanted), []).append(cell)
    for others, cells in cells_of.items():
        for model in (INSTRUCTED, REFINED):
            found = [(float(cell.labels[axis]), _of_domain(results, cell, model, domain, prompt)) for cell in cells]
            yield Line(" · ".join([*others, str(model)]), _points(found))


def _round_lines(results: StudyResults, domain: str, prompt: PromptKind) -> Iterator[Line]:
    for cell in results.cells:
        if cell.rounds > 1:
            earlier = [Model("refined", number, is_last=False) for number in range(1, cell.rounds)]
            models = [INSTRUCTED, *earlier, REFINED]
            found = [(n, _of_domain(results, cell, model, domain, prompt)) for n, model in enumerate(models)]
            yield Line(cell.cell, _points(found))


def _of_domain(
    results: StudyResults, cell: CellRecord, model: Model, domain: str, prompt: PromptKind
) -> Estimate | None:
    tasks = domain_tasks(results, cell, domain)
    return accuracy(results.marks, [Key(cell.cell, model, task, prompt) for task in tasks])


def _points(found: Iterable[tuple[float, Estimate | None]]) -> list[Point]:
    points = [Point(x, 100 * e.mean, 100 * e.ci95.low, 100 * e.ci95.high) for x, e in found if e is not None]
    return sorted(points, key=lambda point: point.x)


def _is_numeric(values: Json) -> bool:
    return isinstance(values, list) and len(values) > 1 and all(type(value) in (int, float) for value in values)


def _file(name: str) -> str:
    return name.replace(".", "-").replace(" ", "-").replace("/", "-").lower()
