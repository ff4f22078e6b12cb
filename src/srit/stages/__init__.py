"""One file for each product of a run: its pure function, and what the stage that makes it is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from srit.compared import evaluated, models, rounds_of, scored
from srit.pipeline.job import Stage
from srit.recipe import Recipe
from srit.stages.accepted import accepted_stage
from srit.stages.completions import completions_stage
from srit.stages.controls import control_stage
from srit.stages.demonstrations import demonstrations_stage
from srit.stages.instructed import instructed_stage
from srit.stages.options import options_stage
from srit.stages.pairs import pairs_stage
from srit.stages.predictions import predictions_stage, teacher_predictions_stage
from srit.stages.problems import problems_stage
from srit.stages.refined import refined_stage
from srit.stages.results import results_stage


def stages(recipe: Recipe) -> list[Stage]:
    """Every stage of a run, in order."""
    declared = [problems_stage(recipe), demonstrations_stage(recipe), instructed_stage(recipe)]
    for number in range(1, recipe.rounds + 1):
        declared += [completions_stage(recipe, number), pairs_stage(recipe, number), refined_stage(recipe, number)]
        declared += [accepted_stage(recipe, number)]
    declared += [control_stage(recipe, control) for control in recipe.controls]
    for model, folder in models(recipe).items():
        declared += [predictions_stage(recipe, model, folder, task) for task in evaluated(recipe)]
        declared += [options_stage(recipe, model, folder, task) for who, task in scored(recipe) if who == model]
    if recipe.evaluate.teacher:
        declared += [teacher_predictions_stage(recipe, task) for task in evaluated(recipe)]
    return [*declared, results_stage(recipe)]


# What can be made without the rest of a run; of several rounds, that of every round.
PARTS: Mapping[str, Callable[[Recipe], list[Stage]]] = {
    "demonstrations": lambda recipe: [demonstrations_stage(recipe)],
    "instructed": lambda recipe: [instructed_stage(recipe)],
    "completions": lambda recipe: [completions_stage(recipe, number) for number in rounds_of(recipe)],
    "pairs": lambda recipe: [pairs_stage(recipe, number) for number in rounds_of(recipe)],
    "refined": lambda recipe: [refined_stage(recipe, number) for number in rounds_of(recipe)],
    "results": lambda recipe: [results_stage(recipe)],
}


def needed(recipe: Recipe, part: str) -> list[Stage]:
    """The stages of one of `PARTS` and all that these are made from, in order."""
    wanted = {stage.name for stage in PARTS[part](recipe)}
    inputs: set[str] = set()
    found = []
    for stage in reversed(stages(recipe)):
        if stage.name in wanted or inputs.intersection(stage.outputs):
            inputs.update(stage.inputs)
            found.append(stage)
    return found[::-1]
