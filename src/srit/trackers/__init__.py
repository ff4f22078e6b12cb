"""Trackers of experiments, which are told a run's settings, its curves and its results: one file for each.

The field is `report_to`, and the names are those of transformers and TRL. Their callbacks are not used: they keep the
defaults of a TrainingArguments that no training here had as the run's settings, and begin a run for each training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

from srit.errors import MachineError
from srit.kinds import TRACKERS, Finding

PROJECT = "srit"  # unless the tracker's own environment variable names another

Setting = str | int | float | bool


class Point(NamedTuple):
    """The figures of one step of a training."""

    curve: str  # the training, such as "round-1/refined"
    step: int  # from 0
    metrics: Mapping[str, float]


class TrackedRun(NamedTuple):
    """A run as a tracker is told of it."""

    folder: Path
    name: str
    settings: Mapping[str, Setting]  # of the recipe, by dotted names


class Tracker(Protocol):
    """A run in a tracker, open. Any of its functions may raise any error of the tracker's own."""

    id: str  # by which the tracker finds the run again
    where: str  # where a person finds it: an address, or a command

    def log(self, points: Sequence[Point]) -> None:
        """Take steps of trainings; one that came before may come again."""
        ...

    def conclude(self, results: Mapping[str, float]) -> None:
        """Take the run's results in place of earlier ones."""
        ...

    def end(self, *, finished: bool) -> None:
        """Close the run, and say in the tracker whether it came to its end."""
        ...


@dataclass(frozen=True)
class TrackerKind:
    """All that srit has to know of a tracker."""

    module: str  # that it is imported as
    package: str  # that brings it, with the versions that work, as pip takes it
    about: str
    begin: Callable[[TrackedRun, str | None], Tracker]  # goes on with the run of that id if there is one

    def doctor(self) -> Sequence[Finding]:
        """Return its line of `srit doctor`."""
        there = find_spec(self.module) is not None
        return [Finding(there, f"report_to {self.about}", "installed" if there else f"pip install '{self.package}'")]


def installed(names: Sequence[str]) -> dict[str, TrackerKind]:
    """Return the trackers of these names.

    Raises:
        MachineError: one is not installed.
        RecipeError: there is none of that name.
    """
    kinds = {name: TRACKERS.find(name, TrackerKind) for name in names}
    for name, kind in kinds.items():
        if missing := [finding.found for finding in kind.doctor() if not finding.ok]:
            raise MachineError(f"report_to: {name} is not installed: {missing[0]}, or set report_to=none")
    return kinds


def findings(names: Sequence[str]) -> Iterator[Finding]:
    """Yield a line for each of these trackers; errors as in `installed`."""
    yield from (Finding(True, f"report_to {name}", "installed") for name in installed(names))
