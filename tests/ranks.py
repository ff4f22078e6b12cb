"""What each of several processes that train together runs in a test."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from peft import get_peft_model
from tiny import EXAMPLES, PREFERENCES, tiny_model

from srit.compute.plan import ON_CPU
from srit.compute.rows import Group, layout_of, micro_batches
from srit.recipe import Lora, Optimization
from srit.students.adapters import lora_config
from srit.training import loop
from srit.training.distributed.world import joined
from srit.training.gradients import gradients_of
from srit.training.instruction import instruct
from srit.training.losses.sigmoid import SigmoidSettings
from srit.training.objective import Preference
from srit.training.preference import reference_logps, refine


def ids(n, start):
    return tuple(3 + (start * 37 + place * 11) % 250 for place in range(n))


# More than a batch may have: each of its completions is a pass of its own.
LONG = Preference(Group(ids(5, 77), tuple(ids(6 + k, k) for k in range(5))), ((0, 1), (0, 2)), (0, 4))


class Stopped(Exception):
    pass


def training(world, stage, dtype, checkpoints, stop_after=None, *, lora=False):
    """Train a tiny model or an adapter, and return the bytes of the trained weights and the metrics of its steps.

    Where processes share out the weights, the first one has them in the end, and the others return only the metrics.
    """

    def progress(done, total, metrics):
        if done == stop_after:
            raise Stopped

    model = tiny_model().to(dtype).train()
    if lora:
        torch.manual_seed(0)
        model = get_peft_model(model, lora_config(Lora(), "all-linear"), autocast_adapter_dtype=False)
    options = {"seed": "0", "checkpoints": Path(checkpoints), "world": world, "progress": progress}
    options["budget"] = ON_CPU._replace(batch_tokens=30)  # 2 or 3 batches a step
    settings = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 4, "row_tokens": 15}
    with pytest.MonkeyPatch.context() as patch, suppress(Stopped):
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        if stage == "instruct":
            history = instruct(model, EXAMPLES, Optimization(**settings), **options)
        else:
            preferences = [*PREFERENCES, LONG]
            reference = reference_logps(model, preferences, 15)
            history = refine(model, preferences, reference, SigmoidSettings(nll_weight=0.3, **settings), **options)
        trained = [weight.detach() for weight in model.parameters() if weight.requires_grad]
        if world.shards and not world.leads:
            return None, history
        return [weight.view(torch.uint8).numpy().tobytes() for weight in trained], history
    return None


def sharded(world, *arguments, **options):
    """Train like `training`, with the weights shared out among the processes."""
    return training(replace(world, shards=True), *arguments, **options)


def gradient(world, batch_tokens):
    """Return the gradient of a coupled loss over groups of 1 to 4 completions, in float64."""
    model = tiny_model().double()
    groups = [Group(ids(5 + n, n), tuple(ids(4 + n % 3, n + k) for k in range(1 + n % 4))) for n in range(13)]
    weights = dict(model.named_parameters())
    gradients = gradients_of(weights, weights, world)
    batches = micro_batches(groups, row_tokens=40, batch_tokens=batch_tokens, layout=layout_of(model, "shared"))

    def loss_of(scored):
        loss = sum((logps - logps.mean()).square().sum().sigmoid() + logps.sum() / 7 for logps in scored.values())
        return loss, loss.item()

    losses = gradients.add(model, batches, groups, loss_of)
    gradients.hand_over()
    return len(batches), sum(losses), {name: weight.grad.numpy() for name, weight in weights.items()}


def together(rank, size, meeting, function, *arguments, **options):
    """Run a function of a world in one of its processes."""
    torch.set_num_threads(1)
    with joined(dist.FileStore(meeting, size), rank, size) as world:
        return function(world, *arguments, **options)
