"""What a run decides at its start and keeps: how its student is computed, and the commits of its hub ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from srit.compute.plan import ComputePlan
from srit.errors import SritError
from srit.machine.precision import begun_compute_plan, compute_plan_of, known_rates
from srit.pipeline.context.reports import Report
from srit.pipeline.context.teaching import models_of
from srit.pipeline.estimate import uses_of
from srit.pipeline.stage import Stage
from srit.recipe import Recipe, Student, Tasks, TaskUse
from srit.run_directory import Json, Manifest, Mirror, NoMirror, Run, file_lock, read_json, write_json
from srit.students.adapted import base_student
from srit.students.loading import commit_of, hub_name, identity
from srit.tasks.hub_data import commit_of_data, data_set_of, pinned_task


@dataclass(frozen=True, slots=True)
class Shared:
    """What several runs have in common."""

    folder: Path  # pool/: finished stages by fingerprint; teacher/: its answers
    failed: dict[str, SritError]  # stages that cannot succeed, by fingerprint: not tried again by this process
    in_vain: set[str] = field(default_factory=set)  # questions that got no answer: not asked again by this process
    crowded: bool = False  # whether other processes are working in the folder, and the teacher has already been asked
    mirror: Mirror = field(default_factory=NoMirror)  # the copy of the folder, including its answers

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Let only one of these processes at a time do something; those that waited should look again first."""
        if not self.crowded:
            yield
            return
        with file_lock(self.folder / "locks" / name):
            yield


def plan_for(
    recipe: Recipe, wanted: Sequence[Stage], run: Run, shared: Shared | None, report: Report
) -> ComputePlan | None:
    """Decide how the student is computed and report it; measure it only if a wanted stage computes with it."""
    plan = _plan_for(recipe, wanted, run, shared, report)
    if plan is not None:
        report(f"     {recipe.student.model} computes in {plan.line}")
        report(f"ok   {plan.proof}")
        if plan.warning:
            report(f"WARN {plan.warning}")
    return plan


def _plan_for(
    recipe: Recipe, wanted: Sequence[Stage], run: Run, shared: Shared | None, report: Report
) -> ComputePlan | None:
    student = identity(recipe.student)
    kept = kept_way(run.manifest, recipe, student)
    if len(models_of(recipe)) > 1 or any(stage.computes for stage in wanted):
        if kept is None and known_rates(recipe.student) is None:
            report(
                f"     measuring once which ways to compute {recipe.student.model} are correct and fast here; this "
                "takes minutes"
            )
        return _begin_way(run, recipe, shared, kept, student)
    return begun_compute_plan(recipe, kept)


def _begin_way(
    run: Run, recipe: Recipe, shared: Shared | None, kept: Mapping[str, Json] | None, student_sum: str
) -> ComputePlan:
    """Return how the student is computed, as decided when the run or those that share its work began, and keep it."""
    if shared is not None:
        place, student = shared.folder / "ways.json", recipe.student
        with shared.alone("ways"):
            known = read_json(place) if place.exists() else {}
            of_student = f"{student.model} {student.revision} {student.tuning} {student.dtype}"
            kept = known.setdefault(of_student, compute_plan_of(recipe, known.get(of_student, kept))._asdict())
            write_json(place, known)
    way = compute_plan_of(recipe, kept)
    decided = {"way": way._asdict(), "way_of": _computed_of(recipe, student_sum)}
    run.manifest = run.manifest.model_copy(update=decided)
    return way


def kept_way(manifest: Manifest, recipe: Recipe, student: str) -> Mapping[str, Json] | None:
    """Return how a run has computed its student so far, if it is still the same student."""
    same = manifest.way_of in (None, _computed_of(recipe, student))
    return manifest.way if same else None


def _computed_of(recipe: Recipe, student: str) -> Json:
    return [student, recipe.student.tuning, recipe.student.lora.model_dump(mode="json")["target_modules"]]


def begin_revisions(run: Run, recipe: Recipe, shared: Shared | None) -> dict[str, str]:
    """Return the commits that the recipe's hub ids stood for when the run, or those that share its work, began.

    A name on the hub may stand for another commit by the next stage, but an adapter fits only the weights that it was
    trained on.
    """
    begins = not run.manifest.stages
    if shared is None:
        known = _with_commits(run.manifest.revisions, recipe, begins=begins)
    else:
        place = shared.folder / "revisions.json"
        with shared.alone("revisions"):
            known = _with_commits(read_json(place) if place.exists() else run.manifest.revisions, recipe, begins=begins)
            write_json(place, known)
    run.manifest = run.manifest.model_copy(update={"revisions": known})
    return known


def _with_commits(kept: Mapping[str, str], recipe: Recipe, *, begins: bool) -> dict[str, str]:
    """Return the commits of hub ids that are kept, and those that the recipe's other hub ids stand for now.

    Args:
        begins: whether the run has no stage yet. One that an earlier version of srit began has not kept the commit of
            an adapter's base, and to fix it now would make all its stages again.
    """
    known = dict(kept)
    for model in models_of(recipe):
        _keep_commit(known, model)
    base = base_student(recipe.student)  # an adapter has been fetched by now
    if begins and base != recipe.student:
        _keep_commit(known, base)
    for data in filter(None, (data_set_of(use.task) for _, uses in uses_of(recipe) for use in uses)):
        name = f"datasets/{data.place}"
        unknown = not (data.is_local or data.revision or name in known)
        if unknown and (commit := commit_of_data(data.place)) is not None:
            known[name] = commit
    return known


def _keep_commit(known: dict[str, str], model: Student) -> None:
    if hub_name(model) not in known and (commit := commit_of(model)) is not None:
        known[hub_name(model)] = commit


def pinned(recipe: Recipe, revisions: Mapping[str, str]) -> Recipe:
    """Return the recipe with the commits of its hub ids, as far as they are known."""
    student, teacher = recipe.student, recipe.teacher
    student = student.model_copy(update={"revision": revisions.get(hub_name(student), student.revision)})
    base = base_student(student)
    if base != student and (commit := revisions.get(hub_name(base))):
        student = student.model_copy(update={"base_revision": commit})
    for model in models_of(recipe)[1:]:
        commit = revisions.get(hub_name(model), model.revision)
        teacher = teacher.model_copy(update={"revision": commit})
    return recipe.model_copy(update={"student": student, "teacher": teacher, "tasks": _pinned_tasks(recipe, revisions)})


def _pinned_tasks(recipe: Recipe, revisions: Mapping[str, str]) -> Tasks:
    sides: dict[str, tuple[TaskUse, ...]] = {
        side: tuple(use.model_copy(update={"task": pinned_task(use.task, revisions)}) for use in uses)
        for side, uses in recipe.tasks
        if side in ("train", "refine", "dev", "evaluate")
    }
    return recipe.tasks.model_copy(update=sides)
