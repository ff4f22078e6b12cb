"""How a student is computed on this machine: a short probe measures it once, says so in a line, and it is kept.

Processors differ: where one has units for bfloat16, another takes ten times as long for it as for float32. So nothing
is believed (`probe`), and what was found holds for the machine and for a run that began with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from srit.compute.plan import ComputePlan, Rates
from srit.recipe import Recipe, Student
from srit.run_directory import Json, canonical, file_lock, write_json
from srit.students.loading import identity, load_tokenizer
from srit.sums import cache


def way_of(recipe: Recipe, kept: Mapping[str, Json] | None) -> ComputePlan:
    """The way a run goes: as it began; else as this machine was probed; else probes it.

    Args:
        kept: what the run's manifest has of it.
    """
    return begun_way(recipe, kept) or _probed(recipe.student)


def begun_way(recipe: Recipe, kept: Mapping[str, Json] | None) -> ComputePlan | None:
    """The way that a manifest has; None where it has none, or one of an older kind or another precision than named."""
    if not kept or set(kept) != set(ComputePlan._fields) or recipe.student.dtype not in ("auto", kept["dtype"]):
        return None
    return _read(kept)


def _read(fields: Mapping[str, Json]) -> ComputePlan:
    targets = fields["targets"]
    return ComputePlan(**{**fields, "targets": targets if isinstance(targets, str) else tuple(targets)})


def resolved(recipe: Recipe, way: ComputePlan) -> Recipe:
    """The recipe with its student's precision decided."""
    return recipe.model_copy(update={"student": recipe.student.model_copy(update={"dtype": way.dtype})})


def _probed(student: Student) -> ComputePlan:
    place = _place(student)
    if not place.exists():
        from srit.machine.probe import measure, time_way

        load_tokenizer(student)  # what is wrong with a student is told there; the probe would only fail
        with file_lock(place):
            if not place.exists():
                way = measure(student)
                write_json(place, {"way": way._asdict(), "rates": time_way(student, way)._asdict()})
    return _read(json.loads(place.read_bytes())["way"])


def known_rates(student: Student) -> Rates | None:
    """How fast the student was when this machine was probed; None where it has not been."""
    place = _place(student)
    return Rates(**json.loads(place.read_bytes())["rates"]) if place.exists() else None


def _place(student: Student) -> Path:
    return cache() / "ways" / f"{_machine(student)}.json"


def _machine(student: Student) -> str:
    """All that a measurement depends on."""
    described = Path("/proc/cpuinfo")
    processor = described.read_text() if described.exists() else platform.processor()
    fixed = sorted({line for line in processor.splitlines() if line.startswith(("model name", "flags", "Features"))})
    threads = [os.cpu_count(), *(os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"))]
    versions = [version(package) for package in ("torch", "transformers", "peft")]
    asked = student.model_dump(mode="json", include={"tuning", "dtype", "lora", "chat_template"})
    made_of = [fixed, threads, versions, identity(student), asked, ComputePlan._fields, Rates._fields]
    return hashlib.sha256(canonical(made_of)).hexdigest()[:16]
