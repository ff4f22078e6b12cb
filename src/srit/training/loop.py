"""The training loop of both stages: AdamW, a schedule, and checkpoints that survive a kill.

The number of a step seeds its randomness, so a run that resumes from a checkpoint ends in the same bits as one that was
never stopped.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from srit.compute.device import LESS_AT_ONCE, reporting_memory
from srit.compute.model import trained_weights
from srit.errors import TrainingError
from srit.recipe import Optimization, Schedule
from srit.stopping import delayed_stop
from srit.training.checkpoints import State
from srit.training.distributed.world import ALONE, World
from srit.training.gradients import Gradients, gradients_of

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel
    from srit.training.distributed.sharding import Shards

CHECKPOINT_SECONDS = 60.0  # the work that a kill may cost
# If a checkpoint takes little time, checkpoints are written more often, so that even a stage of seconds survives kills;
# they take at most 2 % of the time.
LEAST_SECONDS = 1.0
SAVING_SHARE = 0.02

Metrics = dict[str, float]
Progress = Callable[[int, int, Metrics], None]  # steps done, their total, and the last one's metrics


class Leg(NamedTuple):
    """A part of a training; all parts share one optimizer and one schedule."""

    number: int = 1  # from 1
    of: int = 1
    before: Path | None = None  # the optimizer's state at the end of the previous part; None: this is the first
    after: Path | None = None  # where to write this part's state; None: nothing continues from here


WHOLE = Leg()


def seed_torch(text: str) -> None:
    """Seed torch with a text, so that random numbers do not depend on what the process did before."""
    torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]))


def order(n: int, *, seed: str, epoch: int) -> list[int]:
    """Return a permutation of range(n) that depends only on seed and epoch."""
    indices = list(range(n))
    Random(f"{seed}/{epoch}").shuffle(indices)
    return indices


def steps_of(n: int, settings: Optimization, seed: str) -> list[list[int]]:
    """Return which of n examples each step takes, over all epochs."""
    size = settings.batch_size
    shuffled = [order(n, seed=seed, epoch=epoch) for epoch in range(settings.epochs)]
    return [epoch[start : start + size] for epoch in shuffled for start in range(0, n, size)]


def steps_up_to(n_tokens: int, sizes: Sequence[int], settings: Optimization, seed: str) -> list[list[int]]:
    """Return the same as `steps_of`, over as many epochs as needed, up to the step that reaches `n_tokens`.

    Args:
        sizes: the number of tokens in each example.
    """
    epochs = max(1, -(-n_tokens // sum(sizes)))
    steps, used = [], 0
    for step in steps_of(len(sizes), settings.model_copy(update={"epochs": epochs}), seed):
        if used >= n_tokens:
            break
        steps.append(step)
        used += sum(sizes[index] for index in step)
    return steps


def train(
    model: LanguageModel,
    accumulate: Callable[[int, Gradients], Metrics],
    *,
    n_steps: int,
    settings: Optimization,
    seed: str,
    checkpoints: Path,
    progress: Progress,
    leg: Leg = WHOLE,
    problems: Callable[[int], Sequence[str]] = lambda step: (),
    world: World = ALONE,
) -> list[Metrics]:
    """Take `n_steps` optimizer steps, continuing from the newest undamaged checkpoint if there is one.

    Args:
        model: its parameters that require a gradient are trained in place.
        accumulate: adds the gradient of a step and returns what to log, which must include "loss".
        checkpoints: the folder, used only by this training.
        progress: called after each step.
        problems: the ids of the problems that each step learns from, for messages.
        leg: which part this is; the schedule assumes that all parts have as many steps as this one.
        world: the processes that train together. All take the same steps; the leading one has the files and the
            starting weights.

    Returns:
        One dict per step: what `accumulate` returned, "step", "grad_norm" and "learning_rate".

    Raises:
        TrainingError: a loss or gradient is not finite; the newest checkpoint stays as it is.
    """
    shards = _shared_out(model, world)
    trained = trained_weights(model)
    weights = _masters(trained) if shards is None else dict(shards.own)
    gradients = gradients_of(trained, weights, world, shards)
    optimizer = torch.optim.AdamW(_groups(weights.values(), settings.weight_decay), lr=settings.learning_rate)
    done, total = (leg.number - 1) * n_steps, leg.of * n_steps
    schedule = LambdaLR(optimizer, lambda step: _rate(done + step, total, settings.warmup, settings.schedule))
    state = State(weights, optimizer, schedule, world, shards)
    history = state.resume(checkpoints, leg.before)
    _follow(trained, weights, shards)
    pace = Pace()
    try:
        for step in range(len(history), n_steps):
            seed_torch(f"{seed}/{step}")
            with reporting_memory("a training step", LESS_AT_ONCE):
                metrics = accumulate(step, gradients)
            gradients.hand_over()
            norm = _clipped(weights, settings.clip, shards)
            if not all(map(_is_finite, (metrics["loss"], norm))):
                raise _diverged(step, metrics["loss"], norm, settings, problems(step))
            rate = float(schedule.get_last_lr()[0])
            with delayed_stop():  # a step is taken completely or not at all
                optimizer.step()
                _follow(trained, weights, shards)
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                history.append({"step": float(step), **metrics, "grad_norm": norm, "learning_rate": rate})
            progress(step + 1, n_steps, history[-1])
            if step + 1 < n_steps and _saves_now(pace, world, shards):
                with pace.saving():
                    state.save(checkpoints, history)
    except KeyboardInterrupt:
        if world.leads and history and shards is None:  # the other processes would have to send their shards
            state.save(checkpoints, history)
        raise
    if leg.after is not None and (world.leads or shards):
        state.end(leg.after, _rounded(trained, weights, shards))
    if shards is not None:
        shards.restore(model)
    return history


def _shared_out(model: LanguageModel, world: World) -> Shards | None:
    """Shard the model's weights if the processes do that; return the trained weights' shards, if there are any."""
    if not world.shards:
        return None
    from srit.training.distributed.sharding import shard

    return shard(model, world)


def _rounded(trained: Mapping[str, Tensor], weights: Mapping[str, Tensor], shards: Shards | None) -> list[str]:
    """Return the names of the weights that the saved model has in lower precision than the optimizer."""
    if shards is not None:
        return list(weights) if shards.precision.itemsize < 4 else []
    return [name for name, weight in weights.items() if weight is not trained[name]]


def _saves_now(pace: Pace, world: World, shards: Shards | None) -> bool:
    """Return whether a checkpoint is due in which this process takes part."""
    if shards is None:
        return world.leads and pace.is_due()
    return world.from_leader(pace.is_due())


def _clipped(weights: Mapping[str, Tensor], most: float, shards: Shards | None) -> float:
    """Scale the gradient down to a norm, and return its norm before that."""
    if shards is None:
        return torch.nn.utils.clip_grad_norm_(weights.values(), most).item()
    norm = shards.norm()
    torch.nn.utils.clip_grads_with_norm_(weights.values(), most, norm)
    return norm.item()


def _diverged(step: int, loss: float, norm: float, settings: Optimization, ids: Sequence[str]) -> TrainingError:
    named = f" on the problems {', '.join(dict.fromkeys(ids))}" if any(ids) else ""
    return TrainingError(
        f"step {step}{named}: the loss is {loss} and its gradient's norm {norm}: training diverged; lower "
        f"learning_rate (it is {settings.learning_rate}) and run again"
    )


class Pace:
    """When the next checkpoint is due: after a minute, or as soon as it takes a small share of the time."""

    def __init__(self) -> None:
        self._saved, self._cost = time.monotonic(), 0.0

    def is_due(self) -> bool:
        wait = min(CHECKPOINT_SECONDS, max(LEAST_SECONDS, self._cost / SAVING_SHARE))
        return time.monotonic() - self._saved > wait

    @contextmanager
    def saving(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._cost = self._saved - began


def _masters(trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what the optimizer updates: the weights, or float32 copies of those in lower precision.

    In bfloat16, a step of 1e-4 on a weight of 0.1 is lost.
    """
    low = {name for name, weight in trained.items() if weight.dtype.itemsize < 4}
    return {n: weight.detach().float().requires_grad_() if n in low else weight for n, weight in trained.items()}


def _follow(trained: Mapping[str, Tensor], masters: Mapping[str, Tensor], shards: Shards | None) -> None:
    """Copy the masters' values to the weights; where they are shared out, those that compute are copies anyway."""
    if shards is not None:
        return
    copies = {name: weight for name, weight in trained.items() if masters[name] is not weight}
    if copies:
        with torch.no_grad():  # one kernel on a GPU for many weights, as AdamW and the norm take there by default
            torch._foreach_copy_(list(copies.values()), [masters[name] for name in copies])


def _rate(step: int, n_steps: int, warmup: float, schedule: Schedule = "linear") -> float:
    """Return the share of the learning rate that a step has."""
    warm = max(1, round(warmup * n_steps))
    if step < warm:
        return (step + 1) / warm
    left = (n_steps - step) / max(1, n_steps - warm)
    return {"linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left)), "constant": 1.0}[schedule]


def _groups(weights: Iterable[Tensor], decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's groups in the order of the weights: matrices decay, and vectors do not."""
    return [
        {"params": list(alike), "weight_decay": decay if decays else 0.0}
        for decays, alike in groupby(weights, key=lambda weight: weight.ndim > 1 if decay else False)
    ]


def _is_finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")
