"""What could be done in place of the first round of stage 2 → controls/."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from srit.compared import refine_problems
from srit.pipeline.job import TRAINS, Job, Stage
from srit.recipe import Recipe
from srit.records import Completion, Pair
from srit.run_directory import Json, read_records
from srit.stages.instructed import instruct_on
from srit.stages.refined import make_refined, refinement


def control_stage(recipe: Recipe, control: Literal["instruct", "right"]) -> Stage:
    """What could be done in place of round 1 of stage 2 → controls/."""
    name = f"controls/{control}"
    settings = refinement(recipe, {"seed", "student", "instruct", "pairs"})
    problems = dict.fromkeys(("problems/train.jsonl", f"problems/{refine_problems(recipe)}.jsonl"))
    inputs = (*problems, "demonstrations.jsonl", "instructed", "round-1/completions.jsonl")
    make = _make_more_instruction if control == "instruct" else _make_own_right
    return Stage(name, 2, settings, (*inputs, "round-1/pairs.jsonl"), (name, f"{name}.json"), make, computes=TRAINS)


def _make_more_instruction(job: Job, partial: Path) -> Mapping[str, Json]:
    """Stage 1 goes on for as many tokens as round 1 of stage 2 takes."""
    from srit.training.preference import make_preferences, n_row_tokens

    problems = job.problems(refine_problems(job.recipe))
    completions = read_records(job.run.path("round-1/completions.jsonl"), Completion)
    pairs = read_records(job.run.path("round-1/pairs.jsonl"), Pair)
    preferences = make_preferences(problems, pairs, completions, job.prompts, job.recipe)
    budget = n_row_tokens(preferences, job.recipe.refine)
    model = job.trainable("instructed")
    return instruct_on(job, model, partial, "controls/instruct", max_tokens=budget)


def _make_own_right(job: Job, partial: Path) -> Mapping[str, Json]:
    """Fine-tuning on own right answers (rejection sampling) in place of the preference loss."""
    return make_refined(job, partial, 1, "controls/right", only_right=True)
