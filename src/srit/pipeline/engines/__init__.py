"""Engines compute the chunks of a run: this process, several processes on this machine, or a Ray cluster.

The engine and its number of workers are not part of a recipe or a fingerprint: the files come out the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from srit.errors import RecipeError
from srit.threads import threads_of

if TYPE_CHECKING:
    from srit.compute.mapping import Engine
    from srit.pipeline.context.reports import Report
    from srit.recipe import Recipe


class Machines(NamedTuple):
    """Where the chunks of a run are computed and its models trained."""

    on: str = "local"  # or "ray"
    workers: int | None = None  # at once; None: one for each GPU, or one if there is none
    mixed: bool = False  # on a cluster, also use machines whose results differ from the first one's
    train_workers: int | None = None  # processes on this machine that train together; None: as `trainers_for` decides
    shard: bool = False  # each of them holds only a shard of the weights


HERE = Machines()


@contextmanager
def working(machines: Machines, recipe: Recipe, report: Report) -> Iterator[Engine]:
    """Yield the engine for a recipe; its workers end with the block.

    Raises:
        RecipeError: there is no such engine, or it cannot have so many workers.
        MachineError: it is not installed, or cannot be reached.
    """
    engine = engine_of(machines, recipe, report)
    try:
        yield engine
    finally:
        engine.release()


def engine_of(machines: Machines, recipe: Recipe, report: Report) -> Engine:
    """Return the engine for a recipe; errors as in `working`."""
    if machines.on not in _MAKES:
        raise RecipeError(f"--on {machines.on}: choose one of {', '.join(_MAKES)}")
    if machines.workers is not None and machines.workers < 1:
        raise RecipeError(f"--workers {machines.workers}: at least 1 is needed")
    return _MAKES[machines.on](machines, recipe, report)


def _local(machines: Machines, recipe: Recipe, report: Report) -> Engine:
    from srit.pipeline.engines.local import LocalEngine
    from srit.pipeline.engines.processes import Processes
    from srit.pipeline.engines.room import workers_that_fit
    from srit.pipeline.engines.sharing import SharingEngine

    devices = [] if machines.workers == 1 else _devices()
    asked = machines.workers or max(1, len(devices))
    if asked == 1:
        return LocalEngine()
    if devices and asked > len(devices):
        raise RecipeError(
            f"--workers {asked}: there are {len(devices)} GPUs, and each worker needs its own: use fewer workers"
        )
    threads = threads_of(asked)
    fitting = asked if devices else workers_that_fit(recipe, asked, report)
    return SharingEngine(Processes(fitting, threads, devices), report)


def _ray(machines: Machines, recipe: Recipe, report: Report) -> Engine:
    from srit.pipeline.engines.ray import ray_engine

    return ray_engine(machines.workers, report, mixed=machines.mixed)


def _devices() -> list[str]:
    """Return the CUDA devices that this process may use."""
    if version("torch").endswith("+cpu"):  # it can use none, and its import takes seconds
        return []
    import torch

    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = stated.split(",") if stated else [str(number) for number in range(torch.cuda.device_count())]
    return names if torch.cuda.is_available() else []


_MAKES: Mapping[str, Callable[[Machines, Recipe, Report], Engine]] = {"local": _local, "ray": _ray}
