"""demonstrations.jsonl → instructed/: stage 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srit.errors import DataError, TrainingError
from srit.pipeline.job import TRAINS, Job, Stage
from srit.recipe import Recipe
from srit.records import Demonstration
from srit.run_directory import Json, building, read_records, write_json
from srit.students import saved as trained
from srit.students.loading import dropout

if TYPE_CHECKING:
    from srit.training.instruction import Example


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
    return instruct_on(job, model, partial, "instructed", max_tokens=None)


def instruct_on(job: Job, model: Any, partial: Path, name: str, *, max_tokens: int | None) -> Mapping[str, Json]:
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
    save_trained(job, model, name)
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


def save_trained(job: Job, model: Any, name: str) -> None:
    with building(job.run.path(name)) as folder:
        trained.save(folder, model, job.prompts, job.recipe.student, name=name)
