"""Models whose weights are sharded over several processes, by FSDP2: each process holds a shard of every weight.

Before a layer computes, the processes exchange their shards of it; afterwards each keeps only its own. So all of them
compute passes side by side, layer by layer, and each layer computes with the same weights, to the last bit, as in one
process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from srit.compute.device import device_for, prepare
from srit.compute.head import parts_of
from srit.compute.model import GATHERED, without_adapter
from srit.errors import DataError, MachineError
from srit.training.distributed.ordered_shards import OrderedScatter
from srit.training.distributed.world import World

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from transformers import PreTrainedModel

    from srit.compute.model import LanguageModel


@dataclass(frozen=True, slots=True)
class Shards:
    """Trained weights of which each process holds some rows."""

    world: World
    weights: Mapping[str, DTensor]  # by name, in float32
    own: Mapping[str, Tensor]  # this process's rows of them: the same memory
    scatters: Sequence[OrderedScatter]
    precision: torch.dtype  # in which the model computes

    def whole(self, name: str, share: Tensor) -> Tensor:
        """Return all rows of a tensor shaped like a weight; every process calls this with its own rows."""
        weight = self.weights[name]
        shared = DTensor.from_local(
            share, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
        )
        whole: Tensor = shared.full_tensor()
        return whole

    def share(self, name: str, whole: Tensor | None) -> Tensor:
        """Return this process's rows of the first process's tensor; every process calls this."""
        weight = self.weights[name]
        sent = torch.empty(weight.shape, dtype=weight.dtype) if whole is None else whole.to(weight.dtype)
        share: Tensor = distribute_tensor(sent, weight.device_mesh, weight.placements, src_data_rank=0).to_local()
        return share

    def norm(self) -> Tensor:
        """Return the norm of the whole gradient, taken one weight after another, so it is rounded as in one process."""
        norms = [
            torch.linalg.vector_norm(self.whole(n, own.grad)) for n, own in self.own.items() if own.grad is not None
        ]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        return norm

    def whole_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return a checkpoint of this process's rows as one of whole weights, on the CPU."""
        names = list(self.weights)

        def whole(name: str, value: Tensor) -> Tensor:
            gathered = self.whole(name, value) if value.ndim else value  # the number of steps belongs to no weight
            return gathered.cpu() if self.world.leads else gathered.new_empty(0)

        return _each_tensor(state, names, whole)

    def own_state(self, state: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the first process's checkpoint with only this process's rows; every process calls this."""
        names = list(self.weights)
        told = None if state is None else _each_tensor(state, names, lambda _, value: None if value.ndim else value)
        whole = state or {}
        found: dict[str, Any] = self.world.from_leader(told)
        weights = {name: self.share(name, whole.get("weights", {}).get(name)) for name in found["weights"]}
        moments = whole.get("optimizer", {}).get("state", {})
        own = {
            index: {
                key: self.share(names[index], moments.get(index, {}).get(key)) if value is None else value
                for key, value in of_weight.items()
            }
            for index, of_weight in found["optimizer"]["state"].items()
        }
        return found | {"weights": weights, "optimizer": found["optimizer"] | {"state": own}}

    def restore(self, model: LanguageModel) -> None:
        """Give the first process's model its whole weights, to be saved; nothing computes with it afterwards."""
        places = {name: list(_places(model, weight)) for name, weight in self.weights.items()}
        for name, own in self.own.items():
            whole = self.whole(name, own.detach())
            if self.world.leads:
                kept = torch.nn.Parameter(whole.to("cpu", self.precision))
                for module, attribute in places[name]:
                    setattr(module, attribute, kept)


def _each_tensor(
    state: Mapping[str, Any], names: Sequence[str], change: Callable[[str, Tensor], Tensor | None]
) -> dict[str, Any]:
    """Return a checkpoint in which every tensor is changed, given the name of its weight."""
    weights = {name: change(name, value) for name, value in state["weights"].items()}
    moments = {
        index: {key: change(names[index], value) for key, value in of_weight.items()}
        for index, of_weight in state["optimizer"]["state"].items()
    }
    return {**state, "weights": weights, "optimizer": {**state["optimizer"], "state": moments}}


def _places(model: LanguageModel, weight: Tensor) -> Iterator[tuple[torch.nn.Module, str]]:
    """Yield the modules that have a weight, and its name there; tied weights have two."""
    for module in model.modules():
        for attribute, parameter in module.named_parameters(recurse=False):
            if parameter is weight:
                yield module, attribute


def shard(model: LanguageModel, world: World) -> Shards | None:
    """Shard a model's weights over processes, with the first one's values.

    Args:
        model: on the CPU, as each process has built it.

    Returns:
        The trained weights' shards; None: adapters are trained, which each process holds whole.

    Raises:
        DataError: its layers are not marked, or its weights cannot be sharded.
        MachineError: it computes on GPUs, and not every process has one.
    """
    causal = without_adapter(model)
    layers = [layer for layer in causal.modules() if isinstance(layer, GradientCheckpointingLayer)]
    adapter = set() if causal is model else {weight for weight in model.parameters() if weight.requires_grad}
    precision = causal.dtype
    _check(causal, layers, adapter, world)
    parts_of(causal)  # by forward passes, which must be over before the weights are sharded
    prepare(world.device)
    for weight in adapter:
        weight.data = weight.data.to(world.device)
    mesh = init_device_mesh(world.device, (world.size,))
    sharded = [_sharded(module, mesh, precision, adapter, module is causal) for module in (*layers, causal)]
    setattr(causal, GATHERED, lambda compute: compute())
    register_fsdp_forward_method(causal, GATHERED)
    return None if adapter else _trained(model, sharded, world, precision)


def _check(causal: PreTrainedModel, layers: Sequence[torch.nn.Module], adapter: set[Any], world: World) -> None:
    name = type(causal).__name__
    if not layers:
        raise DataError(f"--shard: transformers does not mark the layers of {name}: train it without --shard")
    if not adapter and len({weight.dtype for weight in causal.parameters()}) > 1:
        raise DataError(f"--shard: {name} has weights in more than one precision: train it without --shard")
    if any(weight.ndim == 0 for weight in causal.parameters()):
        raise DataError(f"--shard: {name} has a scalar weight, which cannot be sharded: train it without --shard")
    if world.device == "cpu" and device_for("auto") == "cuda":
        raise MachineError("--shard: each process needs its own GPU: start fewer (--train-workers)")


def _sharded(
    module: torch.nn.Module, mesh: DeviceMesh, precision: torch.dtype, adapter: set[Any], is_root: bool
) -> FSDPModule:
    """Shard the weights of a module that are not sharded yet."""
    whole = [w for w in (*module.parameters(), *module.buffers()) if not isinstance(w, DTensor)]
    for weight in whole:
        if weight not in adapter:
            dist.broadcast(weight.data, 0)
            if not adapter and weight.is_floating_point() and weight.requires_grad:
                weight.data = weight.data.float()
    # The optimizer's values are float32; the model computes with copies of them, as in `loop._masters`.
    policy = MixedPrecisionPolicy(
        param_dtype=None if adapter or precision == torch.float32 else precision,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,
    )
    # What belongs to no layer, such as embeddings, stays gathered from a forward pass to the end of its backward pass.
    return fully_shard(module, mesh=mesh, reshard_after_forward=not is_root, mp_policy=policy, ignored_params=adapter)


def _trained(model: LanguageModel, sharded: Sequence[FSDPModule], world: World, precision: torch.dtype) -> Shards:
    scatters = [OrderedScatter() for _ in sharded]
    for module, scatter in zip(sharded, scatters, strict=True):
        module.set_custom_reduce_scatter(scatter)
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)
    weights = {name: weight for name, weight in model.named_parameters() if isinstance(weight, DTensor)}
    own = {name: weight.to_local().detach().requires_grad_() for name, weight in weights.items()}
    return Shards(world, weights, own, scatters, precision)
