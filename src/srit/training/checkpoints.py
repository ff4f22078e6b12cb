"""Everything that a training's next step depends on, as files: whole weights, however they are sharded."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from srit.run_directory import write_bytes
from srit.training import CHECKPOINTS
from srit.training.distributed.world import World

if TYPE_CHECKING:
    from srit.training.distributed.sharding import Shards

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """A process's part of a training."""

    weights: Mapping[str, Tensor]  # what the optimizer updates, by name
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    world: World
    shards: Shards | None = None  # if the process has a shard of each weight

    def resume(self, folder: Path, before: Path | None) -> list[dict[str, float]]:
        """Continue from the newest undamaged checkpoint; every process uses the first one's.

        Args:
            before: what `end` wrote for the previous part, used if there is no checkpoint; None: this is the first.

        Returns:
            The metrics of the steps taken so far.
        """
        data = next(_whole_checkpoints(folder), None) if self.world.leads else None
        state = None if data is None else _read(data)
        if state is None and self.world.leads and (before is not None or self.world.size > 1):
            state = self._begun(before)
        if self.shards is not None:
            state = self.shards.own_state(state)
        elif self.world.size > 1:
            state = _read(self.world.from_leader(None if state is None else _written(state)))
        if state is None:
            return []
        with torch.no_grad():
            for name, weight in state["weights"].items():
                self.weights[name].copy_(weight)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        history: list[dict[str, float]] = state["history"]
        return history

    def save(self, folder: Path, history: Sequence[dict[str, float]]) -> None:
        """Write a checkpoint; every process that has shards of the weights calls this."""
        state = self._whole(history)
        if self.world.leads:
            _save(folder, _written(state), len(history))

    def end(self, path: Path, kept: Sequence[str]) -> None:
        """Write everything that the next part of a training needs besides the saved model; called like `save`.

        Args:
            kept: names of the weights that the saved model has in lower precision.
        """
        state = self._whole([])
        moments = state["optimizer"]["state"]
        found = {f"{name}/weight": state["weights"][name] for name in kept}
        for index, name in enumerate(self.weights):
            found |= {f"{name}/{moment}": value for moment, value in moments.get(index, {}).items()}
        if self.world.leads:
            write_bytes(path, save({name: value.cpu().contiguous() for name, value in found.items()}))

    def _whole(self, history: Sequence[dict[str, float]]) -> dict[str, Any]:
        state = {
            "weights": {name: weight.detach() for name, weight in self.weights.items()},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": list(history),
        }
        return state if self.shards is None else self.shards.whole_state(state)

    def _begun(self, before: Path | None) -> dict[str, Any]:
        """Return the state of whole weights before the first step; shards have been sent with the model."""
        kept = {} if before is None else load(before.read_bytes())
        weights = {} if self.shards else {name: weight.detach() for name, weight in self.weights.items()}
        moments: dict[str, dict[str, Tensor]] = {}
        for place, value in kept.items():
            name, _, moment = place.rpartition("/")
            if moment == "weight":
                weights[name] = value
            else:
                moments.setdefault(name, {})[moment] = value
        state = {index: moments[name] for index, name in enumerate(self.weights) if name in moments}
        return {
            "weights": weights,
            "optimizer": {**self.optimizer.state_dict(), "state": state},
            "schedule": self.schedule.state_dict(),
            "history": [],
        }


def _written(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _read(data: bytes) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    return state


def _save(folder: Path, state: bytes, n_steps: int) -> None:
    # The name contains the sum: that of a truncated or changed file no longer matches.
    write_bytes(folder / f"{n_steps:08d}-{hashlib.sha256(state).hexdigest()}.pt", state)
    for old in sorted(folder.glob(CHECKPOINTS))[:-2]:
        old.unlink()


def _whole_checkpoints(folder: Path) -> Iterator[bytes]:
    """Yield undamaged checkpoints, newest first."""
    for path in sorted(folder.glob(CHECKPOINTS), reverse=True):
        data = path.read_bytes()
        if path.stem.partition("-")[2] == hashlib.sha256(data).hexdigest():
            yield data
        else:
            _log.warning("the checkpoint after step %d is damaged; using an earlier one", int(path.stem[:8]))
