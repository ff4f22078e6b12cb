"""The compute plan: the fastest of the correct ways to compute a student on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

# The `attn_implementation` of a model in training: torch's fused kernel, the matrix products of `attention` for short
# rows on a processor, or the block masks of `flexing` for long rows on a GPU.
Attention = Literal["sdpa", "srit_products", "srit_flex"]

# How completions are put into rows. "shared": the completions of a prompt share one copy of it, and a row holds several
# prompts. "separate": each completion follows its own copy of the prompt, padded on the right. "alone": likewise, but
# each row goes through the model by itself, without a mask.
RowKind = Literal["shared", "separate", "alone"]

# How answers are decoded side by side. "slots": each has a slot of the cache. "replayed": likewise, with steps of one
# shape, which a GPU records once and replays. "padded": prompts are padded on the left. "even": only prompts of the
# same length share a batch. "whole": without a cache, every step recomputes all tokens.
Decoding = Literal["replayed", "slots", "padded", "even", "whole"]


Targets = str | tuple[str, ...]  # the modules that get adapters, as in `recipe.Lora`


class Rates(NamedTuple):
    """How fast this machine computed a student when the student was first used, in tokens per second."""

    sampled: float
    trained: float  # through a training step, prompts included


class Budget(NamedTuple):
    """How many tokens go through a model at once in training: it bounds memory, and affects only rounding."""

    batch_tokens: int = 2048  # padding included
    stored_tokens: int = 0  # above this, every layer is recomputed for the gradient instead of stored; 0: never


ON_CPU = Budget()


Precision = Literal["float32", "bfloat16"]


class ComputePlan(NamedTuple):
    """How a student is computed."""

    dtype: Precision
    rows: RowKind
    decoding: Decoding
    line: str  # the choice and its reason, for people
    proof: str  # what was compared with the model's own forward pass, and the largest difference
    targets: Targets
    warning: str = ""  # a warning about this student; "" if there is none
    attention: Attention = "sdpa"  # the `attn_implementation` of the model in training
    device: str = "cpu"  # its kind (`device.kind_of`)
    cache_bytes: int = 0  # that a batch's cache may take; 0: a share of the machine's memory
    batch_tokens: int = ON_CPU.batch_tokens
    stored_tokens: int = ON_CPU.stored_tokens


# Fields that plans did not have at first, with the values for how everything was computed then: they complete an old
# plan, and are left out of fingerprints.
ADDED: Mapping[str, Any] = {
    name: ComputePlan._field_defaults[name] for name in ("device", "cache_bytes", "batch_tokens", "stored_tokens")
}
