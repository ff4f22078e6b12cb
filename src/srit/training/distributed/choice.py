"""Chooses what trains: only this process, several that it starts, or several that something else has started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from srit.errors import RecipeError
from srit.training.distributed.trainers import AloneTrainer, Trainers, given_place


def followed() -> bool:
    """Take part in the leading process's trainings, if the environment says that this process follows.

    Returns:
        Whether it did; then it has nothing left to do.
    """
    place = given_place()
    if place is None or place.rank == 0:
        return False
    from srit.training.distributed.given import follow_given

    follow_given(place)
    return True


def check_shards(size: int | None, tuning: str) -> None:
    """Check that a student's weights can be sharded over the processes that train it.

    Args:
        size: as for `trainers_for`.
        tuning: the student's.

    Raises:
        RecipeError: there is only one process, or the weights have 4 bits.
    """
    if size == 1 or (size is None and given_place() is None):
        raise RecipeError("--shard: a single process cannot share weights: add --train-workers 2 or more")
    if tuning == "qlora":
        raise RecipeError("--shard: 4-bit weights cannot be sharded: set student.tuning to lora or full")


@contextmanager
def trainers_for(size: int | None, report: Callable[[str], None], *, shards: bool = False) -> Iterator[Trainers]:
    """Yield the trainers, which train until the block ends.

    Args:
        size: how many processes train; None: those that the environment names, or this one.
        report: takes a line about each process that dies.
        shards: whether a model's weights are sharded over them (`check_shards`).
    """
    place = given_place() if size is None else None
    if shards:
        report(f"     each of {place.size if place else size} processes holds a shard of the trained weights")
    if place is not None:
        from srit.training.distributed.given import given_trainers

        with given_trainers(place, shards=shards) as trainers:
            yield trainers
    elif size is None or size == 1:
        yield AloneTrainer()
    else:
        from srit.training.distributed.started import StartedTrainers

        yield StartedTrainers(size, report, shards=shards)
