"""What a recipe compares: its models and its evaluation tasks, and the names of their files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from srit.errors import RecipeError, SritError
from srit.recipe import Recipe, TaskUse
from srit.recipe.rounds import rounds_of
from srit.records import Model
from srit.run_directory import Json, canonical_sum
from srit.tasks import JudgedByFile, find_task, kinds_of

TEACHER = "teacher"
OPTIONS = ".options"  # ends the name of a file with the likelihoods of options, not answers
LONGEST_PLACE = 200  # characters; with what stages add, below the 255 that file systems allow
SHORT_PLACE = 60


class Evaluated(NamedTuple):
    """A task that models are evaluated on."""

    use: TaskUse
    label: str  # its name in results: the task's, with what distinguishes two uses of one task
    place: str  # its part of the names of files and stages


def evaluated(recipe: Recipe) -> list[Evaluated]:
    """Return the recipe's evaluation tasks, each with a unique label and place.

    Raises:
        RecipeError: two would have the same label.
    """
    uses = recipe.tasks.evaluate
    slugs = Counter(slug(use.task) for use in uses)
    found = [Evaluated(use, _label(use, uses), _place(use, slugs)) for use in uses]
    if repeated := [label for label, n in Counter(one.label for one in found).items() if n > 1]:
        raise RecipeError(
            f"tasks.evaluate: two tasks would be called {repeated[0]!r} in the results: rename one's file"
        )
    return found


def slug(name: str) -> str:
    """Return a task's name as part of a path; different names may give the same one."""
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip(".-")


def _label(use: TaskUse, uses: Sequence[TaskUse]) -> str:
    alike = [other for other in uses if other.task == use.task]
    summary = {
        "data": f"data {use.data}" if use.data else "no data folder",
        "limit": f"limit {use.limit}" if use.limit else "no limit",
    }
    apart = [words for field, words in summary.items() if len({getattr(other, field) for other in alike}) > 1]
    return f"{use.task} ({', '.join(apart)})" if apart else use.task


def _place(use: TaskUse, slugs: Mapping[str, int]) -> str:
    """Return the slug, with a hash of the whole use if another has it too or it is not a good name; no slug has "~"."""
    name = slug(use.task)
    if slugs[name] == 1 and 0 < len(name) <= LONGEST_PLACE and not name.endswith(OPTIONS):
        return name
    return f"{name[:SHORT_PLACE]}~{canonical_sum(use.model_dump(mode='json'))[:12]}"


def refine_problems(recipe: Recipe) -> str:
    """Return the file of the problems that stage 2 works on."""
    return f"problems/{'refine' if recipe.tasks.refine else 'train'}.jsonl"


def models(recipe: Recipe) -> list[Model]:
    """Return the student's models that are evaluated; "base" is the student itself."""
    if not recipe.tasks.train:
        return [Model("base")]
    again = [Model("instructed-again")] if recipe.evaluate.noise_floor else []
    rounds = [Model("refined", n, is_last=n == recipe.rounds) for n in rounds_of(recipe)]
    controls = [Model("control", control=name) for name in recipe.controls]
    return [Model("base"), Model("instructed"), *again, *rounds, *controls]


def folder_of(model: Model) -> str | None:
    """Return the output that holds a model's weights; None: it is the student itself."""
    if model.kind == "refined":
        return f"round-{model.round}/refined"
    folders = {"instructed": "instructed", "instructed-again": "instructed", "control": f"controls/{model.control}"}
    return folders.get(model.kind)


def answered(recipe: Recipe) -> list[tuple[Model, Evaluated]]:
    """Return the models, including the teacher, and the tasks that they answer."""
    who = [*models(recipe), *([Model("teacher")] if recipe.evaluate.teacher else [])]
    return [(model, task) for model in who for task in evaluated(recipe)]


def scored(recipe: Recipe) -> list[tuple[Model, Evaluated]]:
    """Return the models and tasks whose options are scored by likelihood, without those that only use other batches."""
    if not recipe.evaluate.options:
        return []
    tasks = [task for task in evaluated(recipe) if find_task(task.use.task).has_choices]
    return [(model, task) for model in models(recipe) if model.kind != "instructed-again" for task in tasks]


def predictions_file(model: Model, task: Evaluated) -> str:
    """Return where a model's answers to a task are kept."""
    return f"predictions/{model}/{task.place}.jsonl"


def options_file(model: Model, task: Evaluated) -> str:
    """Return where the scores of a model's options are kept."""
    return f"predictions/{model}/{task.place}{OPTIONS}.jsonl"


def problems_file(task: Evaluated) -> str:
    """Return where the problems of a task are kept."""
    return f"problems/evaluate-{task.place}.jsonl"


def judge_sources(recipe: Recipe) -> dict[str, Json]:
    """Return the checksums of the files that judge answers; {}: none does."""
    found: dict[str, Json] = {}
    tasks = recipe.tasks
    for use in (*tasks.train, *tasks.refine, *tasks.dev, *tasks.evaluate):
        try:
            task = find_task(use.task)
        except SritError:
            continue  # the problems stage reports it
        found |= task.judge_sources() if isinstance(task, JudgedByFile) else {}
    return found


def tuned_on(recipe: Recipe) -> set[str]:
    """Return the tasks that count as trained on: those of either stage, unless the recipe says another domain."""
    said = {domain: {one.label for one in evaluated(recipe) if one.use.domain == domain} for domain in ("in", "out")}
    return (in_results(recipe, (*recipe.tasks.train, *recipe.tasks.refine)) | said["in"]) - said["out"]


def in_results(recipe: Recipe, uses: Sequence[TaskUse]) -> set[str]:
    """Return the names of tasks, and the labels in results of those evaluated that have no other kinds of problems."""
    names = {use.task for use in uses}
    kinds = kinds_in(uses)
    return names | {task.label for task in evaluated(recipe) if kinds_of(task.use.task) <= kinds}


def kinds_in(uses: Iterable[TaskUse]) -> frozenset[str]:
    """Return the kinds of problems that tasks have."""
    return frozenset().union(*(kinds_of(use.task) for use in uses))
