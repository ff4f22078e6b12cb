"""Attention of long rows by FlexAttention (Dong et al. 2024, arXiv 2412.05496), which skips empty blocks of a mask.

A row of a prompt and its answers needs a small share of a dense mask: with 8 answers, a sixth. Short rows gain nothing
from that, and on a CPU it has no gradient, so it is used on a GPU on which `machine.probe` finds it faster.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from srit.compute.masks import Window, Windows, related

FLEX: Final = "srit_flex"  # the `attn_implementation` under which `row_attention` is registered
LONG = 1024  # tokens in a row from which it is used: below, dense attention takes a few percent of a step
STEP = 512  # rows are padded to a multiple of it, since each length is compiled anew, which takes seconds
# Arguments for other kinds of softmax or for modified scores, which are not passed on here.
UNSUPPORTED = ("softcap", "s_aux", "position_bias")

BlockMasks: TypeAlias = BlockMask | dict[str, BlockMask]  # one, or one for each type of layer


def block_masks(windows: Windows, group: Tensor, part: Tensor, positions: Tensor) -> BlockMasks:
    """Build the masks of every type of layer: the same as `rows.mask_of`, without the empty blocks.

    Args:
        windows: what each type of layer attends to.
        group, part, positions: [rows, length], as in `rows.Rows`.
    """
    shape = (group.shape[0], None, group.shape[1], group.shape[1])
    made = {
        layer_type: create_block_mask(_seen(window, group, part, positions), *shape, device=str(group.device))
        for layer_type, window in windows.items()
    }
    return made if len(made) > 1 else next(iter(made.values()))


def _seen(window: Window, group: Tensor, part: Tensor, positions: Tensor) -> Callable[..., Tensor]:
    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        alike = related((group[row, query], group[row, key]), (part[row, query], part[row, key]))
        visible = alike & (query >= key)
        in_window = window.sees(positions[row, query], positions[row, key])
        return visible if in_window is None else visible & in_window

    return seen


def flexed(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scale: float | None = None) -> Tensor:
    """Compute attention under a block mask: [rows, query heads, length, width].

    Args:
        query: [rows, query heads, length, width].
        key, value: [rows, key heads, length, width].
        scale: of the scores; None: 1 over the root of the width.
    """
    attend: Any = _compiled() if query.is_cuda else flex_attention
    found = attend(query, key, value, block_mask=mask, scale=scale, enable_gqa=query.shape[1] != key.shape[1])
    return cast(Tensor, found)


@cache
def _compiled() -> Callable[..., Any]:
    # Never autotuned, which could choose another kernel, and so other last digits, each time.
    return torch.compile(flex_attention, dynamic=False, mode="default")


def row_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    """Compute attention under a block mask; any other mask goes to torch's kernel.

    Returns:
        [rows, length, query heads, width].

    Raises:
        NotImplementedError: the model's attention does more than attend under a mask.
    """
    if not isinstance(attention_mask, BlockMask):
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    if any(kwargs.get(name) is not None for name in UNSUPPORTED):
        raise NotImplementedError(f"{type(module).__name__} does more than attend under a mask")
    return flexed(query, key, value, attention_mask, kwargs.get("scaling")).transpose(1, 2), None
