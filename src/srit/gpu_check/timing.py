"""Time and memory of work on a device."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Taken(NamedTuple):
    """What work took."""

    seconds: float  # the median
    least: float
    most: float
    peak_gib: float  # of the GPU's memory, above what was held before; 0 on a processor
    result: Any


def wait() -> None:
    """Wait until the GPU has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(work: Callable[[], Any], repeats: int = 3, *, warm: bool = True) -> Taken:
    """Do work several times.

    Args:
        warm: whether to do it once before, unmeasured.
    """
    if warm:
        work()
    wait()
    held = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    seconds, result = [], None
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        wait()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() - held if torch.cuda.is_available() else 0
    return Taken(statistics.median(seconds), min(seconds), max(seconds), round(peak / 2**30, 3), result)


def emptied() -> None:
    """Return freed memory to the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_lacking_memory(error: RuntimeError) -> bool:
    """Return whether an error says that the GPU's memory does not suffice."""
    return isinstance(error, torch.OutOfMemoryError)
