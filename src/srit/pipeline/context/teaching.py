"""The recipe's teacher, and every answer that was ever paid for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from srit.compute.mapping import Engine
from srit.errors import MachineError
from srit.pipeline.context.reports import Report
from srit.recipe import Recipe, Student, TeacherSettings
from srit.run_directory import Json, StageEntry
from srit.teachers import Surroundings, Teacher, teacher_kind
from srit.teachers.journal import NotWritten
from srit.teachers.ledger import Ledger
from srit.teachers.paid import Paid
from srit.watching import Counted


def teacher_settings(recipe: Recipe) -> dict[str, Json]:
    """Return everything in a recipe that shapes a teacher's answers."""
    kind = teacher_kind(recipe.teacher.kind)
    on_this_machine = kind.model(recipe.teacher) is not None
    computed = {"dtype": recipe.student.dtype, "rows": recipe.rows} if on_this_machine else {}
    return {"teacher": kind.shaping(recipe.teacher), **computed}


def teacher_sources(teacher: TeacherSettings) -> dict[str, Json]:
    """Return sums of what answers are read from or computed with: recordings; weights, tokenizer and template."""
    return dict(teacher_kind(teacher.kind).sources(teacher))


def models_of(recipe: Recipe) -> list[Student]:
    """Return the models that a run loads: the student, and a teacher on this machine."""
    teacher = teacher_kind(recipe.teacher.kind).model(recipe.teacher)
    return [recipe.student, *([] if teacher is None else [teacher])]


class Teaching:
    """A run's teacher and its answers, those of all runs that share them included."""

    def __init__(
        self, recipe: Recipe, journal: Path, limits: tuple[int, ...], in_vain: set[str], engine: Engine, report: Report
    ) -> None:
        """
        Args:
            journal: the file of the answers. They are kept apart from what is made of them and are in no fingerprint,
                so that no changed setting pays for them again.
            limits: as in `Paid.earlier_limits`.
            in_vain: as in `Paid`.
        """
        self._recipe, self._journal, self._limits, self._in_vain = recipe, journal, limits, in_vain
        self._around = Surroundings(recipe.student.dtype, recipe.rows, report, engine)
        self._kept: Teacher | None = None

    def teacher(self) -> Teacher:
        """Return the teacher that the recipe names; a kind that is kept is made once, for all stages."""
        if self._kept is not None:
            return self._kept
        settings, kind = self._recipe.teacher, teacher_kind(self._recipe.teacher.kind)
        around = self._around._replace(spent=self._ledger.spent, record=self._ledger.record)
        made: Teacher = kind.make(settings, around)
        self._kept = made if kind.kept else None
        return made

    def paid(self, progress: Counted) -> Paid:
        """Return the answers by key, with the function that keeps another.

        Args:
            progress: as in `Paid`.

        Raises:
            MachineError: none could be kept.
        """
        ledger = self._ledger
        try:
            ledger.check_writable()
        except NotWritten as error:
            raise MachineError(
                f"{error.filename}: cannot be written ({error.strerror}), so that no answer could be kept; nothing was "
                "asked. Mend that and rerun the same command"
            ) from None
        remembered = teacher_kind(self._recipe.teacher.kind).remembered
        return Paid(
            ledger.answers if remembered else {},
            ledger.keep if remembered else lambda key, answer: None,
            self._limits,
            self._in_vain,
            ledger.calls,
            ledger.unreadable,
            self._around.report,
            progress,
        )

    @cached_property
    def _ledger(self) -> Ledger:
        ledger = Ledger(self._journal, free=teacher_kind(self._recipe.teacher.kind).free)
        for line in ledger.notes:
            self._around.report(f"WARN {line}")
        return ledger


def earlier_limits(entries: Iterable[StageEntry]) -> Iterator[int]:
    """Find the limits under which the teacher was asked before, in the entries of a manifest."""
    for entry in entries:
        settings: Mapping[str, Json] = entry.settings if isinstance(entry.settings, dict) else {}
        teacher = settings.get("teacher")
        if isinstance(teacher, dict) and isinstance(teacher.get("max_tokens"), int):
            yield teacher["max_tokens"]
