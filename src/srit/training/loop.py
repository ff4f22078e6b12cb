"""The loop that both stages train with: AdamW, linear schedule, checkpoints that survive a kill.

A step's randomness is seeded by its number, so a run that goes on from a checkpoint ends in the same
bits as one that was never stopped.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch

from srit.errors import TrainingError
from srit.recipe import Optimization
from srit.run_directory import write_bytes

CHECKPOINT_SECONDS = 60.0  # of work that a kill may cost

Metrics = dict[str, float]


def seed_torch(text: str) -> None:
    """Luck that depends on the text alone, whatever the process did before."""
    torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]))


def order(n: int, *, seed: str, epoch: int) -> list[int]:
    """A permutation that depends on seed and epoch alone."""
    indices = list(range(n))
    Random(f"{seed}/{epoch}").shuffle(indices)
    return indices


def steps_of(n: int, settings: Optimization, seed: str) -> list[list[int]]:
    """Which examples each step of all epochs takes."""
    size = settings.batch_size
    shuffled = [order(n, seed=seed, epoch=epoch) for epoch in range(settings.epochs)]
    return [epoch[start : start + size] for epoch in shuffled for start in range(0, n, size)]


def steps_up_to(n_tokens: int, sizes: Sequence[int], settings: Optimization, seed: str) -> list[list[int]]:
    """As `steps_of`, over as many epochs as it takes, up to the step with which `n_tokens` are reached.

    Args:
        sizes: tokens of each example.
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
    model: Any,
    accumulate: Callable[[int], Metrics],
    *,
    n_steps: int,
    settings: Optimization,
    seed: str,
    checkpoints: Path,
    progress: Callable[[int, int], None],
) -> list[Metrics]:
    """Takes `n_steps` optimizer steps, from the newest whole checkpoint if there is one.

    Args:
        model: its parameters that require a gradient are trained, in place.
        accumulate: adds one step's gradient and returns what to log of it; its "loss" must be there.
        checkpoints: folder of this training alone.
        progress: told how many steps of how many are done.

    Returns:
        One dict a step: what `accumulate` returned, "step", "grad_norm" and "learning_rate".

    Raises:
        TrainingError: a loss or gradient is not finite; the newest checkpoint stays as it is.
    """
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    weights = _masters(trained)
    optimizer = torch.optim.AdamW(weights.values(), lr=settings.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, n_steps, settings.warmup))
    history = _restore(checkpoints, weights, optimizer, schedule)
    _follow(trained, weights)
    saved = time.monotonic()
    for step in range(len(history), n_steps):
        seed_torch(f"{seed}/{step}")
        metrics = accumulate(step)
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), settings.clip).item()
        if not all(map(_is_finite, (metrics["loss"], norm))):
            raise TrainingError(
                f"step {step}: the loss is {metrics['loss']} and its gradient's norm {norm}: training diverged; "
                f"lower learning_rate (it is {settings.learning_rate}) and run again"
            )
        rate = float(schedule.get_last_lr()[0])
        optimizer.step()
        _follow(trained, weights)
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        history.append({"step": float(step), **metrics, "grad_norm": norm, "learning_rate": rate})
        progress(step + 1, n_steps)
        if time.monotonic() - saved > CHECKPOINT_SECONDS and step + 1 < n_steps:
            _save(checkpoints, weights, optimizer, schedule, history)
            saved = time.monotonic()
    return history


def _masters(trained: Mapping[str, Any]) -> dict[str, Any]:
    """What the optimizer moves: the weights, or float32 copies of those that are less precise.

    A step of 1e-4 to a weight of 0.1 is lost in bfloat16. Gradients go to the copies as they come, so that those of
    a step's batches are added up in float32.
    """
    masters = {}
    for name, weight in trained.items():
        masters[name] = weight
        if weight.dtype.itemsize < 4:
            masters[name] = weight.detach().float().requires_grad_()
            weight.register_post_accumulate_grad_hook(partial(_hand_over, masters[name]))
    return masters


def _hand_over(master: Any, weight: Any) -> None:
    gradient = weight.grad.float()
    master.grad = gradient if master.grad is None else master.grad.add_(gradient)
    weight.grad = None


def _follow(trained: Mapping[str, Any], masters: Mapping[str, Any]) -> None:
    """The weights take over their masters' values."""
    with torch.no_grad():
        for name, weight in trained.items():
            if masters[name] is not weight:
                weight.copy_(masters[name])


def _rate(step: int, n_steps: int, warmup: float) -> float:
    warm = max(1, round(warmup * n_steps))
    return (step + 1) / warm if step < warm else (n_steps - step) / max(1, n_steps - warm)


def _is_finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")


def _save(folder: Path, weights: Any, optimizer: Any, schedule: Any, history: Sequence[Metrics]) -> None:
    buffer = io.BytesIO()
    state = {
        "weights": {name: weight.detach() for name, weight in weights.items()},
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "history": list(history),
    }
    torch.save(state, buffer)
    data = buffer.getvalue()
    # The sum stands in the name: a file that was cut or changed is not its own name any more.
    name = f"{len(history):08d}-{hashlib.sha256(data).hexdigest()}.pt"
    write_bytes(folder / name, data)
    for old in sorted(folder.glob("*.pt"))[:-2]:
        old.unlink()


def _restore(folder: Path, weights: Any, optimizer: Any, schedule: Any) -> list[Metrics]:
    for data in _whole_checkpoints(folder):
        state = torch.load(io.BytesIO(data), weights_only=True)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        history: list[Metrics] = state["history"]
        return history
    return []


def _whole_checkpoints(folder: Path) -> Iterator[bytes]:
    """Newest first; a damaged one is passed over for the one before it."""
    for path in sorted(folder.glob("*.pt"), reverse=True):
        data = path.read_bytes()
        if path.stem.partition("-")[2] == hashlib.sha256(data).hexdigest():
            yield data
