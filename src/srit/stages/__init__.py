"""The stages of a run, one file for each product: a pure function, and the declaration of the stage that calls it.

`stages(recipe)` returns them in order. Each reads the files of earlier ones and imports none of their work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from srit.errors import RecipeError
from srit.pipeline.stage import Stage
from srit.recipe import Recipe
from srit.recipe.compared import evaluated, judge_sources, models, scored
from srit.recipe.rounds import parts_of, rounds_of
from srit.recipe.wording import PLAIN
from srit.stages.accepted import accepted_stage
from srit.stages.anatomy.effect import effect_stage
from srit.stages.anatomy.stage import anatomy_stage
from srit.stages.completions import completions_stage, probe_stage, yield_stage
from srit.stages.controls import control_stage
from srit.stages.demonstrations import demonstrations_stage
from srit.stages.given import given_completions_stage, given_pairs_stage
from srit.stages.instructed import instructed_stage
from srit.stages.joined import joined_stages
from srit.stages.lengths import lengths_stage
from srit.stages.options import options_stage
from srit.stages.pairs import pairs_stage
from srit.stages.predictions import predictions_stage, teacher_predictions_stage
from srit.stages.problems import problems_stage
from srit.stages.refined import refined_stage
from srit.stages.report import report_stage
from srit.stages.results import results_stage


def stages(recipe: Recipe) -> list[Stage]:
    """Return every stage of a run, in order."""
    made = measured(recipe)
    return [*made, report_stage(recipe, made)]


def measured(recipe: Recipe) -> list[Stage]:
    """Return the stages of a run up to its results, without their page."""
    declared = [problems_stage(recipe), lengths_stage(recipe)]
    declared += _trainings(recipe) if recipe.tasks.train else []
    for model in models(recipe):
        declared += [predictions_stage(recipe, model, task) for task in evaluated(recipe)]
        declared += [options_stage(recipe, model, task) for who, task in scored(recipe) if who == model]
    if recipe.evaluate.teacher:
        declared += [teacher_predictions_stage(recipe, task) for task in evaluated(recipe)]
    return [*(_worded(stage, recipe) for stage in declared), results_stage(recipe)]


def _worded(stage: Stage, recipe: Recipe) -> Stage:
    """Return a stage that also depends on the wording of the prompts that it reads and on its judges."""
    if recipe.prompt != PLAIN and stage.name.product not in ("problems", "anatomy"):
        stage = replace(stage, settings={**stage.settings, **recipe.model_dump(mode="json", include={"prompt"})})
    if stage.name.product in _JUDGING and judge_sources(recipe):
        sources = stage.sources
        stage = replace(stage, sources=lambda: {**sources(), **judge_sources(recipe)})
    return stage


_JUDGING = ("demonstrations", "probe", "completions", "accepted", "effect", "predictions")


def _trainings(recipe: Recipe) -> list[Stage]:
    """Return the stages that lead to trained models, and those that examine the trainings."""
    declared = [demonstrations_stage(recipe), instructed_stage(recipe)]
    for number in rounds_of(recipe):
        declared += _round(recipe, number)
    declared += [control_stage(recipe, control) for control in recipe.controls]
    return declared + [effect_stage(recipe, number) for number in rounds_of(recipe) if recipe.evaluate.pairs]


def _round(recipe: Recipe, number: int) -> list[Stage]:
    """Return the stages of a round, in order."""
    parts = parts_of(recipe, number)
    sampled = not (recipe.sample.path or recipe.pairs.path)
    declared = [probe_stage(recipe, parts[0]), yield_stage(recipe, number)] if sampled else []
    for part in parts:
        # The pairs of a whole round are counted before they are trained on; those of its parts once all exist.
        counted = [] if part.shown else [anatomy_stage(recipe, number)]
        answers = completions_stage(recipe, part) if sampled else given_completions_stage(recipe, part)
        pairs = given_pairs_stage(recipe, part) if recipe.pairs.path else pairs_stage(recipe, part)
        declared += [answers, pairs, *counted, refined_stage(recipe, part)]
    joined = joined_stages(parts)
    return [*declared, *joined, *([anatomy_stage(recipe, number)] if joined else []), accepted_stage(recipe, number)]


# The products that can be made without the rest of a run, each in every round that makes it.
PARTS = ("demonstrations", "instructed", "completions", "pairs", "refined", "results", "report")


def part(product: str) -> Callable[[Recipe], list[Stage]]:
    """Return the function that declares the stages of one of `PARTS` and everything that it needs."""
    return lambda recipe: needed(recipe, product)


def needed(recipe: Recipe, product: str) -> list[Stage]:
    """Return the stages that make one of `PARTS`, and everything that these need, in order.

    Raises:
        RecipeError: the recipe leaves that part out.
    """
    inputs: set[str] = set()
    found = []
    for stage in reversed(stages(recipe)):
        if stage.name.product == product or inputs.intersection(stage.outputs):
            inputs.update(stage.inputs, stage.after)
            found.append(stage)
    if not found:
        raise RecipeError(f"{recipe.name}: this recipe makes no {product}: tasks.train is [], or rounds is 0")
    return found[::-1]
