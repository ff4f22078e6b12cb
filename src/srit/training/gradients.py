"""The gradient of a step: computed pass by pass, and summed in the precision that the optimizer works in.

A process computes every pass by itself, or divides the passes among several. The sum is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import torch
from torch import Tensor

from srit.compute.rows import COMPLETIONS, Figures, Group, MicroBatch, Rows, gradient_passes
from srit.errors import MachineError
from srit.training.distributed.ordered_shards import ShardedSum
from srit.training.distributed.ordered_sum import OrderedSum
from srit.training.distributed.world import World

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel
    from srit.training.distributed.sharding import Shards

Logged = TypeVar("Logged")

# Computes the loss of a batch from the log-probabilities of each of its groups, in nats, and returns it with a
# picklable value that describes it.
LossOf = Callable[[dict[int, Tensor]], tuple[Tensor, Logged]]


class Gradients(Protocol):
    """Accumulates a step's gradient."""

    def add(
        self,
        model: LanguageModel,
        batches: Sequence[MicroBatch],
        groups: Sequence[Group],
        loss_of: LossOf[Logged],
        figures: Figures = COMPLETIONS,
    ) -> list[Logged]:
        """Add the gradient of a loss over each batch, in order, and return what `loss_of` says about each batch.

        Args:
            figures: which log-probabilities the loss is computed from, as in `logps_by_group`.
        """
        ...

    def hand_over(self) -> None:
        """Make the sum the gradient of what the optimizer updates."""
        ...


class StepSum(Protocol):
    """Accumulates a step's gradient over processes, in the order of its passes."""

    def begin(self, counts: bool) -> None:
        """Prepare for a pass of this process; one that does not count adds nothing."""
        ...

    def exchange(self) -> None:
        """Add the gradients of a round, in which each process computed at most one pass."""
        ...

    def hand_over(self) -> None:
        """Make the sum the gradient of what the optimizer updates, and begin another."""
        ...


def gradients_of(
    trained: Mapping[str, Tensor], masters: Mapping[str, Tensor], world: World, shards: Shards | None = None
) -> Gradients:
    """Return the accumulator for weights' gradients, which become those of their masters.

    Args:
        trained: weights of the model, by name.
        masters: what the optimizer updates: the weights themselves, or copies of them in float32.
        shards: the weights, if each process has a shard of each.
    """
    device = next(iter(trained.values())).device
    if shards is not None:
        return _SharedOut(ShardedSum(shards.weights, shards.own, shards.scatters), device, world)
    if world.size > 1:
        total = OrderedSum(masters, world)
        for name, weight in trained.items():
            weight.register_post_accumulate_grad_hook(partial(total.take, name))  # type: ignore[no-untyped-call]
        return _SharedOut(total, device, world)
    for name, weight in trained.items():
        if masters[name] is not weight:
            # As soon as they are computed, so that those of a step's batches are summed in float32.
            weight.register_post_accumulate_grad_hook(partial(_hand_over, masters[name]))  # type: ignore[no-untyped-call]
    return _Alone()


def _hand_over(master: Tensor, weight: Tensor) -> None:
    """Add a weight's gradient to that of its float32 copy."""
    if weight.grad is None:
        return
    gradient = weight.grad.float()
    master.grad = gradient if master.grad is None else master.grad.add_(gradient)
    weight.grad = None


class _Alone:
    """Adds gradients where they are computed."""

    def add(
        self,
        model: LanguageModel,
        batches: Sequence[MicroBatch],
        groups: Sequence[Group],
        loss_of: LossOf[Logged],
        figures: Figures = COMPLETIONS,
    ) -> list[Logged]:
        """See `Gradients`."""
        found: dict[int, Logged] = {}
        for number, batch in enumerate(batches):
            for compute in gradient_passes(model, batch, groups, loss_of, figures):
                found[number] = compute()
        return list(found.values())

    def hand_over(self) -> None:
        """See `Gradients`: the sum is already in place."""


class _SharedOut:
    """Divides the passes of a step into rounds, in each of which every process computes one.

    If the model's weights are sharded too, either all processes compute or none: one without a pass of its own repeats
    another's, which then does not count.
    """

    def __init__(self, total: StepSum, device: torch.device, world: World) -> None:
        self._world = world
        self._device = device
        self._sum = total
        self._round: list[Callable[[], None]] = []

    def add(
        self,
        model: LanguageModel,
        batches: Sequence[MicroBatch],
        groups: Sequence[Group],
        loss_of: LossOf[Logged],
        figures: Figures = COMPLETIONS,
    ) -> list[Logged]:
        """See `Gradients`.

        Raises:
            MachineError: the processes do not have the same passes, so they would wait for each other forever.
        """
        cut = self._world.gather({self._world.rank: [len(batch.passes) for batch in batches]})
        if any(of_rank != cut[0] for of_rank in cut):
            raise MachineError(
                f"the processes cut one step into different passes: {cut}: check that all run the same version of srit"
            )
        found: dict[int, Logged] = {}

        def keep(number: int, compute: Callable[[], Logged]) -> None:
            found[number] = compute()

        for number, batch in enumerate(batches):
            for compute in gradient_passes(model, batch, groups, loss_of, figures, self._share_out):
                self._round.append(partial(keep, number, compute))
                if len(self._round) == self._world.size:
                    self._end_round()
        self._end_round()
        return self._world.gather({number: _on_cpu(logged) for number, logged in found.items()})

    def _end_round(self) -> None:
        """Compute this process's pass of a round, and add up all passes."""
        if not self._round:
            return
        rank, last = self._world.rank, len(self._round) - 1
        self._sum.begin(counts=rank <= last)
        if rank <= last or self._world.shards:
            self._round[min(rank, last)]()
        self._sum.exchange()
        self._round.clear()

    def _share_out(self, compute: Callable[[Rows], Tensor], passes: Sequence[Rows]) -> list[Tensor]:
        """Compute every size-th pass here, and receive the others from the other processes."""
        spare: Sequence[Rows] = ()
        if self._world.shards:
            self._end_round()
            spare = [passes[-1]] * (-len(passes) % self._world.size)
        computed = self._world.map(lambda rows: compute(rows).cpu(), [*passes, *spare])
        return [logps.to(self._device) for logps in computed[: len(passes)]]

    def hand_over(self) -> None:
        """See `Gradients`."""
        self._sum.hand_over()


def _on_cpu(logged: Logged) -> Logged:
    """Return a value that other processes can read, since their devices differ."""
    return cast(Logged, logged.cpu()) if isinstance(logged, Tensor) else logged
