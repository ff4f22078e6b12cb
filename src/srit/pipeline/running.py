"""Runs the stages of a recipe in order: makes those whose fingerprint differs from the recorded one.

A fingerprint covers the stage's settings, version, seeds, the content of every input, inside the run and outside, and,
if they are used, the student's weights, its tokenizer and how it is computed: only what changed is made again. Equal
fingerprints mean the same work in any run: runs that share a folder take it from each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from srit.compute.device import check_kind
from srit.compute.mapping import Engine
from srit.compute.plan import ComputePlan
from srit.errors import DataError, MachineError, SritError, TrainingError
from srit.machine.precision import resolved
from srit.pipeline.ahead import compute_ahead
from srit.pipeline.begun import Shared, begin_revisions, pinned, plan_for
from srit.pipeline.context import Chunks, Context
from srit.pipeline.context.models import Models
from srit.pipeline.context.reports import Report, Reports
from srit.pipeline.context.teaching import Teaching, earlier_limits, n_paid_for
from srit.pipeline.context.texts import Texts
from srit.pipeline.declared import Inputs, Outputs, only, only_computes
from srit.pipeline.engines.local import LocalEngine
from srit.pipeline.environment import environment_of
from srit.pipeline.fingerprints import basis, begun_elsewhere, difference, fingerprint, input_sums, mixed_versions
from srit.pipeline.looking import check_needed
from srit.pipeline.planning import NEEDS_SPENT, dependents, makers_of_spent, unsettled
from srit.pipeline.resuming import left_over
from srit.pipeline.stage import Stage, StageName, relief
from srit.pipeline.variants import share
from srit.recipe import Recipe
from srit.recipe.former import RECIPE
from srit.run_directory import Json, Mirror, Run, StageEntry, recorded_sum, write_bytes
from srit.shortages import shortage
from srit.students.loading import identity
from srit.training.distributed.trainers import AloneTrainer, Trainers
from srit.watching import Begun, Closing, Event, Kept, Made, Opened, Progressed, Taken, Watch

Declare = Callable[[Recipe], Sequence[Stage]]  # a recipe's stages in order, such as `stages.stages`


@dataclass(frozen=True)
class OpenRun:
    """A run directory opened for a recipe, and what its stages share."""

    run: Run
    recipe: Recipe  # as it is run: the student's precision and the commits of hub ids decided
    stages: Sequence[Stage]
    plan: ComputePlan | None  # how the student is computed; None: no wanted stage computes with it
    texts: Texts
    reports: Reports
    teaching: Teaching
    engine: Engine
    trainers: Trainers
    shared: Shared | None  # what the run shares with others; None: nothing
    begun: tuple[str, ...] = ()  # the stages that were made to open it

    @property
    def report(self) -> Report:
        """The function that takes each line."""
        return self.reports.report


@contextmanager
def open_run(
    folder: Path,
    recipe: Recipe,
    declare: Declare,
    *,
    watch: Watch,
    shared: Shared | None = None,
    engine: Engine | None = None,
    trainers: Trainers | None = None,
    mirror: Mirror | None = None,
) -> Iterator[OpenRun]:
    """Open a run directory for a recipe, write the recipe into it, and decide the precision of its student.

    Args:
        watch: receives every event.
        declare: returns the wanted stages. If none of them computes with the student, its weights are not needed.
        shared: what the run shares with others; they all compute the same student in the same way.
        engine: what computes chunks; None: this process.
        trainers: what trains; None: this process.
        mirror: the copy of the run directory elsewhere; None: there is none.

    Raises:
        MachineError: the folder cannot be written, or another process has it or its mirror open.
        DataError: the student cannot be used.
        SritError: the teacher or the sampler cannot be used.
    """
    with closing(Run(folder, mirror)) as run:
        reports = Reports(_checked(watch, run))
        recipe = pinned(recipe, begin_revisions(run, recipe, shared))
        computing = (engine or LocalEngine(), trainers or AloneTrainer())
        opened = _opened(run, recipe, declare(recipe), reports, shared, *computing)
        # Finding the fastest way to compute a model takes minutes; finding unusable problems takes seconds.
        begun = run_stages(replace(opened, stages=[stage for stage in opened.stages if stage.name == PROBLEMS]))
        never_made = [stage for stage in opened.stages if str(stage.name) not in run.manifest.stages]
        check_needed(recipe, never_made, answers_are_shared=shared is not None)
        plan = plan_for(recipe, opened.stages, run, shared, reports.report)
        recipe = recipe if plan is None else resolved(recipe, plan)
        write_bytes(folder / RECIPE, yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False).encode())
        watch(Opened())
        decided = _opened(run, recipe, declare(recipe), opened.reports, shared, *computing)
        try:
            yield replace(decided, plan=plan, texts=opened.texts, begun=tuple(begun))
        except BaseException:
            watch(Closing(finished=False))
            raise
        watch(Closing(finished=True))


def _checked(watch: Watch, run: Run) -> Watch:
    """Report progress as long as no other process may work on the run."""

    def checked(event: Event) -> None:
        if isinstance(event, Progressed):
            run.mirror.check()
        watch(event)

    return checked


PROBLEMS = StageName("problems")


def _opened(
    run: Run,
    recipe: Recipe,
    stages: Sequence[Stage],
    reports: Reports,
    shared: Shared | None,
    engine: Engine,
    trainers: Trainers,
) -> OpenRun:
    journal = (run.folder if shared is None else shared.folder) / "teacher/answers.jsonl"
    limits = tuple(earlier_limits(run.manifest.stages.values()))
    n_paid = n_paid_for(run.manifest.stages.values()) if shared is None else 0
    in_vain = set() if shared is None else shared.in_vain
    mirror = run.mirror if shared is None else shared.mirror  # that of the answers
    return OpenRun(
        run=run,
        recipe=recipe,
        stages=stages,
        plan=None,
        texts=Texts(recipe.student, recipe.prompt, reports.report),
        reports=reports,
        teaching=Teaching(recipe, journal, limits, in_vain, engine, mirror, reports.report, n_paid),
        engine=engine,
        trainers=trainers,
        shared=shared,
    )


def run_stages(opened: OpenRun) -> list[str]:
    """Make what is not done, and return the names of the stages made, those made to open the run included."""
    made = list(opened.begun)
    while not _went_through(opened, made):
        pass  # a stage needs what was spent: those that made it are no longer done
    return made


def _went_through(opened: OpenRun, made: list[str]) -> bool:
    """Make what is not done, and name it in `made`; return False to begin again, if a stage needs what was spent."""
    student = identity(opened.recipe.student)
    kept: list[Stage] = []
    ahead: dict[str, float] = {}  # seconds spent on chunks before their stage's turn
    for place, stage in enumerate(opened.stages):
        made_from = _made_from(opened, stage, student)
        mark = fingerprint(made_from)
        done = opened.run.is_done(str(stage.name), mark)
        reopened = done and unsettled(opened.run.manifest.stages[str(stage.name)]) > 0 and not _is_crowded(opened)
        if not reopened and (done or _taken(opened, stage, mark)):
            _keep(opened, stage)
            if done:
                opened.reports.watch(Kept(str(stage.name)))
            kept.append(stage)
            continue
        if stage.auxiliary and not _is_damaged(opened, stage, mark) and not _is_awaited(opened, place, student):
            continue
        now = environment_of(stage, opened.engine, opened.trainers)
        if stage.computes and (line := mixed_versions(opened.run.manifest.stages, kept, now)):
            opened.report(f"WARN {line}")
            kept.clear()  # reported once
        with _alone(opened, mark):
            if _is_crowded(opened) and _taken(opened, stage, mark):  # made by the process that was waited for
                _keep(opened, stage)
                kept.append(stage)
            elif _reclaimed(opened, stage):
                return False
            elif _make(opened, stage, made_from, student, ahead, reopened=reopened):
                made.append(str(stage.name))
    return True


def _reclaimed(opened: OpenRun, stage: Stage) -> bool:
    """Return whether a stage needs what was spent, and if so, record that those that made it are to make it again."""
    makers = [str(maker.name) for maker in makers_of_spent(opened.run.folder, opened.stages, {stage.name})]
    if makers:
        opened.report(f"     {stage.name} {NEEDS_SPENT}: made again from {makers[0]} on")
        opened.run.reclaim(makers)
    return bool(makers)


def _is_crowded(opened: OpenRun) -> bool:
    return opened.shared is not None and opened.shared.crowded


def _alone(opened: OpenRun, mark: str) -> AbstractContextManager[None]:
    return nullcontext() if opened.shared is None else opened.shared.alone(mark)


def _keep(opened: OpenRun, stage: Stage) -> None:
    """Leave a finished stage as it is, without its partial work and what only it needed, and share it."""
    opened.run.clear(str(stage.name))
    _given(opened, stage)
    opened.run.spend(stage.spends)


def _made_from(opened: OpenRun, stage: Stage, student: str) -> dict[str, Json]:
    return basis(stage, input_sums(stage, opened.run.manifest.stages), student, opened.plan)


def _is_damaged(opened: OpenRun, stage: Stage, mark: str) -> bool:
    """Return whether a stage that is not done was done before, and its files have changed since."""
    entry = opened.run.manifest.stages.get(str(stage.name))
    return entry is not None and entry.fingerprint == mark


def _is_awaited(opened: OpenRun, place: int, student: str) -> bool:
    """Return whether a stage that waits for an auxiliary one is not done.

    A stage that takes an input from a later stage counts as not done if that stage is not.
    """
    later = opened.stages[place + 1 :]
    found: dict[str, bool] = {}

    def waits(stage: Stage) -> bool:
        name = str(stage.name)
        if name not in found:
            makers = [
                maker for maker in later if not maker.auxiliary and not set(maker.outputs).isdisjoint(stage.inputs)
            ]
            found[name] = any(map(waits, makers)) or not _is_settled(opened, stage, student)
        return found[name]

    return any(map(waits, dependents(opened.stages[place], later)))


def _is_settled(opened: OpenRun, stage: Stage, student: str) -> bool:
    mark = fingerprint(_made_from(opened, stage, student))
    return opened.run.is_done(str(stage.name), mark) or _taken(opened, stage, mark)


def _computed_ahead(opened: OpenRun, first: Stage, student: str) -> dict[str, float]:
    """Compute the chunks of a stage and of those after it for the same model; return the seconds for each."""
    entries = opened.run.manifest.stages
    by_stage: dict[str, Sequence[Chunks]] = {}
    for stage in opened.stages[opened.stages.index(first) :]:
        if not stage.chunks or stage.name.model != first.name.model:
            continue
        mark = fingerprint(_made_from(opened, stage, student))
        ready = all(recorded_sum(entries, name) for name in stage.inputs)
        if ready and not opened.run.is_done(str(stage.name), mark) and not _is_given(opened, mark):
            by_stage[str(stage.name)] = _chunks(opened, stage, _partial(opened, stage, mark, student))
    return compute_ahead(opened.engine, opened.reports, f"predictions/{first.name.model}", by_stage)


def _chunks(opened: OpenRun, stage: Stage, partial: Path) -> Sequence[Chunks]:
    begun_elsewhere(partial, environment_of(stage, opened.engine, opened.trainers))  # reported when its turn comes
    return stage.chunks(_inputs(opened, stage), _context(opened, stage, partial)) if stage.chunks else ()


def _make(
    opened: OpenRun,
    stage: Stage,
    made_from: Mapping[str, Json],
    student: str,
    ahead: dict[str, float],
    *,
    reopened: bool,
) -> bool:
    """Make and record a stage; return False if it was done before and making it again failed.

    Args:
        ahead: the seconds spent on chunks before their stage's turn, by stage; more are added.
    """
    mark, started, earlier = fingerprint(made_from), time.monotonic(), sum(ahead.values())
    try:
        counts = _made(opened, stage, mark, student, ahead)
    except SritError as error:
        if not reopened:
            raise
        opened.report(f"WARN {stage.name}: {error}; what was made before stays valid")
        return False
    for_all = sum(ahead.values()) - earlier  # of which a part is this stage's
    seconds = round(time.monotonic() - started - for_all + ahead.get(str(stage.name), 0.0), 1)
    entry = StageEntry(
        fingerprint=mark,
        **made_from,
        outputs=opened.run.sums(stage.outputs),
        counts=counts,
        seconds=seconds,
        environment=environment_of(stage, opened.engine, opened.trainers),
    )
    if (now := _made_from(opened, stage, identity(opened.recipe.student))) != made_from:
        raise DataError(f"{stage.name}: {difference(now, entry)} while it was made: rerun the same command")
    opened.run.commit(str(stage.name), entry)
    _given(opened, stage, anew=reopened)
    opened.run.spend(stage.spends)
    opened.reports.watch(Made(str(stage.name), seconds, counts))
    return True


def _taken(opened: OpenRun, stage: Stage, mark: str) -> bool:
    """Take a stage from another run that did the same work, and return whether there was one."""
    shared = opened.shared
    if shared is None or not opened.run.adopt(str(stage.name), stage.outputs, shared.folder / "pool" / mark):
        return False
    opened.reports.watch(Taken(str(stage.name)))
    return True


def _is_given(opened: OpenRun, mark: str) -> bool:
    return opened.shared is not None and (opened.shared.folder / "pool" / mark / "entry.json").exists()


def _given(opened: OpenRun, stage: Stage, *, anew: bool = False) -> None:
    if opened.shared is not None:
        share(opened.run, stage, opened.stages, opened.shared.folder, anew=anew)


def _made(opened: OpenRun, stage: Stage, mark: str, student: str, ahead: dict[str, float]) -> dict[str, Json]:
    """Make a stage's outputs, and return its counts."""
    failed = {} if opened.shared is None else opened.shared.failed
    if mark in failed:
        raise failed[mark]
    opened.reports.watch(Begun(str(stage.name), mark))
    if stage.computes and opened.plan is not None:
        check_kind(opened.plan.device)
    partial = _partial(opened, stage, mark, student)
    if str(stage.name) not in ahead and (left := left_over(partial)):
        opened.report(f"     resuming from {left}")
    if stage.computes and (line := begun_elsewhere(partial, environment_of(stage, opened.engine, opened.trainers))):
        opened.report(f"WARN {line}")
    inputs, out = _inputs(opened, stage), Outputs(str(stage.name), opened.run.folder, stage.outputs)
    try:
        if stage.chunks and opened.engine.size > 1 and str(stage.name) not in ahead:
            ahead |= _computed_ahead(opened, stage, student)
        return dict(stage.make(inputs, out, _context(opened, stage, partial)))
    except (DataError, TrainingError) as error:
        failed[mark] = error  # the same inputs would fail again, perhaps after hours
        raise
    except Exception as error:
        lacking = "" if isinstance(error, SritError) else shortage(error, opened.run.folder)
        if not lacking:
            raise
        raise MachineError(f"{stage.name}: {lacking}: {relief(stage, lacking)}rerun the same command") from error


def _partial(opened: OpenRun, stage: Stage, mark: str, student: str) -> Path:
    """Return the folder of a stage's unfinished work, or of the stage whose work it continues."""
    continued = next((other for other in opened.stages if other.name == stage.continues), None)
    if continued is None:
        return opened.run.partial(str(stage.name), mark)
    return opened.run.partial(str(continued.name), fingerprint(_made_from(opened, continued, student)))


def _inputs(opened: OpenRun, stage: Stage) -> Inputs:
    entries = opened.run.manifest.stages
    shown = {str(name): entries[str(name)] for name in stage.shows if str(name) in entries}
    declared = replace(stage, inputs=(*stage.inputs, *stage.after), shows=())
    sums = input_sums(declared, entries)
    return Inputs(str(stage.name), opened.run.folder, sums, only(opened.recipe, stage.reads), shown)


def _context(opened: OpenRun, stage: Stage, partial: Path) -> Context:
    plan = only_computes(opened.plan, stage.computes)
    entries, declared = opened.run.manifest.stages, [str(one.name) for one in opened.stages]
    return Context(
        texts=opened.texts,
        models=Models(opened.recipe.student, opened.recipe.sampler, plan),
        reports=opened.reports,
        teaching=opened.teaching,
        engine=opened.engine,
        trainers=opened.trainers,
        partial=partial,
        seconds={name: entries[name].seconds for name in declared if name in entries},
    )
