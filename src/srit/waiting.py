"""How OpenMP's threads wait for each other between two pieces of work: spinning for a moment, or asleep.

Waking a thread that sleeps may take longer than the work that it gets. But a thread that spins keeps a core from other
processes, and then from the very thread that it waits for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

LOAD = Path("/proc/loadavg")
LOOKS = 5  # at intervals of a millisecond: what runs at every one of them is not just passing by
# About 0.3 ms on current Intel processors. libgomp's own 300,000 take 20.
SPINS = {"GOMP_SPINCOUNT": "5000"}
SLEEPS = {"OMP_WAIT_POLICY": "PASSIVE"}


def decide_waiting() -> None:
    """Decide it for this process and for those that it starts, unless the environment already does.

    torch loads OpenMP, which reads this once: call it before.
    """
    if not {*SPINS, *SLEEPS} & set(os.environ):
        os.environ.update(waiting(_running_here(), _threads(), os.cpu_count() or 1))


def waiting(running: int | None, threads: int, cores: int) -> Mapping[str, str]:
    """Return the variables that make threads spin if each of them finds an idle core, and sleep otherwise.

    Args:
        running: how many threads of other processes run on this machine; None: unknown.
        threads: how many are to be used.
        cores: those of the machine.
    """
    return SLEEPS if running is None or running + threads > cores else SPINS


def _running_here() -> int | None:
    """Return how many threads of other processes have been running for a few milliseconds; None: Linux alone tells."""
    found: list[int] = []
    try:
        for look in range(LOOKS):
            time.sleep(0.001 if look else 0)
            found.append(int(LOAD.read_text().split()[3].split("/")[0]) - 1)  # this process is one of them
    except (OSError, ValueError, IndexError):
        return None
    return min(found)


def _threads() -> int:
    stated = os.environ.get("OMP_NUM_THREADS", "")
    if stated.isdecimal():
        return int(stated)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
