"""The recipe's teacher, and every answer that was ever paid for."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from srit.compute.mapping import Engine
from srit.errors import DataError, MachineError
from srit.pipeline.context.reports import Report
from srit.recipe import Recipe, Student, TeacherSettings
from srit.run_directory import Json, Mirror, StageEntry
from srit.teachers import Answer, Call, Surroundings, Teacher, teacher_kind
from srit.teachers.journal import NotCopied, NotWritten, command_to_start_anew
from srit.teachers.ledger import Answers, Ledger
from srit.teachers.paid import Paid
from srit.watching import Counted


def teacher_settings(recipe: Recipe) -> dict[str, Json]:
    """Return everything in a recipe that shapes a teacher's answers."""
    kind = teacher_kind(recipe.teacher.kind)
    on_this_machine = kind.model(recipe.teacher) is not None
    computed = {"dtype": recipe.student.dtype, "rows": recipe.rows} if on_this_machine else {}
    return {"teacher": kind.shaping(recipe.teacher), **computed}


def samples_of(teacher: TeacherSettings) -> int:
    """Return how many answers to each training problem a teacher is asked for."""
    return teacher_kind(teacher.kind).samples(teacher)


def teacher_sources(teacher: TeacherSettings) -> dict[str, Json]:
    """Return checksums of what answers are read from or computed with: recordings; weights, tokenizer and template."""
    return dict(teacher_kind(teacher.kind).sources(teacher))


def models_of(recipe: Recipe) -> list[Student]:
    """Return the models that a run loads: the student, and a teacher on this machine."""
    teacher = teacher_kind(recipe.teacher.kind).model(recipe.teacher)
    return [recipe.student, *([] if teacher is None else [teacher])]


class Teaching:
    """A run's teacher and its answers, including those of all runs that share them."""

    def __init__(
        self,
        recipe: Recipe,
        journal: Path,
        limits: tuple[int, ...],
        in_vain: set[str],
        engine: Engine,
        mirror: Mirror,
        report: Report,
        n_paid: int = 0,
    ) -> None:
        """
        Args:
            journal: the file of the answers. They are kept apart from what is made from them and are in no fingerprint,
            so no changed setting pays for them again.
            limits: as in `Paid.earlier_limits`.
            in_vain: as in `Paid`.
            mirror: where each answer is copied before it counts.
            n_paid: how many calls its answers took so far, at least.
        """
        self._recipe, self._journal, self._limits, self._in_vain = recipe, journal, limits, in_vain
        self._mirror, self._n_paid = mirror, n_paid
        self._around = Surroundings(recipe.student.dtype, recipe.rows, report, engine, system=recipe.prompt.system)
        self._kept: Teacher | None = None

    @property
    def samples(self) -> int:
        """How many answers to each training problem the recipe asks for."""
        return samples_of(self._recipe.teacher)

    @property
    def learns_thoughts(self) -> bool:
        """Whether the thoughts in an answer are learned with it."""
        return self._recipe.teacher.learns_thoughts

    def teacher(self, sample: int = 0) -> Teacher:
        """Return the teacher that the recipe names; a kind that can be kept is made once for all stages.

        Args:
            sample: which of the answers to each question it gives.
        """
        if self._kept is not None:
            return self._kept
        settings, kind = self._recipe.teacher, teacher_kind(self._recipe.teacher.kind)
        around = self._around._replace(sample=sample, spent=self._ledger.spent, record=self._record)
        made: Teacher = kind.make(settings, around)
        # The teacher of each sample starts from what all of them have spent.
        self._kept = made if kind.kept and self.samples == 1 else None
        return made

    def paid(self, progress: Counted) -> Paid:
        """Return the answers by key, and the function that keeps a new one.

        Args:
            progress: as in `Paid`.

        Raises:
            MachineError: none could be kept.
            DataError: those that were paid for are missing.
        """
        ledger = self._ledger
        try:
            ledger.check_writable()
        except NotWritten as error:
            raise MachineError(
                f"{error.filename}: cannot be written ({error.strerror}), so no answer could be kept; nothing was "
                "asked. Fix this and rerun the same command"
            ) from None
        remembered, anew = teacher_kind(self._recipe.teacher.kind).remembered, Answers()
        return Paid(
            ledger.answers if remembered else anew,
            self._keep if remembered else anew.extend,
            self._limits,
            self._in_vain,
            ledger.calls,
            ledger.unreadable,
            self._around.report,
            progress,
        )

    def _keep(self, came: Sequence[tuple[str, Answer]]) -> None:
        """As `Ledger.keep`, and in the mirror too."""
        self._ledger.keep(came)
        with _as_not_copied():
            self._mirror.answered(free=teacher_kind(self._recipe.teacher.kind).free)

    def _record(self, calls: Sequence[Call]) -> None:
        """As `Ledger.record`; nothing is sent once another process may ask the same."""
        if any(call.event == "sent" for call in calls):
            with _as_not_copied():
                self._mirror.check()
        self._ledger.record(calls)

    @cached_property
    def _ledger(self) -> Ledger:
        free = teacher_kind(self._recipe.teacher.kind).free
        if self._n_paid and not free and not self._journal.exists():
            raise DataError(
                f"{self._journal}: missing, although {self._n_paid:,} calls were paid for: restore it from a copy; or, "
                f"to ask and pay again: {command_to_start_anew(self._journal)}"
            )
        ledger = Ledger(self._journal, free=free)
        for line in ledger.notes:
            self._around.report(f"WARN {line}")
        return ledger


@contextmanager
def _as_not_copied() -> Iterator[None]:
    """
    Raises:
        NotCopied: the block raised a MachineError. Answers in flight are then still received.
    """
    try:
        yield
    except MachineError as error:
        raise NotCopied(errno.EIO, str(error)) from None


def earlier_limits(entries: Iterable[StageEntry]) -> Iterator[int]:
    """Find the limits under which the teacher was asked before, in the entries of a manifest."""
    for entry in entries:
        settings: Mapping[str, Json] = entry.settings if isinstance(entry.settings, dict) else {}
        teacher = settings.get("teacher")
        if isinstance(teacher, dict) and isinstance(teacher.get("max_tokens"), int):
            yield teacher["max_tokens"]


def n_paid_for(entries: Iterable[StageEntry]) -> int:
    """Count the calls to a teacher in the entries of a manifest, of which those that are shared belong to another."""
    return sum(entry.counts.get("n_calls", 0) for entry in entries if not entry.shared)
