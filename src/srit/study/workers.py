"""Cells side by side, each in a process of its own; what several of them need is made by one, and the others wait.

The teacher is asked before, by the process that was started: answers that are paid for have one writer, and a Ctrl-C
still takes those that are on their way.
"""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srit.pipeline.begun import Shared
from srit.pipeline.engines import Machines, working
from srit.pipeline.running import open_run, run_stages
from srit.pipeline.stage import Stage
from srit.printable import printable
from srit.recipe import Recipe
from srit.records import Model
from srit.stages import measured
from srit.study.cells import Attempt, Failure, Turn, run_cell
from srit.study.records import DoneRun
from srit.watching import Event, Line, Watch, as_line, headed


@dataclass(frozen=True, slots=True)
class _Nothing:
    """A worker loads what a cell needs when it needs it."""

    def build(self) -> None:
        """Build nothing."""


@dataclass(frozen=True, slots=True)
class CellWork:
    """Whole cells as work for an engine; bytes are pickled outcomes."""

    out: Path
    attempt: Attempt
    source: _Nothing = _Nothing()

    def chunk(self, built: None, turn: Turn) -> bytes:
        """Run a cell in its folder, or go on with it."""

        def said(event: Event) -> None:  # no progress: several cells would write over each other
            if (line := as_line(event)) is not None:
                print(printable(f"{turn.heading}: {line}"), file=sys.stderr, flush=True)

        shared, alone = Shared(self.out, {}, crowded=True), Machines(workers=1)
        return pickle.dumps(self.attempt(partial(run_cell, turn, shared, alone, said)))


def side_by_side(
    turns: Sequence[Turn], shared: Shared, machines: Machines, attempt: Attempt, watch: Watch
) -> Iterator[tuple[Turn, DoneRun | Failure]]:
    """Run cells by workers of this machine, and yield what came out of each, in any order.

    Raises:
        MachineError: a cell ended worker after worker, or none could be started; all others were yielded.
    """
    taught: dict[str, Turn] = {}
    for turn in turns:
        watch(Line(turn.heading))
        failure = attempt(partial(_teach, turn, shared, headed(turn.heading, watch)))
        if failure is None:
            taught[f"{turn.cell.name}, seed {turn.seed}"] = turn
        else:
            yield turn, failure
    if not taught:
        return
    locks = shared.folder / "locks"
    some = machines._replace(workers=min(machines.workers or 1, len(taught)))
    with working(some, turns[0].recipe, lambda line: watch(Line(line))) as engine:
        for key, data in engine.map(CellWork(shared.folder, attempt), taught):
            yield taught[key], pickle.loads(data)
    shutil.rmtree(locks, ignore_errors=True)


def _teach(turn: Turn, shared: Shared, watch: Watch) -> None:
    """Make what a cell needs of its teacher."""
    with open_run(turn.folder(shared.folder), turn.recipe, _asking, watch=watch, shared=shared) as opened:
        run_stages(opened)


def _asking(recipe: Recipe) -> list[Stage]:
    """Return the stages that ask the teacher, and all that they need."""
    wanted: set[str] = set()
    found = []
    for stage in reversed(measured(recipe)):
        asks = stage.name.product == "demonstrations" or stage.name.model == Model("teacher")
        if asks or wanted.intersection(stage.outputs):
            wanted.update(stage.inputs, stage.after)
            found.append(stage)
    return found[::-1]
