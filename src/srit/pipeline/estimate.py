"""A recipe → what its stages will take: teacher calls, tokens, steps and about how long, before anything is spent.

Needs no model, no data and no network; answers are taken for half as long as they may be.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from srit.compute.plan import Rates
from srit.recipe import Optimization, Recipe, TaskUse
from srit.teachers import teacher_kind

PROMPT_TOKENS = 80  # of a question with its instruction; the shipped tasks have 50 to 150
UNLIMITED = 1000  # problems counted for a task without a limit
# Measured with SmolLM2-135M in float32 on two cores: 520 tokens/s sampled, 335 trained through LoRA. In full was
# measured before the rest grew faster: 110 where LoRA had 190. bfloat16 units about halve all of it.
SAMPLED = 520 * 135e6 / 2  # parameters * tokens a second, for each core
TRAINED = {"lora": 335 * 135e6 / 2, "qlora": 335 * 135e6 / 2, "full": 195 * 135e6 / 2}

# One GPU of 80 GB: a model, not a measurement. Training: 6 operations a parameter and token (Kaplan et al. 2020,
# arXiv 2001.08361) at 40 % of an A100's 312e12 a second in bf16. Sampling: 64 answers at once, each step of theirs
# reads all weights, 2 bytes each, at 60 % of 2.0e12 bytes a second, and as much again for the cache.
GPU_TRAINED = 0.4 * 312e12 / 6  # parameters * tokens a second
GPU_SAMPLED = 64 * 0.6 * 2.0e12 / 2 / 2


class Work(NamedTuple):
    """Of one stage; 0 where it does nothing of the kind."""

    calls: int = 0  # to the teacher, at most
    sampled: int = 0  # tokens written, by student or local teacher
    trained: int = 0  # tokens through a training step
    steps: int = 0

    def told(self) -> str:
        """Such as "1,440 calls, 46,080 tokens sampled"."""
        parts = [
            f"{n:,} {what}"
            for n, what in (
                (self.calls, "teacher calls"),
                (self.sampled, "tokens sampled"),
                (self.trained, "tokens trained"),
                (self.steps, "steps"),
            )
            if n
        ]
        return ", ".join(parts)


def teaching(recipe: Recipe, questions: int) -> Work:
    """Of asking the teacher so many questions."""
    work = teacher_kind(recipe.teacher.kind).work(recipe.teacher, questions)
    return Work(calls=work.calls, sampled=work.sampled)


def n_problems(use: TaskUse) -> int:
    """Problems of a task, as far as the recipe says."""
    return UNLIMITED if use.limit is None else use.limit


def n_demonstrated(recipe: Recipe) -> int:
    """Training problems that the teacher is asked."""
    limit, counts = recipe.demonstrations.limit, map(n_problems, recipe.tasks.train)
    return sum(n if limit is None else min(n, limit) for n in counts)


def n_refined(recipe: Recipe) -> int:
    """Problems that stage 2 works on."""
    return sum(map(n_problems, recipe.tasks.refine or recipe.tasks.train))


def seconds(work: Work, recipe: Recipe, rates: Rates | None = None) -> float | None:
    """About how long on this machine's cores; None where the student's size is not known.

    Args:
        rates: as the machine was probed for this student; None: by the student's size and what another machine took.
    """
    if rates is not None:
        return work.sampled / rates.sampled + work.trained / rates.trained
    if (size := n_parameters(recipe)) is None:
        return None
    cores = os.cpu_count() or 1
    return size * (work.sampled / SAMPLED + work.trained / TRAINED[recipe.student.tuning]) / cores


def gpu_seconds(work: Work, recipe: Recipe) -> float | None:
    """About how long on one GPU of 80 GB, by the model above; None where the student's size is not known."""
    if (size := n_parameters(recipe)) is None:
        return None
    return size * (work.sampled / GPU_SAMPLED + work.trained / GPU_TRAINED)


def dollars(works: Iterable[Work], recipe: Recipe) -> float | None:
    """At most what the teacher's answers cost; None where its prices are not known."""
    calls = sum(work.calls for work in works)
    return teacher_kind(recipe.teacher.kind).price(recipe.teacher, calls, PROMPT_TOKENS)


def told_in_all(works: Sequence[Work], recipe: Recipe, rates: Rates | None = None) -> str:
    """What a plan takes, in a line; `rates` as in `seconds`."""
    times = [seconds(work, recipe, rates) for work in works]
    took = "time unknown (the student's size is not in its name)"
    if None not in times:
        minutes = sum(filter(None, times)) / 60
        took = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
    if any(use.limit is None for use in (*recipe.tasks.train, *recipe.tasks.evaluate)):
        took += f" (a task without a limit counted as {UNLIMITED:,} problems)"
    calls, price = sum(work.calls for work in works), dollars(works, recipe)
    money = f"; teacher: at most {calls:,} calls" if calls else ""
    money += "" if price is None else f" and ${price:.2f}"
    return f"in all about {took} on this machine's processor{money}"


def n_parameters(recipe: Recipe) -> int | None:
    """The student's, from its local weights or from its name, such as Llama-2-7b."""
    weights = list(Path(recipe.student.model).glob("*.safetensors")) if Path(recipe.student.model).is_dir() else []
    if weights:
        return sum(path.stat().st_size for path in weights) // 2  # hub weights have two bytes a parameter
    named = re.search(r"(\d+(?:\.\d+)?)([bm])(?![a-z])", recipe.student.model.lower())
    return round(float(named[1]) * {"b": 1e9, "m": 1e6}[named[2]]) if named else None


def training(settings: Optimization, n: int, tokens: int) -> Work:
    """Return what a training on n examples or problems takes, of so many tokens each."""
    steps = settings.epochs * math.ceil(n / settings.batch_size)
    return Work(trained=settings.epochs * n * tokens, steps=steps)
