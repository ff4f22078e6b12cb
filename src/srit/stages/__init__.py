"""The stages of a run: what each is made from, and how.

`stages(recipe)` declares them; `run_stages` makes those whose fingerprint is not the recorded one.
A fingerprint covers the stage's settings, version, seeds, the content of every input and, where they are used,
the student's weights: what changed is made again, and only that. Equal fingerprints are the same work, in
whichever run: runs that share a folder take it from each other.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from srit.errors import DataError, SritError, TrainingError, YieldError
from srit.precision import Way, resolved, way_of
from srit.recipe import Recipe
from srit.run import Json, Run, canonical, is_whole, read_manifest, recorded_sum, write_bytes, write_json
from srit.stages.evaluation import (
    accepted_stage,
    models,
    options_stage,
    predictions_stage,
    results_stage,
    scored,
    teacher_predictions_stage,
)
from srit.stages.job import UNSETTLED, Job, Progress, Shared, Stage, Tell, rounds_of
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
        declared += [options_stage(recipe, model, folder, use) for who, use in scored(recipe) if who == model]
    if recipe.evaluate.teacher:
        declared += [teacher_predictions_stage(recipe, use) for use in recipe.tasks.evaluate]
    return [*declared, results_stage(recipe)]


# What can be made without the rest of a run; of several rounds, that of every round.
PARTS: Mapping[str, Callable[[Recipe], list[Stage]]] = {
    "demonstrations": lambda recipe: [demonstrations_stage(recipe)],
    "instructed": lambda recipe: [instructed_stage(recipe)],
    "completions": lambda recipe: [completions_stage(recipe, number) for number in rounds_of(recipe)],
    "pairs": lambda recipe: [pairs_stage(recipe, number) for number in rounds_of(recipe)],
    "refined": lambda recipe: [refined_stage(recipe, number) for number in rounds_of(recipe)],
    "results": lambda recipe: [results_stage(recipe)],
}


def needed(recipe: Recipe, part: str) -> list[Stage]:
    """The stages of one of `PARTS` and all that these are made from, in order."""
    wanted = {stage.name for stage in PARTS[part](recipe)}
    inputs: set[str] = set()
    found = []
    for stage in reversed(stages(recipe)):
        if stage.name in wanted or inputs.intersection(stage.outputs):
            inputs.update(stage.inputs)
            found.append(stage)
    return found[::-1]


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
        elif n := _unsettled(entries[stage.name]):
            reason = f"{n} question{'s' if n > 1 else ''} {UNSETTLED}"  # what is made from it may stay
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
    """Of all that goes into a stage's outputs.

    Args:
        student: hash of the weights; left out where the stage does not use them.
    """
    weights = student if stage.uses_student else None
    made_from = [stage.work or stage.name, stage.version, stage.settings, dict(input_sums), weights]
    return hashlib.sha256(canonical(made_from)).hexdigest()


def run_stages(job: Job, only: str | None = None) -> list[str]:
    """Makes what is not done, and returns the names of the stages made.

    Args:
        only: one of `PARTS`: these stages and what they need; None: all.
    """
    student = identity(job.recipe.student)
    made = []
    wanted = stages(job.recipe) if only is None else needed(job.recipe, only)
    for stage in wanted:
        sums = {name: recorded_sum(job.run.manifest["stages"], name) for name in stage.inputs}
        mark = fingerprint(stage, sums, student)
        done = job.run.is_done(stage.name, mark)
        reopened = done and _unsettled(job.run.manifest["stages"][stage.name]) > 0
        if not reopened and (done or _taken(job, stage, mark)):
            job.run.clear(stage.name)
            _given(job, stage, mark)
            continue
        started = time.monotonic()
        try:
            counts = _made(job, stage, mark)
        except SritError as error:
            if not reopened:
                raise
            job.tell(f"WARN {stage.name}: {error}; what was made before holds")
            continue
        seconds = round(time.monotonic() - started, 1)
        entry = {"fingerprint": mark, "inputs": sums, "settings": stage.settings, "counts": counts, "seconds": seconds}
        job.run.commit(stage.name, entry, stage.outputs)
        _given(job, stage, mark, anew=reopened)
        made.append(stage.name)
        job.tell(f"{stage.name} done in {seconds:.0f} s  {_line(counts)}")
    return made


def _taken(job: Job, stage: Stage, mark: str) -> bool:
    """Whether a run beside this one has done the same work; its outputs are then here as well."""
    if job.shared is None or not job.run.adopt(stage.name, stage.outputs, job.shared.folder / "pool" / mark):
        return False
    job.tell(f"{stage.name} taken from a run that made the same")
    return True


def _given(job: Job, stage: Stage, mark: str, *, anew: bool = False) -> None:
    if job.shared is not None:
        job.run.share(stage.name, stage.outputs, job.shared.folder / "pool" / mark, anew=anew)


def _unsettled(entry: Mapping[str, Any]) -> int:
    """Questions that a finished stage had no answer to: the same command asks them again."""
    return int(entry.get("counts", {}).get(UNSETTLED, 0))


def _made(job: Job, stage: Stage, mark: str) -> dict[str, Json]:
    """Makes a stage's outputs, and returns its counts."""
    if job.shared is not None and mark in job.shared.failed:
        raise job.shared.failed[mark]
    job.tell(f"{stage.name} …")
    try:
        return dict(stage.make(job, job.run.partial(stage.name, mark)))
    except (DataError, TrainingError) as error:
        if job.shared is not None and not isinstance(error, YieldError):
            # Of the same inputs it would come again, perhaps after hours; too few pairs hang on how they are made.
            job.shared.failed[mark] = error
        raise


@contextmanager
def held(
    folder: Path, recipe: Recipe, *, progress: Progress, tell: Tell, shared: Shared | None = None
) -> Iterator[Job]:
    """A run directory opened for a recipe, which is written into it, its student's precision decided.

    Args:
        shared: as for Job; its runs compute the same student in the same way.
    """
    with closing(Run(folder)) as run:
        way = _way(run, recipe, shared)
        tell(f"     {recipe.student.model} computes in {way.line}")
        recipe = resolved(recipe, way)
        write_bytes(folder / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).encode())
        yield Job(run, recipe, way=way, progress=progress, tell=tell, shared=shared)


def _way(run: Run, recipe: Recipe, shared: Shared | None) -> Way:
    """As the run began, or those that it shares its work with; kept for both."""
    kept = run.manifest.get("way")
    if shared is not None:
        place, student = shared.folder / "ways.json", recipe.student
        known = json.loads(place.read_bytes()) if place.exists() else {}
        of_student = f"{student.model} {student.revision} {student.tuning} {student.dtype}"
        kept = known.setdefault(of_student, way_of(recipe, known.get(of_student, kept))._asdict())
        write_json(place, known)
    way = way_of(recipe, kept)
    run.manifest["way"] = way._asdict()
    return way


def _line(counts: Mapping[str, Json]) -> str:
    return ", ".join(f"{name} {value}" for name, value in counts.items() if isinstance(value, (int, float, bool)))
