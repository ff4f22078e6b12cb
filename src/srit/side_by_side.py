"""Two runs side by side: their models on the problems that both were asked, and what differs in their recipes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from srit.errors import DataError
from srit.intervals import PairedDifference, compare
from srit.recipe import Recipe
from srit.recipe.begun import begun_recipe
from srit.recipe.compared import answered, evaluated, predictions_file, problems_file
from srit.records import Model, Prediction, Problem, PromptKind
from srit.run_directory import Json, read_records
from srit.stages.report.provenance import leaves

Key = tuple[str, str]  # the label of a task, and the id of a problem


class Side(NamedTuple):
    """One of the two."""

    folder: Path
    recipe: Recipe


class Difference(NamedTuple):
    """A model of the first run and one of the second on a task, or on all tasks that both have."""

    a: Model
    b: Model
    task: str | None  # None: all
    prompt: PromptKind
    n: int  # problems that both answered
    right_a: int
    right_b: int
    found: PairedDifference  # b minus a
    gained: tuple[str, ...]  # ids of the problems that only b has right
    lost: tuple[str, ...]  # that only a has right


class Changed(NamedTuple):
    """A field of the recipe in which two runs differ."""

    field: str  # dotted
    a: Json
    b: Json


class SideBySide(NamedTuple):
    """All that two runs are compared by."""

    changed: tuple[Changed, ...]
    differences: tuple[Difference, ...]
    left_out: int  # problems that both asked under one id, but not in the same words


def side_of(folder: Path) -> Side:
    """
    Raises:
        RecipeError: no run was begun there.
    """
    return Side(folder, begun_recipe(folder))


def compare_runs(a: Side, b: Side, models: Sequence[tuple[Model, Model]] = ()) -> SideBySide:
    """Compare two runs.

    Args:
        models: which model of the first is compared with which of the second; (): each with its namesake.

    Raises:
        DataError: they have no answers to the same problems, or a file is damaged.
    """
    alike, left_out = _alike(a, b)
    pairs = models or [(model, model) for model in _answering(a) if model in _answering(b)]
    found = tuple(one for pair in pairs for one in _differences(a, b, *pair, alike))
    if not found:
        raise DataError(f"{a.folder} and {b.folder} have no models that answered the same problems")
    return SideBySide(tuple(_changed(a.recipe, b.recipe)), found, left_out)


def _answering(side: Side) -> list[Model]:
    there = [(model, side.folder / predictions_file(model, task)) for model, task in answered(side.recipe)]
    return list(dict.fromkeys(model for model, path in there if path.exists()))


def _asked(side: Side) -> dict[Key, Problem]:
    return {
        (task.label, problem.id): problem
        for task in evaluated(side.recipe)
        if (side.folder / problems_file(task)).exists()
        for problem in read_records(side.folder / problems_file(task), Problem)
    }


def _alike(a: Side, b: Side) -> tuple[set[Key], int]:
    """Return the problems that both asked, and how many share no more than their id."""
    first, second = _asked(a), _asked(b)
    both = [key for key in first if key in second]
    same = {key for key in both if _content(first[key]) == _content(second[key])}
    return same, len(both) - len(same)


def _content(problem: Problem) -> tuple[object, ...]:
    return problem.question, problem.choices, problem.answer


def _differences(a: Side, b: Side, one: Model, other: Model, alike: set[Key]) -> Iterator[Difference]:
    """Yield a difference for each task and prompt, and then for all tasks where there are several."""
    right_a, right_b = _right(a, one, alike), _right(b, other, alike)
    for prompt in right_a:
        both = [key for key in right_a[prompt] if key in right_b.get(prompt, {})]
        tasks: list[str | None] = list(dict.fromkeys(label for label, _ in both))
        for task in [*tasks, *([None] if len(tasks) > 1 else [])]:
            keys = [key for key in both if task in (None, key[0])]
            yield _difference(one, other, task, prompt, keys, right_a[prompt], right_b[prompt])


def _difference(
    a: Model,
    b: Model,
    task: str | None,
    prompt: PromptKind,
    keys: Sequence[Key],
    right_a: Mapping[Key, bool],
    right_b: Mapping[Key, bool],
) -> Difference:
    first, second = [right_a[key] for key in keys], [right_b[key] for key in keys]
    gained = tuple(key[1] for key in keys if right_b[key] and not right_a[key])
    lost = tuple(key[1] for key in keys if right_a[key] and not right_b[key])
    return Difference(a, b, task, prompt, len(keys), sum(first), sum(second), compare(second, first), gained, lost)


def _right(side: Side, model: Model, alike: set[Key]) -> dict[PromptKind, dict[Key, bool]]:
    """Return whether a model's greedy answers are right, by prompt and problem."""
    found: dict[PromptKind, dict[Key, bool]] = {}
    for task in evaluated(side.recipe):
        path = side.folder / predictions_file(model, task)
        for answer in _greedy(read_records(path, Prediction) if path.exists() else ()):
            if (key := (task.label, answer.problem_id)) in alike:
                found.setdefault(answer.prompt, {})[key] = answer.verdict == "right"
    return found


def _greedy(predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    return (prediction for prediction in predictions if prediction.index == 0)


def _changed(a: Recipe, b: Recipe) -> Iterator[Changed]:
    """Yield the fields that differ: of training only if both train, and never the name."""
    first, second = (dict(leaves(recipe.model_dump(mode="json"))) for recipe in (a, b))
    fields = [field for field in dict.fromkeys((*first, *second)) if field != "name"]
    if not (a.tasks.train and b.tasks.train):
        fields = [field for field in fields if field.startswith(_OF_EVALUATION)]
    for field in fields:
        if first.get(field) != second.get(field):
            yield Changed(field, first.get(field), second.get(field))


_OF_EVALUATION = ("student.", "tasks.evaluate", "evaluate.", "sampler", "rows")
