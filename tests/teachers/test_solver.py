"""Worked solutions as a teacher."""

from srit.tasks import find_task
from srit.teachers import Question
from srit.teachers.solver import SolverTeacher


def test_a_solver_answers_with_the_worked_solution():
    [problem] = find_task("sums").load("train", data=None, limit=1, seed=0)

    [one] = SolverTeacher(find_task).answer([Question(problem, "")])

    assert one.text == problem.rationale
