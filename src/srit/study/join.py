"""Parts of a study that were run separately, such as one seed or student per machine → one study.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from srit.errors import DataError
from srit.run_directory import Json
from srit.study.estimates import Key, StudyResults
from srit.study.records import FORMAT, CellRecord, GridRecord, RunRecord, StudyRecord, WaitingRun

_RANK = {"waiting": 0, "failed": 1, "done": 2}
_Value = TypeVar("_Value")


def joined(parts: Sequence[tuple[str, StudyResults]]) -> StudyRecord:
    """Join all cells and seeds that any part has, in the order of the parts, under the name of the first.

    Args:
        parts: the place of each, and what it holds; at least one.

    Raises:
        DataError: they are not parts of one study, or two disagree about a cell and seed.
    """
    (first, whole), *others = parts
    for place, part in others:
        if fields := _differing(whole.record.study, part.record.study):
            raise DataError(
                f"{place}: this is not part of the same study as {first}: it has another {', '.join(fields)}"
            )
    _check_problems(parts)
    studies = [part.record.study for _, part in parts]
    seeds = _union(study.seeds for study in studies)
    cells, runs = _cells(parts), _runs(parts)
    study = replace(
        studies[0],
        seeds=tuple(seeds),
        axes={axis: _axis([study.axes[axis] for study in studies]) for axis in studies[0].axes},
        claims=tuple(_union(study.claims for study in studies)),
    )
    of_cells = (
        replace(cell, runs=tuple(runs.get((name, seed), WaitingRun(seed=seed)) for seed in seeds))
        for name, cell in cells.items()
    )
    return StudyRecord(FORMAT, study, tuple(of_cells))


def _differing(a: GridRecord, b: GridRecord) -> list[str]:
    """Return the fields in which two studies differ although they must be equal."""
    of_a, of_b = _must_be_equal(a), _must_be_equal(b)
    return [field for field in of_a | of_b if of_a.get(field) != of_b.get(field)]


def _must_be_equal(study: GridRecord) -> dict[str, Json]:
    recipe = study.recipe if isinstance(study.recipe, dict) else {"": study.recipe}
    fields: dict[str, Json] = {f"recipe.{field}": value for field, value in recipe.items()}
    return fields | {"problems_by_seed": study.problems_by_seed, "choice of axes": list(study.axes)}


def _check_problems(parts: Sequence[tuple[str, StudyResults]]) -> None:
    """Refuse seeds of a model and task that differ in their problems, unless each seed draws its own."""
    there: dict[Key, tuple[str, str]] = {}
    for place, part in () if parts[0][1].record.study.problems_by_seed else parts:
        for key, marks in ((key, marks) for key, by_seed in part.marks.items() for marks in by_seed.values()):
            first, problems = there.setdefault(key, (place, marks.problems))
            if problems != marks.problems:
                raise DataError(
                    f"{first} and {place}: {key.model} of {key.cell!r} had different problems of {key.task}"
                )


def _cells(parts: Sequence[tuple[str, StudyResults]]) -> dict[str, CellRecord]:
    """Map each cell by its name, without its runs."""
    cells: dict[str, tuple[str, CellRecord]] = {}
    for place, cell in ((place, cell) for place, part in parts for cell in part.cells):
        described = replace(cell, runs=())
        there, known = cells.setdefault(cell.cell, (place, described))
        if known != described:
            raise DataError(f"{there} and {place}: two cells are called {cell.cell!r}: rename one, and run it")
    return {name: cell for name, (_, cell) in cells.items()}


def _runs(parts: Sequence[tuple[str, StudyResults]]) -> dict[tuple[str, int], RunRecord]:
    """Map each run by its cell and seed; one that is done replaces one that failed or waits."""
    runs: dict[tuple[str, int], tuple[str, RunRecord]] = {}
    of_parts = [(place, cell.cell, run) for place, part in parts for cell in part.cells for run in cell.runs]
    for place, name, run in of_parts:
        there, known = runs.setdefault((name, run.seed), (place, run))
        if known.status == run.status == "done" and known != run:
            raise DataError(
                f"{there} and {place}: cell {name!r} with seed {run.seed} differs between the two: `srit study "
                "compare` shows both; leave one out"
            )
        if _RANK[run.status] > _RANK[known.status]:
            runs[name, run.seed] = (place, run)
    return {key: run for key, (_, run) in runs.items()}


def _axis(values: Sequence[Json]) -> Json:
    """Return the values, or the named options, that an axis has in any part."""
    if isinstance(values[0], Mapping):
        return {key: value for part in values for key, value in part.items()}
    return _union(values)


def _union(several: Iterable[Iterable[_Value]]) -> list[_Value]:
    """Return what any of the lists has, in the order of its first occurrence."""
    found: list[_Value] = []
    for value in chain.from_iterable(several):
        if value not in found:
            found.append(value)
    return found
