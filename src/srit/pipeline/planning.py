"""Finds what a run would make, and why, without making anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from srit.compute.plan import ComputePlan
from srit.machine.precision import begun_compute_plan, resolved
from srit.pipeline.begun import kept_way, pinned
from srit.pipeline.environment import environment
from srit.pipeline.fingerprints import basis, changed_outputs, difference, fingerprint, input_sums, mixed_versions
from srit.pipeline.stage import UNSETTLED, Stage, StageName
from srit.recipe import Recipe
from srit.run_directory import StageEntry, is_whole, read_manifest
from srit.students.loading import identity

DAMAGED = "one of its files is missing or damaged"
NEEDS_SPENT = "needs a file that was removed after its use"


class Plan(NamedTuple):
    """Whether a stage would run, and why."""

    stage: Stage
    reason: str  # "" if it is done, or is auxiliary and nothing waits for it


def plan(folder: Path, recipe: Recipe, declare: Callable[[Recipe], Sequence[Stage]]) -> list[Plan]:
    """Return what would run in a run directory.

    Args:
        declare: a recipe's stages in order, such as `stages.stages`.
    """
    manifest = read_manifest(folder)
    recipe = pinned(recipe, manifest.revisions)
    student = identity(recipe.student)
    way = begun_compute_plan(recipe, kept_way(manifest, recipe, student))
    if way is not None:
        recipe = resolved(recipe, way)
    stages = declare(recipe)
    again: set[StageName] = set()
    while True:
        plans = _plans(folder, stages, manifest.stages, student, way, again)
        makers = makers_of_spent(folder, stages, {one.stage.name for one in plans if one.reason})
        if not (new := {maker.name for maker in makers} - {one.stage.name for one in plans if one.reason}):
            return _without_idle(plans)
        again |= new


def _plans(
    folder: Path,
    stages: Sequence[Stage],
    entries: Mapping[str, StageEntry],
    student: str,
    way: ComputePlan | None,
    again: Collection[StageName],
) -> list[Plan]:
    """Return whether each stage would run, as if all auxiliary ones were waited for.

    Args:
        again: stages that make again what was spent.
    """
    redone: set[str] = set()
    plans = []
    for stage in stages:
        reason, changed = _reason(folder, stage, entries, student, way, redone)
        if not reason and stage.name in again:
            reason, changed = f"a later stage {NEEDS_SPENT}", stage.outputs
        redone.update(changed)
        if not reason and (n := unsettled(entries[str(stage.name)])):
            reason = f"{n} question{'s' if n > 1 else ''} {UNSETTLED}"  # stages made from it stay valid
        plans.append(Plan(stage, reason))
    return plans


def makers_of_spent(folder: Path, stages: Sequence[Stage], wanted: Collection[StageName]) -> list[Stage]:
    """Return the stages, in order, that have to make again what was spent, so that the wanted ones can be made.

    Args:
        stages: of the run, in order.
    """
    needed: set[str] = set()
    found: list[Stage] = []
    for stage in reversed(stages):
        is_maker = not needed.isdisjoint(stage.outputs)
        if is_maker:
            found.insert(0, stage)
        if is_maker or stage.name in wanted:
            needed.update(name for name in stage.spends if not (folder / name).exists())
    return found


def _reason(
    folder: Path,
    stage: Stage,
    entries: Mapping[str, StageEntry],
    student: str,
    way: ComputePlan | None,
    redone: set[str],
) -> tuple[str, Iterable[str]]:
    """Say why a stage would run, and which of its outputs may then change."""
    entry = entries.get(str(stage.name))
    if entry is None:
        return "not made yet", stage.outputs
    if changed := sorted(redone.intersection(stage.inputs)):
        return f"made from {changed[0]}, which is made again", stage.outputs
    made_from = basis(stage, input_sums(stage, entries), student, way)
    if entry.fingerprint != fingerprint(made_from):
        return difference(made_from, entry), changed_outputs(stage, made_from, entry)
    return ("", ()) if is_whole(folder, entry) else (DAMAGED, stage.outputs)


def _without_idle(plans: Sequence[Plan]) -> list[Plan]:
    """Clear the reasons of auxiliary stages for which no stage waits, unless their files are damaged."""
    found: list[Plan] = []
    for one in reversed(plans):
        waiting = {str(later.stage.name) for later in found if later.reason}
        later = dependents(one.stage, [other.stage for other in found])
        idle = one.stage.auxiliary and one.reason != DAMAGED and not any(str(stage.name) in waiting for stage in later)
        found.insert(0, one._replace(reason="") if idle else one)
    return found


def dependents(stage: Stage, later: Sequence[Stage]) -> list[Stage]:
    """Return the stages that wait for a stage, directly or through auxiliary ones."""
    found: list[Stage] = []
    for other in later:
        if not set(stage.outputs).isdisjoint((*other.inputs, *other.after)):
            found += dependents(other, later) if other.auxiliary else [other]
    return found


def unsettled(entry: StageEntry) -> int:
    """Return how many questions of a finished stage got no answer: the same command asks them again."""
    return int(entry.counts.get(UNSETTLED, 0))


def versions_line(folder: Path, planned: Sequence[Plan]) -> str:
    """Say in one line what a run would mix: stages that other versions computed, and those that it would make."""
    again = any(stage.computes for stage, reason in planned if reason)
    entries = read_manifest(folder).stages
    kept = [stage for stage, reason in planned if not reason and str(stage.name) in entries]
    return mixed_versions(entries, kept, environment()) if again else ""
