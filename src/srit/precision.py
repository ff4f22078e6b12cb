"""How a student is computed on this machine: a short probe measures it once, says so in a line, and it is kept.

Processors differ: where one has units for bfloat16, another takes ten times as long for it as for float32. So nothing
is believed. The plain way, float32 with each completion behind its own copy of the prompt, is the reference: another
is taken only if it is faster and its log-probabilities are the same but for rounding.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

from srit.recipe import Recipe, Student
from srit.rows import Group
from srit.run import canonical, write_json
from srit.samplers import Request, SamplingSettings
from srit.students import cache, identity, load_model, load_tokenizer, trainable

WORTH_IT = 1.2  # times as fast as float32, or float32 it is: its rounding errors are a hundred times smaller
AGREES = 0.05  # nats a token, on average, from the plain way; bfloat16 gives about 0.01
HOPELESS = 2.0  # times as slow as the best: not measured further
PROMPTS, PROMPT_TOKENS, ANSWERS, ANSWER_TOKENS = 4, 48, 4, 16  # of the probe


class Way(NamedTuple):
    """How a student is computed."""

    dtype: Literal["float32", "bfloat16"]
    shared: bool  # a prompt's completions beside each other in one row
    line: str  # which, and why


def way_of(recipe: Recipe, kept: dict[str, Any] | None) -> Way:
    """The way a run goes: as its recipe says; else as it began; else as this machine was probed; else probes it.

    Args:
        kept: what the run's manifest has of it.
    """
    named = recipe.student.dtype
    if named != "auto":
        return Way(named, True, f"{named}, as the recipe says")
    return Way(**kept) if kept else _probed(recipe.student)


def resolved(recipe: Recipe, way: Way) -> Recipe:
    """The recipe with its student's precision decided."""
    return recipe.model_copy(update={"student": recipe.student.model_copy(update={"dtype": way.dtype})})


def _probed(student: Student) -> Way:
    import torch

    if torch.cuda.is_available():
        fits = torch.cuda.is_bf16_supported()
        return Way("bfloat16" if fits else "float32", True, "what the GPU has units for")
    place, key = cache() / "ways.json", _machine(student)
    known = json.loads(place.read_bytes()) if place.exists() else {}
    if key not in known:
        load_tokenizer(student)  # what is wrong with a student is told there; the probe would only fail
        known[key] = _measured(student)._asdict()
        write_json(place, known)
    return Way(**known[key])


def _machine(student: Student) -> str:
    """All that a measurement depends on."""
    import torch

    described = Path("/proc/cpuinfo")
    processor = described.read_text() if described.exists() else platform.processor()
    fixed = sorted({line for line in processor.splitlines() if line.startswith(("model name", "flags", "Features"))})
    made_of = [fixed, os.cpu_count(), torch.__version__, torch.get_num_threads(), identity(student), student.tuning]
    return hashlib.sha256(canonical(made_of)).hexdigest()[:16]


class Tried(NamedTuple):
    """A way that was tried."""

    seconds: float  # of a training step, and of the answers drawn
    logps: list[float]  # of each answer, nats


def _measured(student: Student) -> Way:
    full, low = (student.model_copy(update={"dtype": dtype}) for dtype in ("float32", "bfloat16"))
    drawing, groups = _drawn(full)
    plain, shared = (_trained(full, groups, drawing, shared=way, limit=float("inf")) for way in (False, True))
    assert plain is not None and shared is not None  # without a limit
    together = shared.seconds <= plain.seconds
    limit = HOPELESS * min(plain.seconds, shared.seconds)
    tried = _trained(low, groups, 0.0, shared=together, limit=limit)
    if tried is not None:
        tried = tried._replace(seconds=tried.seconds + _drawn(low)[0])
    return choose(plain, shared, tried)


def choose(plain: Tried, shared: Tried, low: Tried | None) -> Way:
    """The fastest way that agrees with the plain one.

    Args:
        plain: float32, each completion behind its own copy of the prompt.
        shared: float32, a prompt's completions beside each other.
        low: bfloat16, rows as the faster of these; None where it was too slow to be measured.
    """
    together = shared.seconds <= plain.seconds and _gap(shared, plain) <= AGREES
    best = shared if together else plain
    rows = f"{'shared' if together else 'separate'} rows ({plain.seconds / shared.seconds:.1f} times as fast shared)"
    if low is None:
        return Way("float32", together, f"float32, {rows}: bfloat16 crawls on this machine")
    faster, gap = best.seconds / low.seconds, _gap(low, plain)
    measured = f"bfloat16 is {faster:.1f} times as fast, {gap:.3f} nats a token away from float32"
    if faster >= WORTH_IT and gap <= AGREES:
        return Way("bfloat16", together, f"bfloat16, {rows}: {measured}")
    return Way("float32", together, f"float32, {rows}: {measured}")


def _gap(some: Tried, plain: Tried) -> float:
    gaps = [abs(a - b) for a, b in zip(some.logps, plain.logps, strict=True)]
    return sum(gaps) / len(gaps) / ANSWER_TOKENS


def _drawn(student: Student) -> tuple[float, list[Group]]:
    """Seconds for some answers to prompts of random tokens, and those answers."""
    from srit.samplers.transformers import TransformersSampler

    model, random = load_model(student), Random(0)
    vocabulary = model.get_input_embeddings().num_embeddings
    prompts = [tuple(random.choices(range(vocabulary), k=PROMPT_TOKENS)) for _ in range(PROMPTS)]
    requests = [Request(prompt, f"{prompt}/{index}") for prompt in prompts for index in range(ANSWERS)]
    sampler = TransformersSampler(model, rows=len(requests), pad_id=0)
    settings = SamplingSettings(1.0, ANSWER_TOKENS, stop_ids=())
    answers = [answer.token_ids for answer in sampler.sample(requests, settings)]
    seconds = _least_seconds(lambda: list(sampler.sample(requests, settings)))
    groups = [Group(prompt, tuple(answers[ANSWERS * i : ANSWERS * (i + 1)])) for i, prompt in enumerate(prompts)]
    return seconds, groups


def _trained(student: Student, groups: Sequence[Group], drawing: float, *, shared: bool, limit: float) -> Tried | None:
    """A step's gradient and its log-probabilities; None where its first pass takes longer than `limit` seconds.

    Args:
        drawing: seconds for the answers, added to those of the step.
    """
    from srit.rows import logps_by_group, micro_batches, shares_prefixes

    model = trainable(student, None)
    together = shared and shares_prefixes(model.config)
    size = sum(group.n_tokens for group in groups)
    batches = micro_batches(groups, row_tokens=size // len(groups), batch_tokens=2 * size, shared=together)

    def step() -> list[float]:
        found: dict[int, Any] = {}
        for batch in batches:
            found |= logps_by_group(model, batch, groups)
            sum(found[index].sum() for index in batch.members).backward()
        return [logp for index in range(len(groups)) for logp in found[index].tolist()]

    started = time.perf_counter()
    logps = step()
    # The first pass also maps memory, which takes a second or two on any machine.
    if time.perf_counter() - started > limit + 2:
        return None
    return Tried(_least_seconds(step) + drawing, logps)


def _least_seconds(work: Callable[[], object]) -> float:
    """Of two runs: what else the machine does only adds."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)
