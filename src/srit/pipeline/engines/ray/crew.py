"""Workers that are Ray actors, on the machines of a cluster. They share no files with this process."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from srit.compute.mapping import Built as BuiltThing
from srit.compute.mapping import ChunkWork, Item
from srit.pipeline.context.reports import Report
from srit.pipeline.engines.crew import Built, Died, Done, Event, Failed, Ready, Unfit
from srit.pipeline.engines.local import CHUNK_THREADS
from srit.pipeline.engines.ray.actor import Actor, Files, Machine, Message
from srit.pipeline.engines.ray.canary import Canary
from srit.pipeline.engines.ray.training import TrainingEvent, sent_along
from srit.pipeline.engines.travel import packed, pieces
from srit.pipeline.environment import environment
from srit.training.distributed.trainers import Task

TRIED = 4  # requests or groups of the trial chunk, whose results show what kind of machine computed them
PATIENCE = 60.0  # seconds without a machine before that is reported
# Prefixes of environment variables that affect sums.
SHAPING = ("OMP_", "MKL_", "KMP_", "DNNL_", "ONEDNN_", "ATEN_", "CUBLAS_", "NVIDIA_TF32")


class _Trial(NamedTuple):
    """The first machine's result, with which the others are compared."""

    message: Message
    total: str  # sum of the result
    place: str  # the first machine, for people


class RayWorker:
    """An actor, and its next event."""

    def __init__(self, actor: Any, sent: _Sent, trial: Message) -> None:
        """
        Args:
            trial: a small chunk that shows what kind of machine it is on.
        """
        self._actor, self._sent, self.trial = actor, sent, trial
        self.machine: Machine | None = None  # None: Ray has not started it yet
        self.on_trial = False
        self.next = actor.describe.remote()

    def give(self, work: ChunkWork[BuiltThing, Item], item: Item) -> None:
        """Have it compute a chunk."""
        self.next = self._actor.begin.remote(self._sent.message((work, item)))

    def attempt(self, trial: Message) -> None:
        """Have it compute the trial chunk."""
        self.trial, self.on_trial = trial, True
        self.next = self._actor.attempt.remote(trial)

    def train(self, task: Task, values: bytes) -> tuple[Iterator[TrainingEvent | Died], Mapping[str, Path]]:
        """Have it train.

        Args:
            values: of the trained weights before the first step.

        Returns:
            Its events, and the paths in the task by the names that they have there.
        """
        paths: dict[str, Path] = {}
        message = self._sent.message(task, paths)
        files = _put(sent_along(values, paths))
        return self._said(self._actor.train.remote(message, files)), paths

    def _said(self, said: Iterable[Any]) -> Iterator[TrainingEvent | Died]:
        import ray

        try:
            for reference in said:
                event: TrainingEvent = pickle.loads(ray.get(reference))
                yield event
        except ray.exceptions.RayError as error:
            yield Died(f"the worker on {self.place} died: {_cause(error)}")

    def finish(self) -> None:
        """Have it compute the chunk that it has prepared for."""
        self.next = self._actor.finish.remote()

    def heard(self) -> Machine | Event:
        """Return what it reported, once there is something."""
        import ray

        try:
            said = ray.get(self.next)
        except ray.exceptions.RayError as error:
            return Died(f"the worker on {self.place} died: {_cause(error)}")
        if isinstance(said, bytes):
            event: Event = pickle.loads(said)
            return event
        machine: Machine = said
        return machine

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.machine.name if self.machine else "a machine of the cluster"

    def end(self) -> None:
        """End it at once."""
        import ray

        ray.kill(self._actor)


class _Sent:
    """Folders that were put where Ray's workers can fetch them, by their checksums."""

    def __init__(self) -> None:
        self._folders: dict[str, Files] = {}

    def message(self, value: object, paths: dict[str, Path] | None = None) -> Message:
        """Return a value as it travels, with `paths` as in `packed`; folders of earlier values are forgotten."""
        data, folders = packed(value, paths)
        self._folders = {total: self._folders.get(total) or _put(pieces(folder)) for total, folder in folders.items()}
        return data, self._folders


def _put(files: Iterable[tuple[str, Iterator[bytes]]]) -> Files:
    """Put the pieces of files where Ray's workers can fetch them."""
    import ray

    return {name: [ray.put(piece) for piece in parts] for name, parts in files}


class Actors:
    """A crew of actors on machines that compute the same bytes."""

    def __init__(
        self, size: int, threads: int, gpus: int, report: Report, *, mixed: bool, canary: Canary | None = None
    ) -> None:
        """
        Args:
            size: how many at once.
            threads: of each.
            gpus: of each, 0 or 1.
            mixed: also use machines that compute different bytes.
            canary: shows what kind of machine each is on; None: the first chunk shows it.
        """
        self.size = size
        self.kind = {CHUNK_THREADS: str(threads)}
        self._threads, self._gpus, self._report, self._mixed = threads, gpus, report, mixed
        self._sent = _Sent()
        self._canary = canary
        self._trial: _Trial | None = None  # None: no machine has computed one yet
        self._like: set[str] = set()  # nodes that may be used
        self._unlike: dict[str, str] = {}  # nodes that are not used, and why

    def start(self, work: ChunkWork[BuiltThing, Item], item: Item) -> RayWorker:
        """Ask Ray for a worker; without a canary, the first work shows what kind of machine it is on."""
        if self._canary is not None:
            return self.start_canary()
        return self._start((work, item[:TRIED] if isinstance(item, list | tuple) else item))

    def start_canary(self) -> RayWorker:
        """Ask Ray for a worker that gets its task once it is ready."""
        assert self._canary is not None
        return self._start((self._canary.work, self._canary.text))

    def _start(self, trial: object) -> RayWorker:
        import ray

        variables = {name: value for name, value in os.environ.items() if name.startswith(SHAPING)}
        made = ray.remote(Actor).options(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": {**variables, "OMP_NUM_THREADS": str(self._threads)}},
        )
        return RayWorker(made.remote(), self._sent, self._sent.message(trial))

    def wait(self, workers: Collection[RayWorker]) -> Iterable[tuple[RayWorker, Event]]:
        """Wait until at least one of the workers reports something, and return its events."""
        import ray

        waiting = {worker.next: worker for worker in workers}
        while True:
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=PATIENCE)
            if not ready and all(worker.machine is None for worker in workers):
                self._report(f"     waiting for a machine with {self._needs} to be free in the cluster")
            for worker in (waiting.pop(reference) for reference in ready):
                event = self._followed(worker, worker.heard())
                if event is not None:
                    return [(worker, event)]
                waiting[worker.next] = worker

    @property
    def _needs(self) -> str:
        return f"{self._threads} CPUs" + (f" and {self._gpus} GPU" if self._gpus else "")

    def _followed(self, worker: RayWorker, said: Machine | Event) -> Event | None:
        """Return the event, or None if the worker has to report more first."""
        if isinstance(said, Machine):
            worker.machine = said
            return self._placed(worker, said)
        if worker.on_trial:
            worker.on_trial = False
            return self._tried(worker, said)
        if isinstance(said, Built):
            worker.finish()
        return said

    def _placed(self, worker: RayWorker, machine: Machine) -> Event | None:
        if machine.versions != environment() and not self._mixed:
            self._unlike[machine.node] = f"{worker.place} has {_differing(machine.versions)}"
        if machine.node in self._unlike:
            return Unfit(f"{self._unlike[machine.node]}: it is left out (--mixed would use it)")
        if machine.node in self._like or self._mixed:
            return Ready()
        worker.attempt(worker.trial if self._trial is None else self._trial.message)
        return None

    def _tried(self, worker: RayWorker, said: Event) -> Event | None:
        """Compare a node's result with the first one's."""
        if isinstance(said, Died):
            return said
        assert worker.machine is not None
        if self._trial is None and not isinstance(said, Done):
            return Ready()  # its first chunk will fail in the same way, and that is reported
        total = hashlib.sha256(said.data).hexdigest() if isinstance(said, Done) else ""
        self._trial = self._trial or self._first(worker, total)
        if worker.trial is not self._trial.message:
            worker.attempt(self._trial.message)
            return None
        if total == self._trial.total:
            self._like.add(worker.machine.node)
            return Ready()
        why = f"{worker.place} is a different kind of machine: it computes different bytes from {self._trial.place}"
        if isinstance(said, Failed):
            why = f"{worker.place} cannot compute: {said.error}"
        self._unlike[worker.machine.node] = why
        return Unfit(f"{why}: it is left out (--mixed would use it)")

    def _first(self, worker: RayWorker, total: str) -> _Trial:
        """Return the result that others are compared with: this worker's, or that of an earlier one in another crew."""
        first = (total, worker.place) if self._canary is None else self._canary.first(total, worker.place)
        return _Trial(worker.trial, *first)


def _differing(versions: Mapping[str, str]) -> str:
    here = environment()
    return ", ".join(
        f"{name} {versions.get(name)} (here {here[name]})" for name in here if versions.get(name) != here[name]
    )


def _cause(error: Exception) -> str:
    """Return Ray's reason for a death in one line; its own first line only says that there was one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = next((line for line in lines if line.startswith("The actor is dead because")), "")
    return (cause or " ".join(lines) or type(error).__name__).partition(" Some common causes")[0][:300]
