"""The training loop of both stages: AdamW, a schedule, and checkpoints that survive a kill.

The number of a step seeds its randomness, so a run that resumes from a checkpoint ends in the same bits as one that was
never stopped.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from srit.compute.device import LESS_AT_ONCE, reporting_memory
from srit.errors import TrainingError
from srit.recipe import Optimization, Schedule
from srit.run_directory import write_bytes
from srit.stopping import delayed_stop
from srit.training.distributed.world import ALONE, World
from srit.training.gradients import Gradients, gradients_of

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

CHECKPOINT_SECONDS = 60.0  # the work that a kill may cost
# Where a checkpoint takes little time, one is written more often, so that a stage of seconds survives kills too: they
# take 2 % of the time at most.
LEAST_SECONDS = 1.0
SAVING_SHARE = 0.02

Metrics = dict[str, float]
Progress = Callable[[int, int, Metrics], None]  # steps that are done, their total, and the last one's metrics

_log = logging.getLogger(__name__)


class Leg(NamedTuple):
    """Which part of a training this is: all parts share one optimizer and one schedule."""

    number: int = 1  # from 1
    of: int = 1
    before: Path | None = None  # the optimizer's state at the end of the part before; None: it begins
    after: Path | None = None  # where to write that of this part; None: nothing goes on from here


WHOLE = Leg()


def seed_torch(text: str) -> None:
    """Seed torch with a text, so that random numbers do not depend on what the process did before."""
    torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]))


def order(n: int, *, seed: str, epoch: int) -> list[int]:
    """Return a permutation of range(n) that depends on seed and epoch alone."""
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
        checkpoints: the folder of this training alone.
        progress: called after each step.
        problems: the ids of those that a step learns from, for messages.
        leg: the schedule is that of a training whose parts all have as many steps as this one.
        world: the processes that train together. All take the same steps; the one that leads has the files, and the
            weights that they start from.

    Returns:
        One dict per step: what `accumulate` returned, "step", "grad_norm" and "learning_rate".

    Raises:
        TrainingError: a loss or gradient is not finite; the newest checkpoint stays as it is.
    """
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    weights = _masters(trained)
    gradients = gradients_of(trained, weights, world)
    optimizer = torch.optim.AdamW(_groups(weights.values(), settings.weight_decay), lr=settings.learning_rate)
    if world.leads:
        _begin(optimizer, weights, leg)
    done, total = (leg.number - 1) * n_steps, leg.of * n_steps
    schedule = LambdaLR(optimizer, lambda step: _rate(done + step, total, settings.warmup, settings.schedule))
    history = _continue(checkpoints, weights, optimizer, schedule, world)
    _follow(trained, weights)
    pace = Pace()
    try:
        for step in range(len(history), n_steps):
            seed_torch(f"{seed}/{step}")
            with reporting_memory("a training step", LESS_AT_ONCE):
                metrics = accumulate(step, gradients)
            gradients.hand_over()
            norm = torch.nn.utils.clip_grad_norm_(weights.values(), settings.clip).item()
            if not all(map(_is_finite, (metrics["loss"], norm))):
                raise _diverged(step, metrics["loss"], norm, settings, problems(step))
            rate = float(schedule.get_last_lr()[0])
            with delayed_stop():  # a step is taken whole or not at all
                optimizer.step()
                _follow(trained, weights)
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                history.append({"step": float(step), **metrics, "grad_norm": norm, "learning_rate": rate})
            progress(step + 1, n_steps, history[-1])
            if world.leads and step + 1 < n_steps and pace.is_due():
                with pace.saving():
                    _save(checkpoints, _checkpoint(weights, optimizer, schedule, history), len(history))
    except KeyboardInterrupt:
        if world.leads and history:
            _save(checkpoints, _checkpoint(weights, optimizer, schedule, history), len(history))
        raise
    if world.leads and leg.after is not None:
        masters = {name: weight for name, weight in weights.items() if weight is not trained[name]}
        write_bytes(leg.after, _state(optimizer, weights, masters))
    return history


def _diverged(step: int, loss: float, norm: float, settings: Optimization, ids: Sequence[str]) -> TrainingError:
    named = f" on the problems {', '.join(dict.fromkeys(ids))}" if any(ids) else ""
    return TrainingError(
        f"step {step}{named}: the loss is {loss} and its gradient's norm {norm}: training diverged; lower "
        f"learning_rate (it is {settings.learning_rate}) and run again"
    )


def _state(optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor], masters: Mapping[str, Tensor]) -> bytes:
    """Return all that the next part of a training needs besides the saved model."""
    kept = {f"{name}/weight": master.detach() for name, master in masters.items()}
    for name, weight in weights.items():
        kept |= {f"{name}/{moment}": value for moment, value in optimizer.state[weight].items()}
    return save({name: value.cpu().contiguous() for name, value in kept.items()})


def _begin(optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor], leg: Leg) -> None:
    """Put weights and optimizer where the part before left them."""
    if leg.before is None:
        return
    kept = load(leg.before.read_bytes())
    with torch.no_grad():
        for name in [name for name in weights if f"{name}/weight" in kept]:
            weights[name].copy_(kept.pop(f"{name}/weight"))
    moments: dict[str, dict[str, Tensor]] = {}
    for name, value in kept.items():
        of, _, moment = name.rpartition("/")
        moments.setdefault(of, {})[moment] = value
    state = {index: moments[name] for index, name in enumerate(weights) if name in moments}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


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


def _follow(trained: Mapping[str, Tensor], masters: Mapping[str, Tensor]) -> None:
    """Copy the masters' values to the weights."""
    with torch.no_grad():
        for name, weight in trained.items():
            if masters[name] is not weight:
                weight.copy_(masters[name])


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


def _continue(
    folder: Path,
    weights: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: LambdaLR,
    world: World,
) -> list[Metrics]:
    """Continue from the newest undamaged checkpoint; every process from what the first one has."""
    data = next(_whole_checkpoints(folder), None) if world.leads else None
    if world.size > 1:
        data = world.from_leader(data or (_checkpoint(weights, optimizer, schedule, []) if world.leads else None))
    if data is None:
        return []
    state = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(state["weights"][name])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    history: list[Metrics] = state["history"]
    return history


def _checkpoint(
    weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, schedule: LambdaLR, history: Sequence[Metrics]
) -> bytes:
    """Return all that the next step depends on."""
    buffer = io.BytesIO()
    state = {
        "weights": {name: weight.detach() for name, weight in weights.items()},
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "history": list(history),
    }
    torch.save(state, buffer)
    return buffer.getvalue()


def _save(folder: Path, state: bytes, n_steps: int) -> None:
    # The name contains the sum: that of a truncated or changed file no longer matches.
    write_bytes(folder / f"{n_steps:08d}-{hashlib.sha256(state).hexdigest()}.pt", state)
    for old in sorted(folder.glob("*.pt"))[:-2]:
        old.unlink()


def _whole_checkpoints(folder: Path) -> Iterator[bytes]:
    """Yield undamaged checkpoints, newest first."""
    for path in sorted(folder.glob("*.pt"), reverse=True):
        data = path.read_bytes()
        if path.stem.partition("-")[2] == hashlib.sha256(data).hexdigest():
            yield data
        else:
            _log.warning("the checkpoint after step %d is damaged, and one before it is used", int(path.stem[:8]))
