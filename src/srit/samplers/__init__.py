"""Samplers: prompts to completions. One file an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How a next token is drawn; temperature 0 is greedy and draws nothing."""

    temperature: float
    max_new_tokens: int
    stop_ids: tuple[int, ...]  # any of them ends an answer and is part of it
    top_k: int | None = None  # only the k likeliest tokens
    top_p: float = 1.0  # only the likeliest tokens that together have this probability (Holtzman et al. 2019)
    min_p: float = 0.0  # only tokens with this share of the likeliest one's probability (Nguyen et al. 2024)
    stop: tuple[str, ...] = ()  # texts any of which ends an answer too; it is part of the answer


class Request(NamedTuple):
    """One answer that is wanted."""

    prompt_ids: tuple[int, ...]
    seed: str  # of this answer alone, such as "0/sample/gsm8k-7/cot/3": it owes nothing to the batch


class Sampled(NamedTuple):
    """One answer that was drawn."""

    token_ids: tuple[int, ...]  # the stop token is the last unless truncated
    logp: float  # nats, summed over token_ids, at temperature 1
    truncated: bool


class Sampler(Protocol):
    """Draws answers from one model."""

    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Sampled]:
        """One answer for each request, in the order of the requests."""
        ...
