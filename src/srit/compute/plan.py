"""How a student is computed on this machine: what was found right, and of that the fastest."""

from __future__ import annotations

from typing import Literal, NamedTuple

Attention = Literal["sdpa", "srit_products"]  # torch's kernel, or `attention.py`

# How completions are put into rows: those of one prompt beside each other, and several groups in a row; each after its
# own copy of the prompt, padded on the right; or likewise, but each going through the model by itself, without a mask.
RowKind = Literal["shared", "separate", "alone"]

# How answers are written side by side: each in a slot of the cache; padded on the left; only beside prompts of the same
# length; or computed from the first token at every step, without a cache.
Decoding = Literal["slots", "padded", "even", "whole"]


Targets = str | tuple[str, ...]  # modules that take adapters, as in `recipe.Lora`


class Rates(NamedTuple):
    """How fast a student was on this machine when it was first used, in tokens a second."""

    sampled: float
    trained: float  # through a training step, prompts included


class ComputePlan(NamedTuple):
    """How a student is computed."""

    dtype: Literal["float32", "bfloat16"]
    rows: RowKind
    decoding: Decoding
    line: str  # which, and why
    proof: str  # what was compared with the model's own forward pass, and how far it is away
    targets: Targets
    warning: str = ""  # of what is likely to go wrong with this student; "" where nothing is
    attention: Attention = "sdpa"  # `attn_implementation` of what is trained
