"""The `gold` teacher: the solutions that come with the data, as in fine-tuning on a data set's own rationales."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Literal

from srit.errors import DataError
from srit.recipe import TeacherSettings
from srit.records import Problem
from srit.tasks.golds import final_answer
from srit.teachers import Answer, Question, Surroundings, TeacherKind


class GoldSettings(TeacherSettings):
    """The data's own solutions."""

    kind: Literal["gold"] = "gold"


class GoldTeacher:
    """Answers with the solution that a problem has: `rationale`, or the text before the `####` of its answer."""

    name = "gold"
    max_tokens = None

    def __init__(self) -> None:
        self.identity: dict[str, object] = {"teacher": "gold"}

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """Yield one Answer for each question, without a text if the data has no solution to it."""
        for problem in (question.problem for question in questions):
            solution = worked_solution(problem)
            yield Answer(problem.id, solution, "" if solution else "the data has no solution of it")


def worked_solution(problem: Problem) -> str | None:
    """Return a problem's own solution, ending in "The answer is X." unless it states its answer; None: it has none."""
    solution = (problem.rationale or "").strip()
    if not solution or _says_its_answer(solution):
        return solution or None
    return f"{solution}\nThe answer is {f'({problem.answer})' if problem.choices else problem.answer}."


def _says_its_answer(solution: str) -> bool:
    try:
        return final_answer(solution, "").answer != solution
    except DataError:  # it states two: the gold one is added at the end
        return False


def _make(settings: GoldSettings, surroundings: Surroundings) -> GoldTeacher:
    return GoldTeacher()


# A solution can be corrected under the same question, so the data's current solution counts, not a stored one.
TEACHER = TeacherKind(GoldSettings, _make, free=True, remembered=False)
