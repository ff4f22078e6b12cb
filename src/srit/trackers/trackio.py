"""Trackio: a dashboard here, in a Space (TRACKIO_SPACE_ID), or on your own server (TRACKIO_SERVER_URL)."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

from srit.trackers import PROJECT, Point, TrackedRun, TrackerKind

if TYPE_CHECKING:
    import trackio


class Trackio:
    """A run of a project."""

    def __init__(self, run: trackio.Run) -> None:
        # Trackio finds its runs by name, so names must be unique.
        self.id, self.where, self._run = run.name, f"trackio show --project {run.project}", run

    def log(self, points: Sequence[Point]) -> None:
        """As in `Tracker`."""
        for curve, step, metrics in points:
            self._run.log({f"{curve}/{name}": value for name, value in metrics.items()}, step=step)

    def conclude(self, results: Mapping[str, float]) -> None:
        """As in `Tracker`."""
        self._run.log(dict(results), step=0)

    def end(self, *, finished: bool) -> None:
        """As in `Tracker`."""
        with redirect_stdout(StringIO()):
            self._run.finish()


def _begin(run: TrackedRun, id: str | None) -> Trackio:
    import trackio

    with redirect_stdout(StringIO()):  # standard output is for results
        begun = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=id or f"{run.name}-{uuid.uuid4().hex[:6]}",
            resume="allow",
            config=dict(run.settings),
            embed=False,
        )
    trackio.context_vars.current_run.set(None)  # otherwise it is ended, and reported, once more when the process ends
    return Trackio(begun)


TRACKER = TrackerKind("trackio", "trackio>=0.43", "trackio: a dashboard here or in a Space", _begin)
