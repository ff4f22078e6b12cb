"""One cell of a study with one seed: where its run is, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from srit.compute.mapping import Engine
from srit.pipeline.begun import Shared
from srit.pipeline.context.reports import Report
from srit.pipeline.engines import Machines, working
from srit.pipeline.running import open_run, run_stages
from srit.pipeline.variants import share_finished
from srit.recipe import Recipe
from srit.run_directory import Mirror, Run
from srit.run_directory.mirror import mirror_of
from srit.run_directory.mirror.mark import read_mark
from srit.stages import measured
from srit.study.grid import GridCell
from srit.study.outcomes import outcome
from srit.study.records import DoneRun
from srit.tracking import told
from srit.training.distributed.trainers import AloneTrainer, Trainers
from srit.watching import Line, Watch

Result = TypeVar("Result")


class Failure(NamedTuple):
    """Why a cell could not be run."""

    kind: str  # name of the error's class
    exit_code: int
    reason: str


class Attempt(Protocol):
    """Does a piece of work; an error meant for the user is returned, any other is raised."""

    def __call__(self, work: Callable[[], Result], /) -> Result | Failure:
        """Do it."""
        ...


class Turn(NamedTuple):
    """A cell and one of the study's seeds."""

    heading: str
    cell: GridCell
    number: int  # of the seed
    seed: int

    @property
    def recipe(self) -> Recipe:
        """The recipe to run."""
        return self.cell.recipes[self.number]

    def folder(self, out: Path) -> Path:
        """Return its run directory."""
        return folder_of(out, self.cell, self.seed)


def folder_of(out: Path, cell: GridCell, seed: int) -> Path:
    """Return the run directory of a cell and seed."""
    return out / "runs" / cell.folder / f"seed-{seed}"


def mirror_of_cell(turn: Turn, out: Path, report: Report) -> Mirror:
    """Return the copy of a cell's run, which is part of the study's; none if the study has none."""
    folder, mark = turn.folder(out), read_mark(out)
    url = None if mark is None else f"{mark.url}/{folder.relative_to(out).as_posix()}"
    return mirror_of(folder, url, report)


def fetch(turns: Iterable[Turn], out: Path, report: Report) -> None:
    """Fetch what the copies have of all cells, and put it where cells with the same needs can find it."""
    if read_mark(out) is None:
        return
    for turn in turns:
        with closing(Run(turn.folder(out), mirror_of_cell(turn, out, report))) as run:
            share_finished(run, measured(turn.recipe), out)


def run_cell(turn: Turn, shared: Shared, machines: Machines, watch: Watch) -> DoneRun:
    """Run or resume a cell, and return its outcome."""
    with working(machines, turn.recipe, lambda line: watch(Line(line))) as engine:
        return made_cell(turn, shared, engine, AloneTrainer(), watch)


def made_cell(turn: Turn, shared: Shared, engine: Engine, trainers: Trainers, watch: Watch) -> DoneRun:
    """Make a cell with the given engine and trainers, and return its outcome."""
    folder, recipe = turn.folder(shared.folder), turn.recipe
    hear = told(folder, recipe, watch)
    mirror = mirror_of_cell(turn, shared.folder, lambda line: watch(Line(line)))
    with open_run(
        folder, recipe, measured, watch=hear, shared=shared, engine=engine, trainers=trainers, mirror=mirror
    ) as opened:
        run_stages(opened)
    return outcome(folder, recipe)
