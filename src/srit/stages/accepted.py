"""A round's refined model → accepted.json: decides whether the next round builds on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from srit.intervals import compare
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.estimate import Work, n_problems, tokens_of
from srit.pipeline.stage import SAMPLES, Stage, StageName
from srit.recipe import Recipe
from srit.recipe.rounds import RoundPart
from srit.records import Prediction, Problem
from srit.run_directory import Json
from srit.samplers.asked import asked
from srit.stages.lengths import LENGTHS
from srit.stages.predictions import Wanted, answers, computed_with

NOISE = 0.05  # a round is refused when it is worse than its start with p below this


def start_inputs(part: RoundPart) -> tuple[str, ...]:
    """Return the files that decide which model a round, or a part of it, starts from."""
    if part.before is not None:
        return (part.before.refined,)
    earlier = range(1, part.round)
    return ("instructed", *(f"round-{n}/{part}" for n in earlier for part in ("refined", "accepted.json")))


def start_of(inputs: Inputs, part: RoundPart) -> str:
    """Return the last accepted model before a round, or the model of the part before."""
    if part.before is not None:
        return part.before.refined
    for earlier in range(part.round - 1, 0, -1):
        if inputs.json(f"round-{earlier}/accepted.json")["accepted"]:
            return f"round-{earlier}/refined"
    return "instructed"


def accepted_stage(recipe: Recipe, number: int) -> Stage:
    """Declare the stage that decides on the dev problems whether the next round builds on a refined model."""
    name = StageName("accepted", number)
    settings = {
        "accept": recipe.refine.accept,
        **recipe.evaluate.model_dump(include={"max_new_tokens", "stop"}),
        **recipe.model_dump(mode="json", include={"sampler", "rows"}),
        **computed_with(recipe),
    }
    return Stage(
        name=name,
        version=2,
        settings=settings,
        reads=("seed", "rows", "refine.accept", "evaluate.max_new_tokens", "evaluate.stop"),
        inputs=("problems/dev.jsonl", f"round-{number}/refined", *start_inputs(RoundPart(number))),
        outputs=(f"{name}.json",),
        make=lambda inputs, out, context: _make_accepted(inputs, out, context, number),
        work=_work,
        computes=SAMPLES,
        after=(LENGTHS,),
    )


def _work(recipe: Recipe) -> Work:
    if recipe.refine.accept != "better":
        return Work()
    most = recipe.evaluate.max_new_tokens
    answers = sum(n_problems(use, "dev") * tokens_of(recipe, use, "dev", most).answer for use in recipe.tasks.dev)
    return Work(sampled=round(2 * answers), loads=2)


def _make_accepted(inputs: Inputs, out: Outputs, context: Context, number: int) -> Mapping[str, Json]:
    recipe, dev, refined = inputs.recipe, inputs.records("problems/dev.jsonl", Problem), f"round-{number}/refined"
    decided: dict[str, Json] = {"accepted": True, "n": len(dev)}
    if dev and recipe.refine.accept == "better":
        before, after = (
            [answer.verdict == "right" for answer in _answers(inputs, context, dev, model, kept, number)]
            for kept, model in (("before", start_of(inputs, RoundPart(number))), ("after", refined))
        )
        result = compare(after, before, seed=recipe.seed)
        worse = result.delta < 0 and result.p < NOISE
        decided |= {"accepted": not worse, "delta": result.delta, "p": result.p}
        decided |= {"before": sum(before) / len(dev), "after": sum(after) / len(dev)}
    out.json(f"round-{number}/accepted.json", decided)
    return decided


def _answers(
    inputs: Inputs, context: Context, dev: Sequence[Problem], model: str, kept: str, number: int
) -> Iterator[Prediction]:
    source = context.models.sampler(inputs.trained(model), inputs.recipe.rows)
    wanted = Wanted(asked(dev, [("cot", range(1))]), 0.0)
    return answers(inputs.recipe, context, source, wanted, context.partial / kept, f"round-{number}/dev")
