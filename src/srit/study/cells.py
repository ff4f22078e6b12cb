"""A grid → runs/ and study.json: every cell run or gone on with, a failing one told of and left behind."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from srit.compared import in_results, tuned_on
from srit.errors import DataError, RecipeError
from srit.pipeline.begun import Shared
from srit.pipeline.environment import environment
from srit.pipeline.reports import Progress, Report
from srit.pipeline.running import open_run, run_stages
from srit.recipe import Recipe
from srit.run_directory import Json, Run, read_manifest, write_bytes, write_json
from srit.stages import measured
from srit.study.figures import FORMAT
from srit.study.grid import Cell, Grid
from srit.study.outcomes import outcome, study_bytes


class Failure(NamedTuple):
    """Why a cell could not be run."""

    kind: str  # name of the error's class
    exit_code: int
    reason: str


# Does a piece of work; what goes wrong with it and is meant for a person comes back, the rest is raised.
Attempt = Callable[[Callable[[], Json]], "Json | Failure"]


def run_study(grid: Grid, out: Path, *, attempt: Attempt, progress: Progress, tell: Report) -> int:
    """Runs what is not done of a study, and writes study.json and timings.json after each cell.

    Seeds are outermost: the whole grid is there once before any cell is repeated.

    Returns:
        Exit code: 0 when every cell is done, or else that of the first one which failed.

    Raises:
        RecipeError: the folder has a study.json, and nothing that it was made from.
    """
    study = grid.study
    if (out / "study.json").exists() and not (out / "runs").exists():
        raise RecipeError(f"{out}: a study that was run elsewhere is kept here: choose another --out")
    found = _earlier(grid, out)
    wanted = [(cell, number) for number in range(len(study.seeds)) for cell in grid.cells]
    exit_code = 0
    shared = Shared(out, {})
    with closing(Run(out)):
        for done, (cell, number) in enumerate(wanted):
            seed = study.seeds[number]
            told = f"[{done + 1}/{len(wanted)}] {cell.name}, seed {seed}"
            tell(told)
            ran = attempt(partial(_run_cell, cell, number, seed, shared, told, progress, tell))
            if isinstance(ran, Failure):
                exit_code = exit_code or ran.exit_code
                reason = re.sub(rf"(?<![\w./-]){re.escape(str(out))}/", "STUDY/", ran.reason)
                tell(f"{told}: failed: {reason}")
                ran = {"status": "failed", "kind": ran.kind, "exit_code": ran.exit_code, "reason": reason}
            found[cell.name, seed] = ran
            write_bytes(out / "study.json", study_bytes(study_record(grid, found)))
            write_json(out / "timings.json", _timings(grid, out))
    return exit_code


def _earlier(grid: Grid, out: Path) -> dict[tuple[str, int], Json]:
    """What study.json already says of cells that are still the same, until each is come to again."""
    try:
        known = json.loads((out / "study.json").read_bytes())
        same = known["format"] == FORMAT and known["study"]["recipe"] == json.loads(json.dumps(grid.base))
        same = same and known["study"]["problems_by_seed"] == grid.study.problems_by_seed
        cells = {cell["cell"]: cell for cell in known["cells"]} if same else {}
        found: dict[tuple[str, int], Json] = {}
        for cell in grid.cells:
            there = cells.get(cell.name, {})
            if json.loads(json.dumps(_described(cell))).items() <= there.items():
                runs = {run.pop("seed"): run for run in there["runs"]}
                found |= {(cell.name, seed): runs[seed] for seed in grid.study.seeds if seed in runs}
        return {place: run for place, run in found.items() if run["status"] == "done"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # none, or a damaged one, which is written anew


def folder_of(out: Path, cell: Cell, seed: int) -> Path:
    """The run directory of a cell and seed."""
    return out / "runs" / cell.folder / f"seed-{seed}"


def _run_cell(cell: Cell, number: int, seed: int, shared: Shared, told: str, progress: Progress, tell: Report) -> Json:
    folder, recipe = folder_of(shared.folder, cell, seed), cell.recipes[number]

    def in_grid(what: str, done: int, total: int) -> None:
        progress(f"{told}: {what}", done, total)

    def indented(line: str) -> None:
        tell(f"  {line}")

    with open_run(folder, recipe, measured, progress=in_grid, report=indented, shared=shared) as opened:
        run_stages(opened)
    return {"status": "done", **outcome(folder, recipe)}


def study_record(grid: Grid, found: dict[tuple[str, int], Json]) -> Json:
    """All of study.json; cells that have not been tried are "waiting"."""
    study = grid.study
    return {
        "format": FORMAT,
        "study": {
            **study.model_dump(mode="json", include={"name", "about", "seeds", "problems_by_seed", "axes"}),
            "recipe": grid.base,
            "claims": [claim.model_dump(mode="json") for claim in study.claims],
        },
        "cells": [
            {
                **_described(cell),
                "runs": [{"seed": seed, **found.get((cell.name, seed), {"status": "waiting"})} for seed in study.seeds],
            }
            for cell in grid.cells
        ],
    }


def _described(cell: Cell) -> dict[str, Any]:
    recipe: Recipe = cell.recipes[0]
    return {
        "cell": cell.name,
        "labels": cell.labels,
        "changes": cell.changes,
        "instructed_on": sorted(in_results(recipe, recipe.tasks.train)),
        "refined_on": sorted(in_results(recipe, recipe.tasks.refine or recipe.tasks.train)),
        "tuned_on": sorted(tuned_on(recipe)),
        "rounds": recipe.rounds,
        "student": recipe.student.model,
    }


def _timings(grid: Grid, out: Path) -> Json:
    """Seconds of every stage where it was made, and what else differs between machines."""
    runs: dict[str, Json] = {}
    for cell in grid.cells:
        for seed in grid.study.seeds:
            try:
                stages = read_manifest(folder_of(out, cell, seed)).stages
            except DataError:  # of that cell alone, which has failed with it
                stages = {}
            runs[f"{cell.name}, seed {seed}"] = {
                name: {"seconds": entry.seconds, "shared": entry.shared} for name, entry in stages.items()
            }
    made = [stage["seconds"] for stages in runs.values() for stage in stages.values() if not stage["shared"]]
    return {"environment": environment(), "runs": runs, "stages made": len(made), "seconds": round(sum(made), 1)}
