"""Which of srit's ways of computing are right for a model: each is held against the model's own forward pass.

srit applies the head by itself, puts many texts into one row and writes answers side by side. A family of models for
which one of these is wrong would go unnoticed, since sampler and trainer would be wrong alike. So the log-probabilities
of short texts are compared with `model(...).logits`, one text at a time, and what differs is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple, TypeVar

import torch

from srit.compute.attention import PRODUCTS, attend
from srit.compute.plan import Decoding, RowKind
from srit.compute.rows import Group, layout_of, logps_by_group, micro_batches
from srit.errors import DataError
from srit.samplers import Request, SamplingSettings
from srit.samplers.forward import Forward
from srit.samplers.padded import PaddedBatch
from srit.samplers.transformers.engine import TransformersSampler, decodings

Kind = TypeVar("Kind")

# Nats a token, in float32: rounding alone leaves 1e-5 on trained models, and up to 1e-3 on sharp ones. A wrong mask,
# position or scale is off by 0.01 and more on the same texts.
TOLERANCE = 2e-3
STATE_TOLERANCE = 1e-3  # of a state's norm; float32 rounding leaves 1e-6
PROMPT_TOKENS = (5, 19, 12)
ANSWER_TOKENS = 7
ANSWERS = 2
SHARED_TOKENS = 4  # with which all prompts begin

# What a way that a model's code does not support ends in.
_BREAKS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError, StopIteration)


class Proof(NamedTuple):
    """What was found right for a model."""

    rows: RowKind
    decoding: Decoding
    products: bool  # whether attention as products of matrices is right (`attention.py`)
    gap: float  # nats a token from the model's own log-probabilities, at most, of what is used

    @property
    def line(self) -> str:
        """What was compared, in words."""
        what = f"{_ROWS[self.rows]} and {_DECODINGS[self.decoding]}"
        return f"{what} agree with the model's own logits, {self.gap:.0e} nats a token apart at most"


_ROWS: Mapping[RowKind, str] = {
    "shared": "shared rows",
    "separate": "rows of one answer each",
    "alone": "answers scored one at a time",
}
_DECODINGS: Mapping[Decoding, str] = {
    "slots": "answers written in slots of one cache",
    "padded": "answers written side by side, padded",
    "even": "answers written beside those to prompts of the same length",
    "whole": "answers computed from their first token at every step",
}


def prove(model: Any, name: str) -> Proof:
    """Tries the ways from the fastest to the plainest, and takes the first that is right.

    Args:
        model: a causal language model of transformers in float32 and evaluation mode, its adapter taken off.
        name: of the model, for a message.

    Raises:
        DataError: none is right, or the model has no forward pass for text alone.
    """
    attention = model.config._attn_implementation
    try:
        groups = _groups(model(input_ids=torch.ones(1, 1, dtype=torch.long, device=model.device)).logits.shape[-1])
        own = [_own_logps(model, group.prompt_ids, ids) for group in groups for ids in group.completions]
    except _BREAKS as error:
        raise DataError(f"student.model: {name} cannot be computed: {type(error).__name__}: {error}") from None
    rows, scored = _first_right(_ROWS, partial(_rows_gap, model, groups, own))
    if rows is None:
        raise DataError(_refusal(name, "log-probabilities", scored))
    prompts = [group.prompt_ids for group in groups]
    decoding, written = _first_right(decodings(model), partial(_decoding_gap, model, prompts))
    if decoding is None:
        raise DataError(_refusal(name, "greedy answers", written))
    products = _rows_gap(attend(model, PRODUCTS), groups, own, rows) <= TOLERANCE
    attend(model, attention)
    return Proof(rows, decoding, products, max(scored, written))


def _first_right(kinds: Iterable[Kind], gap_of: Callable[[Kind], float]) -> tuple[Kind | None, float]:
    """The first kind that is right and its gap; None and the least gap where none is."""
    least = float("inf")
    for kind in kinds:
        gap = gap_of(kind)
        if gap <= TOLERANCE:
            return kind, gap
        least = min(least, gap)
    return None, least


def _refusal(name: str, what: str, gap: float) -> str:
    return (
        f"student.model: {name}: its {what} are {gap:.3g} nats a token away from model(...).logits in every way that "
        "srit knows; this kind of model is not supported"
    )


def _groups(vocabulary: int) -> list[Group]:
    """Prompts and answers of random tokens; the prompts begin alike."""
    random = Random(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(random.choices(range(vocabulary), k=n))

    start = ids(SHARED_TOKENS)
    return [Group(start + ids(n), tuple(ids(ANSWER_TOKENS) for _ in range(ANSWERS))) for n in PROMPT_TOKENS]


@torch.no_grad()
def _own_logps(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """Of an answer, nats, from the logits of the whole text by itself."""
    logits = model(input_ids=torch.tensor([[*prompt, *answer]], device=model.device), use_cache=False).logits[0]
    logps = logits[len(prompt) - 1 : -1].double().log_softmax(-1)
    return float(logps.gather(1, torch.tensor(answer, device=logits.device)[:, None]).sum())


def _gap(score: Callable[[], Sequence[float]], own: Sequence[float]) -> float:
    """Nats a token, of the answer that is furthest away; infinite for a way that breaks."""
    try:
        found = score()
    except _BREAKS:
        return float("inf")
    gaps = [abs(a - b) / ANSWER_TOKENS for a, b in zip(found, own, strict=True)]
    return max(gaps) if all(gap == gap for gap in gaps) else float("inf")


def _rows_gap(model: Any, groups: Sequence[Group], own: Sequence[float], kind: RowKind) -> float:
    return _gap(lambda: _scored(model, groups, kind), own)


@torch.no_grad()
def _scored(model: Any, groups: Sequence[Group], kind: RowKind) -> list[float]:
    size = sum(group.n_tokens for group in groups)
    found: dict[int, list[float]] = {}
    for batch in micro_batches(groups, row_tokens=size, batch_tokens=4 * size, layout=layout_of(model, kind)):
        found |= {index: logps.tolist() for index, logps in logps_by_group(model, batch, groups).items()}
    return [logp for index in range(len(groups)) for logp in found[index]]


def _decoding_gap(model: Any, prompts: Sequence[tuple[int, ...]], decoding: Decoding) -> float:
    """How far the log-probabilities of greedy answers are from the model's own, and from its likeliest tokens'."""
    settings = SamplingSettings(0.0, ANSWER_TOKENS, stop_ids=())
    sampler = TransformersSampler(model, rows=2, pad_id=0, decoding=decoding)
    try:
        if decoding == "padded" and _padding_leaks(model, prompts):
            return float("inf")
        answers = list(sampler.sample([Request(prompt, "") for prompt in prompts], settings))
        own = [_own_logps(model, prompt, answer.token_ids) for prompt, answer in zip(prompts, answers, strict=True)]
        best = [_greedy_logps(model, prompt, answer.token_ids) for prompt, answer in zip(prompts, answers, strict=True)]
    except _BREAKS:
        return float("inf")
    found = [answer.logp for answer in answers]
    return max(_gap(lambda: found, own), _gap(lambda: best, own))


@torch.no_grad()
def _padding_leaks(model: Any, prompts: Sequence[tuple[int, ...]]) -> bool:
    """Whether padding on the left changes what recurrent layers keep of a prompt.

    Looked for in their states: before it is trained, such a layer may add next to nothing to the logits.
    """
    forward = Forward(model)
    together, alone = PaddedBatch(forward, 0), [PaddedBatch(forward, 0) for _ in prompts]
    together.enter(prompts)
    for batch, prompt in zip(alone, prompts, strict=True):
        batch.enter([prompt])
    pairs = [
        (state[row], own[0])
        for row, batch in enumerate(alone)
        for state, own in zip(together.states(), batch.states(), strict=True)
    ]
    return any(bool((a - b).norm() > STATE_TOLERANCE * b.norm()) for a, b in pairs)


@torch.no_grad()
def _greedy_logps(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """Nats: of the likeliest token at each place of an answer."""
    logits = model(input_ids=torch.tensor([[*prompt, *answer]], device=model.device), use_cache=False).logits[0]
    return float(logits[len(prompt) - 1 : -1].double().log_softmax(-1).amax(1).sum())
