"""pairs.jsonl → refined/: stage 2."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srit.compared import refine_problems
from srit.errors import TrainingError
from srit.pipeline.job import TRAINS, Job, Stage
from srit.recipe import Recipe
from srit.records import Completion, Pair, Problem
from srit.run_directory import Json, read_records, write_json
from srit.stages.accepted import start_inputs, start_of
from srit.stages.instructed import save_trained

# Nats a token between sampler and trainer. By rounding alone: float32 1e-5; bfloat16 4e-3, and up to 0.03 where an
# adapter is so little trained that what it adds is lost in it. Another model in place of the instructed one: 0.15 up.
AGREEMENT = {"float32": 0.02, "bfloat16": 0.05}
AGREEMENT_SAMPLES = 16


def refined_stage(recipe: Recipe, number: int) -> Stage:
    """A round's pairs → its refined/, stage 2."""
    name = f"round-{number}/refined"
    settings = refinement(recipe, {"seed", "student", "pairs"})
    problems = f"problems/{refine_problems(recipe)}.jsonl"
    inputs = (problems, f"round-{number}/completions.jsonl", f"round-{number}/pairs.jsonl")
    return Stage(
        name,
        2,
        settings,
        (*inputs, *start_inputs(number)),
        (name, f"{name}.json"),
        lambda job, partial: make_refined(job, partial, number, name, only_right=False),
        computes=TRAINS,
    )


def refinement(recipe: Recipe, also: set[str]) -> Json:
    """The settings of stage 2; what is done with its outcome is not one."""
    return recipe.model_dump(mode="json", include=also) | {"refine": recipe.refine.model_dump(exclude={"accept"})}


def make_refined(job: Job, partial: Path, number: int, name: str, *, only_right: bool) -> Mapping[str, Json]:
    from srit.training.preference import make_preferences, n_row_tokens, refine, step_0_loss

    recipe, problems = job.recipe, job.problems(refine_problems(job.recipe))
    completions = read_records(job.run.path(f"round-{number}/completions.jsonl"), Completion)
    pairs = read_records(job.run.path(f"round-{number}/pairs.jsonl"), Pair)
    preferences = make_preferences(problems, pairs, completions, job.prompts, recipe)
    if not preferences:
        raise TrainingError("no problem gave a pair or a right answer: there is nothing to refine on")
    max_tokens = None
    if only_right:
        max_tokens = n_row_tokens(preferences, recipe.refine)
        preferences = make_preferences(problems, [], completions, job.prompts, recipe, only_right=True)
        if not preferences:
            raise TrainingError("no own answer is right: there is nothing for the control to train on")
    model = job.trainable(start_of(job, number))
    agreement = _check_agreement(job, number, model, completions, problems)
    reference = _reference(job, model, preferences, partial)
    history = refine(
        model,
        preferences,
        reference,
        recipe.refine,
        preference_weight=0.0 if only_right else 1.0,
        max_tokens=max_tokens,
        rows=job.way.rows,
        seed=f"{recipe.seed}/{name}",
        checkpoints=partial,
        progress=lambda done, total: job.progress(name, done, total),
    )
    invariants = [agreement]
    wanted, first = step_0_loss(recipe.refine), history[0]
    if first["chosen_logps"] and wanted is not None:  # it had pairs, and a loss that knows a reference
        loss = first["preference_loss"]
        line = f"step 0: preference loss {loss:.4f}, and {wanted:.4f} where policy and reference are the same"
        invariants.append(job.invariant("the policy starts from its reference", True, line))
    save_trained(job, model, name)
    write_json(job.run.path(f"{name}.json"), {"history": history, "invariants": invariants})
    tokens = sum(metrics["tokens"] for metrics in history)
    return {"groups": len(preferences), "steps": len(history), "tokens": tokens}


def _reference(job: Job, model: Any, preferences: Sequence[Any], partial: Path) -> list[list[float]]:
    """Taken before the first step, and kept: a resumed training must not take them from moved weights."""
    from srit.training.preference import reference_logps

    path = partial / "reference.json"
    if not path.exists():
        write_json(path, reference_logps(model, preferences, job.recipe.refine.row_tokens, job.way.rows))
    kept: list[list[float]] = json.loads(path.read_bytes())
    return kept


def _check_agreement(
    job: Job, number: int, model: Any, completions: Sequence[Completion], problems: Sequence[Problem]
) -> Json:
    from srit.training.preference import disagreement

    some = completions[:: max(1, len(completions) // AGREEMENT_SAMPLES)][:AGREEMENT_SAMPLES]
    by_id = {problem.id: problem for problem in problems}
    gap = disagreement(model, some, by_id, job.prompts, job.recipe.refine.row_tokens, job.way.rows)
    if gap > AGREEMENT[job.way.dtype]:
        raise TrainingError(
            f"sampler and trainer differ by {gap:.3f} nats a token on {len(some)} answers of round-{number}, and by "
            f"{AGREEMENT[job.way.dtype]} at most where they compute one model: was {start_of(job, number)} or the chat "
            "template replaced after the answers were sampled?"
        )
    line = f"sampler and trainer agree on {len(some)} answers: {gap:.0e} nats a token apart"
    return job.invariant("sampler and trainer agree", True, line)
