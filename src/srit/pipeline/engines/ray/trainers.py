"""Trains on a machine of a Ray cluster as on this one; checkpoints come back as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from srit.errors import MachineError
from srit.pipeline.context.reports import Report
from srit.pipeline.engines.crew import Died, Failed, Ready, Unfit
from srit.pipeline.engines.local import CHUNK_THREADS
from srit.pipeline.engines.ray.crew import Actors, RayWorker
from srit.pipeline.engines.ray.training import (
    END,
    Piece,
    Stepped,
    Trained,
    TrainingEvent,
    Whole,
    put_values,
    values_of,
)
from srit.pipeline.engines.sharing import STARTS, TRIES
from srit.run_directory import write_bytes
from srit.training import CHECKPOINTS
from srit.training.distributed.trainers import Done, Task

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel
    from srit.training.loop import Progress


class Outcome(NamedTuple):
    """How a worker's training ended."""

    how: Trained | Failed | Died
    end: bytes  # the values of the trained weights
    kept: bool  # whether a checkpoint came back


class RayTrainers:
    """Trains on a machine of the cluster; if it is lost, another continues from the newest checkpoint."""

    shards = False

    def __init__(self, crew: Actors, report: Report) -> None:
        """
        Args:
            crew: whose canary shows which machines may train.
            report: takes a line about each worker that dies.
        """
        self._crew, self._report = crew, report

    @property
    def threads(self) -> int:
        """See `Trainers`."""
        return int(self._crew.kind[CHUNK_THREADS])

    def train(self, start: Callable[[], LanguageModel], task: Task, progress: Progress) -> Done:
        """See `Trainers`. Here the model is built only to send its starting values and to take the final ones.

        Raises:
            MachineError: workers died one after the other, and none of them wrote a checkpoint.
        """
        values, deaths, why = values_of(start()), 0, ""
        while deaths < TRIES:
            with self._worker() as worker:
                ended = followed(*worker.train(task, values), progress)
            if isinstance(ended.how, Trained):
                model = start()
                put_values(model, ended.end)
                return Done(model, ended.how.history)
            if isinstance(ended.how, Failed):
                raise ended.how.error
            deaths, why = (1 if ended.kept else deaths + 1), ended.how.why
            self._report(
                f"WARN {why}; another worker continues the training, from its newest checkpoint if there is one"
            )
        raise MachineError(
            f"{TRIES} workers in a row died in a training, the last for this reason: {why}. Each has its own copy of "
            "the model: is there enough memory? What was trained up to a checkpoint is kept: rerun the same command "
            "to continue"
        )

    @contextmanager
    def _worker(self) -> Iterator[RayWorker]:
        """Yield a worker on a machine that computes the same bytes as the others; it ends with the block.

        Raises:
            MachineError: all that were started died.
        """
        started: list[RayWorker] = []  # an unfit worker stays, so that Ray does not replace it
        deaths = 0
        try:
            while True:
                worker = self._crew.start_canary()
                started.append(worker)
                [(_, event)] = self._crew.wait([worker])
                if isinstance(event, Ready):
                    break
                assert isinstance(event, Died | Unfit)
                self._report(f"WARN {event.why}")
                deaths += isinstance(event, Died)
                if deaths == STARTS:
                    raise MachineError(
                        f"{STARTS} workers in a row died before they could train, the last for this reason: "
                        f"{event.why}. What was computed is kept: rerun the same command to continue"
                    )
            yield worker
        finally:
            for worker in started:
                worker.end()


def followed(events: Iterable[TrainingEvent | Died], places: Mapping[str, Path], progress: Progress) -> Outcome:
    """Keep what a worker writes while it trains, until it ends.

    Args:
        places: of its files and folders on this machine, by their names there.
    """
    parts: list[bytes] = []
    end, kept = b"", False
    for event in events:
        if isinstance(event, Stepped):
            progress(*event)
        elif isinstance(event, Piece):
            parts.append(event.data)
        elif isinstance(event, Whole):
            data, parts = b"".join(parts), []
            if event.name == END:
                end = data
            else:
                kept = _kept(event, data, places) or kept
        else:
            return Outcome(event, end, kept)
    raise MachineError("a worker stopped during a training without a message: rerun the same command to continue")


def _kept(file: Whole, data: bytes, places: Mapping[str, Path]) -> bool:
    """Keep a file that arrived, remove checkpoints that are no longer of use, and return whether it is a checkpoint."""
    of, _, name = file.name.partition("/")
    if not name:
        write_bytes(places[of], data)
        return False
    write_bytes(places[of] / name, data)
    for old in places[of].glob(CHECKPOINTS):
        if f"{of}/{old.name}" not in file.checkpoints:
            old.unlink()
    return True
