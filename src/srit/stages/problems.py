"""The recipe's tasks → problems/: for training, for decisions and for evaluation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from srit.compared import evaluated, kinds_in, problems_file
from srit.errors import DataError, JudgeError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.recipe import Recipe, TaskUse
from srit.records import Problem, Split
from srit.run_directory import Json
from srit.sums import NOT_THERE
from srit.tasks import find_task, kinds_of


def problems_stage(recipe: Recipe) -> Stage:
    """Declare problems/."""
    return Stage(
        name=StageName("problems"),
        version=2,
        settings={"tasks": recipe.tasks.model_dump(mode="json")},
        reads=("tasks",),
        inputs=(),
        outputs=tuple(_sides(recipe)),
        make=_make_problems,
        sources=lambda: _problem_sources(recipe),
    )


def _sides(recipe: Recipe) -> dict[str, tuple[Sequence[TaskUse], Split]]:
    """Return the files of problems, each with its tasks and its split."""
    refine: dict[str, tuple[Sequence[TaskUse], Split]] = {"problems/refine.jsonl": (recipe.tasks.refine, "train")}
    return {
        "problems/train.jsonl": (recipe.tasks.train, "train"),
        **(refine if recipe.tasks.refine else {}),
        "problems/dev.jsonl": (recipe.tasks.dev, "dev"),
        **{problems_file(task): ([task.use], "test") for task in evaluated(recipe)},
    }


def _problem_sources(recipe: Recipe) -> dict[str, Json]:
    """Return what each file of problems is made from."""
    return {
        name: {
            "seed": recipe.tasks.seed,
            "uses": [use.model_dump(mode="json") for use in uses],
            "data": {_place_of(use): _source_of(use, split) for use in uses},
        }
        for name, (uses, split) in _sides(recipe).items()
    }


def _place_of(use: TaskUse) -> str:
    return f"{use.task} in {use.data}" if use.data else use.task


def _source_of(use: TaskUse, split: Split) -> str:
    try:
        return find_task(use.task).source(split, data=Path(use.data) if use.data else None)
    except DataError:
        return NOT_THERE  # the stage reports it in full


def _make_problems(inputs: Inputs, out: Outputs, context: Context) -> Mapping[str, Json]:
    tasks, tested = inputs.recipe.tasks, [problems_file(task) for task in evaluated(inputs.recipe)]
    found = {name: load(uses, split, seed=tasks.seed) for name, (uses, split) in _sides(inputs.recipe).items()}
    train, refine = found["problems/train.jsonl"], found.get("problems/refine.jsonl", [])
    dev, evaluate = found["problems/dev.jsonl"], [problem for name in tested for problem in found[name]]
    refuse_namesakes(train, refine)
    if not tasks.allow_overlap:
        refuse_partly_trained((*tasks.train, *tasks.refine), tasks.evaluate)
        refuse_overlap([*train, *refine, *dev], evaluate)
    for problem in (*train, *refine, *dev, *evaluate):
        # Checked before anything is spent: a text with a special token could end its turn.
        context.texts.prompts.problem_ids(problem, "cot")
    for name, problems in found.items():
        out.records(name, problems)
    return {"train": len(train), "refine": len(refine), "dev": len(dev), "evaluate": len(evaluate)}


def load(uses: Sequence[TaskUse], split: Split, *, seed: int) -> list[Problem]:
    """Load the problems of several tasks, task after task.

    Raises:
        DataError: a task has no problems, or a gold answer that its own judge cannot read.
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
    """Return the ids of training problems that, case and punctuation aside, are also evaluated."""
    seen = {_normal(problem) for problem in evaluated}
    return [problem.id for problem in train if _normal(problem) in seen]


def refuse_overlap(train: Sequence[Problem], evaluated: Sequence[Problem]) -> None:
    """Refuse training problems that are also evaluated.

    Raises:
        DataError: a training problem is also evaluated; names the first five.
    """
    if shared := check_overlap(train, evaluated):
        raise DataError(
            f"{len(shared)} training problems are also evaluated ({', '.join(shared[:5])} …): a gain on them proves "
            "nothing. Take other problems, divide a file of your own (jsonl:PATH?split=80/10/10), or set "
            "tasks.allow_overlap: true"
        )


def refuse_partly_trained(trained: Sequence[TaskUse], evaluated: Sequence[TaskUse]) -> None:
    """Refuse evaluation tasks only some of whose kinds of problems are trained on: neither in- nor out-of-domain.

    Raises:
        DataError: there is one; names the kinds that are trained on.
    """
    kinds = kinds_in(trained)
    for use in evaluated:
        of_task = kinds_of(use.task)
        if (known := of_task & kinds) and not of_task <= kinds:
            raise DataError(
                f"tasks.evaluate: {use.task} is trained on in part ({', '.join(sorted(known))}): evaluate what is "
                "trained on and what is not as tasks of their own, or set tasks.allow_overlap: true"
            )


def refuse_namesakes(train: Iterable[Problem], refine: Iterable[Problem]) -> None:
    """Refuse two different problems of one task with the same id.

    Raises:
        DataError: two folders have such problems: the demonstration of one would be taken for the other's.
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
