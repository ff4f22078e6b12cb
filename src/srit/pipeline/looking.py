"""Checks what a run would need before anything is spent: problems, student, teacher, engine, disk and memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from srit.errors import DataError, MachineError, SritError
from srit.kinds import Finding
from srit.pipeline.estimate import n_parameters, n_problems, n_there, uses_of
from srit.pipeline.stage import SAMPLES, Stage
from srit.recipe import Recipe, TaskUse
from srit.recipe.unused import without_effect
from srit.records import Split
from srit.samplers import sampler_kind
from srit.shortages import free_disk, gigabytes
from srit.tasks import Counted, find_task, without_problems
from srit.tasks.hub import without_datasets
from srit.tasks.lines import read_rows
from srit.teachers import teacher_kind
from srit.trackers import findings

CHECKED = 20_000  # problems of a task that are checked completely, in a second or two; the run checks them all


class Looked(NamedTuple):
    """What was found."""

    findings: tuple[Finding, ...]
    faults: tuple[SritError, ...]  # each would stop the run; recipe errors come first


def look(recipe: Recipe, folder: Path, again: Sequence[Stage]) -> Looked:
    """Check what the stages that would run need. Nothing is made; only a request for the models is sent.

    Args:
        folder: the run directory; it need not exist.
        again: the stages that would run.
    """
    found: list[Finding] = []
    faults: list[SritError] = []
    for check in _checks(recipe, folder, again):
        try:
            found.extend(check())
        except SritError as fault:
            if str(fault) not in map(str, faults):  # as of a file that is trained on and evaluated
                faults.append(fault)
    return Looked(tuple(found), tuple(sorted(faults, key=lambda fault: fault.exit_code)))


def check_needed(recipe: Recipe, stages: Sequence[Stage], *, answers_are_shared: bool) -> None:
    """Check the sampler and the teacher, before time is spent on stages that do not need them.

    Args:
        stages: those that were never made.
        answers_are_shared: whether other runs may have asked the teacher already.

    Raises:
        SritError: something is not installed, there is no key, or the server cannot be reached.
    """
    if any(stage.computes == SAMPLES for stage in stages):
        _sampler_installed(recipe)
    if any(stage.name.product == "demonstrations" for stage in stages) and not answers_are_shared:
        for _ in _teacher(recipe):
            pass


Check = Callable[[], Iterator[Finding]]
_TRAINED = {"instructed", "refined", "controls"}


def _checks(recipe: Recipe, folder: Path, again: Sequence[Stage]) -> Iterator[Check]:
    """Yield the checks that matter to these stages."""
    products = {stage.name.product for stage in again}
    asks = any(_asks(stage) for stage in again)
    if not again:
        return
    yield lambda: _place(recipe, folder, again)
    if "refined" in products:
        about = (type(recipe.refine).__doc__ or "").partition(".")[0]
        yield lambda: iter([Finding(True, "refine.loss", f"{recipe.refine.loss}: {about}")])
    if line := without_effect(recipe):
        yield lambda: iter([Finding(False, "refine.loss", line)])
    if recipe.report_to:
        yield lambda: findings(recipe.report_to or ())
    if "problems" in products:
        for use, split in dict.fromkeys((use, split) for split, uses in uses_of(recipe) for use in uses):
            yield lambda use=use, split=split: _problems(recipe, use, split)  # type: ignore[misc]
    for field, path in (("sample.path", recipe.sample.path), ("pairs.path", recipe.pairs.path)):
        if path is not None and {"completions", "pairs"} & products:
            yield lambda field=field, path=path: _given(field, path)  # type: ignore[misc]
    if asks:
        yield lambda: _teacher(recipe)
    if any(stage.uses_student for stage in again):
        yield lambda: _student(recipe, trains=bool(_TRAINED & products))
    if any(stage.computes for stage in again):
        yield lambda: _engine(recipe)
        yield lambda: _memory(recipe)


def _asks(stage: Stage) -> bool:
    model = stage.name.model
    return stage.name.product == "demonstrations" or (model is not None and model.kind == "teacher")


def _problems(recipe: Recipe, use: TaskUse, split: Split) -> Iterator[Finding]:
    task, what = find_task(use.task), f"{use.task} ({split})"
    if not isinstance(task, Counted):
        yield Finding(True, what, "its problems are made when it runs")
        return
    folder = None if use.data is None else Path(use.data)
    if task.count(split, data=folder, limit=use.limit) is None:
        if find_spec("datasets") is None:
            raise without_datasets(use.task)
        yield Finding(True, what, "on the hub, which was not asked")
        return
    limit = min(CHECKED, n_problems(use, split))
    problems = task.load(split, data=folder, limit=use.limit if use.limit and use.limit <= CHECKED else None, seed=0)
    if not sum(1 for _ in islice(problems, limit)):
        raise without_problems(use.task, split)
    yield Finding(True, what, f"{n_there(use, split):,} problems")


def _given(field: str, path: str) -> Iterator[Finding]:
    if not Path(path).is_file():
        raise DataError(f"{field}: there is no file {path}")
    yield Finding(True, f"{field} {path}", f"{sum(1 for _ in read_rows(Path(path))):,} rows")


def _teacher(recipe: Recipe) -> Iterator[Finding]:
    kind = teacher_kind(recipe.teacher.kind)
    _installed(f"teacher.kind: {recipe.teacher.kind}", kind.doctor())
    yield from kind.look(recipe.teacher)


def _engine(recipe: Recipe) -> Iterator[Finding]:
    _sampler_installed(recipe)
    yield Finding(True, f"sampler {recipe.sampler.kind}", "installed")


def _sampler_installed(recipe: Recipe) -> None:
    name = recipe.sampler.kind
    _installed(f"sampler: {name}", sampler_kind(name).doctor())


def _installed(what: str, findings: Sequence[Finding]) -> None:
    """
    Raises:
        MachineError: something that it needs is not installed.
    """
    if missing := [finding.found for finding in findings if not finding.ok]:
        raise MachineError(f"{what}: something that it needs is missing: {missing[0]}")


def _student(recipe: Recipe, *, trains: bool) -> Iterator[Finding]:
    from srit.students.adapted import base_student
    from srit.students.loading import load_prompts, locate
    from srit.students.weights import check_weights

    student = recipe.student
    folder = locate(student)
    if folder is None:
        yield Finding(True, f"student {student.model}", "no folder here, so a hub id; the hub was not asked")
        return
    check_weights(student.model, folder)
    base = base_student(student)
    if base != student:
        does = "is merged into it first" if student.tuning == "full" else "is trained further; student.lora is not used"
        yield Finding(True, f"adapter {student.model}", f"of {base.model}: it {does}")
        yield from _student(recipe.model_copy(update={"student": base}), trains=trains)
        return
    lines = load_prompts(student, recipe.prompt).lines
    size = n_parameters(recipe)
    yield Finding(True, f"student {student.model}", f"{size / 1e6:,.0f}M parameters" if size else "there")
    yield from (Finding(False, "chat template", line) for line in lines if line.startswith("WARN"))
    yield from _longest(recipe) if trains else ()


def _longest(recipe: Recipe) -> Iterator[Finding]:
    """Say how long a text to train on may be."""
    from srit.students.lengths import bound_of
    from srit.students.loading import load_room

    room = load_room(recipe.student)
    bounds = [
        bound_of(room, part.max_length, name)
        for name, part in (("instruct", recipe.instruct), ("refine", recipe.refine))
    ]
    for most in dict.fromkeys(bound and bound.what for bound in bounds):
        line = f"at most {most}, prompts included; longer ones are left out"
        yield Finding(True, "texts to train on", line if most else "of any length, unless max_length is set")


# Bytes a parameter: what a trained folder takes, and both moments of AdamW; two checkpoints have both.
_SAVED, _OPTIMIZER = 4, 2 * 4
_CHECKPOINTS = 2 * (_SAVED + _OPTIMIZER)
_ADAPTER = 0.04  # of the student's parameters, for rank 16 on all linear layers


def _place(recipe: Recipe, folder: Path, again: Sequence[Stage]) -> Iterator[Finding]:
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise MachineError(f"{folder}: cannot be written; choose another with --out")
    trained = sum(stage.name.product in _TRAINED for stage in again)
    size = (n_parameters(recipe) or 0) * (1 if recipe.student.tuning == "full" else _ADAPTER)
    optimizers = min(2, sum(bool(stage.spends) for stage in again))  # one is removed once the next has been written
    saved = _SAVED * trained + _OPTIMIZER * optimizers + (_CHECKPOINTS if trained else 0)
    needed, free = size * saved, free_disk(folder)
    if free < needed:
        raise MachineError(f"{folder}: about {gigabytes(needed)} are needed and {gigabytes(free)} are free: make room")
    yield Finding(True, f"disk at {folder}", f"at most {gigabytes(needed)} for weights; {gigabytes(free)} are free")


# Bytes a parameter: the weights, and with all of them trained their gradient and both moments, in float32. In bfloat16,
# all weights are trained through a copy in float32.
HELD = {"lora": 4.6, "qlora": 1.2, "full": 16.0}
HELD_BFLOAT16 = {"lora": 2.3, "qlora": 1.2, "full": 18.0}


def _memory(recipe: Recipe) -> Iterator[Finding]:
    size = n_parameters(recipe)
    if size is None:
        return
    held_each = HELD_BFLOAT16 if recipe.student.dtype == "bfloat16" else HELD
    needed, total = size * held_each[recipe.student.tuning], total_memory()
    fits = needed < total
    advice = "" if fits else ": a machine with more, a smaller student, or student.tuning: qlora"
    held = f"about {gigabytes(needed)} for weights, gradients and optimizer, more for texts"
    yield Finding(fits, "memory", f"{held}; there are {gigabytes(total)}{advice}")


def total_memory() -> int:
    """Return the bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
