"""Weights & Biases: its server, your own, or files on this machine (WANDB_MODE=offline)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srit.errors import MachineError
from srit.trackers import PROJECT, Point, TrackedRun, TrackerKind

if TYPE_CHECKING:
    import wandb


class Wandb:
    """A run of a project."""

    def __init__(self, run: wandb.Run) -> None:
        self.id, self._run = run.id, run
        self.where = f"wandb sync {Path(run.dir).parent}" if run.offline else run.url or ""
        self._curves: set[str] = set()

    def log(self, points: Sequence[Point]) -> None:
        """As in `Tracker`."""
        for curve, step, metrics in points:
            if curve not in self._curves:  # each training has its own steps; those of a W&B run must not go back
                self._run.define_metric(f"{curve}/*", step_metric=f"{curve}/step")
                self._curves.add(curve)
            self._run.log({f"{curve}/step": step} | {f"{curve}/{name}": value for name, value in metrics.items()})

    def conclude(self, results: Mapping[str, float]) -> None:
        """As in `Tracker`."""
        self._run.summary.update(dict(results))

    def end(self, *, finished: bool) -> None:
        """As in `Tracker`."""
        self._run.finish(exit_code=0 if finished else 1)


def _begin(run: TrackedRun, id: str | None) -> Wandb:
    import wandb

    # wandb.init would ask for a key on a terminal, which nobody may be watching.
    if wandb.setup().settings.mode not in ("offline", "dryrun", "disabled") and not wandb.login(prompt=False):
        raise MachineError("no key: run wandb login once, set WANDB_API_KEY, or keep it here with WANDB_MODE=offline")
    return Wandb(
        wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", run.name),
            id=id or uuid.uuid4().hex[:8],
            resume="allow",
            config=dict(run.settings),
            settings=wandb.Settings(silent=True, console="off"),
        )
    )


TRACKER = TrackerKind("wandb", "wandb>=0.31", "wandb: Weights & Biases", _begin)
