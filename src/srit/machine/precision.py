"""Chooses the compute plan of a run: srit measures once which precision is fastest on your machine, and keeps it.

Processors differ: one with bfloat16 hardware gains from it, and another takes ten times as long as in float32. So srit
measures (`probe`) instead of guessing. The result holds for the machine and for every run that began with it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from srit.compute.device import CPU, device_for, kind_of
from srit.compute.plan import ADDED, ComputePlan, Rates
from srit.machine.memory import recomputing, within_memory
from srit.recipe import Recipe, Student
from srit.run_directory import Json, canonical_sum, file_lock, write_json
from srit.students.loading import identity, load_tokenizer
from srit.sums import cache


def compute_plan_of(recipe: Recipe, kept: Mapping[str, Json] | None) -> ComputePlan:
    """Return the plan that the run began with, or else the one measured on this machine, now if it is the first time.

    Args:
        kept: the plan in the run's manifest.
    """
    begun = begun_compute_plan(recipe, kept)
    if begun is not None:
        return begun
    student = recipe.student
    return recomputing(within_memory(_measured(student), student.batch_tokens), student.recompute)


def begun_compute_plan(recipe: Recipe, kept: Mapping[str, Json] | None) -> ComputePlan | None:
    """Read the plan in a manifest; None if it is missing, has other fields, or the recipe names something else."""
    if not kept or {*ADDED, *kept} != {*ComputePlan._fields}:
        return None
    plan, student = _read(kept), recipe.student
    on = "cpu" if plan.device == CPU else "cuda"
    agrees = student.dtype in ("auto", plan.dtype) and student.device in ("auto", on)
    agrees = agrees and plan == recomputing(plan, student.recompute)
    return plan if agrees and student.batch_tokens in (None, plan.batch_tokens) else None


def _read(fields: Mapping[str, Json]) -> ComputePlan:
    targets = fields["targets"]
    return ComputePlan(**{**fields, "targets": targets if isinstance(targets, str) else tuple(targets)})


def resolved(recipe: Recipe, compute_plan: ComputePlan) -> Recipe:
    """Return the recipe with its student's precision and device decided."""
    decided = {"dtype": compute_plan.dtype, "device": "cpu" if compute_plan.device == CPU else "cuda"}
    return recipe.model_copy(update={"student": recipe.student.model_copy(update=decided)})


def _measured(student: Student) -> ComputePlan:
    place = _place(student)
    if not place.exists():
        from srit.machine.probe import measure, measure_rates

        load_tokenizer(student)  # reports what is wrong with a student on which the probe would only fail
        with file_lock(place):
            if not place.exists():
                compute_plan = measure(student)
                rates = measure_rates(student, compute_plan)
                write_json(place, {"way": compute_plan._asdict(), "rates": rates._asdict()})
    return _read(json.loads(place.read_bytes())["way"])


def known_rates(student: Student) -> Rates | None:
    """Return how fast the student was when this machine was measured, or None if it was not."""
    place = _place(student)
    return Rates(**json.loads(place.read_bytes())["rates"]) if place.exists() else None


def _place(student: Student) -> Path:
    return cache() / "ways" / f"{_machine(student)}.json"


def _machine(student: Student) -> str:
    """Hash everything that a measurement depends on."""
    described = Path("/proc/cpuinfo")
    processor = described.read_text() if described.exists() else platform.processor()
    fixed = sorted({line for line in processor.splitlines() if line.startswith(("model name", "flags", "Features"))})
    threads = [os.cpu_count(), *(os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"))]
    versions = [version(package) for package in ("torch", "transformers", "peft")]
    asked = student.model_dump(mode="json", include={"tuning", "dtype", "lora", "chat_template", "batch_tokens"})
    device = kind_of(device_for(student.device))
    made_of = [fixed, threads, versions, device, identity(student), asked, ComputePlan._fields, Rates._fields]
    return canonical_sum(made_of)[:16]
