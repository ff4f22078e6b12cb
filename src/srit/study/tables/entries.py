"""A table, and how numbers are written in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from srit.records import Model, PromptKind
from srit.signed import change_points, points
from srit.stages.results import INSTRUCTED, REFINED
from srit.study.estimates import Estimate, Key, Marked, StudyResults, accuracy, domain_tasks
from srit.study.records import CellRecord

FULL_SHADE = 0.2  # the difference that a heat map shows in full color
ACCURACY = "Accuracy in percent, mean over seeds (95 % interval: seeds and problems)."


class Entry(NamedTuple):
    """One field of a table."""

    text: str
    shade: float | None = None  # −1 to 1, or 0 to 1: how a heat map colors it
    strong: bool = False


class Table(NamedTuple):
    """Text from which Markdown, LaTeX and HTML are made."""

    name: str  # of its files
    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Entry, ...]]
    note: str = ""


def change(cell: CellRecord, task: str, prompt: PromptKind, scored: str = "") -> tuple[Key, Key]:
    """Return the two sides of what refinement changes."""
    return Key(cell.cell, REFINED, task, prompt, scored), Key(cell.cell, INSTRUCTED, task, prompt, scored)


def in_keys(results: StudyResults, cells: Iterable[CellRecord], model: Model, prompt: PromptKind) -> list[Key]:
    """Return a model's keys of some cells, on the tasks that each was tuned on."""
    return [Key(cell.cell, model, task, prompt) for cell in cells for task in domain_tasks(results, cell, "in")]


def name_of(cell: CellRecord) -> Entry:
    """Write a cell's name."""
    return Entry(cell.cell)


def place(key: Key) -> tuple[Entry, Entry, Entry, Entry]:
    """Write cell, model, task and prompt of some answers."""
    return Entry(key.cell), Entry(str(key.model)), Entry(key.task), Entry(key.prompt)


def accuracy_entry(marks: Marked, keys: Sequence[Key]) -> Entry:
    """Write an accuracy with its interval, in percent; empty if there are no answers."""
    found = accuracy(marks, keys)
    return Entry("" if found is None else percent(found.mean, found.ci95.low, found.ci95.high))


def percent(mean: float, low: float, high: float) -> str:
    """Write a share with its interval, in percent."""
    return f"{100 * mean:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def points_entry(found: Estimate | None) -> Entry:
    """Write a difference with its interval, in points; bold if the interval does not contain 0."""
    return Entry("") if found is None else Entry(change_points(found.mean, found.ci95), strong=is_sure(found))


def heat(found: Estimate | None, trained: bool) -> Entry:
    """Write an accuracy as a field of a heat map."""
    return Entry("") if found is None else Entry(f"{100 * found.mean:.1f}", found.mean, trained)


def change_heat(found: Estimate | None, trained: bool) -> Entry:
    """Write a difference as a field of a heat map."""
    if found is None:
        return Entry("")
    shade = max(-1.0, min(1.0, found.mean / FULL_SHADE))
    return Entry(points(found.mean) + ("*" if is_sure(found) else ""), shade, trained)


def is_sure(found: Estimate) -> bool:
    """Return whether the interval of a difference does not contain 0."""
    return found.ci95.low > 0 or found.ci95.high < 0


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None if there are no values."""
    return sum(values) / len(values) if values else None


def prompt_words(prompt: str) -> str:
    """Write which prompt."""
    return "CoT prompt" if prompt == "cot" else "direct prompt"
