"""A grid → runs/ and study.json: every cell is run or resumed; one that fails is reported, and the rest continue."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from srit.errors import DataError, RecipeError
from srit.pipeline.begun import Shared
from srit.pipeline.engines import HERE, Machines
from srit.pipeline.environment import environment
from srit.recipe.compared import in_results, tuned_on
from srit.run_directory import Json, Run, read_manifest, write_bytes, write_json
from srit.run_directory.mirror import mirror_of
from srit.run_directory.mirror.mark import read_mark
from srit.study.cells import Attempt, Failure, Turn, fetch, folder_of, run_cell
from srit.study.grid import Grid, GridCell
from srit.study.records import (
    FORMAT,
    CellRecord,
    DoneRun,
    FailedRun,
    GridRecord,
    RunRecord,
    StudyRecord,
    WaitingRun,
    as_read,
    read_study_record,
    study_bytes,
)
from srit.watching import Line, Watch, headed

_Found = Mapping[tuple[str, int], RunRecord]  # by cell and seed


def run_study(
    grid: Grid,
    out: Path,
    *,
    attempt: Attempt,
    watch: Watch,
    machines: Machines = HERE,
    mirror: str | None = None,
) -> int:
    """Run the unfinished part of a study, and write study.json and timings.json after each cell.

    Seeds are outermost: the whole grid runs once before any cell is repeated.

    Args:
        watch: receives every event; stages and their progress are headed by the cell.
        machines: with several workers, or on a cluster, cells run side by side.
        mirror: a folder on object storage, as for `api.run`.

    Returns:
        The exit code: 0 when every cell is done, otherwise that of the first one that failed.

    Raises:
        RecipeError: the folder has a study.json, but none of the runs that it was made from.
    """
    if (out / "study.json").exists() and not (out / "runs").exists() and read_mark(out) is None:
        raise RecipeError(
            f"{out}: this folder holds the results of a study that was run elsewhere: choose another --out"
        )

    def report(line: str) -> None:
        watch(Line(line))

    turns = _turns(grid)
    exit_codes: dict[str, int] = {}  # of those that failed, by heading
    with closing(Run(out, mirror_of(out, mirror, report))) as run:
        found = _earlier(grid, out)
        fetch(turns, out, report)
        for turn, ran in _ran(turns, Shared(out, {}, mirror=run.mirror), machines, attempt, watch):
            if isinstance(ran, Failure):
                exit_codes[turn.heading] = ran.exit_code
                reason = re.sub(rf"(?<![\w./-]){re.escape(str(out))}/", "STUDY/", ran.reason)
                watch(Line(f"{turn.heading}: failed: {reason}"))
                row: RunRecord = FailedRun(seed=turn.seed, kind=ran.kind, exit_code=ran.exit_code, reason=reason)
            else:
                row = ran
            found[turn.cell.name, turn.seed] = row
            write_bytes(out / "study.json", study_bytes(study_record(grid, found)))
            write_json(out / "timings.json", _timings(grid, out))
    return next((exit_codes[turn.heading] for turn in turns if turn.heading in exit_codes), 0)


def _turns(grid: Grid) -> list[Turn]:
    """Return every cell with every seed; seeds are outermost."""
    seeds = grid.study.seeds
    wanted = [(cell, number) for number in range(len(seeds)) for cell in grid.cells]
    return [
        Turn(f"[{place}/{len(wanted)}] {cell.name}, seed {seeds[number]}", cell, number, seeds[number])
        for place, (cell, number) in enumerate(wanted, start=1)
    ]


def _ran(
    turns: Sequence[Turn], shared: Shared, machines: Machines, attempt: Attempt, watch: Watch
) -> Iterator[tuple[Turn, DoneRun | Failure]]:
    """Run cells one after another or side by side, and yield their outcomes."""
    if (machines.on != HERE.on or (machines.workers or 1) > 1) and len(turns) > 1:
        from srit.study.workers import side_by_side

        yield from side_by_side(turns, shared, machines, attempt, watch)
        return
    for turn in turns:
        watch(Line(turn.heading))
        yield turn, attempt(partial(run_cell, turn, shared, machines, headed(turn.heading, watch)))


def _earlier(grid: Grid, out: Path) -> dict[tuple[str, int], RunRecord]:
    """Return what study.json already says about unchanged cells, which holds until their turn comes."""
    try:
        known = read_study_record(out / "study.json")
    except DataError:
        return {}  # there is none, or it is damaged and will be rewritten
    wanted = as_read(study_record(grid, {}))
    same = (known.study.recipe, known.study.problems_by_seed) == (wanted.study.recipe, wanted.study.problems_by_seed)
    described = {cell.cell: replace(cell, runs=()) for cell in wanted.cells} if same else {}
    return {
        (cell.cell, run.seed): run
        for cell in known.cells
        if described.get(cell.cell) == replace(cell, runs=())
        for run in cell.done()
        if run.seed in grid.study.seeds
    }


def study_record(grid: Grid, found: _Found) -> StudyRecord:
    """Return all of study.json; cells that have not been tried are waiting."""
    study = grid.study
    described = GridRecord(
        name=study.name,
        about=study.about,
        seeds=study.seeds,
        problems_by_seed=study.problems_by_seed,
        axes=study.axes,
        recipe=grid.base,
        claims=tuple(claim.record() for claim in study.claims),
    )
    cells = tuple(
        _described(cell, [found.get((cell.name, seed), WaitingRun(seed=seed)) for seed in study.seeds])
        for cell in grid.cells
    )
    return StudyRecord(FORMAT, described, cells)


def _described(cell: GridCell, runs: Sequence[RunRecord]) -> CellRecord:
    recipe = cell.recipes[0]
    return CellRecord(
        cell=cell.name,
        labels=cell.labels,
        changes=cell.changes,
        instructed_on=tuple(sorted(in_results(recipe, recipe.tasks.train))),
        refined_on=tuple(sorted(in_results(recipe, recipe.tasks.refine or recipe.tasks.train))),
        tuned_on=tuple(sorted(tuned_on(recipe))),
        rounds=recipe.rounds,
        student=recipe.student.model,
        runs=tuple(runs),
    )


def _timings(grid: Grid, out: Path) -> Json:
    """Return the seconds of every stage where it was made, and whatever else differs between machines."""
    runs: dict[str, Json] = {}
    for cell in grid.cells:
        for seed in grid.study.seeds:
            try:
                stages = read_manifest(folder_of(out, cell, seed)).stages
            except DataError:  # of that cell, which failed because of it
                stages = {}
            runs[f"{cell.name}, seed {seed}"] = {
                name: {"seconds": entry.seconds, "shared": entry.shared} for name, entry in stages.items()
            }
    made = [stage["seconds"] for stages in runs.values() for stage in stages.values() if not stage["shared"]]
    return {"environment": environment(), "runs": runs, "stages made": len(made), "seconds": round(sum(made), 1)}
