"""Proves which of srit's ways of computing are correct for a model, by comparison with the model's own forward pass.

srit applies the head itself, puts many texts into one row, and decodes answers side by side. If one of these were wrong
for a family of models, nobody would notice, since sampler and trainer would make the same error. So srit compares the
log-probabilities of short texts with `model(...).logits`, one text at a time, and does not use what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor

from srit.compute import flexing
from srit.compute.attention import ATTENTIONS, use_attention
from srit.compute.flexing import FLEX
from srit.compute.plan import Attention, Decoding, RowKind
from srit.compute.rows import Group
from srit.compute.scoring import score
from srit.errors import DataError
from srit.samplers import Request, SamplingSettings
from srit.samplers.forward import Forward
from srit.samplers.padded import PaddedBatch
from srit.samplers.transformers.engine import TransformersSampler, decodings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Kind = TypeVar("Kind")

# Nats per token, in float32: rounding alone gives 1e-5 on trained models, and up to 1e-3 on models with sharp
# distributions. A wrong mask, position or scale is off by 0.01 or more on the same texts.
TOLERANCE = 2e-3
STATE_TOLERANCE = 1e-3  # relative to a state's norm; float32 rounding gives 1e-6
PROMPT_TOKENS = (5, 19, 12)
ANSWER_TOKENS = 7
ANSWERS = 2
SHARED_TOKENS = 4  # with which all prompts begin

# What a model's code raises for a way that it does not support.
_BREAKS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError, StopIteration)


class Proof(NamedTuple):
    """The ways that were found correct for a model."""

    rows: RowKind
    decoding: Decoding
    attentions: tuple[Attention, ...]  # "sdpa" first, which rows and decoding were proven with
    gap: float  # the largest difference from the model's own log-probabilities in what is used, nats per token

    @property
    def line(self) -> str:
        """The comparison in words."""
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


def prove(model: PreTrainedModel, name: str) -> Proof:
    """Try the ways to compute a model from the fastest to the plainest, and take the first correct one of each kind.

    Args:
        model: in float32 and evaluation mode, without an adapter.
        name: the model's, for errors.

    Raises:
        DataError: none is correct, or the model has no forward pass for text alone.
    """
    before = model.config._attn_implementation
    try:
        logits = model(input_ids=torch.ones(1, 1, dtype=torch.long, device=model.device)).logits
        groups = random_groups(logits.shape[-1], PROMPT_TOKENS, ANSWERS * (ANSWER_TOKENS,), SHARED_TOKENS)
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
    return Proof(rows, decoding, tuple(_right_attentions(model, groups, own, rows, before)), max(scored, written))


def _right_attentions(
    model: PreTrainedModel, groups: Sequence[Group], own: Sequence[float], rows: RowKind, before: str
) -> Iterator[Attention]:
    """Yield the correct attentions; the model gets back the implementation that it had before."""
    yield "sdpa"
    for attention in ATTENTIONS:
        if attention != "sdpa":
            use_attention(model, attention)
            if _rows_gap(model, groups, own, rows) <= TOLERANCE:
                yield attention
    use_attention(model, before)
    if model.device.type == "cuda" and rows == "shared" and block_masks_are_right(model):
        yield FLEX


def block_masks_are_right(model: PreTrainedModel) -> bool:
    """Return whether long rows under block masks give the model's own log-probabilities, repeatable to the byte.

    Args:
        model: as for `prove`; its attention implementation is restored afterwards.
    """
    before, part = model.config._attn_implementation, flexing.LONG // 4
    room = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2 * part
    if room < 2 * part or before == "eager":  # it is not asked for the attention that it has (`use_attention`)
        return False
    vocabulary = model.config.get_text_config().vocab_size
    groups = random_groups(vocabulary, (part + 1, part // 2), ANSWERS * (part,), SHARED_TOKENS)
    try:
        own = [_own_logps(model, group.prompt_ids, ids) for group in groups for ids in group.completions]
        use_attention(model, FLEX)
        size = sum(group.n_tokens for group in groups)
        twice = [score(model, groups, rows="shared", row_tokens=size, batch_tokens=size) for _ in range(2)]
    except _BREAKS:
        return False
    finally:
        use_attention(model, before)
    found = [logp for of_group in twice[0] for logp in of_group]
    return twice[0] == twice[1] and _gap(found, own) * ANSWER_TOKENS / part <= TOLERANCE


def _first_right(kinds: Iterable[Kind], gap_of: Callable[[Kind], float]) -> tuple[Kind | None, float]:
    """Return the first correct kind and its gap, or None and the smallest gap if none is correct."""
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


def random_groups(vocabulary: int, prompts: Sequence[int], answers: Sequence[int], shared: int = 0) -> list[Group]:
    """Make prompts and answers of random tokens.

    Args:
        prompts: the tokens of each prompt, without those shared.
        answers: the tokens of each answer to a prompt.
        shared: tokens that all prompts begin with.
    """
    random = Random(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(random.choices(range(vocabulary), k=n))

    start = ids(shared)
    return [Group(start + ids(n), tuple(map(ids, answers))) for n in prompts]


@torch.no_grad()
def _text_logps(model: PreTrainedModel, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """Return the log-probabilities at each token of an answer, [tokens, vocabulary], in nats, from the text alone."""
    logits = model(input_ids=torch.tensor([[*prompt, *answer]], device=model.device), use_cache=False).logits[0]
    logps: Tensor = logits[len(prompt) - 1 : -1].double().log_softmax(-1)
    return logps


def _own_logps(model: PreTrainedModel, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """Return the model's own log-probability of an answer, in nats."""
    logps = _text_logps(model, prompt, answer)
    return float(logps.gather(1, torch.tensor(answer, device=logps.device)[:, None]).sum())


def _gap(found: Sequence[float], own: Sequence[float]) -> float:
    """Return the largest difference between answers in nats per token; infinite if one is not a number."""
    gaps = [abs(a - b) / ANSWER_TOKENS for a, b in zip(found, own, strict=True)]
    return max(gaps) if all(gap == gap for gap in gaps) else float("inf")


def _rows_gap(model: PreTrainedModel, groups: Sequence[Group], own: Sequence[float], kind: RowKind) -> float:
    """Return the largest difference from the model's own log-probabilities; infinite for rows that fail."""
    size = sum(group.n_tokens for group in groups)
    try:
        scored = score(model, groups, rows=kind, row_tokens=size, batch_tokens=4 * size)
    except _BREAKS:
        return float("inf")
    return _gap([logp for of_group in scored for logp in of_group], own)


def _decoding_gap(model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], decoding: Decoding) -> float:
    """Return how far greedy answers' log-probabilities are from the model's own and from its likeliest tokens'."""
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
    return max(_gap([answer.logp for answer in answers], own), _gap(best, own))


@torch.no_grad()
def _padding_leaks(model: PreTrainedModel, prompts: Sequence[tuple[int, ...]]) -> bool:
    """Return whether padding on the left changes the states of recurrent layers.

    The states are compared, since an untrained layer may add next to nothing to the logits.
    """
    forward = Forward(model)
    padded, alone = PaddedBatch(forward, 0), [PaddedBatch(forward, 0) for _ in prompts]
    padded.enter(prompts)
    for batch, prompt in zip(alone, prompts, strict=True):
        batch.enter([prompt])
    pairs = [
        (state[row], own[0])
        for row, batch in enumerate(alone)
        for state, own in zip(padded.states(), batch.states(), strict=True)
    ]
    return any(bool((a - b).norm() > STATE_TOLERANCE * b.norm()) for a, b in pairs)


@torch.no_grad()
def _greedy_logps(model: PreTrainedModel, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """Return the summed log-probability of the likeliest token at each place of an answer, in nats."""
    return float(_text_logps(model, prompt, answer).amax(1).sum())
