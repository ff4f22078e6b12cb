"""The sum of gradients over processes, in an order that does not depend on their number."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from srit.training.distributed.world import World

# The identity of floating-point addition: 0.0 would turn a sum of -0.0 into 0.0.
NOTHING = -0.0


class OrderedSum:
    """A step's gradient, added up in the order of the passes that it comes from.

    The processes compute `size` passes side by side: a round. Then each sends every other one a slice of its gradient,
    and adds what it receives in the order of the passes: a reduce-scatter in a fixed order. Memory: twice the gradient,
    besides the sum. Traffic: as much as a ring all-reduce per round.
    """

    def __init__(self, weights: Mapping[str, Tensor], world: World) -> None:
        """Prepare to sum.

        Args:
            weights: those whose gradients are summed, by name, all in one precision, which the sum has too.

        Raises:
            ValueError: the weights differ in precision.
        """
        dtypes = {weight.dtype for weight in weights.values()}
        if len(dtypes) != 1:
            raise ValueError(f"the trained weights have more than one precision: {dtypes}")
        self._world, self._weights = world, dict(weights)
        length = -(-sum(weight.numel() for weight in weights.values()) // world.size) * world.size
        self._own = torch.full((length,), NOTHING, dtype=dtypes.pop(), device=world.device)
        self._received = torch.empty_like(self._own)
        self._sum = torch.full_like(self._own[: length // world.size], NOTHING)
        sizes = [weight.numel() for weight in weights.values()]
        self._places = dict(zip(weights, torch.split(self._own[: sum(sizes)], sizes), strict=True))
        self._counts = True
        self._used: set[str] = set()  # weights that a pass of this process has given a gradient

    def begin(self, counts: bool) -> None:
        """Prepare for a pass of this process; one that does not count adds nothing."""
        self._counts = counts

    def take(self, name: str, weight: Tensor) -> None:
        """Take a weight's gradient from the pass that this process has just computed."""
        if weight.grad is not None and self._counts:
            place = self._places[name]
            place.add_(weight.grad.reshape(-1).to(place.device, place.dtype))
            self._used.add(name)
        weight.grad = None

    def exchange(self) -> None:
        """Add the gradients of a round; a process that computed no pass in it adds nothing."""
        dist.all_to_all_single(self._received, self._own)
        for part in self._received.view(self._world.size, -1):
            self._sum.add_(part)
        self._own.fill_(NOTHING)

    def hand_over(self) -> None:
        """Make the sum the weights' gradient, and begin another; a weight that no pass used gets none."""
        dist.all_gather(list(self._received.view(self._world.size, -1)), self._sum)
        used = set().union(*self._world.gather({self._world.rank: self._used}))
        sizes = [weight.numel() for weight in self._weights.values()]
        parts = torch.split(self._received[: sum(sizes)], sizes)
        for (name, weight), part in zip(self._weights.items(), parts, strict=True):
            weight.grad = part.to(weight.device, copy=True).view_as(weight) if name in used else None
        self._sum.fill_(NOTHING)
        self._used.clear()
