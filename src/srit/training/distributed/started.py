"""Processes on this machine that srit starts for a training and ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from srit.errors import MachineError
from srit.training.distributed.meeting import POLL_SECONDS, Meeting, introduce
from srit.training.distributed.trainers import Done, Task

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store, TCPStore  # typed only there

    from srit.compute.model import LanguageModel
    from srit.training.loop import Progress

ATTEMPTS = 3  # of one training; each continues from the newest checkpoint
END_SECONDS = 10.0  # for a process to end by itself, or to be noticed as ended
LOOPBACK = "127.0.0.1"


class StartedTrainers:
    """Trains in this process and others, started for each training. A death costs what the last checkpoint lacks."""

    def __init__(self, size: int, report: Callable[[str], None], *, shards: bool = False) -> None:
        """
        Args:
            size: how many processes train, this one included.
            report: takes a line about each process that dies.
            shards: as in `Trainers`.
        """
        self.shards = shards
        self._size = size
        self._report = report

    @property
    def threads(self) -> int:
        """See `Trainers`: OMP_NUM_THREADS, or this process's share of the cores."""
        share = max(1, torch.get_num_threads() // self._size)
        return torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else share

    def train(self, start: Callable[[], LanguageModel], task: Task, progress: Progress) -> Done:
        """See `Trainers`.

        Raises:
            MachineError: a process died in each of several attempts.
        """
        for attempt in range(1, ATTEMPTS + 1):
            store: TCPStore = dist.TCPStore(LOOPBACK, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
            meeting = Meeting(store, self._size)
            with _threads(self.threads), _followers(store, self._size) as followers:
                try:
                    shared = task._replace(shards=self.shards)
                    done = meeting.lead(start, shared, progress, lambda: _check(followers))
                    meeting.end()
                    return done
                except RuntimeError:
                    fault = _fault(followers, store)
                    if fault is None:
                        raise
            self._report(f"WARN {fault}: attempt {attempt} of {ATTEMPTS}; what was trained up to a checkpoint is kept")
        raise MachineError(
            f"{fault}: {ATTEMPTS} attempts to train ended this way. Each process has its own copy of the model: is "
            "there enough memory? Rerun with fewer processes (--train-workers) to continue from the newest checkpoint"
        )


@contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _followers(store: TCPStore, size: int) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
    """Start the processes that follow, and end them whatever happens in the block."""
    command = [sys.executable, "-m", "srit.training.distributed.follower", LOOPBACK, str(store.port), str(os.getpid())]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    # A session of their own: Ctrl-C is for the leading process, which then ends them.
    for rank in range(1, size):
        introduce(store, rank, str(rank))
    processes = [
        subprocess.Popen([*command, str(rank), str(size)], env=environment, start_new_session=True)
        for rank in range(1, size)
    ]
    try:
        yield processes
        with suppress(subprocess.TimeoutExpired):
            for process in processes:
                process.wait(END_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _check(followers: Sequence[subprocess.Popen[bytes]]) -> None:
    if any(process.poll() is not None for process in followers):
        raise RuntimeError("a process ended before the training began")


def _fault(followers: Sequence[subprocess.Popen[bytes]], store: Store) -> str | None:
    """Say which process died, and why; None: all are alive, so the fault is this process's own."""
    deadline = time.monotonic() + END_SECONDS
    while all(process.poll() is None for process in followers):
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)
    ended = {rank: process.poll() for rank, process in enumerate(followers, start=1)}
    # Those that a signal ended come first: the others end because they miss them.
    rank, code = min(((rank, code) for rank, code in ended.items() if code is not None), key=lambda one: one[1])
    if code < 0:
        return f"process {rank} of the training was ended by signal {-code}"
    key = fault_key(rank)
    cause = store.get(key).decode() if store.check([key]) else f"exit code {code}"
    return f"process {rank} of the training failed ({cause})"


def fault_key(rank: int) -> str:
    """Return the key under which a failing process gives its reason."""
    return f"fault-{rank}"
