"""Attention of short rows under a custom mask, as matrix products.

In bfloat16 on a CPU, the backward pass of torch's fused kernel takes about ten times as long as its forward pass. Rows
of a few hundred tokens do not need a fused kernel: their scores fit into the cache, and matrix products are what a CPU
has hardware for. A DPO step gains 6 to 9 % (docs/performance.md).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from srit.compute.flexing import FLEX, row_attention
from srit.compute.head import bfloat16_units
from srit.compute.plan import Attention

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

ATTENTIONS: tuple[Attention, ...] = ("sdpa", "srit_products")  # of a processor, from the best tested to the fastest
_PRODUCTS: Final = "srit_products"  # the `attn_implementation` under which `product_attention` is registered
SHORT = 512  # tokens in a row; the number of scores grows with its square
HIDDEN = torch.finfo(torch.float32).min  # finite, so that a padded token that attends to nothing does not become NaN


def use_attention(model: LanguageModel, implementation: str) -> None:
    """Switch the model's `attn_implementation`, unless its architecture supports only "eager"."""
    if model.config._attn_implementation != "eager":
        model.set_attn_implementation(implementation)


def product_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Compute attention with gradients; long rows and rows without a boolean mask go to torch's kernel.

    Args:
        query: [rows, query heads, length, width].
        key, value: [rows, key heads, length, width].
        attention_mask: [rows, 1, length, length], True where a query attends to a key.

    Returns:
        [rows, length, query heads, width].
    """
    rows, heads, length, width = query.shape
    fits = length <= SHORT and query.device.type == "cpu" and not kwargs.get("dropout")
    if not fits or attention_mask is None or attention_mask.dtype != torch.bool:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    # The query heads of a key head become further positions of it, so that no keys are copied.
    grouped = query.reshape(rows, key.shape[1], -1, width)
    hidden = torch.zeros_like(attention_mask, dtype=torch.float32).masked_fill_(~attention_mask, HIDDEN)
    summed = _Products.apply(grouped, key, value, hidden, kwargs.get("scaling") or width**-0.5)  # type: ignore[no-untyped-call]
    return summed.view(rows, heads, length, width).transpose(1, 2), None


class _Products(torch.autograd.Function):
    """softmax(scale q kᵀ + hidden) v. The backward pass recomputes the attention weights, which are never stored."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v, hidden)
        ctx.scale = scale
        return _weights(q, k, hidden, scale).to(v.dtype) @ v

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, hidden = ctx.saved_tensors
        weights = _weights(q, k, hidden, ctx.scale)
        grad_weights = (gradients[0] @ v.transpose(-1, -2)).to(weights.dtype)
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype).mul_(ctx.scale).to(q.dtype)
        grad_v = weights.to(v.dtype).transpose(-1, -2) @ gradients[0]
        return grad_scores @ k, grad_scores.transpose(-1, -2) @ q, grad_v, None, None


def _weights(q: Tensor, k: Tensor, hidden: Tensor, scale: float) -> Tensor:
    """Return the attention weights, [rows, key heads, positions, length], in float32 or better."""
    low = q.dtype == torch.bfloat16  # products of bfloat16 numbers are exact in float32; only their sums round
    with bfloat16_units() if low else nullcontext():
        scores = q.float() @ k.float().transpose(-1, -2) if low else q @ k.transpose(-1, -2)
    by_head = scores.view(*scores.shape[:2], -1, *hidden.shape[-2:])
    torch.add(hidden[:, :, None].to(scores.dtype), by_head, alpha=scale, out=by_head)
    return scores.softmax(-1)


AttentionInterface.register(_PRODUCTS, product_attention)
AttentionMaskInterface.register(_PRODUCTS, sdpa_mask)
AttentionInterface.register(FLEX, row_attention)
AttentionMaskInterface.register(FLEX, sdpa_mask)
