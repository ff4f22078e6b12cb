"""How a student is computed on this machine: a short probe measures it once, says so in a line, and it is kept.

Processors differ: where one has units for bfloat16, another takes ten times as long for it as for float32. So nothing
is believed (`probe`), and what was found holds for the machine and for a run that began with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from srit.recipe import Recipe, Student
from srit.run import alone, canonical, write_json
from srit.students import cache, identity, load_tokenizer

Attention = Literal["sdpa", "srit_products"]  # torch's kernel, or `attention.py`


class Way(NamedTuple):
    """How a student is computed."""

    dtype: Literal["float32", "bfloat16"]
    shared: bool  # a prompt's completions beside each other in one row
    line: str  # which, and why
    attention: Attention = "sdpa"  # `attn_implementation` of what is trained


def way_of(recipe: Recipe, kept: dict[str, Any] | None) -> Way:
    """The way a run goes: as its recipe says; else as it began; else as this machine was probed; else probes it.

    Args:
        kept: what the run's manifest has of it.
    """
    named = recipe.student.dtype
    if named != "auto":
        low = named == "bfloat16"
        return Way(named, True, f"{named}, as the recipe says", "srit_products" if low else "sdpa")
    return Way(**kept) if kept else _probed(recipe.student)


def resolved(recipe: Recipe, way: Way) -> Recipe:
    """The recipe with its student's precision decided."""
    return recipe.model_copy(update={"student": recipe.student.model_copy(update={"dtype": way.dtype})})


def _probed(student: Student) -> Way:
    place = cache() / "ways" / f"{_machine(student)}.json"
    if not place.exists():
        from srit.probe import measure

        load_tokenizer(student)  # what is wrong with a student is told there; the probe would only fail
        with alone(place):
            if not place.exists():
                write_json(place, measure(student)._asdict())
    return Way(**json.loads(place.read_bytes()))


def _machine(student: Student) -> str:
    """All that a measurement depends on."""
    described = Path("/proc/cpuinfo")
    processor = described.read_text() if described.exists() else platform.processor()
    fixed = sorted({line for line in processor.splitlines() if line.startswith(("model name", "flags", "Features"))})
    threads = [os.cpu_count(), *(os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"))]
    made_of = [fixed, threads, version("torch"), identity(student), student.tuning, Way._fields]
    return hashlib.sha256(canonical(made_of)).hexdigest()[:16]
