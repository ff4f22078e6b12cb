"""A Ray cluster, which includes the machine that the command runs on, or consists only of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from srit.errors import MachineError
from srit.installing import extra_install
from srit.pipeline.context.reports import Report
from srit.pipeline.engines.ray.crew import Actors, RayWorker
from srit.pipeline.engines.sharing import SharingEngine
from srit.threads import stated_threads

if TYPE_CHECKING:
    from srit.compute.mapping import Engine
    from srit.pipeline.engines.ray.canary import Canary
    from srit.training.distributed.trainers import Trainers


def ray_engine(workers: int | None, report: Report, *, mixed: bool) -> SharingEngine[RayWorker]:
    """Return an engine on the cluster, whose machines are compared using the first chunk.

    Args:
        workers: at once; None: one for each GPU of the cluster, or for each machine if there are none.

    Raises:
        MachineError: Ray is not installed, or there is no such cluster.
    """
    return SharingEngine(Actors(*_shape(_joined(None), workers), report, mixed=mixed), report)


class Cluster(NamedTuple):
    """A cluster that several processes on this machine use at once."""

    address: str
    users: int  # how many processes
    workers: int  # of each
    threads: int  # of each worker
    mixed: bool


def cluster_for(users: int, workers: int | None, *, mixed: bool) -> Cluster:
    """Return the cluster with its workers divided among users; errors as in `ray_engine`.

    Args:
        users: how many processes have work to do.
        workers: of all of them, as in `ray_engine`.
    """
    size, threads, _ = _shape(_joined(None), workers)
    import ray

    at_once = min(users, size)
    return Cluster(ray.get_runtime_context().gcs_address, at_once, size // at_once, threads, mixed)


@contextmanager
def used(cluster: Cluster, canary: Canary, report: Report) -> Iterator[tuple[Engine, Trainers]]:
    """Yield an engine and trainers for one of the processes that use a cluster.

    Args:
        canary: the same for all of them; shows which machines are of one kind.
    """
    from srit.pipeline.engines.ray.trainers import RayTrainers

    size, _, gpus = _shape(_joined(cluster.address), cluster.workers)
    crew = Actors(size, cluster.threads, gpus, report, mixed=cluster.mixed, canary=canary)
    engine = SharingEngine(crew, report)
    try:
        yield engine, RayTrainers(crew, report)
    finally:
        engine.release()


def _joined(address: str | None) -> Sequence[Mapping[str, float]]:
    """Join a cluster, if this process has not yet, and return the resources of each machine.

    Args:
        address: None: the cluster that this machine belongs to; without one, Ray is started only on this machine.

    Raises:
        MachineError: Ray is not installed, or there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MachineError(f"--on ray needs Ray: {extra_install('ray')}") from None
    if not ray.is_initialized():
        try:
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # what Ray raises for a machine that starts too slowly
            raise MachineError(f"--on ray: the cluster cannot be joined: {error}") from None
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]


def _shape(nodes: Sequence[Mapping[str, float]], workers: int | None) -> tuple[int, int, int]:
    """Return how many workers there can be, and the threads and GPUs of each.

    Raises:
        RecipeError: the cluster does not have that many GPUs.
    """
    gpus, cpus = (int(sum(node.get(kind, 0) for node in nodes)) for kind in ("GPU", "CPU"))
    size = workers or gpus or len(nodes) or 1
    least = min((int(node["CPU"]) for node in nodes), default=1)
    return size, stated_threads() or max(1, min(least, cpus // size)), min(gpus, 1)
