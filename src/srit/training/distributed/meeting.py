"""How the processes of a training meet: the one that leads tells of it, and those that follow take part."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import torch.distributed as dist

from srit.training.distributed.trainers import Done, Progress, Task
from srit.training.distributed.world import TIMEOUT, joined

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store  # typed only there

    from srit.compute.model import LanguageModel

WAIT = timedelta(minutes=10)  # one look for a training that has not begun; it is repeated for as long as it takes
POLL_SECONDS = 0.05
END = b""  # in place of a training: there are no more


def lead(
    store: Store,
    number: int,
    size: int,
    start: Callable[[], LanguageModel],
    task: Task,
    progress: Progress,
    check: Callable[[], None] = lambda: None,
) -> Done:
    """Train a model together with the processes that follow.

    Args:
        store: where they wait.
        number: of the training, from 0.
        size: how many train, this process included.
        check: called while they load their models; raises if one will not come.

    Raises:
        RuntimeError: one of them was lost, or did not come.
    """
    store.set(_key(number), pickle.dumps(task))  # type: ignore[arg-type]
    model = start()
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    while not store.check([_ready(number, rank) for rank in range(1, size)]):
        check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"not all of {size} processes loaded the model within {TIMEOUT}")
        time.sleep(POLL_SECONDS)
    with joined(_own(store, number), 0, size) as world:
        return Done(model, task.work(model, world=world, progress=progress))


def follow(store: Store, rank: int, size: int) -> None:
    """Take part in the trainings of the process that leads, until there are no more or it is gone.

    Raises:
        RuntimeError: another process was lost in a training.
    """
    for number in count():
        found = _awaited(store, number)
        if found == END:
            return
        _take_part(store, number, rank, size, pickle.loads(found))


def end(store: Store, number: int) -> None:
    """Let the processes that follow go; `number` is that of the training that would be next."""
    store.set(_key(number), END)  # type: ignore[arg-type]


def _take_part(store: Store, number: int, rank: int, size: int, task: Task) -> None:
    model = task.source.build()
    store.set(_ready(number, rank), "")
    with joined(_own(store, number), rank, size) as world:
        task.work(model, world=world, progress=lambda done, total: None)


def _awaited(store: Store, number: int) -> bytes:
    """Wait for a training; `END` if the process that leads is gone."""
    while True:
        try:
            store.wait([_key(number)], WAIT)
            return bytes(store.get(_key(number)))
        except dist.DistNetworkError:
            return END
        except dist.DistStoreError:
            pass  # it computes something else


def _own(store: Store, number: int) -> Store:
    """Return a training's part of a store."""
    part: Store = dist.PrefixStore(_key(number), store)  # type: ignore[attr-defined]
    return part


def _key(number: int) -> str:
    return f"training-{number}"


def _ready(number: int, rank: int) -> str:
    return f"training-{number}-ready-{rank}"
