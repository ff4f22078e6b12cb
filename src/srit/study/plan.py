"""A grid → the cost of its cells, before anything is spent; a stage that cells share is counted once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from srit.pipeline.context.teaching import samples_of, teacher_settings
from srit.pipeline.estimate import Work, dollars, duration, gpu_seconds, n_problems, seconds, teaching
from srit.pipeline.fingerprints import basis, fingerprint
from srit.pipeline.planning import plan
from srit.pipeline.stage import Stage
from srit.recipe import Recipe, TaskUse
from srit.recipe.compared import evaluated
from srit.records import Model, Split
from srit.run_directory import canonical, canonical_sum, read_manifest
from srit.stages import measured
from srit.study.cells import folder_of
from srit.study.grid import Grid, GridCell


class Planned(NamedTuple):
    """A cell and seed, and its cost in addition to earlier ones."""

    cell: str
    seed: int
    run: list[str]  # stages that would run
    shared: int  # stages that an earlier cell makes, or that a cell has made
    work: Work
    seconds: float | None  # on this machine's processor; None: the student's size is not known
    gpu_seconds: float | None  # on one GPU of 80 GB, by estimate.py's model
    dollars: float | None  # of the teacher, at most; None: the recipe has no prices


def plan_study(grid: Grid, out: Path) -> list[Planned]:
    """Plan all cells and seeds, in the order in which they would run."""
    wanted = [(cell, number) for number in range(len(grid.study.seeds)) for cell in grid.cells]
    seen = {key for cell, number in wanted for key in _done(cell, number, grid, out)}
    asked: dict[str, int] = {}
    planned = []
    for cell, number in wanted:
        recipe, seed = cell.recipes[number], grid.study.seeds[number]
        every = {key: stage for stage, key in symbols(recipe) if not stage.auxiliary}
        new = {key: stage for key, stage in every.items() if key not in seen}
        works = [_work(stage, recipe, asked) for stage in new.values()]
        seen.update(new)
        planned.append(
            Planned(
                cell=cell.name,
                seed=seed,
                run=[str(stage.name) for stage in new.values()],
                shared=len(every) - len(new),
                work=Work(*map(sum, zip(*works, strict=True))) if works else Work(),
                seconds=_sum(seconds(work, recipe) for work in works),
                gpu_seconds=_sum(gpu_seconds(work, recipe) for work in works),
                dollars=dollars(works, recipe),
            )
        )
    return planned


def symbols(recipe: Recipe) -> list[tuple[Stage, str]]:
    """Return the stages of a run, each with a fingerprint of its settings; no data and no weights are read.

    Equal symbols mean the same work. Unequal ones may turn out to be the same too: outputs can be equal by content.
    """
    student = canonical_sum([recipe.student.model, recipe.student.revision])
    sums: dict[str, str] = {}
    found = []
    for stage in measured(recipe):
        mark = fingerprint(basis(stage, {name: sums[name] for name in stage.inputs}, student, None, sources={}))
        for number, output in enumerate(stage.outputs):
            made_from = _problems(recipe, output) if stage.name.product == "problems" else [mark, number]
            sums[output] = canonical_sum(made_from)
        found.append((stage, mark))
    return found


def _problems(recipe: Recipe, output: str) -> object:
    """Return what decides the problems of one file, so cells that differ only in other tasks share the file."""
    parts = {f"problems/{part}.jsonl": getattr(recipe.tasks, part) for part in ("train", "refine", "dev")}
    parts |= {f"problems/evaluate-{task.place}.jsonl": (task.use,) for task in evaluated(recipe)}
    split = "test" if output.startswith("problems/evaluate-") else "dev" if output.endswith("dev.jsonl") else "train"
    return [split, recipe.tasks.seed, [use.model_dump() for use in parts[output]]]


def _done(cell: GridCell, number: int, grid: Grid, out: Path) -> Iterator[str]:
    folder = folder_of(out, cell, grid.study.seeds[number])
    if not read_manifest(folder).stages:
        return
    recipe = cell.recipes[number]
    for (_, key), (_, reason) in zip(symbols(recipe), plan(folder, recipe, measured), strict=True):
        if not reason:
            yield key


def _work(stage: Stage, recipe: Recipe, asked: dict[str, int]) -> Work:
    """Return the work as `Stage.work` does, without questions that an earlier cell asks the same teacher."""
    if stage.name.product == "demonstrations":
        limit = recipe.demonstrations.limit
        new = sum(_new(use, "train", limit, recipe, asked) for use in recipe.tasks.train)
        return teaching(recipe, samples_of(recipe.teacher) * new)
    if stage.name.model == Model("teacher"):
        uses = [task.use for task in evaluated(recipe) if task.place == stage.name.task]
        return teaching(recipe, sum(_new(use, "test", None, recipe, asked) for use in uses))
    return stage.work(recipe)


def _new(use: TaskUse, split: Split, limit: int | None, recipe: Recipe, asked: dict[str, int]) -> int:
    key = str(canonical([teacher_settings(recipe), use.model_dump(), split, recipe.tasks.seed]))
    n = n_problems(use, split)
    n = n if limit is None else min(limit, n)
    new = max(0, n - asked.get(key, 0))
    asked[key] = max(n, asked.get(key, 0))
    return new


def _sum(values: Iterator[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def summary(planned: list[Planned]) -> Iterator[str]:
    """Yield a line for each cell, and then the total cost."""
    for p in planned:
        what = f"run {len(p.run)} stages, {p.shared} shared or done" if p.run else "nothing to do"
        parts = [what, p.work.summary(), "" if p.seconds is None else duration(p.seconds)]
        parts += ["" if not p.dollars else f"at most ${p.dollars:.2f}"]
        yield f"{p.cell}, seed {p.seed}: {'; '.join(part for part in parts if part)}"
    total = Work(*map(sum, zip(*(p.work for p in planned), strict=True)))
    yield f"in all: {sum(len(p.run) for p in planned)} stages; {total.summary() or 'nothing to do'}"
    times = (
        (_sum(iter(p.seconds for p in planned)), "this machine's processor"),
        (_sum(iter(p.gpu_seconds for p in planned)), "one GPU of 80 GB (docs/studies.md has the model)"),
    )
    for time, where in times:
        yield f"{duration(time)} on {where}" if time is not None else f"time on {where} unknown: see student.model"
    if any(p.dollars for p in planned):
        yield f"teacher: at most ${sum(p.dollars or 0 for p in planned):.2f}"
