"""A training on a cluster's machine: what it needs, and what it reports while it runs.

Its paths are those of the machine that asked. Here, each path stands for a place in a folder of the training: its
contents have come along, and files written there are sent back once complete, so that another machine can continue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from srit.compute.model import trained_weights
from srit.errors import MachineError
from srit.pipeline.engines.crew import Failed, portable
from srit.pipeline.engines.travel import PIECE, cut
from srit.run_directory import write_bytes
from srit.training import CHECKPOINTS
from srit.training.distributed.trainers import Task

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel
    from srit.training.loop import Metrics

LOOK_SECONDS = 1.0  # between two looks for new files
START, END = "start.safetensors", "end.safetensors"  # the values of the trained weights


class Stepped(NamedTuple):
    """A step was taken."""

    done: int
    total: int
    metrics: Metrics


class Piece(NamedTuple):
    """The next piece of a file."""

    name: str
    data: bytes


class Whole(NamedTuple):
    """All pieces of a file were sent, and these checkpoints are still of use."""

    name: str
    checkpoints: tuple[str, ...]


class Trained(NamedTuple):
    """The training is done."""

    history: list[Metrics]


TrainingEvent: TypeAlias = Stepped | Piece | Whole | Trained | Failed


def sent_along(values: bytes, paths: Mapping[str, Path]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the files that a training needs, by name, in pieces.

    Args:
        values: of the trained weights before the first step.
        paths: in the task, by the names that stand for them.
    """
    yield START, (values[at : at + PIECE] for at in range(0, len(values), PIECE))
    for name, path in paths.items():
        if path.is_file():
            yield name, cut(path)
        for checkpoint in sorted(path.glob(CHECKPOINTS)):
            yield f"{name}/{checkpoint.name}", cut(checkpoint)


def training(task: Task, folder: Path) -> Iterator[TrainingEvent]:
    """Train, and yield its events while it runs, and then the result.

    Args:
        task: its paths are in the folder.
        folder: used only by this training, with the values that its weights start from.
    """
    known = dict(_files(folder))
    work = _Training(task, folder)
    work.start()
    while work.is_alive():
        work.join(LOOK_SECONDS)
        yield from work.steps()
        yield from _news(folder, known)
    yield from _news(folder, known)
    yield work.outcome


class _Training(Thread):
    """Trains while the thread that asked looks for new files."""

    outcome: TrainingEvent

    def __init__(self, task: Task, folder: Path) -> None:
        super().__init__(daemon=True)
        self._task, self._folder = task, folder
        self._step: Stepped | None = None

    def run(self) -> None:
        """Train."""
        from srit.training.distributed.world import ALONE

        try:
            model = self._task.source.build()
            put_values(model, (self._folder / START).read_bytes())
            history = self._task.work(model, world=ALONE, progress=self._stepped)
            write_bytes(self._folder / END, values_of(model))
            self.outcome = Trained(history)
        except Exception as error:
            self.outcome = Failed(portable(error))

    def steps(self) -> Iterator[Stepped]:
        """Yield the last step, unless it was yielded already."""
        step, self._step = self._step, None
        if step is not None:
            yield step

    def _stepped(self, done: int, total: int, metrics: Metrics) -> None:
        self._step = Stepped(done, total, metrics)


def _news(folder: Path, known: dict[str, int]) -> Iterator[Piece | Whole]:
    """Yield the files that are new, in pieces."""
    for name, inode in _files(folder):
        if known.get(name) != inode:
            with suppress(FileNotFoundError):  # an old checkpoint, removed since
                yield from (Piece(name, data) for data in cut(folder / name))
                known[name] = inode
                yield Whole(name, tuple(str(path.relative_to(folder)) for path in folder.rglob(CHECKPOINTS)))


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the complete files by name, with their inodes; no file is ever written into."""
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):
            if path.is_file() and not path.name.startswith("."):
                yield str(path.relative_to(folder)), path.stat().st_ino


def values_of(model: LanguageModel) -> bytes:
    """Return the values of the trained weights."""
    from safetensors.torch import save

    return save({name: weight.detach().cpu().contiguous() for name, weight in trained_weights(model).items()})


def put_values(model: LanguageModel, values: bytes) -> None:
    """Give a model's trained weights the values of another's.

    Raises:
        MachineError: they are not the same weights.
    """
    import torch
    from safetensors.torch import load

    given, trained = load(values), trained_weights(model)
    if {name: weight.shape for name, weight in trained.items()} != {name: v.shape for name, v in given.items()}:
        raise MachineError(
            "two machines train different weights of one model: check that all run the same version of srit"
        )
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(given[name])
