"""The same sum for sharded weights: each process receives only what belongs to its shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp._fully_shard._fsdp_api import ReduceScatter  # the type of `set_custom_reduce_scatter`
from torch.distributed.tensor import DTensor

from srit.training.distributed.ordered_sum import NOTHING


class OrderedScatter(ReduceScatter):
    """Adds up the gradients of one sharded module over passes, in the order of the passes.

    FSDP2 calls it when a module's gradient is computed. FSDP's own reduce-scatter adds in an order that depends on the
    number of processes, and would average.
    """

    def __init__(self) -> None:
        self.counts = True  # whether this process's pass is part of the step
        self._sum: Tensor | None = None

    def allocate(self, size: Sequence[int | torch.SymInt], *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return memory for the exchange."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        op: dist.ReduceOp | dist.ReduceOp.RedOpType,
        async_op: bool = False,
    ) -> None:
        """Add the gradients of a round of passes, and return the step's sum so far."""
        if not self.counts:
            input_tensor.fill_(NOTHING)
        received = torch.empty_like(input_tensor)
        dist.all_to_all_single(received, input_tensor, group=group)
        if self._sum is None:
            self._sum = torch.full_like(output_tensor, NOTHING)
        for part in received.view(group.size(), -1):
            self._sum.add_(part)
        output_tensor.copy_(self._sum)

    def clear(self) -> None:
        """Begin another sum."""
        self._sum = None


class ShardedSum:
    """A step's gradient for sharded weights; the methods are those of `OrderedSum`."""

    def __init__(
        self, weights: Mapping[str, DTensor], own: Mapping[str, Tensor], scatters: Sequence[OrderedScatter]
    ) -> None:
        """Prepare to sum.

        Args:
            weights: what FSDP2 gives gradients to, by name.
            own: this process's shards of them, which the optimizer updates.
            scatters: of all sharded modules.
        """
        self._weights, self._own, self._scatters = weights, own, scatters
        self._sums: dict[str, Tensor] = {}

    def begin(self, counts: bool) -> None:
        """Prepare for a pass of this process; one that does not count adds nothing."""
        for scatter in self._scatters:
            scatter.counts = counts

    def exchange(self) -> None:
        """Keep the step's sum so far, after the gradients have been exchanged."""
        for name, weight in self._weights.items():
            if isinstance(weight.grad, DTensor):
                self._sums[name] = weight.grad.to_local()
                weight.grad = None  # otherwise FSDP2 would add the next sum to this one

    def hand_over(self) -> None:
        """Make the sum the shards' gradient, and begin another; a weight that no pass used gets none."""
        for name, own in self._own.items():
            own.grad = self._sums.get(name)
        self._sums.clear()
        for scatter in self._scatters:
            scatter.clear()
