"""Chooses what trains: this process alone, several that it starts, or several that something else has started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from srit.training.distributed.trainers import AloneTrainer, Trainers, given_place


def followed() -> bool:
    """Take part in the trainings of the process that leads, if the environment says that this one follows.

    Returns:
        Whether it did: then nothing is left for it to do.
    """
    place = given_place()
    if place is None or place.rank == 0:
        return False
    from srit.training.distributed.given import follow_given

    follow_given(place)
    return True


@contextmanager
def trainers_for(size: int | None, report: Callable[[str], None]) -> Iterator[Trainers]:
    """Yield what trains for as long as the block runs.

    Args:
        size: how many processes train; None: those that the environment speaks of, or this one.
        report: takes a line about each process that dies.
    """
    place = given_place() if size is None else None
    if place is not None:
        from srit.training.distributed.given import given_trainers

        with given_trainers(place) as trainers:
            yield trainers
    elif size is None or size == 1:
        yield AloneTrainer()
    else:
        from srit.training.distributed.started import StartedTrainers

        yield StartedTrainers(size, report)
