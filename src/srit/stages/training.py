"""The stages that train: instructed, refined, and the controls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from srit.errors import DataError, TrainingError
from srit.pipeline.job import TRAINS, Job, Stage, refine_problems, start_inputs, start_of
from srit.recipe import LOSS_FIELDS, Recipe, with_former
from srit.records import Completion, Demonstration, Pair, Problem
from srit.run_directory import Json, building, read_records, write_json
from srit.students import saved as trained
from srit.students.loading import dropout

if TYPE_CHECKING:
    from srit.training.instruction import Example

# Nats a token between sampler and trainer. By rounding alone: float32 1e-5; bfloat16 4e-3, and up to 0.03 where an
# adapter is so little trained that what it adds is lost in it. Another model in place of the instructed one: 0.15 up.
AGREEMENT = {"float32": 0.02, "bfloat16": 0.05}
AGREEMENT_SAMPLES = 16


def instructed_stage(recipe: Recipe) -> Stage:
    """Demonstrations → instructed/, stage 1."""
    settings = recipe.model_dump(mode="json", include={"seed", "student", "instruct"})
    inputs = ("problems/train.jsonl", "demonstrations.jsonl")
    outputs = ("instructed", "instructed.json")
    return Stage("instructed", 3, settings, inputs, outputs, _make_instructed, computes=TRAINS)


def _make_instructed(job: Job, partial: Path) -> Mapping[str, Json]:
    from srit.training.loop import seed_torch

    job.check_lengths()
    seed_torch(f"{job.recipe.seed}/instructed")  # a new adapter begins with random values
    model = job.trainable(None)
    if rates := dropout(model.config):
        named = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        job.tell(f"     the student's config has dropout ({named}): it is trained without, as it is sampled")
    return _instruct(job, model, partial, "instructed", max_tokens=None)


def _instruct(job: Job, model: Any, partial: Path, name: str, *, max_tokens: int | None) -> Mapping[str, Json]:
    from srit.training.instruction import instruct, make_examples

    recipe = job.recipe
    demonstrations = read_records(job.run.path("demonstrations.jsonl"), Demonstration)
    problems = {problem.id: problem for problem in job.problems("train")}
    examples = make_examples(demonstrations, problems, job.prompts, recipe.instruct, recipe.seed)
    examples, n_long = _fitting(job, examples)
    end = job.prompts.end_of_turn_id
    learned = sum(example.completion_ids.count(end) == 1 for example in examples)
    begun = {job.prompts.n_beginnings(example.prompt_ids) for example in examples}
    if learned < len(examples) or len(begun) != 1:
        raise TrainingError(
            f"{learned} of {len(examples)} rows train one end of turn; they begin with {sorted(begun)} BOS tokens: "
            "every row must have one end and the same beginning. Look at student.chat_template"
        )
    line = f"each of the {len(examples)} rows begins with {begun.pop()} BOS and trains one end of turn"
    ends = job.invariant("one beginning and one end of turn a row", True, line)
    rate = recipe.instruct.learning_rate if max_tokens is None else recipe.refine.learning_rate
    history = instruct(
        model,
        examples,
        recipe.instruct.model_copy(update={"learning_rate": rate}),
        rows=job.way.rows,
        seed=f"{recipe.seed}/{name}",
        checkpoints=partial,
        progress=lambda done, total: job.progress(name, done, total),
        max_tokens=max_tokens,
    )
    _save(job, model, name)
    write_json(job.run.path(f"{name}.json"), {"history": history, "invariants": [ends]})
    counts = {"examples": len(examples), "steps": len(history), "tokens": sum(m["tokens"] for m in history)}
    return counts | ({"left out: too long": n_long} if n_long else {})


def _fitting(job: Job, examples: Sequence[Example]) -> tuple[list[Example], int]:
    """The examples that the student has positions for, and how many it has none for.

    Raises:
        DataError: there is no room for any.
    """
    room = job.room
    sizes = [len(example.prompt_ids) + len(example.completion_ids) for example in examples]
    n_long = sum(size > room.tokens for size in sizes) if room else 0
    if room is None or not n_long:
        return list(examples), 0
    line = f"{n_long} of {len(examples)} demonstrations with their prompts are longer than the student's {room.tokens} "
    if not room.hard:
        job.invariant("demonstrations fit", False, f"{line}tokens: it was not made for such texts")
        return list(examples), 0
    if n_long == len(examples):
        raise DataError(f"{line}positions: none is left to train on. Take shorter ones, or another student")
    job.invariant("demonstrations fit", False, f"{line}positions: they are left out")
    return [e for e, size in zip(examples, sizes, strict=True) if size <= room.tokens], n_long


def _save(job: Job, model: Any, name: str) -> None:
    with building(job.run.path(name)) as folder:
        trained.save(folder, model, job.prompts, job.recipe.student, name=name)


def refined_stage(recipe: Recipe, number: int) -> Stage:
    """A round's pairs → its refined/, stage 2."""
    name = f"round-{number}/refined"
    settings = _refinement(recipe, {"seed", "student", "pairs"})
    problems = f"problems/{refine_problems(recipe)}.jsonl"
    inputs = (problems, f"round-{number}/completions.jsonl", f"round-{number}/pairs.jsonl")
    return Stage(
        name,
        2,
        settings,
        (*inputs, *start_inputs(number)),
        (name, f"{name}.json"),
        lambda job, partial: _make_refined(job, partial, number, name, only_right=False),
        computes=TRAINS,
    )


def _refinement(recipe: Recipe, also: set[str]) -> Json:
    """The settings of stage 2; what is done with its outcome is not one."""
    refine = with_former(LOSS_FIELDS, recipe.refine, without="accept")
    return recipe.model_dump(mode="json", include=also) | {"refine": refine}


def _make_refined(job: Job, partial: Path, number: int, name: str, *, only_right: bool) -> Mapping[str, Json]:
    from srit.stages.preferences import make_preferences
    from srit.training.losses import loss_of_equals
    from srit.training.preference import n_row_tokens, refine

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
    wanted, first = loss_of_equals(recipe.refine), history[0]
    if first["chosen_logps"] and wanted is not None:  # it had pairs, and a loss that knows a reference
        loss = first["preference_loss"]
        line = f"step 0: preference loss {loss:.4f}, and {wanted:.4f} where policy and reference are the same"
        invariants.append(job.invariant("the policy starts from its reference", True, line))
    _save(job, model, name)
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


def control_stage(recipe: Recipe, control: Literal["instruct", "right"]) -> Stage:
    """What could be done in place of round 1 of stage 2 → controls/."""
    name = f"controls/{control}"
    settings = _refinement(recipe, {"seed", "student", "instruct", "pairs"})
    problems = dict.fromkeys(("problems/train.jsonl", f"problems/{refine_problems(recipe)}.jsonl"))
    inputs = (*problems, "demonstrations.jsonl", "instructed", "round-1/completions.jsonl")
    make = _make_more_instruction if control == "instruct" else _make_own_right
    return Stage(name, 2, settings, (*inputs, "round-1/pairs.jsonl"), (name, f"{name}.json"), make, computes=TRAINS)


def _make_more_instruction(job: Job, partial: Path) -> Mapping[str, Json]:
    """Stage 1 goes on for as many tokens as round 1 of stage 2 takes."""
    from srit.stages.preferences import make_preferences
    from srit.training.preference import n_row_tokens

    problems = job.problems(refine_problems(job.recipe))
    completions = read_records(job.run.path("round-1/completions.jsonl"), Completion)
    pairs = read_records(job.run.path("round-1/pairs.jsonl"), Pair)
    preferences = make_preferences(problems, pairs, completions, job.prompts, job.recipe)
    budget = n_row_tokens(preferences, job.recipe.refine)
    model = job.trainable("instructed")
    return _instruct(job, model, partial, "controls/instruct", max_tokens=budget)


def _make_own_right(job: Job, partial: Path) -> Mapping[str, Json]:
    """Fine-tuning on own right answers (rejection sampling) in place of the preference loss."""
    return _make_refined(job, partial, 1, "controls/right", only_right=True)
