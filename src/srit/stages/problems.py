"""The recipe's tasks → problems/: what is trained on, decided on and evaluated on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from srit.errors import DataError, JudgeError
from srit.recipe import TaskUse
from srit.records import Problem, Split
from srit.tasks import find_task


def load(uses: Sequence[TaskUse], split: Split, *, seed: int) -> list[Problem]:
    """The problems of several tasks, task after task.

    Raises:
        DataError: a task has none, or a gold answer which its own judge does not take for right.
    """
    problems: list[Problem] = []
    for use in uses:
        task = find_task(use.task)
        found = list(task.load(split, data=Path(use.data) if use.data else None, limit=use.limit, seed=seed))
        if not found:
            raise DataError(f"{use.task}: there are no problems in its {split} split")
        for problem in found:
            _check_gold(problem)
        problems.extend(found)
    repeated = [identity for identity, n in Counter(problem.id for problem in problems).items() if n > 1]
    if repeated:
        raise DataError(f"two tasks of the {split} side share the ids {', '.join(repeated[:5])}: rename one's ids")
    return problems


def check_overlap(train: Iterable[Problem], evaluated: Iterable[Problem]) -> list[str]:
    """Ids of training problems whose question and choices, case and punctuation aside, are also evaluated."""
    seen = {_normal(problem) for problem in evaluated}
    return [problem.id for problem in train if _normal(problem) in seen]


def refuse_overlap(train: Sequence[Problem], evaluated: Sequence[Problem]) -> None:
    """
    Raises:
        DataError: a training problem is also evaluated; names the first five.
    """
    if shared := check_overlap(train, evaluated):
        raise DataError(
            f"{len(shared)} training problems are also evaluated ({', '.join(shared[:5])} …): a gain on them proves "
            "nothing. Take other problems, or set tasks.allow_overlap: true"
        )


def refuse_namesakes(train: Iterable[Problem], refine: Iterable[Problem]) -> None:
    """
    Raises:
        DataError: two problems of one task, out of two folders, have one id: the demonstration of one would be taken
            for the other's.
    """
    trained = {(problem.task, problem.id): problem for problem in train}
    for problem in refine:
        other = trained.get((problem.task, problem.id), problem)
        if (other.question, other.choices) != (problem.question, problem.choices):
            raise DataError(
                f"tasks.refine: {problem.task}: the id {problem.id!r:.80} is another problem's in tasks.train"
            )


def _normal(problem: Problem) -> str:
    text = " ".join([problem.question, *(problem.choices or ())]).lower()
    # Signs of arithmetic stay: 8 + 3 - 2 is not 8 - 3 + 2.
    return " ".join(re.sub(r"""[.,;:!?"'’‘“”()]""", " ", text).split())


def _check_gold(problem: Problem) -> None:
    try:
        readable = find_task(problem.task).equal(problem.answer, problem.answer)
    except JudgeError:
        readable = False
    if not readable:
        raise DataError(f"problem {problem.id}: its own judge cannot read the gold answer {problem.answer!r}")
