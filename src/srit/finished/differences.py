"""Two runs side by side: their models on the problems that both were asked, and the differences of their recipes."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from srit.errors import DataError
from srit.intervals import PairedDifference, compare
from srit.recipe import Recipe
from srit.recipe.begun import begun_recipe
from srit.recipe.compared import Evaluated, answered, evaluated, predictions_file, problems_file
from srit.records import Model, Prediction, Problem, PromptKind
from srit.run_directory import Chosen, Filed, Json, Lookup, each_record
from srit.stages.report.provenance import leaves

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Side(NamedTuple):
    """One of the two runs."""

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
    """The comparison of two runs."""

    changed: tuple[Changed, ...]
    differences: tuple[Difference, ...]
    left_out: int  # problems that both asked under the same id, but in different words


def side_of(folder: Path) -> Side:
    """
    Raises:
        RecipeError: no run was begun there.
    """
    return Side(folder, begun_recipe(folder))


def compare_runs(a: Side, b: Side, models: Sequence[tuple[Model, Model]] = ()) -> SideBySide:
    """Compare two runs.

    Args:
        models: pairs of a model of the first run and one of the second; (): each with its namesake.

    Raises:
        DataError: they have no answers to the same problems, or a file is damaged.
    """
    places = {task.label: task for task in evaluated(b.recipe)}
    common = [_common(a, task, b, places[task.label]) for task in evaluated(a.recipe) if task.label in places]
    pairs = models or [(model, model) for model in _answering(a) if model in _answering(b)]
    found = tuple(one for pair in pairs for one in _differences(a, b, *pair, common))
    if not found:
        raise DataError(f"{a.folder} and {b.folder} have no models that answered the same problems")
    return SideBySide(tuple(_changed(a.recipe, b.recipe)), found, sum(one.left_out for one in common))


def _answering(side: Side) -> list[Model]:
    there = [(model, side.folder / predictions_file(model, task)) for model, task in answered(side.recipe)]
    return list(dict.fromkeys(model for model, path in there if path.exists()))


class _Common(NamedTuple):
    """The problems of a task that both asked in the same words, by number; some 50 bytes of memory each."""

    in_a: Evaluated
    in_b: Evaluated
    problems: Sequence[Problem]
    numbers: Lookup  # by id
    left_out: int  # problems that share only their id


def _common(a: Side, in_a: Evaluated, b: Side, in_b: Evaluated) -> _Common:
    first, second = (side.folder / problems_file(task) for side, task in ((a, in_a), (b, in_b)))
    ids, words, numbers, places = Lookup(), Lookup(), Lookup(), array("Q")
    for problem in each_record(second, Problem) if second.exists() else ():
        ids.add(problem.id)
        words.add(_content(problem))
    problems: Sequence[Problem] = Filed(first, Problem) if first.exists() else ()
    left_out = 0
    for place, problem in enumerate(problems):
        if words.find(_content(problem)):
            places.append(place)
            numbers.add(problem.id)
        else:
            left_out += bool(ids.find(problem.id))
    return _Common(in_a, in_b, Chosen(places, lambda place: problems[place]), numbers, left_out)


def _content(problem: Problem) -> str:
    return json.dumps([problem.id, problem.question, problem.choices, problem.answer])


class _Compared(NamedTuple):
    """Verdicts on the problems of a task that both models answered after a prompt, in order."""

    task: str
    problems: Sequence[Problem]
    right_a: NDArray[np.bool_]
    right_b: NDArray[np.bool_]

    def ids(self, wanted: NDArray[np.bool_]) -> list[str]:
        """Return the ids of some of them."""
        return [self.problems[place].id for place in wanted.nonzero()[0].tolist()]


def _differences(a: Side, b: Side, one: Model, other: Model, common: Sequence[_Common]) -> Iterator[Difference]:
    """Yield a difference for each prompt and task, and then for all tasks if there are several."""
    found: dict[PromptKind, list[_Compared]] = {}
    for of_task in common:
        for prompt, compared in _verdicts(a, b, one, other, of_task):
            found.setdefault(prompt, []).append(compared)
    for prompt, tasks in found.items():
        yield from (_difference(one, other, of_one.task, prompt, [of_one]) for of_one in tasks)
        if len(tasks) > 1:
            yield _difference(one, other, None, prompt, tasks)


def _verdicts(a: Side, b: Side, one: Model, other: Model, of_task: _Common) -> Iterator[tuple[PromptKind, _Compared]]:
    """Yield both models' verdicts on the problems of a task, for each prompt that both answered."""
    right_a, right_b = _right(a, one, of_task.in_a, of_task.numbers), _right(b, other, of_task.in_b, of_task.numbers)
    for prompt in right_a:
        if prompt in right_b:
            both = ((right_a[prompt] >= 0) & (right_b[prompt] >= 0)).nonzero()[0]
            problems = Chosen(both.tolist(), lambda place: of_task.problems[place])
            if len(problems):
                sides = (right[prompt][both] == 1 for right in (right_a, right_b))
                yield prompt, _Compared(of_task.in_a.label, problems, *sides)


def _difference(a: Model, b: Model, task: str | None, prompt: PromptKind, found: Sequence[_Compared]) -> Difference:
    import numpy as np

    first, second = (np.concatenate([getattr(one, side) for one in found]) for side in ("right_a", "right_b"))
    gained = tuple(name for one in found for name in one.ids(one.right_b & ~one.right_a))
    lost = tuple(name for one in found for name in one.ids(one.right_a & ~one.right_b))
    right = int(first.sum()), int(second.sum())
    return Difference(a, b, task, prompt, len(first), *right, compare(second, first), gained, lost)


def _right(side: Side, model: Model, task: Evaluated, numbers: Lookup) -> dict[PromptKind, NDArray[np.int8]]:
    """Return by prompt whether a model's greedy answers are right: 1, 0, and -1 where there is none."""
    import numpy as np

    found: dict[PromptKind, NDArray[np.int8]] = {}
    path = side.folder / predictions_file(model, task)
    for answer in _greedy(each_record(path, Prediction) if path.exists() else ()):
        for number in numbers.find(answer.problem_id):
            if answer.prompt not in found:
                found[answer.prompt] = np.full(len(numbers), -1, np.int8)
            found[answer.prompt][number] = answer.verdict == "right"
    return found


def _greedy(predictions: Iterable[Prediction]) -> Iterator[Prediction]:
    return (prediction for prediction in predictions if prediction.index == 0)


def _changed(a: Recipe, b: Recipe) -> Iterator[Changed]:
    """Yield the fields that differ: of training only if both train, and never the name."""
    first, second = (dict(leaves(recipe.model_dump(mode="json") | _prompt(recipe))) for recipe in (a, b))
    fields = [field for field in dict.fromkeys((*first, *second)) if field != "name"]
    if not (a.tasks.train and b.tasks.train):
        fields = [field for field in fields if field.startswith(_OF_EVALUATION)]
    for field in fields:
        if first.get(field) != second.get(field):
            yield Changed(field, first.get(field), second.get(field))


def _prompt(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of the prompt, which recipe.yaml lacks if they have their defaults."""
    return {"prompt": recipe.prompt.model_dump(mode="json")}


_OF_EVALUATION = ("student.", "tasks.evaluate", "prompt", "evaluate.", "sampler", "rows")
