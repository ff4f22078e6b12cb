"""How the processes of a training meet: the leading process announces it, and the others take part."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING
from uuid import uuid4

import torch.distributed as dist

from srit.training.distributed.trainers import Done, Task
from srit.training.distributed.world import TIMEOUT, joined

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store  # typed only there

    from srit.compute.model import LanguageModel
    from srit.training.loop import Progress

WAIT = timedelta(minutes=10)  # one wait for a training that has not begun; it is repeated for as long as necessary
POLL_SECONDS = 0.05
END = b""  # instead of a training: there are no more


class Meeting:
    """The store through which the leading process announces trainings to the others.

    A launcher that restarts all processes may give them the previous store with its contents. So each following process
    is addressed by a new name, which no earlier process had.
    """

    def __init__(self, store: Store, size: int) -> None:
        """
        Args:
            size: how many processes train, including the leading one.
        """
        self._store = store
        self._size = size
        self._begun = 0
        self._session = uuid4().hex

    def lead(
        self,
        start: Callable[[], LanguageModel],
        task: Task,
        progress: Progress,
        check: Callable[[], None] = lambda: None,
    ) -> Done:
        """Train a model together with the processes that follow.

        Args:
            check: called while they load their models; raises if one will not arrive.

        Raises:
            RuntimeError: one of them was lost, or did not arrive.
        """
        number, place = self._begun, f"{self._session}/{self._begun}"
        self._begun += 1
        message = pickle.dumps((place, task))
        self._tell(number, message)
        model = start()
        deadline = time.monotonic() + TIMEOUT.total_seconds()
        while not self._tell(number, message):
            check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all of {self._size} processes loaded the model within {TIMEOUT}")
            time.sleep(POLL_SECONDS)
        with joined(_part(self._store, place), 0, self._size, shards=task.shards) as world:
            return Done(model, task.work(model, world=world, progress=progress))

    def end(self) -> None:
        """Release the processes that follow."""
        self._tell(self._begun, END)

    def _tell(self, number: int, message: bytes) -> bool:
        """Tell those that are present, and return whether all are present and ready."""
        ranks = range(1, self._size)
        names = [self._store.get(_name_of(rank)).decode() for rank in ranks if self._store.check([_name_of(rank)])]
        for name in names:
            if not self._store.check([_told(name, number)]):
                self._store.set(_told(name, number), message)  # type: ignore[arg-type]
        return len(names) == len(ranks) and self._store.check([_ready(name, number) for name in names])


def introduce(store: Store, rank: int, name: str) -> None:
    """Register the name under which trainings are announced to the process with this rank."""
    store.set(_name_of(rank), name)


def follow(store: Store, rank: int, size: int, name: str) -> None:
    """Take part in the leading process's trainings until there are no more, or it is gone.

    Args:
        name: under which this process was introduced.

    Raises:
        RuntimeError: another process was lost in a training.
    """
    for number in count():
        found = _awaited(store, _told(name, number))
        if found == END:
            return
        place, task = pickle.loads(found)
        _take_part(store, _ready(name, number), place, rank, size, task)


def _take_part(store: Store, ready: str, place: str, rank: int, size: int, task: Task) -> None:
    model = task.source.build()
    store.set(ready, "")
    with joined(_part(store, place), rank, size, shards=task.shards) as world:
        task.work(model, world=world, progress=lambda done, total, metrics: None)


def _awaited(store: Store, key: str) -> bytes:
    """Wait for a value; return `END` if the leading process is gone."""
    while True:
        try:
            store.wait([key], WAIT)
            return bytes(store.get(key))
        except dist.DistNetworkError:
            return END
        except dist.DistStoreError:
            pass  # it computes something else


def _part(store: Store, place: str) -> Store:
    """Return the part of a store that belongs to a training."""
    part: Store = dist.PrefixStore(place, store)  # type: ignore[attr-defined]
    return part


def _name_of(rank: int) -> str:
    return f"name-of-{rank}"


def _told(name: str, number: int) -> str:
    return f"{name}/{number}"


def _ready(name: str, number: int) -> str:
    return f"{name}/{number}/ready"
