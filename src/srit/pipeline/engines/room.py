"""How many workers this machine has memory for: each of them keeps a model of its own."""

from __future__ import annotations

from pathlib import Path

from srit.pipeline.estimate import n_parameters
from srit.pipeline.reports import Report
from srit.recipe import Recipe

# Measured with SmolLM2-135M, an adapter merged, 128 answers of 88 tokens at once: 1.63 GB in float32, 1.34 in bfloat16,
# of which torch, transformers and peft take 0.44.
LIBRARIES = 0.44e9  # bytes
OF_PARAMETER = 9  # bytes


def bytes_of_worker(recipe: Recipe) -> int | None:
    """Estimate the most memory that a worker with the recipe's student takes; None where its size is not known."""
    size = n_parameters(recipe)
    return None if size is None else round(LIBRARIES + OF_PARAMETER * size)


def free_bytes() -> int:
    """Return the memory that can still be taken without swapping."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024


def workers_that_fit(recipe: Recipe, wanted: int, report: Report) -> int:
    """Return how many workers fit into the free memory, at least 1, and report it if they are fewer than wanted."""
    each, free = bytes_of_worker(recipe), free_bytes()
    if each is None or wanted * each <= free:
        return wanted
    fitting = max(1, free // each)
    report(
        f"WARN {wanted} workers with a model each would take about {wanted * each / 2**30:.1f} GiB, and "
        f"{free / 2**30:.1f} GiB are free: {fitting} of them work"
    )
    return fitting
