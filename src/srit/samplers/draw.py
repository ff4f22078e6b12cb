"""Draws next tokens in few passes over the vocabulary; each answer's randomness comes from its own seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from srit.samplers import SamplingSettings

BLOCK = 256  # tokens whose probabilities are summed first; then only the block of the drawn token is searched


class Draw:
    """Draws the next tokens of many answers on the device of the logits."""

    def __init__(self, seeds: Sequence[str], settings: SamplingSettings, device: torch.device) -> None:
        self._settings = settings
        if settings.temperature > 0:
            drawn = [uniforms(seed, settings.max_new_tokens) for seed in seeds]  # the same numbers on every device
            self._uniforms = torch.stack(drawn).to(device)

    def next_tokens(self, logits: Tensor, answers: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Choose token ids [rows], and return them with their log-probabilities [rows] at temperature 1, in nats.

        Args:
            logits: [rows, vocabulary], float32.
            answers: [rows], the index of each row's answer.
            steps: [rows], the number of tokens that each answer already has.
        """
        if self._settings.temperature == 0:
            chosen = logits.argmax(1)
        else:
            chosen = drawn(restricted(logits, self._settings), self._uniforms[answers, steps])
        return chosen, logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(1)


def drawn(scores: Tensor, uniforms: Tensor) -> Tensor:
    """Return the token at which the cumulative probability exceeds `uniforms`.

    The block of the token is searched first, then its place in the block: this needs no sort, and a cumulative sum over
    blocks instead of over the vocabulary.

    Args:
        scores: [rows, vocabulary], logits at the temperature, -inf for tokens that may not be drawn.
        uniforms: [rows], uniform in [0, 1).

    Returns:
        [rows]; never a token of probability 0.
    """
    weights = (scores - scores.amax(1, keepdim=True)).exp_()
    if rest := -weights.shape[1] % BLOCK:
        weights = pad(weights, (0, rest))
    blocks = weights.view(len(weights), -1, BLOCK)
    # float64: the remainder that decides the place in the block is a difference between nearly equal numbers.
    ends = cumulated(blocks.sum(2).double())
    target = _below(uniforms[:, None] * ends[:, -1:], ends)
    block = torch.searchsorted(ends, target, right=True)
    before = torch.where(block > 0, ends.gather(1, (block - 1).clamp(min=0)), 0.0)
    within = cumulated(blocks[torch.arange(len(blocks), device=blocks.device), block[:, 0]].double())
    place = torch.searchsorted(within, _below((target - before).clamp(min=0), within), right=True)
    return (block * BLOCK + place)[:, 0]


def cumulated(weights: Tensor) -> Tensor:
    """Return the cumulative sums of weights [rows, n], each included; they do not rise where a weight is 0."""
    return weights.cumsum(1) if weights.device.type == "cpu" else summed_in_order(weights)


def summed_in_order(weights: Tensor) -> Tensor:
    """Return the same through a product with a triangle of ones.

    A GPU's own cumulative sums may differ from run to run. By rounding, both may fall, or rise where a weight is 0.
    """
    n = weights.shape[1]
    sums = weights @ torch.ones(n, n, dtype=weights.dtype, device=weights.device).triu()
    return torch.where(weights > 0, sums, 0).cummax(1).values


def _below(target: Tensor, ends: Tensor) -> Tensor:
    """Keep targets below the last end: a target that rounds up to it would lie after every token."""
    return torch.minimum(target, torch.nextafter(ends[:, -1:], torch.zeros_like(target)))


def restricted(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Divide logits by the temperature and set those of excluded tokens to -inf: by top_k, then top_p, then min_p.

    The logits warpers of transformers round differently: their top_p sums in the other direction, which changed the
    tokens left out in 9 of 192 rows of 49,152 logits, and their min_p takes twice as long.

    Args:
        logits: [rows, vocabulary].
    """
    scores = logits if settings.temperature == 1 else logits / settings.temperature
    if settings.top_k is not None and settings.top_k < scores.shape[1]:
        least = scores.topk(settings.top_k, dim=1).values[:, -1:]
        scores = scores.masked_fill(scores < least, float("-inf"))
    if settings.top_p < 1:
        descending, order = scores.sort(dim=1, descending=True)
        probabilities = descending.softmax(1)
        # The token that reaches top_p stays: the ones before it do not suffice.
        beyond = _cumulated_in_blocks(probabilities) - probabilities >= settings.top_p
        scores = scores.masked_fill(beyond.scatter(1, order, beyond), float("-inf"))
    if settings.min_p > 0:
        least = scores.amax(1, keepdim=True) + math.log(settings.min_p)
        scores = scores.masked_fill(scores < least, float("-inf"))
    return scores


def _cumulated_in_blocks(weights: Tensor) -> Tensor:
    """Return the cumulative sums of weights [rows, vocabulary], each included."""
    if weights.device.type == "cpu":
        return weights.cumsum(1)
    blocks = pad(weights, (0, -weights.shape[1] % BLOCK)).view(len(weights), -1, BLOCK)
    within = summed_in_order(blocks.flatten(0, 1)).view_as(blocks)
    before = summed_in_order(within[:, :, -1]).roll(1, 1)
    before[:, 0] = 0
    return (within + before[:, :, None]).flatten(1)[:, : weights.shape[1]]


def uniforms(seed: str, n: int) -> Tensor:
    """Return [n] numbers in [0, 1), float64, that depend only on the seed."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7])
    return torch.rand(n, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
