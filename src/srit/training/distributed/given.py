"""Processes that something else has started: torchrun, srun, Ray Train, or several shells.

Each runs the same command. The environment says which of them it is (RANK, WORLD_SIZE), and where they meet
(MASTER_ADDR, MASTER_PORT): the variables of torch.distributed. If one dies, the launcher ends the others and restarts
all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import torch
import torch.distributed as dist

from srit.errors import MachineError
from srit.training.distributed.meeting import Meeting, follow, introduce
from srit.training.distributed.trainers import Done, Place, Task

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store  # typed only there

    from srit.compute.model import LanguageModel
    from srit.training.loop import Progress


def follow_given(place: Place) -> None:
    """Take part in the leading process's trainings; errors as for `GivenTrainers.train`."""
    store, name = _store(place), uuid4().hex
    introduce(store, place.rank, name)
    with _noticing_loss():
        follow(store, *place, name)


class GivenTrainers:
    """Trains in this process, which leads, and in those that follow."""

    def __init__(self, meeting: Meeting, *, shards: bool = False) -> None:
        self._meeting = meeting
        self.shards = shards

    @property
    def threads(self) -> int:
        """See `Trainers`."""
        return torch.get_num_threads()

    def train(self, start: Callable[[], LanguageModel], task: Task, progress: Progress) -> Done:
        """See `Trainers`.

        Raises:
            MachineError: another process was lost.
        """
        with _noticing_loss():
            return self._meeting.lead(start, task._replace(shards=self.shards), progress)


@contextmanager
def given_trainers(place: Place, *, shards: bool = False) -> Iterator[GivenTrainers]:
    """Lead the processes that the environment names until the block ends; `shards` as in `Trainers`."""
    meeting = Meeting(_store(place), place.size)
    try:
        yield GivenTrainers(meeting, shards=shards)
    finally:
        meeting.end()


@contextmanager
def _noticing_loss() -> Iterator[None]:
    """
    Raises:
        MachineError: another process was lost.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        line = str(error).splitlines()[0]
        raise MachineError(f"a process of the training was lost ({line}): start all of them again") from None


def _store(place: Place) -> Store:
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", *place))
    found: Store = store
    return found
