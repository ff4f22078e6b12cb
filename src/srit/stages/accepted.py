"""A round's refined model → accepted.json: whether it is built upon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from srit.intervals import compare
from srit.pipeline.job import SAMPLES, Job, Stage
from srit.recipe import Recipe
from srit.run_directory import Json, write_json
from srit.stages.predictions import computed_by, greedy_answers

NOISE = 0.05  # a round is refused when it is worse than its start with p below this


def start_inputs(number: int) -> tuple[str, ...]:
    """What decides which model a round starts from."""
    earlier = range(1, number)
    return ("instructed", *(f"round-{n}/{part}" for n in earlier for part in ("refined", "accepted.json")))


def start_of(job: Job, number: int) -> str:
    """The last accepted model before a round."""
    for earlier in range(number - 1, 0, -1):
        if json.loads(job.run.path(f"round-{earlier}/accepted.json").read_bytes())["accepted"]:
            return f"round-{earlier}/refined"
    return "instructed"


def accepted_stage(recipe: Recipe, number: int) -> Stage:
    """A round's refined model → whether it is built upon, by the dev problems."""
    name = f"round-{number}/accepted"
    settings = {
        "accept": recipe.refine.accept,
        **recipe.evaluate.model_dump(include={"max_new_tokens", "stop"}),
        **recipe.model_dump(include={"sampler", "rows"}),
        **computed_by(recipe),
    }
    inputs = ("problems/dev.jsonl", f"round-{number}/refined", *start_inputs(number))

    def make(job: Job, partial: Path) -> Mapping[str, Json]:
        return _make_accepted(job, partial, number)

    return Stage(name, 2, settings, inputs, (f"{name}.json",), make, computes=SAMPLES)


def _make_accepted(job: Job, partial: Path, number: int) -> Mapping[str, Json]:
    dev, rows = job.problems("dev"), job.recipe.rows
    decided: dict[str, Json] = {"accepted": True, "n": len(dev)}
    if dev and job.recipe.refine.accept == "better":
        before, after = (
            [
                p.verdict == "right"
                for p in greedy_answers(job, model, dev, ("cot",), partial / label, f"round-{number}/dev", rows)
            ]
            for label, model in (("before", start_of(job, number)), ("after", f"round-{number}/refined"))
        )
        result = compare(after, before, seed=job.recipe.seed)
        worse = result.delta < 0 and result.p < NOISE
        decided |= {"accepted": not worse, "delta": result.delta, "p": result.p}
        decided |= {"before": sum(before) / len(dev), "after": sum(after) / len(dev)}
    write_json(job.run.path(f"round-{number}/accepted.json"), decided)
    return decided
