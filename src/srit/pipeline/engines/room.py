"""How many workers fit into this machine's memory, given that each keeps its own copy of the model."""

from __future__ import annotations

import math

from srit.pipeline.context import chunk_size
from srit.pipeline.context.reports import Report
from srit.pipeline.context.teaching import models_of
from srit.pipeline.estimate import n_parameters, n_problems, refined_on
from srit.recipe import Recipe
from srit.shortages import free_memory

# Measured with SmolLM2-135M, an adapter merged, 128 answers of 88 tokens at once: 1.63 GB in float32, 1.34 in bfloat16,
# of which torch, transformers and peft take 0.44.
LIBRARIES = 0.44e9  # bytes
OF_PARAMETER = 9  # bytes


def bytes_of_worker(recipe: Recipe) -> int | None:
    """Estimate the most memory, in bytes, that a worker with one of the recipe's models takes; None: size unknown."""
    sizes = [n_parameters(recipe.model_copy(update={"student": model})) for model in models_of(recipe)]
    known = [size for size in sizes if size is not None]
    return round(LIBRARIES + OF_PARAMETER * max(known)) if known else None


def workers_that_fit(recipe: Recipe, wanted: int, report: Report) -> int:
    """Return how many workers fit into the free memory, at least 1, and report it if they are fewer than wanted."""
    each, free = bytes_of_worker(recipe), free_memory()
    if each is None or wanted * each <= free:
        return wanted
    fitting = max(1, free // each)
    report(
        f"WARN {wanted} workers, each with its own model, would take about {wanted * each / 2**30:.1f} GiB, and "
        f"{free / 2**30:.1f} GiB are free: starting only {fitting}"
    )
    return fitting


def sharing_line(recipe: Recipe, workers: int) -> str:
    """Say in one line how much memory so many workers would take, and how many of them would have work."""
    each, completions, of_model = bytes_of_worker(recipe), chunks_of_completions(recipe), chunks_of_a_model(recipe)
    gib = [n / 2**30 for n in (workers * (each or 0), free_memory())]
    memory = "" if each is None else f" take about {gib[0]:.1f} GiB of {gib[1]:.1f} free;"
    idle = "" if min(completions, of_model) >= workers else ": some will wait; a lower `rows` makes more chunks"
    return f"{workers} workers{memory} {completions} chunks of completions, {of_model} of a model's answers{idle}"


def chunks_of_completions(recipe: Recipe) -> int:
    """Return the number of chunks in the answers of a round."""
    answers = sum(n for _, n in refined_on(recipe)) * (recipe.sample.direct + recipe.sample.cot)
    return math.ceil(answers / chunk_size(recipe.rows, recipe.sample.max_new_tokens))


def chunks_of_a_model(recipe: Recipe) -> int:
    """Return the number of chunks in a model's answers to all evaluation tasks."""
    size, kinds = chunk_size(recipe.rows, recipe.evaluate.max_new_tokens), len(recipe.evaluate.prompts)
    return sum(math.ceil(n_problems(use, "test") * kinds / size) for use in recipe.tasks.evaluate)
