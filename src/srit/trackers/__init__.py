"""Experiment trackers, which receive a run's settings, its curves and its results: one file for each.

The field is `report_to`, and the names are those of transformers and TRL. Their callbacks are not used: they record the
defaults of a TrainingArguments that no training here had as the run's settings, and start a run for each training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

from srit.errors import MachineError
from srit.installing import pip_install
from srit.kinds import TRACKERS, Finding

PROJECT = "srit"  # unless the tracker's own environment variable names another

Setting = str | int | float | bool


class Point(NamedTuple):
    """The metrics of one step of a training."""

    curve: str  # the training, such as "round-1/refined"
    step: int  # from 0
    metrics: Mapping[str, float]


class TrackedRun(NamedTuple):
    """A run as a tracker sees it."""

    folder: Path
    name: str
    settings: Mapping[str, Setting]  # of the recipe, by dotted names


class Tracker(Protocol):
    """An open run in a tracker. Any of its functions may raise any error of the tracker's own."""

    id: str  # by which the tracker finds the run again
    where: str  # where a user finds it: an address, or a command

    def log(self, points: Sequence[Point]) -> None:
        """Take steps of trainings; a step may arrive more than once."""
        ...

    def conclude(self, results: Mapping[str, float]) -> None:
        """Take the run's results, replacing earlier ones."""
        ...

    def end(self, *, finished: bool) -> None:
        """Close the run, and record in the tracker whether it was completed."""
        ...


@dataclass(frozen=True)
class TrackerKind:
    """Everything that srit needs to know about a tracker."""

    module: str  # under which it is imported
    package: str  # that provides it, with the versions that work, in pip's form
    about: str
    begin: Callable[[TrackedRun, str | None], Tracker]  # continues the run with that id if there is one

    def doctor(self) -> Sequence[Finding]:
        """Return its line in `srit doctor`."""
        there = find_spec(self.module) is not None
        return [Finding(there, f"report_to {self.about}", "installed" if there else pip_install(f"'{self.package}'"))]


def installed(names: Sequence[str]) -> dict[str, TrackerKind]:
    """Return the trackers with these names.

    Raises:
        MachineError: one is not installed.
        RecipeError: there is no such tracker.
    """
    kinds = {name: TRACKERS.find(name, TrackerKind) for name in names}
    for name, kind in kinds.items():
        if missing := [finding.found for finding in kind.doctor() if not finding.ok]:
            raise MachineError(f"report_to: {name} is not installed: {missing[0]}, or set report_to=none")
    return kinds


def findings(names: Sequence[str]) -> Iterator[Finding]:
    """Yield a line for each of these trackers; errors as in `installed`."""
    yield from (Finding(True, f"report_to {name}", "installed") for name in installed(names))
