"""The recipe's teacher, and all that it was ever paid for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from srit.compute.mapping import Engine
from srit.pipeline.reports import Report
from srit.recipe import Recipe, Student, TeacherSettings
from srit.run_directory import Journal, Json, StageEntry
from srit.teachers import Answer, Surroundings, Teacher, teacher_kind
from srit.teachers.paid import Paid


def teacher_settings(recipe: Recipe) -> dict[str, Json]:
    """All of a recipe that shapes a teacher's answers."""
    kind = teacher_kind(recipe.teacher.kind)
    on_this_machine = kind.model(recipe.teacher) is not None
    computed = {"dtype": recipe.student.dtype, "rows": recipe.rows} if on_this_machine else {}
    return {"teacher": kind.shaping(recipe.teacher), **computed}


def teacher_sources(teacher: TeacherSettings) -> dict[str, Json]:
    """Sums of what a teacher's answers are read from or computed with: recordings; weights, tokenizer and template."""
    return dict(teacher_kind(teacher.kind).sources(teacher))


def models_of(recipe: Recipe) -> list[Student]:
    """The models that a run loads: the student, and a teacher on this machine."""
    teacher = teacher_kind(recipe.teacher.kind).model(recipe.teacher)
    return [recipe.student, *([] if teacher is None else [teacher])]


class Teaching:
    """A run's teacher and its answers, of this run or of all that share them."""

    def __init__(
        self, recipe: Recipe, journal: Path, limits: tuple[int, ...], in_vain: set[str], engine: Engine, report: Report
    ) -> None:
        """
        Args:
            journal: the file of the answers. They lie apart from what is made of them and from any fingerprint: no
                changed setting pays for them again.
            limits: as in `Paid.earlier_limits`.
            in_vain: as in `Paid`.
        """
        self._recipe, self._journal, self._limits, self._in_vain = recipe, journal, limits, in_vain
        self._around = Surroundings(recipe.student.dtype, recipe.rows, report, engine)
        self._kept: Teacher | None = None

    def teacher(self) -> Teacher:
        """Return the teacher that the recipe names; one that is kept is the same for all stages, with what it has
        learned."""
        if self._kept is not None:
            return self._kept
        settings, kind = self._recipe.teacher, teacher_kind(self._recipe.teacher.kind)
        made: Teacher = kind.make(settings, self._around)
        self._kept = made if kind.kept else None
        return made

    def paid(self) -> Paid:
        """Return the answers by key, and what keeps another."""
        journal = Journal(self._journal)
        answers: dict[str, list[Answer]] = {}
        for row in journal.rows:
            answers.setdefault(row["key"], []).append(Answer(**row["answer"]))

        def keep(key: str, answer: Answer) -> None:
            journal.append({"key": key, "answer": answer._asdict()})
            answers.setdefault(key, []).append(answer)

        return Paid(answers, keep, self._limits, self._in_vain)


def earlier_limits(entries: Iterable[StageEntry]) -> Iterator[int]:
    """Find the limits under which the teacher was asked before, in the entries of a manifest."""
    for entry in entries:
        settings: Mapping[str, Json] = entry.settings if isinstance(entry.settings, dict) else {}
        teacher = settings.get("teacher")
        if isinstance(teacher, dict) and isinstance(teacher.get("max_tokens"), int):
            yield teacher["max_tokens"]
