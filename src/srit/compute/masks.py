"""Attention masks by token position rather than by column.

transformers builds masks from columns, which is correct if a row holds one text. Rows in srit hold many (`rows`,
`samplers.prefixes`, `samplers.slots`), so their masks are built here: one for each type of layer, since models
alternate layers that attend to everything with layers that attend within windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import get_layer_types_and_kwargs

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

Masks = Tensor | dict[str, Tensor]  # a decoder's `attention_mask`: one, or one for each type of layer


class Window(NamedTuple):
    """Which earlier tokens a layer attends to."""

    kind: Literal["all", "sliding", "chunked"]
    size: int = 0  # tokens in a window, the token itself included, or in a chunk

    def sees(self, query: Tensor, key: Tensor) -> Tensor | None:
        """Return whether tokens at the positions `query` attend to those at `key`, broadcast; None means to all."""
        if self.kind == "sliding":
            return query - key < self.size
        return query // self.size == key // self.size if self.kind == "chunked" else None


Windows = Mapping[str, Window]  # by layer type


def related(group: tuple[Tensor, Tensor], part: tuple[Tensor, Tensor]) -> Tensor:
    """Return whether tokens of shared rows may see each other, order aside: those of the prompt, and of one answer.

    Args:
        group, part: of the queries and of the keys, as in `rows.Rows`; broadcast.
    """
    return (group[0] == group[1]) & ((part[1] == 0) | (part[0] == part[1]))


_KINDS: Mapping[str, tuple[Literal["all", "sliding", "chunked"], str]] = {
    "full_attention": ("all", ""),
    "sliding_attention": ("sliding", "sliding_window"),
    "chunked_attention": ("chunked", "attention_chunk_size"),
}
_KNOWN_WINDOWS = {"sliding_window", "use_sliding_window", "max_window_layers", "sliding_window_pattern"}


def windows_of(config: PreTrainedConfig) -> Windows | None:
    """Return what each type of layer attends to, or None if a layer is not attention or its window is of unknown kind.

    Args:
        config: a model's; if it holds the config of a text model, that one counts.
    """
    text = config.get_text_config(decoder=True)
    others = (name for name in vars(text) if "window" in name and name.strip("_") not in _KNOWN_WINDOWS)
    if any(getattr(text, name) for name in others):
        return None
    types = getattr(text, "layer_types", None) or get_layer_types_and_kwargs(text)[0]
    if not set(types) <= set(_KINDS):
        return None
    windows = {}
    for layer_type, layer in zip(types, text.per_layer_config, strict=False):
        kind, field = _KINDS[layer_type]
        windows[layer_type] = Window(kind, getattr(layer, field) if field else 0)
    return windows


def masks_for(windows: Windows, visible: Tensor, query: Tensor, key: Tensor) -> Masks:
    """Build the masks of every type of layer, as a decoder takes them.

    Args:
        visible: [rows, queries, keys], True where a layer without windows attends.
        query: [rows, queries], positions.
        key: [rows, keys], positions.

    Returns:
        [rows, 1, queries, keys], boolean; a dict by layer type if there are several.
    """
    made = {}
    for layer_type, window in windows.items():
        seen = window.sees(query[:, :, None], key[:, None, :])
        made[layer_type] = (visible if seen is None else visible & seen)[:, None]
    return made if len(made) > 1 else next(iter(made.values()))


def as_input(masks: Masks, model: PreTrainedModel) -> Masks:
    """Turn masks on a model's device into numbers to add, if its attention adds them, or makes them in every layer."""
    if isinstance(masks, dict):
        return {layer_type: _as_input(mask, model) for layer_type, mask in masks.items()}
    return _as_input(masks, model)


def _as_input(mask: Tensor, model: PreTrainedModel) -> Tensor:
    eager = model.config._attn_implementation == "eager"
    if mask.dtype != torch.bool or not (eager or mask.device.type != "cpu"):
        return mask
    added = torch.zeros(mask.shape, dtype=model.dtype, device=mask.device)
    return added.masked_fill_(~mask, torch.finfo(model.dtype).min if eager else float("-inf"))
