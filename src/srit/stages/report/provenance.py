"""Where a run's results come from: its recipe, and the time and money that each stage took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import yaml

from srit.pipeline.stage import part_of
from srit.recipe import Recipe, check_recipe
from srit.recipe.compared import OPTIONS, evaluated, models
from srit.recipe.rounds import rounds_of
from srit.records import Model
from srit.run_directory import Json, StageEntry


class Spent(NamedTuple):
    """What a stage took, or several stages that do the same for different tasks."""

    stage: str
    n: int  # stages
    seconds: float
    share: float  # of the longest, in percent
    calls: int  # of the teacher
    tokens: int  # that it read and wrote
    dollars: float | None  # None: its prices are not known


class Field(NamedTuple):
    """One field of the recipe."""

    name: str
    value: str
    is_default: bool


def spent(seconds: Mapping[str, float], entries: Mapping[str, StageEntry], recipe: Recipe) -> list[Spent]:
    """Return what every stage took, with a model's tasks together, in the order in which stages are made.

    Args:
        seconds: by stage; one taken from another run counts the time that it took there.
    """
    groups: dict[str, list[str]] = {}
    order, tasks = _in_order(recipe), {task.place for task in evaluated(recipe)}
    for name in sorted(seconds):  # the folder may also have stages of another recipe
        if _group(name) in order and (_group(name) == name or _task(name) in tasks or part_of(name)):
            groups.setdefault(_group(name), []).append(name)
    totals = {group: sum(seconds[name] for name in names) for group, names in groups.items()}
    longest = max(totals.values(), default=0.0) or 1.0
    return [
        Spent(group, len(names), totals[group], 100 * totals[group] / longest, *_paid(names, entries, recipe))
        for group, names in sorted(groups.items(), key=lambda item: order.index(item[0]))
    ]


def duration(seconds: float) -> str:
    """Write a duration with the two largest of its units."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if whole < 10 else f"{whole} s"
    minutes, hours = whole // 60, whole // 3600
    return f"{minutes} min {whole % 60} s" if hours == 0 else f"{hours} h {minutes % 60} min"


def fields(recipe: Recipe) -> list[Field]:
    """Return the fields that the run could set, as dotted names, and whether they differ from a plain recipe."""
    whole = recipe.model_dump(mode="json")
    needed = {"name": recipe.name, "student": {"model": recipe.student.model}, "tasks": whole["tasks"]}
    plain = dict(leaves(check_recipe(needed, source=recipe.name).model_dump(mode="json")))
    stated = {"name", "student.model"}
    return [
        Field(name, written(value), plain.get(name, "") == value and name not in stated and name[:6] != "tasks.")
        for name, value in leaves(whole)
    ]


def leaves(tree: Mapping[str, Json], above: str = "") -> Iterator[tuple[str, Json]]:
    """Yield the fields of a recipe as dotted names with their values."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def written(value: Json) -> str:
    """Write a value on one line."""
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        return ", ".join(map(_task_use, value))
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _task_use(use: Mapping[str, Json]) -> str:
    """Write such as "gsm8k (limit 500)"."""
    more = ", ".join(f"{name} {value}" for name, value in use.items() if name != "task" and value is not None)
    return f"{use['task']} ({more})" if more else str(use["task"])


def _task(name: str) -> str:
    return name.rpartition("/")[2].removesuffix(OPTIONS)


def _group(name: str) -> str:
    """Return the group that a stage is shown in: the tasks of a model, or the parts of a round."""
    parts = name.split("/")
    if parts[0] == "predictions":
        return "/".join(parts[:2])
    return "/".join(part for part in parts if not part.startswith("part-"))


def _in_order(recipe: Recipe) -> list[str]:
    """Return what stages are called, in the order in which they are made."""
    of_round = ("probe", "yield", "completions", "pairs", "anatomy", "refined", "effect", "accepted")
    rounds = [f"round-{number}/{product}" for number in rounds_of(recipe) for product in of_round]
    answers = [f"predictions/{model}" for model in (*models(recipe), Model("teacher"))]
    controls = [f"controls/{control}" for control in recipe.controls]
    return ["problems", "lengths", "demonstrations", "instructed", *rounds, *controls, *answers, "results"]


def _paid(names: list[str], entries: Mapping[str, StageEntry], recipe: Recipe) -> tuple[int, int, float | None]:
    counts = [entries[name].counts for name in names if name in entries]
    calls, prompt, completion = (
        sum(int(count.get(what, 0)) for count in counts)
        for what in ("n_calls", "n_prompt_tokens", "n_completion_tokens")
    )
    prices = getattr(recipe.teacher, "prices", None)
    price = (prices[0] * prompt + prices[1] * completion) / 1e6 if prices and calls else None
    return calls, prompt + completion, price
