"""Processes that something else has started: torchrun, srun, Ray Train, or several shells.

Each runs the same command. The environment says which of them it is (RANK, WORLD_SIZE), and where they meet
(MASTER_ADDR, MASTER_PORT): the variables of torch.distributed. If one dies, whatever started them ends the others and
starts all again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from srit.errors import MachineError
from srit.training.distributed.meeting import end, follow, lead
from srit.training.distributed.trainers import Done, Place, Progress, Task

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store  # typed only there

    from srit.compute.model import LanguageModel


def follow_given(place: Place) -> None:
    """Take part in the trainings of the process that leads."""
    follow(_store(place), *place)


class GivenTrainers:
    """Train in this process, which leads, and those that follow."""

    def __init__(self, store: Store, size: int) -> None:
        self._store = store
        self._size = size
        self._begun = 0

    @property
    def threads(self) -> int:
        """See `Trainers`."""
        return torch.get_num_threads()

    def train(self, start: Callable[[], LanguageModel], task: Task, progress: Progress) -> Done:
        """See `Trainers`.

        Raises:
            MachineError: another process was lost.
        """
        number = self._begun
        self._begun += 1
        try:
            return lead(self._store, number, self._size, start, task, progress)
        except (dist.DistBackendError, dist.DistNetworkError) as error:
            raise MachineError(f"a process of the training was lost ({error}): start all of them again") from None

    def end(self) -> None:
        """Let the processes that follow go."""
        end(self._store, self._begun)


@contextmanager
def given_trainers(place: Place) -> Iterator[GivenTrainers]:
    """Lead the processes that the environment speaks of, for as long as the block runs."""
    trainers = GivenTrainers(_store(place), place.size)
    try:
        yield trainers
    finally:
        trainers.end()


def _store(place: Place) -> Store:
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", *place))
    found: Store = store
    return found
