"""How many of OpenMP's threads compute, and how they wait for each other: spinning for a moment, or asleep.

Waking a thread that sleeps may take longer than the work that it gets. But a thread that spins keeps a core from other
processes, and then from the very thread that it waits for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

LOAD = Path("/proc/loadavg")
LOOKS, BETWEEN = 10, 0.005  # seconds: what runs at every look is not just passing by
# About 0.3 ms on current Intel processors. libgomp's own 300,000 take 20.
SPINS = {"GOMP_SPINCOUNT": "5000"}
SLEEPS = {"OMP_WAIT_POLICY": "PASSIVE"}


def decide_waiting() -> None:
    """Decide it for this process and for those that it starts, unless the environment already does.

    torch loads OpenMP, which reads this once: call it before.
    """
    if not {*SPINS, *SLEEPS} & set(os.environ):
        os.environ.update(waiting(_looks(), threads_of(1), os.cpu_count() or 1))


def waiting(looks: Iterable[int], threads: int, cores: int) -> Mapping[str, str]:
    """Return the variables that make threads spin if at some look each finds an idle core, and sleep otherwise.

    Args:
        looks: at each, how many threads of other processes run on this machine.
        threads: how many are to be used.
        cores: those of the machine.
    """
    return SPINS if any(running + threads <= cores for running in looks) else SLEEPS


def _looks() -> Iterator[int]:
    """Count what runs besides this process, a few times; Linux alone tells."""
    with suppress(OSError, ValueError, IndexError):
        for look in range(LOOKS):
            time.sleep(BETWEEN if look else 0)
            yield int(LOAD.read_text().split()[3].split("/")[0]) - 1


def threads_of(workers: int) -> int:
    """Return how many threads each of so many workers on this machine uses: its share of the cores.

    Float32 sums depend on it, so OMP_NUM_THREADS decides if it is set: then any number of workers gives the same
    bytes.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return stated_threads() or max(1, cores // workers)


def stated_threads() -> int:
    """Return OMP_NUM_THREADS; 0: it is not set to a number."""
    stated = os.environ.get("OMP_NUM_THREADS", "")
    return int(stated) if stated.isdecimal() else 0
