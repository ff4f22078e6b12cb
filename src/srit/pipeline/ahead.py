"""Computes the chunks of several stages together, so that no worker is idle because a stage has few of them.

A model's answers to one evaluation task are often a single chunk. The chunks stay the same; only the time at which they
are computed changes. Each stage then finds its own chunks and makes its outputs as usual.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from srit.compute.mapping import Engine, Later, mapped
from srit.pipeline.context import Chunks, adding_up
from srit.pipeline.context.reports import Reports
from srit.samplers import Request
from srit.samplers.chunks import SamplingWork


def compute_ahead(
    engine: Engine, reports: Reports, what: str, by_stage: Mapping[str, Sequence[Chunks]]
) -> dict[str, float]:
    """Compute the chunks of several stages, and keep each where its stage looks for it.

    Returns:
        The seconds for each stage: its part of the total, in proportion to its answers.
    """
    missing = {stage: [_missing(chunks) for chunks in of_stage] for stage, of_stage in by_stage.items()}
    n_answers = {stage: sum(sum(one.sizes.values()) for one in found) for stage, found in missing.items()}
    by_work: dict[SamplingWork, dict[Path, Callable[[], Sequence[Request]]]] = defaultdict(dict)
    sizes: dict[Path, int] = {}
    for one in (one for found in missing.values() for one in found):
        by_work[one.work] |= {one.kept / name: partial(one.items.__getitem__, name) for name in one.sizes}
        sizes |= {one.kept / name: n for name, n in one.sizes.items()}
    arrived, started = adding_up(sizes, reports.of(what, earlier=0)), time.monotonic()
    for work, items in by_work.items():
        mapped(engine, work, Later(items), arrived=arrived)
    seconds, total = time.monotonic() - started, sum(n_answers.values())
    return {stage: seconds * n / total if total else 0.0 for stage, n in n_answers.items()}


def _missing(chunks: Chunks) -> Chunks:
    return chunks._replace(sizes={name: n for name, n in chunks.sizes.items() if not (chunks.kept / name).exists()})
