"""Attention of short rows under a mask of ours, as products of matrices.

torch's fused kernel takes its gradient some ten times slower than its value in bfloat16 on a CPU. Rows of a few hundred
tokens need no fused kernel: their scores fit into a cache, and products of matrices are what a CPU has units for.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Final

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from srit.compute.head import bfloat16_units

PRODUCTS: Final = "srit_products"  # the `attn_implementation` under which `product_attention` is registered
SHORT = 512  # tokens of a row; scores grow with its square
HIDDEN = torch.finfo(torch.float32).min  # finite: a padded token that sees nothing must not become NaN


def attend(model: Any, attention: str) -> Any:
    """The model with another `attn_implementation`; unchanged where its architecture has none but "eager"."""
    if model.config._attn_implementation != "eager":
        model.set_attn_implementation(attention)
    return model


def product_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention with gradients; rows that are long or have no mask of their own go to torch's kernel.

    Args:
        query: [rows, query heads, length, width].
        key, value: [rows, key heads, length, width].
        attention_mask: [rows, 1, length, length], True where a column is seen.

    Returns:
        [rows, length, query heads, width].
    """
    rows, heads, length, width = query.shape
    fits = length <= SHORT and query.device.type == "cpu" and not kwargs.get("dropout")
    if not fits or attention_mask is None or attention_mask.dtype != torch.bool:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    # Query heads of one key head are further positions of it, so that keys are not copied for each.
    together = query.reshape(rows, key.shape[1], -1, width)
    hidden = torch.zeros_like(attention_mask, dtype=torch.float32).masked_fill_(~attention_mask, HIDDEN)
    summed = _Products.apply(together, key, value, hidden, kwargs.get("scaling") or width**-0.5)  # type: ignore[no-untyped-call]
    return summed.view(rows, heads, length, width).transpose(1, 2), None


class _Products(torch.autograd.Function):
    """softmax(scale q kᵀ + hidden) v; the shares are computed again for the gradient and never kept."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v, hidden)
        ctx.scale = scale
        return _shares(q, k, hidden, scale).to(v.dtype) @ v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, hidden = ctx.saved_tensors
        shares = _shares(q, k, hidden, ctx.scale)
        of_shares = (gradients[0] @ v.transpose(-1, -2)).to(shares.dtype)
        of_scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype).mul_(ctx.scale).to(q.dtype)
        of_v = shares.to(v.dtype).transpose(-1, -2) @ gradients[0]
        return of_scores @ k, of_scores.transpose(-1, -2) @ q, of_v, None, None


def _shares(q: Tensor, k: Tensor, hidden: Tensor, scale: float) -> Tensor:
    """[rows, key heads, positions, length], float32 or better: what each position takes of each column."""
    low = q.dtype == torch.bfloat16  # products of such numbers are exact in float32, only sums need its room
    with bfloat16_units() if low else nullcontext():
        scores = q.float() @ k.float().transpose(-1, -2) if low else q @ k.transpose(-1, -2)
    by_head = scores.view(*scores.shape[:2], -1, *hidden.shape[-2:])
    torch.add(hidden[:, :, None].to(scores.dtype), by_head, alpha=scale, out=by_head)
    return scores.softmax(-1)


AttentionInterface.register(PRODUCTS, product_attention)
AttentionMaskInterface.register(PRODUCTS, sdpa_mask)
