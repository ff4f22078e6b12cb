"""Workers that are processes on this machine, each with its own copy of the model and its share of the cores."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Pipe, wait

from srit.compute.mapping import Built as BuiltThing
from srit.compute.mapping import ChunkWork, Item
from srit.pipeline.engines.crew import Died, Event
from srit.pipeline.engines.local import CHUNK_THREADS

SERVE = "from srit.pipeline.engines.process import serve; serve({})"


class Process:
    """A process that computes chunks, started by this process and ended with it."""

    def __init__(self, environment: Mapping[str, str], device: str | None) -> None:
        """Start it.

        Args:
            environment: variables of its own.
            device: that it alone uses.
        """
        self.device = device
        self.connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SERVE.format(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a library prints is not a result
                process_group=0,  # Ctrl-C is for this process, which ends the worker in an orderly way
            )
        self._send(sys.path)  # where the classes of works may come from

    @property
    def lives(self) -> bool:
        """Whether it may still report something."""
        return not self.connection.closed

    def give(self, work: ChunkWork[BuiltThing, Item], item: Item) -> None:
        """Have it compute a chunk."""
        self._send((work, item))

    def heard(self) -> Event:
        """Return what it reported, once there is something."""
        try:
            event: Event = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):  # it may die in the middle of a message
            return Died(self._death())
        return event

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self.connection.close()

    def _send(self, message: object) -> None:
        with suppress(OSError):  # it has died, which `heard` reports next
            self.connection.send_bytes(pickle.dumps(message))

    def _death(self) -> str:
        self._process.kill()  # if it closed its end without ending
        status = self._process.wait()
        self.connection.close()
        if status >= 0:
            return f"the worker process {self._process.pid} ended with status {status}"
        name = signal.Signals(-status).name
        why = ", as Linux does when memory runs out" if -status == signal.SIGKILL else ""
        return f"the worker process {self._process.pid} was killed by {name}{why}"


class Processes:
    """A crew of processes."""

    def __init__(self, size: int, threads: int, devices: Sequence[str] = ()) -> None:
        """
        Args:
            size: how many at once.
            threads: of each.
            devices: CUDA devices, one for each process; (): all compute on the CPU.
        """
        self.size = size
        self.kind = {CHUNK_THREADS: str(threads)}
        self._threads = str(threads)
        self._devices = devices
        self._started: list[Process] = []

    def start(self, work: ChunkWork[BuiltThing, Item], item: Item) -> Process:
        """Start a process."""
        self._started = [process for process in self._started if process.lives]
        taken = {process.device for process in self._started}
        device = next((device for device in self._devices if device not in taken), None)
        visible = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        process = Process({"OMP_NUM_THREADS": self._threads, **visible}, device)
        self._started.append(process)
        return process

    def wait(self, workers: Collection[Process]) -> Iterable[tuple[Process, Event]]:
        """Wait until at least one of the processes reports something, and return its events."""
        talking = wait([worker.connection for worker in workers])
        return [(worker, worker.heard()) for worker in workers if worker.connection in talking]
