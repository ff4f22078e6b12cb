"""The stages of a run: what each is made from, and how.

`stages(recipe)` declares them; `run_stages` makes those whose fingerprint is not the recorded one.
A fingerprint covers the stage's settings, version, seeds, the student's weights and the content of
every input: what changed is made again, and only that.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from srit.precision import resolved, way_of
from srit.recipe import Recipe
from srit.run import Json, Run, canonical, is_whole, read_manifest, recorded_sum, write_bytes
from srit.stages.evaluation import accepted_stage, models, predictions_stage, results_stage, teacher_predictions_stage
from srit.stages.job import Job, Progress, Stage, Tell
from srit.stages.sampling import completions_stage, pairs_stage
from srit.stages.teaching import demonstrations_stage, problems_stage
from srit.stages.training import control_stage, instructed_stage, refined_stage
from srit.students import identity


class Plan(NamedTuple):
    """Whether a stage would run, and why."""

    stage: Stage
    reason: str  # "" if it is done


def stages(recipe: Recipe) -> list[Stage]:
    """Every stage of a run, in order."""
    declared = [problems_stage(recipe), demonstrations_stage(recipe), instructed_stage(recipe)]
    for number in range(1, recipe.rounds + 1):
        declared += [completions_stage(recipe, number), pairs_stage(recipe, number), refined_stage(recipe, number)]
        declared += [accepted_stage(recipe, number)]
    declared += [control_stage(recipe, control) for control in recipe.controls]
    for model, folder in models(recipe).items():
        declared += [predictions_stage(recipe, model, folder, use) for use in recipe.tasks.evaluate]
    if recipe.evaluate.teacher:
        declared += [teacher_predictions_stage(recipe, use) for use in recipe.tasks.evaluate]
    return [*declared, results_stage(recipe)]


def plan(folder: Path, recipe: Recipe) -> list[Plan]:
    """What would run in a run directory, without making anything."""
    manifest = read_manifest(folder)
    if kept := manifest.get("way"):
        recipe = resolved(recipe, way_of(recipe, kept))
    student, entries = identity(recipe.student), manifest["stages"]
    redone: set[str] = set()
    plans = []
    for stage in stages(recipe):
        reason = _reason(folder, stage, entries, student, redone)
        if reason:
            redone.update(stage.outputs)
        plans.append(Plan(stage, reason))
    return plans


def _reason(folder: Path, stage: Stage, entries: Mapping[str, Any], student: str, redone: set[str]) -> str:
    entry = entries.get(stage.name)
    if entry is None:
        return "not made yet"
    if changed := sorted(redone.intersection(stage.inputs)):
        return f"made from {changed[0]}, which is made again"
    sums = {name: recorded_sum(entries, name) for name in stage.inputs}
    if entry["fingerprint"] != fingerprint(stage, sums, student):
        return "its settings changed"
    return "" if is_whole(folder, entry) else "a file of it is missing or damaged"


def fingerprint(stage: Stage, input_sums: Mapping[str, str], student: str) -> str:
    """Of all that goes into a stage's outputs."""
    made_from = [stage.name, stage.version, stage.settings, dict(input_sums), student]
    return hashlib.sha256(canonical(made_from)).hexdigest()


def run_stages(job: Job, only: str | None = None) -> list[str]:
    """Makes what is not done, and returns the names of the stages made.

    Args:
        only: stop behind the last stage of this name or folder, such as "instructed".
    """
    student = identity(job.recipe.student)
    made = []
    wanted = stages(job.recipe)
    if only is not None:
        last = max(index for index, stage in enumerate(wanted) if _belongs(stage.name, only))
        wanted = wanted[: last + 1]
    for stage in wanted:
        sums = {name: recorded_sum(job.run.manifest["stages"], name) for name in stage.inputs}
        mark = fingerprint(stage, sums, student)
        if job.run.is_done(stage.name, mark):
            continue
        job.tell(f"{stage.name} …")
        started = time.monotonic()
        counts = dict(stage.make(job, job.run.partial(stage.name, mark)))
        seconds = round(time.monotonic() - started, 1)
        entry = {"fingerprint": mark, "inputs": sums, "settings": stage.settings, "counts": counts, "seconds": seconds}
        job.run.commit(stage.name, entry, stage.outputs)
        made.append(stage.name)
        job.tell(f"{stage.name} done in {seconds:.0f} s  {_line(counts)}")
    return made


@contextmanager
def held(folder: Path, recipe: Recipe, *, progress: Progress, tell: Tell) -> Iterator[Job]:
    """A run directory opened for a recipe, which is written into it, its student's precision decided."""
    run = Run(folder)
    way = way_of(recipe, run.manifest.get("way"))
    run.manifest["way"] = way._asdict()
    tell(f"     {recipe.student.model} computes in {way.line}")
    recipe = resolved(recipe, way)
    write_bytes(folder / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).encode())
    yield Job(run, recipe, shared_rows=way.shared, progress=progress, tell=tell)


def _belongs(stage: str, wanted: str) -> bool:
    return stage == wanted or wanted in stage.split("/")


def _line(counts: Mapping[str, Json]) -> str:
    return ", ".join(f"{name} {value}" for name, value in counts.items() if isinstance(value, (int, float, bool)))
