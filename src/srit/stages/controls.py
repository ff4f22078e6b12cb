"""controls/: models trained in simpler ways with as much compute as the first round of stage 2."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import TRAINS, Stage, StageName
from srit.recipe import Optimization, Recipe
from srit.recipe.compared import refine_problems
from srit.recipe.rounds import RoundPart
from srit.run_directory import Json
from srit.stages.instructed import instruct_on
from srit.stages.refined import make_refined, refine_fields, refinement, refining
from srit.stages.refined.preferences import fitting_of, preferences_of
from srit.training.losses.none import NoneSettings


def control_stage(recipe: Recipe, control: Literal["instruct", "right"]) -> Stage:
    """Declare a control: a model trained in a simpler way than round 1 of stage 2, with as much compute."""
    name, refined_on = StageName("controls", control=control), refine_problems(recipe)
    problems = dict.fromkeys(("problems/train.jsonl", refined_on))
    make = _make_more_instruction if control == "instruct" else _make_own_right
    return Stage(
        name=name,
        version=2,
        settings=refinement(recipe, {"seed", "student", "instruct"}),
        reads=("seed", "student", "instruct", "pairs", *refine_fields(recipe)),
        inputs=(*problems, "demonstrations.jsonl", "instructed", "round-1/completions.jsonl", "round-1/pairs.jsonl"),
        outputs=(str(name), f"{name}.json"),
        make=lambda inputs, out, context: make(inputs, out, context, refined_on),
        work=lambda recipe: refining(recipe, RoundPart(1)),
        computes=TRAINS,
    )


def _make_more_instruction(inputs: Inputs, out: Outputs, context: Context, file: str) -> Mapping[str, Json]:
    """Continue stage 1 for as many tokens as round 1 of stage 2 takes."""
    recipe, budget = inputs.recipe, _budget(inputs, context, file)
    start = partial(context.trainable, inputs.trained("instructed"))
    settings = recipe.instruct.model_copy(update={"learning_rate": recipe.refine.learning_rate})
    return instruct_on(inputs, out, context, start, "controls/instruct", settings, max_tokens=budget)


def _make_own_right(inputs: Inputs, out: Outputs, context: Context, file: str) -> Mapping[str, Json]:
    """Fine-tune on own right answers (rejection sampling) instead of the preference loss, for as many tokens."""
    alike = {field: getattr(inputs.recipe.refine, field) for field in Optimization.model_fields}
    settings, budget = NoneSettings(**alike), _budget(inputs, context, file)
    return make_refined(
        inputs, out, context, settings, file=file, part=RoundPart(1), name="controls/right", max_tokens=budget
    )


def _budget(inputs: Inputs, context: Context, file: str) -> int:
    """Return the tokens that round 1 of stage 2 takes."""
    from srit.training.preference import n_row_tokens

    refine = inputs.recipe.refine
    answers = preferences_of(inputs, context, refine, file, RoundPart(1), fitting_of(context, refine))
    return n_row_tokens(answers, refine)
