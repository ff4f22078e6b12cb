"""The stages of a run: what each is made from, and how.

`stages(recipe)` declares them; `run_stages` makes those whose fingerprint is not the recorded one.
A fingerprint covers the stage's settings, version, seeds, the content of every input, inside the run and outside, and,
where they are used, the student's weights, its tokenizer and how it is computed: what changed is made again, and only
that. Equal fingerprints are the same work, in whichever run: runs that share a folder take it from each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from srit.compute.plan import ComputePlan
from srit.errors import DataError, SritError, TooFewPairs, TrainingError
from srit.machine.precision import begun_way, resolved
from srit.pipeline.begun import begin_revisions, begin_way, kept_way, pinned
from srit.pipeline.environment import environment
from srit.pipeline.fingerprints import basis, begun_elsewhere, changed_outputs, difference, fingerprint, mixed_versions
from srit.pipeline.job import UNSETTLED, Job, Progress, Shared, Stage, Tell
from srit.recipe import Recipe
from srit.run_directory import Json, Run, StageEntry, is_whole, read_manifest, recorded_sum, write_bytes
from srit.students.loading import identity


class Plan(NamedTuple):
    """Whether a stage would run, and why."""

    stage: Stage
    reason: str  # "" if it is done


def plan(folder: Path, recipe: Recipe) -> list[Plan]:
    """What would run in a run directory, without making anything."""
    manifest = read_manifest(folder)
    recipe = pinned(recipe, manifest.revisions)
    student, entries = identity(recipe.student), manifest.stages
    way = begun_way(recipe, kept_way(manifest, recipe, student))
    if way is not None:
        recipe = resolved(recipe, way)
    from srit.stages import stages

    redone: set[str] = set()
    plans = []
    for stage in stages(recipe):
        reason, again = _reason(folder, stage, entries, student, way, redone)
        redone.update(again)
        if not reason and (n := _unsettled(entries[stage.name])):
            reason = f"{n} question{'s' if n > 1 else ''} {UNSETTLED}"  # what is made from it may stay
        plans.append(Plan(stage, reason))
    return plans


def _reason(
    folder: Path,
    stage: Stage,
    entries: Mapping[str, StageEntry],
    student: str,
    way: ComputePlan | None,
    redone: set[str],
) -> tuple[str, Iterable[str]]:
    """Why a stage would run, and which of its outputs may then be others."""
    entry = entries.get(stage.name)
    if entry is None:
        return "not made yet", stage.outputs
    if changed := sorted(redone.intersection(stage.inputs)):
        return f"made from {changed[0]}, which is made again", stage.outputs
    made_from = basis(stage, {name: recorded_sum(entries, name) for name in stage.inputs}, student, way)
    if entry.fingerprint != fingerprint(made_from):
        return difference(made_from, entry), changed_outputs(stage, made_from, entry)
    return ("", ()) if is_whole(folder, entry) else ("a file of it is missing or damaged", stage.outputs)


def versions_line(folder: Path, planned: Sequence[Plan]) -> str:
    """What a run would mix, in a line: stages that other versions computed, and those that it would make."""
    again = any(stage.computes for stage, reason in planned if reason)
    kept = [stage for stage, reason in planned if not reason]
    return mixed_versions(read_manifest(folder).stages, kept) if again else ""


def run_stages(job: Job, only: str | None = None) -> list[str]:
    """Makes what is not done, and returns the names of the stages made.

    Args:
        only: one of `PARTS`: these stages and what they need; None: all.
    """
    student = identity(job.recipe.student)
    made: list[str] = []
    kept: list[Stage] = []
    from srit.stages import needed, stages

    wanted = stages(job.recipe) if only is None else needed(job.recipe, only)
    for stage in wanted:
        sums = {name: recorded_sum(job.run.manifest.stages, name) for name in stage.inputs}
        made_from = basis(stage, sums, student, job.known_way)
        mark = fingerprint(made_from)
        done = job.run.is_done(stage.name, mark)
        reopened = done and _unsettled(job.run.manifest.stages[stage.name]) > 0
        if not reopened and (done or _taken(job, stage, mark)):
            job.run.clear(stage.name)
            _given(job, stage, mark)
            kept.append(stage)
            continue
        if stage.computes and (line := mixed_versions(job.run.manifest.stages, kept)):
            job.tell(f"WARN {line}")
            kept.clear()  # told once
        started = time.monotonic()
        try:
            counts = _made(job, stage, mark)
        except SritError as error:
            if not reopened:
                raise
            job.tell(f"WARN {stage.name}: {error}; what was made before holds")
            continue
        seconds = round(time.monotonic() - started, 1)
        entry = StageEntry(
            fingerprint=mark,
            **made_from,
            outputs=job.run.sums(stage.outputs),
            counts=counts,
            seconds=seconds,
            environment=environment(),
        )
        job.run.commit(stage.name, entry)
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


def _unsettled(entry: StageEntry) -> int:
    """Questions that a finished stage had no answer to: the same command asks them again."""
    return int(entry.counts.get(UNSETTLED, 0))


def _made(job: Job, stage: Stage, mark: str) -> dict[str, Json]:
    """Makes a stage's outputs, and returns its counts."""
    if job.shared is not None and mark in job.shared.failed:
        raise job.shared.failed[mark]
    job.tell(f"{stage.name} …")
    partial = job.run.partial(stage.name, mark)
    if stage.computes and (line := begun_elsewhere(partial)):
        job.tell(f"WARN {line}")
    try:
        return dict(stage.make(job, partial))
    except (DataError, TrainingError) as error:
        if job.shared is not None and not isinstance(error, TooFewPairs):
            # Of the same inputs it would come again, perhaps after hours; too few pairs hang on how they are made.
            job.shared.failed[mark] = error
        raise


@contextmanager
def open_run(
    folder: Path,
    recipe: Recipe,
    *,
    progress: Progress,
    tell: Tell,
    shared: Shared | None = None,
    only: str | None = None,
) -> Iterator[Job]:
    """A run directory opened for a recipe, which is written into it, its student's precision decided.

    Args:
        shared: as for Job; its runs compute the same student in the same way.
        only: as for `run_stages`; stages that compute nothing with the student need no weights of it.
    """
    with closing(Run(folder)) as run:
        recipe = pinned(recipe, begin_revisions(run, recipe, shared))
        way = _way_for(recipe, run, shared, only)
        if way is not None:
            tell(f"     {recipe.student.model} computes in {way.line}")
            tell(f"ok   {way.proof}")
            if way.warning:
                tell(f"WARN {way.warning}")
            recipe = resolved(recipe, way)
        write_bytes(folder / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).encode())
        yield Job(run, recipe, way=way, progress=progress, tell=tell, shared=shared)


def _way_for(recipe: Recipe, run: Run, shared: Shared | None, only: str | None) -> ComputePlan | None:
    """The student's way, which is found out where a wanted stage computes with it."""
    from srit.stages import needed, stages

    wanted = stages(recipe) if only is None else needed(recipe, only)
    if recipe.teacher.kind == "local" or any(stage.computes for stage in wanted):
        return begin_way(run, recipe, shared)
    return begun_way(recipe, kept_way(run.manifest, recipe, identity(recipe.student)))


def _line(counts: Mapping[str, Json]) -> str:
    return ", ".join(f"{name} {value}" for name, value in counts.items() if isinstance(value, (int, float, bool)))
