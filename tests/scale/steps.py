"""The stages of a run of many problems, each in a process of its own: `python steps.py FOLDER [STAGE …]`.

Nothing is computed by a model: a recording is the teacher, and an engine of this folder draws the answers. Prints
seconds, those of the processor, and the megabytes that the stage adds to the peak of its imports.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from srit.compute.plan import ComputePlan
from srit.pipeline.context import Context
from srit.pipeline.context.models import Models
from srit.pipeline.context.reports import Reports
from srit.pipeline.context.teaching import Teaching
from srit.pipeline.context.texts import Texts
from srit.pipeline.declared import Inputs, Outputs, only
from srit.pipeline.engines.local import LocalEngine
from srit.pipeline.stage import Stage
from srit.recipe import Recipe, check_recipe
from srit.recipe.rounds import RoundPart
from srit.run_directory import NoMirror
from srit.stages import stages
from srit.students.loading import load_prompts
from srit.training.distributed.trainers import AloneTrainer

TASKS = {"train": "train.jsonl", "evaluate": "test.jsonl"}
# In the order of a run; `preferences` are what `round-1/refined` reads.
STEPS = (
    "plan", "problems", "lengths", "demonstrations", "round-1/probe", "round-1/yield", "round-1/completions",
    "round-1/pairs", "round-1/anatomy", "preferences", "predictions/base", "predictions/instructed",
    "predictions/refined", "results", "report",
)  # fmt: skip


def recipe_of(folder: Path) -> Recipe:
    tree = {
        "name": "scale",
        "student": {"model": str(folder / "student"), "tuning": "full", "dtype": "float32"},
        "tasks": {use: [{"task": f"jsonl:{folder / file}"}] for use, file in TASKS.items()},
        "teacher": {"kind": "recording", "path": str(folder / "teacher.jsonl")},
        "sampler": "made_up",
        "evaluate": {"prompts": ["cot"], "max_new_tokens": 32},
        "sample": {"max_new_tokens": 32},
    }
    return check_recipe(tree, source="scale")


def inputs_of(stage: Stage, folder: Path, recipe: Recipe) -> Inputs:
    sums = dict.fromkeys((*stage.inputs, *stage.after), "")
    return Inputs(str(stage.name), folder / "run", sums, only(recipe, stage.reads), {})


def context_of(folder: Path, recipe: Recipe, name: str) -> Context:
    partial = folder / "partial" / name.replace("/", "-")
    partial.mkdir(parents=True, exist_ok=True)
    engine, plan = LocalEngine(), cast(ComputePlan, SimpleNamespace(decoding=None, cache_bytes=0))
    reports = Reports(lambda news: None)
    return Context(
        texts=Texts(recipe.student, recipe.prompt, reports.report),
        models=Models(recipe.student, recipe.sampler, plan),
        reports=reports,
        teaching=Teaching(recipe, folder / "run/teacher/answers.jsonl", (), set(), engine, NoMirror(), reports.report),
        engine=engine,
        trainers=AloneTrainer(),
        partial=partial,
        seconds={},
    )


def step(folder: Path, name: str) -> Callable[[], object]:
    """Return what does the work of a step."""
    recipe = recipe_of(folder)
    if name == "plan":
        import srit

        return lambda: srit.plan(recipe, folder / "run")
    if name == "preferences":
        [stage] = [stage for stage in stages(recipe) if str(stage.name) == "round-1/refined"]
        return lambda: _preferences(inputs_of(stage, folder, recipe), context_of(folder, recipe, name), recipe)
    [stage] = [stage for stage in stages(recipe) if str(stage.name).startswith(name)]
    out = Outputs(str(stage.name), folder / "run", stage.outputs)
    return lambda: stage.make(inputs_of(stage, folder, recipe), out, context_of(folder, recipe, name))


def _preferences(inputs: Inputs, context: Context, recipe: Recipe) -> int:
    from srit.stages.refined.preferences import fitting_of, preferences_of

    fitting = fitting_of(context, recipe.refine)
    return len(preferences_of(inputs, context, recipe.refine, "problems/train.jsonl", RoundPart(1), fitting))


def measured(folder: Path, name: str) -> Mapping[str, Any]:
    """Do a step, and say what it took."""
    work = step(folder, name)
    load_prompts(recipe_of(folder).student)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    work()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    megabytes = (after.ru_maxrss - before.ru_maxrss) / 1000
    return {"seconds": round(seconds, 1), "cpu": round(used, 1), "megabytes": round(megabytes)}


def in_a_fork(folder: Path, name: str) -> None:
    """Do a step in a process of its own, which has all imports, and print what it took."""
    if not (child := os.fork()):
        print(json.dumps({"step": name, **measured(folder, name)}), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"{name} failed")


if __name__ == "__main__":
    import numpy
    import scipy.stats
    import torch
    import transformers.models.auto.tokenization_auto

    assert numpy and scipy.stats and torch and transformers
    torch.set_num_threads(1)
    load_prompts(recipe_of(Path(sys.argv[1])).student)
    for name in sys.argv[2:] or STEPS:
        in_a_fork(Path(sys.argv[1]), name)
