"""Which way of computing a student is fastest on this machine, and whether its numbers are right.

The plain way, float32 with each completion behind its own copy of the prompt, is the reference: another is taken only
if it is faster and its log-probabilities are the same but for rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple

import torch

from srit.attention import PRODUCTS
from srit.precision import Attention, Way
from srit.recipe import Student
from srit.rows import Group, logps_by_group, micro_batches, shares_prefixes
from srit.students import attend, trainable

WORTH_IT = 1.2  # times as fast as float32, or float32 it is: its rounding errors are a hundred times smaller
AGREES = 0.05  # nats a token, on average, from the plain way; bfloat16 gives about 0.01
HOPELESS = 2.0  # times as slow as float32: not measured further
ROUNDS = 4  # of the ways in turn; the least time of each counts
PROMPTS, PROMPT_TOKENS, ANSWERS, ANSWER_TOKENS = 4, 48, 4, 16


class Tried(NamedTuple):
    """A way that was tried."""

    seconds: float  # of a training step
    logps: list[float]  # of each answer, nats


def measure(student: Student) -> Way:
    """Takes a training step each way, the ways in turn: what else the machine does slows them all."""
    if torch.cuda.is_available():
        fits = torch.cuda.is_bf16_supported()
        return Way("bfloat16" if fits else "float32", True, "what the GPU has units for")
    full, low = (trainable(student.model_copy(update={"dtype": d}), None) for d in ("float32", "bfloat16"))
    groups = _groups(full.get_input_embeddings().num_embeddings)
    ways = [
        partial(_step, full, groups, False),
        partial(_step, full, groups, True),
        partial(_step, low, groups, True),
        partial(_step, low, groups, True, PRODUCTS),
    ]
    first = tried(ways[:3], 1)  # also maps memory, which takes a second or two on any machine
    if first[2].seconds > HOPELESS * first[1].seconds + 2:
        return choose(*tried(ways[:2], ROUNDS))
    return choose(*tried(ways, ROUNDS))


def choose(plain: Tried, shared: Tried, low: Tried | None = None, by_products: Tried | None = None) -> Way:
    """The fastest way that agrees with the plain one.

    Args:
        plain: float32, each completion behind its own copy of the prompt.
        shared: float32, a prompt's completions beside each other.
        low: the same in bfloat16; None where it was too slow to be measured.
        by_products: the same with attention as products of matrices.
    """
    together = shared.seconds <= plain.seconds and _gap(shared, plain) <= AGREES
    rows = f"{'shared' if together else 'separate'} rows ({plain.seconds / shared.seconds:.1f} times as fast shared)"
    if low is None:
        return Way("float32", together, f"float32, {rows}: bfloat16 crawls on this machine")
    attention: Attention = "sdpa"
    if by_products and by_products.seconds < low.seconds and _gap(by_products, plain) <= AGREES:
        low, attention = by_products, PRODUCTS
    faster, gap = shared.seconds / low.seconds, _gap(low, plain)
    measured = f"bfloat16 is {faster:.1f} times as fast, {gap:.3f} nats a token away from float32"
    if faster >= WORTH_IT and gap <= AGREES:
        return Way("bfloat16", together, f"bfloat16, attention by {attention}, {rows}: {measured}", attention)
    return Way("float32", together, f"float32, {rows}: {measured}")


def tried(steps: Sequence[Callable[[], list[float]]], rounds: int) -> list[Tried]:
    """The least seconds of each step, taken in turn, and its log-probabilities."""
    found: list[Tried] = []
    for turn in range(rounds):
        for place, step in enumerate(steps):
            started = time.perf_counter()
            logps = step()
            seconds = time.perf_counter() - started
            if turn == 0:
                found.append(Tried(seconds, logps))
            found[place] = Tried(min(seconds, found[place].seconds), logps)
    return found


def _gap(some: Tried, plain: Tried) -> float:
    gaps = [abs(a - b) for a, b in zip(some.logps, plain.logps, strict=True)]
    return sum(gaps) / len(gaps) / ANSWER_TOKENS


def _groups(vocabulary: int) -> list[Group]:
    """Prompts and answers of random tokens."""
    random = Random(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(random.choices(range(vocabulary), k=n))

    return [Group(ids(PROMPT_TOKENS), tuple(ids(ANSWER_TOKENS) for _ in range(ANSWERS))) for _ in range(PROMPTS)]


def _step(model: Any, groups: Sequence[Group], shared: bool, attention: Attention = "sdpa") -> list[float]:
    """A training step's gradient; the answers' log-probabilities."""
    attend(model, attention)
    size = sum(group.n_tokens for group in groups)
    together = shared and shares_prefixes(model.config)
    found: dict[int, Any] = {}
    for batch in micro_batches(groups, row_tokens=size // len(groups), batch_tokens=2 * size, shared=together):
        found |= logps_by_group(model, batch, groups)
        torch.cat([found[index] for index in batch.members]).sum().backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    return [logp for index in range(len(groups)) for logp in found[index].tolist()]
