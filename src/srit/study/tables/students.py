"""Which of a study's models count as one student, and what changed in its training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from srit.run_directory import Json
from srit.study.estimates import StudyResults
from srit.study.labels import ARM
from srit.study.records import CellRecord

STAGE_2 = ("pairs", "refine", "sample", "rounds", "controls")  # parts of a recipe


def student_of(results: StudyResults, cell: CellRecord) -> str:
    """Return what distinguishes a cell's student from others: models that differ in training do not share a mean.

    It is the student, the options of the axes that set neither student, teacher nor tasks, and, among named cells, the
    name of the cell if it changes training.
    """
    other = ("student", "teacher", "tasks")
    options = [
        cell.labels[name]
        for name, values in results.record.study.axes.items()
        if not any(field.split(".")[0] in other for field in _fields(name, values))
    ]
    arm = [cell.labels[ARM]] if ARM in cell.labels and changes_part(cell, ("instruct", *STAGE_2)) else []
    return " · ".join([cell.student, *options, *arm])


def changes_part(cell: CellRecord, parts: Sequence[str]) -> bool:
    """Return whether a cell sets anything in these parts of the recipe."""
    return any(field.split(".")[0] in parts for field in cell.changes)


def _fields(axis: str, values: Json) -> Iterator[str]:
    """Yield the fields that an axis sets."""
    if isinstance(values, list):
        yield axis
    else:
        for fields in values.values():
            yield from fields or ()
