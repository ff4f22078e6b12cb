"""The processes of a training, as seen by one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store  # typed only there

Item = TypeVar("Item")
Value = TypeVar("Value")

# How long a process waits for the others: for the slowest pass of a round, or while they load the model.
TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class World:
    """The processes that train together; the first one leads."""

    rank: int = 0
    size: int = 1
    device: Literal["cpu", "cuda"] = "cpu"  # where tensors are exchanged
    shards: bool = False  # whether the model's weights are sharded over them (`sharding`)

    @property
    def leads(self) -> bool:
        """Whether this is the process that reads and writes the checkpoints."""
        return self.rank == 0

    def computes(self, index: int) -> bool:
        """Return whether this process computes the part of the work with this index."""
        return index % self.size == self.rank

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
        """Return the function's values for all items, in order; each process computes some of them.

        Args:
            function: its values are picklable and on the CPU.
        """
        return self.gather({index: function(item) for index, item in enumerate(items) if self.computes(index)})

    def gather(self, values: Mapping[int, Value]) -> list[Value]:
        """Return the values of all processes in the order of their keys; equal keys have equal values."""
        found: list[Any] = [values]
        if self.size > 1:
            found = [None] * self.size
            dist.all_gather_object(found, dict(values))
        merged = {key: value for part in found for key, value in part.items()}
        return [merged[key] for key in sorted(merged)]

    def from_leader(self, value: Value | None) -> Value:
        """Return the first process's value; the others' values are ignored."""
        values: list[Any] = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=0)
        found: Value = values[0]
        return found


ALONE = World()


@contextmanager
def joined(store: Store, rank: int, size: int, *, shards: bool = False) -> Iterator[World]:
    """Join the other processes of a training until the block ends.

    Args:
        store: where they find each other.
        shards: as in `World`.
    """
    local_rank, local_size = (int(os.environ.get(name, default)) for name, default in _local(rank, size).items())
    own_gpus = torch.cuda.device_count() >= local_size  # NCCL refuses processes that share a GPU
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if own_gpus else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        yield World(rank, size, "cuda" if own_gpus else "cpu", shards)
    finally:
        dist.destroy_process_group()


def _local(rank: int, size: int) -> dict[str, int]:
    """Return the variables of a process's place on its machine, with the values for a single machine as defaults."""
    return {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
