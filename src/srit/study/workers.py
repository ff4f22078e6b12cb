"""Runs cells side by side, each in its own process; what several need is made by one, while the others wait.

The main process asks the teacher beforehand, so paid answers have one writer, and a Ctrl-C still receives those in
flight. On a cluster, the processes and all files stay on this machine; the cluster's machines compute chunks and train.
"""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srit.compute.mapping import NOTHING, Engine, Nothing
from srit.pipeline.begun import Shared
from srit.pipeline.context.reports import Report
from srit.pipeline.engines import HERE, Machines, working
from srit.pipeline.engines.processes import Processes
from srit.pipeline.engines.ray import Cluster, cluster_for, used
from srit.pipeline.engines.ray.canary import Canary, CanaryWork
from srit.pipeline.engines.sharing import SharingEngine
from srit.pipeline.running import open_run, run_stages
from srit.pipeline.stage import Stage
from srit.printable import printable
from srit.recipe import Recipe, Student
from srit.records import Model
from srit.run_directory import canonical_sum
from srit.stages import measured
from srit.study.cells import Attempt, Failure, Turn, made_cell, mirror_of_cell, run_cell
from srit.study.records import DoneRun
from srit.watching import Event, Line, Watch, as_line, headed


@dataclass(frozen=True, slots=True)
class CellWork:
    """Whole cells as work for an engine; the bytes are pickled outcomes."""

    out: Path
    attempt: Attempt
    cluster: Cluster | None  # whose machines compute and train; None: the cell's process
    source: Nothing = NOTHING

    def chunk(self, built: None, turn: Turn) -> bytes:
        """Run or resume a cell in its folder."""

        def said(event: Event) -> None:  # no progress: several cells would write over each other
            if (line := as_line(event)) is not None:
                print(printable(f"{turn.heading}: {line}"), file=sys.stderr, flush=True)

        shared = Shared(self.out, {}, crowded=True)
        if self.cluster is None:
            return pickle.dumps(self.attempt(partial(run_cell, turn, shared, Machines(workers=1), said)))
        return pickle.dumps(self.attempt(partial(_run_on, self.cluster, turn, shared, said)))


def _run_on(cluster: Cluster, turn: Turn, shared: Shared, watch: Watch) -> DoneRun:
    """Run a cell with a cluster's machines."""
    student = turn.recipe.student
    canary = Canary(CanaryWork(student), _locks(shared) / f"canary-{_digest(student)}.json")
    with used(cluster, canary, lambda line: watch(Line(line))) as (engine, trainers):
        return made_cell(turn, shared, engine, trainers, watch)


def _digest(student: Student) -> str:
    return canonical_sum(student.model_dump(mode="json"))[:16]


def _locks(shared: Shared) -> Path:
    return shared.folder / "locks"


def side_by_side(
    turns: Sequence[Turn], shared: Shared, machines: Machines, attempt: Attempt, watch: Watch
) -> Iterator[tuple[Turn, DoneRun | Failure]]:
    """Run cells with workers on this machine or on a cluster, and yield their outcomes, in any order.

    Raises:
        MachineError: a cell ended worker after worker, or none could be started; all others were yielded.
    """

    def report(line: str) -> None:
        watch(Line(line))

    taught: dict[str, Turn] = {}
    shutil.rmtree(_locks(shared), ignore_errors=True)  # an earlier command may have used other machines
    for turn in turns:
        watch(Line(turn.heading))
        failure = attempt(partial(_teach, turn, shared, machines, headed(turn.heading, watch)))
        if failure is None:
            taught[f"{turn.cell.name}, seed {turn.seed}"] = turn
        else:
            yield turn, failure
    if not taught:
        return
    with _processes(machines, list(taught.values()), report) as (engine, cluster):
        for key, data in engine.map(CellWork(shared.folder, attempt, cluster), taught):
            yield taught[key], pickle.loads(data)
    shutil.rmtree(_locks(shared), ignore_errors=True)


@contextmanager
def _processes(machines: Machines, turns: Sequence[Turn], report: Report) -> Iterator[tuple[Engine, Cluster | None]]:
    """Yield processes on this machine that have a cell each, and the cluster that they use."""
    if machines.on == HERE.on:
        some = machines._replace(workers=min(machines.workers or 1, len(turns)))
        with working(some, turns[0].recipe, report) as engine:
            yield engine, None
        return
    cluster = cluster_for(len(turns), machines.workers, mixed=machines.mixed)
    processes = SharingEngine(Processes(cluster.users, cluster.threads), report)
    try:
        yield processes, cluster
    finally:
        processes.release()


def _teach(turn: Turn, shared: Shared, machines: Machines, watch: Watch) -> None:
    """Make what a cell needs from its teacher; a local teacher may use a cluster's machines."""

    def report(line: str) -> None:
        watch(Line(line))

    folder, some = turn.folder(shared.folder), machines if machines.on != HERE.on else Machines(workers=1)
    mirror = mirror_of_cell(turn, shared.folder, report)
    with (
        working(some, turn.recipe, report) as engine,
        open_run(folder, turn.recipe, _asking, watch=watch, shared=shared, engine=engine, mirror=mirror) as opened,
    ):
        run_stages(opened)


def _asking(recipe: Recipe) -> list[Stage]:
    """Return the stages that ask the teacher, and everything that they need."""
    wanted: set[str] = set()
    found = []
    for stage in reversed(measured(recipe)):
        asks = stage.name.product == "demonstrations" or stage.name.model == Model("teacher")
        if asks or wanted.intersection(stage.outputs):
            wanted.update(stage.inputs, stage.after)
            found.append(stage)
    return found[::-1]
