"""Tables of what transfers: from teachers of another family, and from one task to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from srit.records import PromptKind
from srit.signed import points
from srit.stages.results import REFINED
from srit.study.estimates import Key, StudyResults, accuracy, difference, domain_tasks, main_prompt, tasks_of
from srit.study.labels import FAMILY
from srit.study.records import CellRecord
from srit.study.tables.entries import (
    ACCURACY,
    Entry,
    Table,
    accuracy_entry,
    change,
    in_keys,
    points_entry,
    prompt_words,
)
from srit.study.tables.students import student_of


def families(results: StudyResults) -> Table | None:
    """Compare teachers of the student's own family with others, on the tasks that were trained on."""
    kin = {side: [cell for cell in results.cells if cell.labels.get(FAMILY) == side] for side in ("in", "out")}
    if not all(kin.values()):
        return None
    groups = dict.fromkeys((student_of(results, cell), cell.instructed_on) for cell in results.cells)
    rows = []
    for student, trained in groups:
        in_family, out_family = (
            [cell for cell in cells if (student_of(results, cell), cell.instructed_on) == (student, trained)]
            for cells in kin.values()
        )
        if in_family and out_family:
            rows.append((Entry(student), Entry(", ".join(trained)), *_family_entries(results, in_family, out_family)))
    heads = ("refined, in-family", "refined, out-family", "in − out", "gain, in-family", "gain, out-family")
    note = f"{ACCURACY} Gain: refined − instructed, points."
    return Table("families", "Teachers of the student's family and others", ("student", "task", *heads), rows, note)


def _family_entries(
    results: StudyResults, in_family: Sequence[CellRecord], out_family: Sequence[CellRecord]
) -> list[Entry]:
    main, sides = main_prompt(results), (in_family, out_family)
    accuracies = [accuracy_entry(results.marks, in_keys(results, cells, REFINED, main)) for cells in sides]
    pairs = [
        (Key(a.cell, REFINED, task, main), Key(b.cell, REFINED, task, main))
        for a, b in product(in_family, out_family)
        for task in domain_tasks(results, a, "in")
    ]
    gains = [
        difference(results.marks, [change(c, task, main) for c in cells for task in domain_tasks(results, c, "in")])
        for cells in sides
    ]
    return [*accuracies, points_entry(difference(results.marks, pairs)), *map(points_entry, gains)]


def cross(results: StudyResults) -> Iterator[Table]:
    """Make the tables of models that were instructed on one task and refined on another."""
    if all(cell.instructed_on == cell.refined_on for cell in results.cells):
        return
    main = main_prompt(results)
    note = "Accuracy of refined in percent, and its change from instructed in points; in bold where both are one task."
    columns = ("instructed on", *(f"refined on {task}" for task in _refined_on(results)))
    for where, name in (("the task refined on", "refined"), ("the task instructed on", "instructed")):
        title = f"Instructed on × refined on: accuracy on {where}, {prompt_words(main)}"
        yield Table(f"cross-{name}-on", title, columns, _cross_rows(results, name == "refined", main), note)


def _refined_on(results: StudyResults) -> list[str]:
    return list(dict.fromkeys(", ".join(cell.refined_on) for cell in results.cells))


def _cross_rows(results: StudyResults, on_refined: bool, prompt: PromptKind) -> list[tuple[Entry, ...]]:
    students = dict.fromkeys(student_of(results, cell) for cell in results.cells)
    instructed = dict.fromkeys(", ".join(cell.instructed_on) for cell in results.cells)
    rows = []
    for student, a in product(students, instructed):
        row = [Entry(f"{student} · {a}" if len(students) > 1 else a)]
        for b in _refined_on(results):
            cells = [c for c in results.cells if _trained_as(results, c) == (student, a, b)]
            row.append(_cross_entry(results, cells, on_refined, prompt, strong=a == b))
        rows.append(tuple(row))
    return rows


def _trained_as(results: StudyResults, cell: CellRecord) -> tuple[str, str, str]:
    return student_of(results, cell), ", ".join(cell.instructed_on), ", ".join(cell.refined_on)


def _cross_entry(
    results: StudyResults, cells: Sequence[CellRecord], on_refined: bool, prompt: PromptKind, *, strong: bool
) -> Entry:
    there = [
        (cell, task)
        for cell in cells
        for task in (cell.refined_on if on_refined else cell.instructed_on)
        if task in tasks_of(results, cell.cell)
    ]
    found = accuracy(results.marks, [Key(cell.cell, REFINED, task, prompt) for cell, task in there])
    gain = difference(results.marks, [change(cell, task, prompt) for cell, task in there])
    if found is None:
        return Entry("", None, strong)
    text = f"{100 * found.mean:.1f}" + ("" if gain is None else f" ({points(gain.mean)})")
    return Entry(text, found.mean, strong)
