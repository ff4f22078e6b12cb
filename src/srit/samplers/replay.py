"""Decoding steps of a fixed shape, which a GPU records once (a CUDA graph) and then replays.

A step of a small model is hundreds of kernels of microseconds each, and launching them one by one takes the CPU longer
than the GPU takes to compute them. A recording fixes every shape: all rows take part in every step, even those without
an answer, and the columns that are attended to are counted in units of `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

COLUMNS = 128  # one recording for so many lengths of the longest row

# A step: the tokens and columns of all rows, and how many columns are attended to → [rows, vocabulary].
Compute = Callable[[Tensor, Tensor, int], Tensor]


class Recording(NamedTuple):
    """A recorded step, and where it leaves its logits."""

    graph: torch.cuda.CUDAGraph
    logits: Tensor  # [rows, vocabulary]


class ReplayedStep:
    """Steps of one batch, recorded when they are first taken; on a CPU they are computed every time."""

    def __init__(self, rows: int, room: int, device: torch.device) -> None:
        """Prepare to record.

        Args:
            rows, room: of the batch, including rows without an answer.
        """
        self._room = room
        self._tokens, self._ends = torch.zeros(2, rows, dtype=torch.long, device=device)
        self._recorded: dict[int, Recording] = {}

    def take(self, compute: Compute, tokens: Tensor, ends: Tensor, longest: int) -> Tensor:
        """Take a step with the first rows; the logits [rows, vocabulary] hold until the next one.

        Args:
            compute: always the same function, which waits for nothing.
            tokens, ends: [rows], the new token of each row and its column.
            longest: the most columns that are attended to.
        """
        n = len(tokens)
        self._tokens[:n], self._ends[:n] = tokens, ends
        self._ends[n:] = 0  # the others write into their first column, which the next prompt there overwrites
        columns = min(rounded_up(longest, COLUMNS), self._room)
        if not self._tokens.is_cuda:
            return compute(self._tokens, self._ends, columns)[:n]
        if columns not in self._recorded:
            self._recorded[columns] = self._record(compute, columns)
        self._recorded[columns].graph.replay()
        return self._recorded[columns].logits[:n]

    def _record(self, compute: Compute, columns: int) -> Recording:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            # Once without recording, for what libraries set up on their first call; the replay will write the same
            # values again.
            compute(self._tokens, self._ends, columns)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        others = next((recording.graph.pool() for recording in self._recorded.values()), None)  # they share memory
        with torch.cuda.graph(graph, pool=others):
            logits = compute(self._tokens, self._ends, columns)
        return Recording(graph, logits)


def rounded_up(number: int, step: int) -> int:
    """Return the least multiple of `step` that is at least a number."""
    return -(-number // step) * step
