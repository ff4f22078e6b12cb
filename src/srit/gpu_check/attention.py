"""Compares torch's fused attention with a dense mask and FlexAttention, on rows of a prompt and its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import scaled_dot_product_attention

from srit.compute.flexing import block_masks, flexed
from srit.compute.masks import Window
from srit.gpu_check.timing import emptied, is_lacking_memory, timed

ANSWERS = 8
LENGTHS = (256, 2048, 8192)
HEADS, KEY_HEADS, WIDTH = 32, 8, 64  # of Llama 3.2 1B
ON_GPU = 16_384  # tokens at once


def attention(lengths: tuple[int, ...] = LENGTHS) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure forward and backward passes over as many tokens at each length, and how far apart their outputs are."""
    for length in lengths:
        rows = max(1, (ON_GPU if torch.cuda.is_available() else 64) // length)
        part = _parts(length)
        q, k, v = (_states(rows, heads, length) for heads in (HEADS, KEY_HEADS, KEY_HEADS))
        visible = _visible(part)
        dense = torch.zeros(1, 1, length, length, dtype=q.dtype, device=q.device)
        dense.masked_fill_(~visible, float("-inf"))
        share = round(float(visible.float().mean()), 3)
        found: dict[str, Any] = {"rows": rows, "seen": share}
        outputs = []
        for name, way in (("sdpa", _sdpa(dense)), ("flex", _flex(part, rows))):
            try:
                taken = timed(partial(_pass, way, q, k, v), repeats=3)
            except RuntimeError as error:
                if not is_lacking_memory(error):
                    raise
                found[name] = "out of memory"
                continue
            finally:
                emptied()
            output, gradients = taken.result
            again = _pass(way, q, k, v)
            same = torch.equal(output, again[0]) and all(map(torch.equal, gradients, again[1]))
            outputs.append(output)
            found[name] = {"ms": taken.least * 1e3, "peak GiB": taken.peak_gib, "same again": same}
        if len(outputs) == 2:
            found["apart"] = float((outputs[0].float() - outputs[1].float()).abs().max())
        yield f"L = {length}", found


def _states(rows: int, heads: int, length: int) -> Tensor:
    on_gpu = torch.cuda.is_available()
    dtype, device = (torch.bfloat16, "cuda") if on_gpu else (torch.float32, "cpu")
    generator = torch.Generator(device).manual_seed(heads)
    states = torch.randn(rows, heads, length, WIDTH, dtype=dtype, device=device, generator=generator)
    return states.requires_grad_(on_gpu)


def _parts(length: int) -> Tensor:
    """Return which part of a group each token is: a fifth is its prompt, 0, and the rest its answers, 1 …"""
    prompt = length // 5
    answer = -(-(length - prompt) // ANSWERS)
    columns = torch.arange(length)
    part = torch.where(columns < prompt, 0, 1 + (columns - prompt) // answer)
    return part.cuda() if torch.cuda.is_available() else part


def _visible(part: Tensor) -> Tensor:
    causal = torch.ones(len(part), len(part), dtype=torch.bool, device=part.device).tril()
    return ((part[None, :] == 0) | (part[:, None] == part[None, :])) & causal


Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def _sdpa(mask: Tensor) -> Way:
    def way(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # As transformers does it under a mask: keys and values are copied for each query head of theirs.
        copies = q.shape[1] // k.shape[1]
        k, v = (of.repeat_interleave(copies, 1) for of in (k, v))
        return scaled_dot_product_attention(q, k, v, attn_mask=mask)

    return way


def _flex(part: Tensor, rows: int) -> Way:
    """Return the attention that srit has for long rows: uncompiled on a processor, where only correctness counts."""
    parts = part.repeat(rows, 1)  # the mask function is called for each row
    mask = block_masks({"full_attention": Window("all")}, torch.zeros_like(parts), parts, parts)
    assert isinstance(mask, BlockMask)
    return partial(flexed, mask=mask)


def _pass(way: Way, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    if not q.is_cuda:  # FlexAttention has no gradient there
        with torch.no_grad():
            return way(q, k, v), ()
    output = way(q, k, v)
    return output.detach(), torch.autograd.grad(output.float().square().sum(), (q, k, v))
