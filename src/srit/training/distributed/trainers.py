"""What trains a model, and the task that it is given.

The leading process has the run directory: it does everything else in a run, and is the first process of a training.
The others follow: they wait for a training, build the model, and take part.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from srit.compute.mapping import Source

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel
    from srit.training.distributed.world import World
    from srit.training.loop import Metrics, Progress

# They tell torch.distributed which of several processes it is in, and where they meet.
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Work(Protocol):
    """A training as a picklable value, such as a partial of `instruct`."""

    def __call__(self, model: LanguageModel, *, world: World, progress: Progress) -> list[Metrics]:
        """Train the model in place, and return the metrics of each step."""
        ...


class Task(NamedTuple):
    """Everything that a process needs in order to take part in a training."""

    source: Source[LanguageModel]  # the model; the values of its trained weights come from the leading process
    work: Work
    shards: bool = False  # whether the weights are sharded over the processes


class Done(NamedTuple):
    """A finished training."""

    model: LanguageModel
    history: list[Metrics]


class Trainers(Protocol):
    """What trains."""

    @property
    def threads(self) -> int:
        """How many threads each process uses: the last bits depend on it, but not on the number of processes."""
        ...

    @property
    def shards(self) -> bool:
        """Whether a model's weights are sharded over the processes, so it need not fit into the memory of one."""
        ...

    def train(self, start: Callable[[], LanguageModel], task: Task, progress: Progress) -> Done:
        """Train a model.

        Args:
            start: builds the model with its starting values.
            progress: called after each step.
        """
        ...


class AloneTrainer:
    """Trains in this process."""

    shards = False

    @property
    def threads(self) -> int:
        """See `Trainers`."""
        import torch

        return torch.get_num_threads()

    def train(self, start: Callable[[], LanguageModel], task: Task, progress: Progress) -> Done:
        """See `Trainers`."""
        from srit.training.distributed.world import ALONE

        model = start()
        return Done(model, task.work(model, world=ALONE, progress=progress))


class Place(NamedTuple):
    """Which of several processes this is."""

    rank: int
    size: int


def given_place() -> Place | None:
    """Return which of several processes this is, according to the environment; None: it is the only one."""
    if any(name not in os.environ for name in VARIABLES):
        return None
    place = Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    return place if place.size > 1 else None
