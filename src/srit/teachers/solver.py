"""The `solver` teacher: the worked solutions of generated problems."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Literal

from srit.recipe import TeacherSettings
from srit.recipe.former import TEACHER_FIELDS, with_former
from srit.run_directory import Json
from srit.tasks import Task, find_task
from srit.teachers import Answer, Question, Surroundings, TeacherKind


class SolverSettings(TeacherSettings):
    """The worked solutions of generated problems."""

    kind: Literal["solver"] = "solver"


class SolverTeacher:
    """Answers with the task's own worked solution."""

    name = "solver"
    max_tokens = None

    def __init__(self, find_task: Callable[[str], Task]) -> None:
        self._find_task = find_task
        self.identity: dict[str, object] = {"teacher": "solver"}

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """Yield one Answer for each question, without a text if the task has no worked solutions."""
        for problem in (question.problem for question in questions):
            solution = self._find_task(problem.task).solve(problem)
            reason = "" if solution else f"the task {problem.task} has no worked solutions"
            yield Answer(problem.id, solution, reason)


def _make(settings: SolverSettings, surroundings: Surroundings) -> SolverTeacher:
    return SolverTeacher(find_task)


def _shaping(settings: SolverSettings) -> Mapping[str, Json]:
    return with_former(TEACHER_FIELDS, settings, without="prices")


TEACHER = TeacherKind(SolverSettings, _make, shaping=_shaping, free=True)
