"""Decodes answers side by side: rows leave the batch when they end, and others take their place.

Each row has a slot of the cache with its own length, so a new prompt can enter at any time. The shared prefixes of
prompts are computed once (`prefixes`) and copied to the slots of all their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from srit.compute.attention import use_attention
from srit.compute.head import Head
from srit.compute.masks import Masks, Windows, as_input, masks_for
from srit.samplers.prefixes import Prefixes, lay_out

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = "srit_grouped"  # the `attn_implementation` under which `grouped_attention` is registered


class SlotBatch:
    """Rows 0 … n-1 of a cache, each an answer to a prompt, for models with attention layers only (`has_slots`)."""

    def __init__(
        self, model: PreTrainedModel, decoder: torch.nn.Module, head: Head, windows: Windows, *, rows: int, room: int
    ) -> None:
        """Make an empty batch.

        Args:
            model: in evaluation mode.
            decoder, head: its parts.
            windows: what its layers attend to.
            rows: the largest number of rows at once.
            room: the number of tokens that a row can hold, its prompt included.
        """
        use_attention(model, ATTENTION)
        self._model = model
        self._head = head
        self._windows = windows
        self._decoder = decoder
        self._lengths = torch.zeros(0, dtype=torch.long)  # the number of tokens in each row
        self._cache = _cache_of(model, lambda: _SlotLayer(rows, room))

    def enter(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """Add prompts as the last rows; equal ones are computed once.

        Args:
            prompts: token ids, at least one prompt.

        Returns:
            [prompts, vocabulary], the logits of their first tokens.
        """
        first = len(self._lengths)
        rows_of: dict[tuple[int, ...], list[int]] = {}
        for index, prompt in enumerate(prompts):
            rows_of.setdefault(prompt, []).append(index)
        distinct = list(rows_of)
        found: dict[int, Tensor] = {}
        for batch in lay_out(distinct):
            copies = [
                (member, index) for member, which in enumerate(batch.members) for index in rows_of[distinct[which]]
            ]
            member, entered = torch.tensor(copies).unbind(1)
            logits = self._fill(batch, first + entered, member)
            found |= dict(zip(entered.tolist(), logits[member], strict=True))
        self._lengths = torch.cat([self._lengths, torch.tensor([len(prompt) for prompt in prompts])])
        return torch.stack([found[index] for index in range(len(prompts))])

    def _fill(self, batch: Prefixes, slots: Tensor, member: Tensor) -> Tensor:
        """Compute prompts and copy their keys and values to slots.

        Args:
            slots: [n].
            member: [n], which of the batch's prompts goes to each slot.

        Returns:
            [members, vocabulary], the logits of each prompt's first token.
        """
        computed = _cache_of(self._model, DynamicLayer)
        masks = masks_for(self._windows, batch.visible, batch.positions, batch.positions)
        hidden = self._hidden(batch.input_ids, masks, batch.positions, computed)
        length = max(map(len, batch.columns))
        # A shorter prompt is padded with its first column, which lies beyond the row's length and is masked.
        columns = torch.tensor([path + [path[0]] * (length - len(path)) for path in batch.columns])
        row, column = batch.row[member].to(hidden.device), columns[member].to(hidden.device)
        for layer, source in zip(self._cache.layers, computed.layers, strict=True):
            if isinstance(layer, _SlotLayer):
                layer.put(slots.to(hidden.device), source, row, column)
        ends = torch.tensor([path[-1] for path in batch.columns])
        return self._head(hidden[batch.row.to(hidden.device), ends.to(hidden.device)])

    def leave(self, rows: Sequence[int]) -> list[int]:
        """Remove rows; the last rows move into their places.

        Returns:
            The previous index of each remaining row.
        """
        gone, before = set(rows), list(range(len(self._lengths)))
        n_left = len(before) - len(gone)
        holes = [row for row in range(n_left) if row in gone]
        moved = [row for row in before[n_left:] if row not in gone]
        if holes:
            source, target = torch.tensor(moved), torch.tensor(holes)
            for layer in self._slots:
                layer.move(source.to(self._model.device), target.to(self._model.device), self._longest)
            for hole, row in zip(holes, moved, strict=True):
                before[hole] = row
        self._lengths = self._lengths[torch.tensor(before[:n_left], dtype=torch.long)]
        return before[:n_left]

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row.

        Args:
            tokens: [rows].

        Returns:
            [rows, vocabulary], the logits of the next tokens, float32.
        """
        device, lengths = self._model.device, self._lengths
        self._lengths = lengths + 1
        columns = torch.arange(self._longest)[None]
        seen = masks_for(self._windows, (columns <= lengths[:, None])[:, None], lengths[:, None], columns)
        for layer in self._slots:
            layer.at(lengths.to(device), self._longest)
        hidden = self._hidden(tokens[:, None], _added(seen, self._model.dtype), lengths[:, None], self._cache)
        return self._head(hidden[:, -1])

    @property
    def _slots(self) -> list[_SlotLayer]:
        return [layer for layer in self._cache.layers if isinstance(layer, _SlotLayer)]

    @property
    def _longest(self) -> int:
        return int(self._lengths.max())

    def _hidden(self, ids: Tensor, masks: Masks, positions: Tensor, cache: DynamicCache) -> Tensor:
        device = self._model.device
        hidden: Tensor = self._decoder(
            input_ids=ids.to(device),
            attention_mask=as_input(masks, self._model),
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return hidden


def has_slots(model: PreTrainedModel) -> bool:
    """Return whether a model's cache holds only the keys and values of tokens, so that it can be divided into slots."""
    layers = DynamicCache(config=model.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer, DummyLayer) for layer in layers)


def _cache_of(model: PreTrainedModel, make: Callable[[], DynamicLayer]) -> DynamicCache:
    """Make a cache whose layers keep every token: windows are left to the masks."""
    cache = DynamicCache(config=model.config)
    cache.layers = [layer if isinstance(layer, DummyLayer) else make() for layer in cache.layers]
    return cache


def _added(masks: Masks, dtype: torch.dtype) -> Masks:
    """Turn masks into numbers to add to the scores, which the kernel would otherwise do in every layer."""
    if isinstance(masks, dict):
        return {layer_type: _added_one(mask, dtype) for layer_type, mask in masks.items()}
    return _added_one(masks, dtype)


def _added_one(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, float("-inf"))


class _SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values, [slots, room, heads, width]: those of a new token are written at its row's end."""

    def __init__(self, rows: int, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows = rows
        self._room = room

    def put(self, slots: Tensor, source: Any, row: Tensor, columns: Tensor) -> None:
        """Copy the keys and values of prompts from the layer that computed them.

        Args:
            slots: [n], the slots to fill.
            source: the layer that holds them.
            row, columns: [n] and [n, length], their places in that layer.
        """
        if not self.is_initialized:
            self.lazy_initialization(source.keys, source.values)
        for room, states in ((self._keys, source.keys), (self._values, source.values)):
            room[slots, : columns.shape[1]] = states[row[:, None], :, columns]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        # Zeros: what lies beyond a row's end is masked, but zero times uninitialized memory could be NaN.
        self._keys, self._values = (
            states.new_zeros(self._rows, self._room, states.shape[1], states.shape[-1])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def move(self, source: Tensor, target: Tensor, length: int) -> None:
        """Copy the first `length` tokens of slots to other slots."""
        for room in (self._keys, self._values):
            room[target, :length] = room[source, :length]

    def at(self, ends: Tensor, longest: int) -> None:
        """Set where the next `update` writes, at the ends of rows [rows], and how many tokens it then returns."""
        self._places = torch.arange(len(ends), device=ends.device) * self._room + ends
        self._longest = longest

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        n = len(self._places)
        for room, states in ((self._keys, key_states), (self._values, value_states)):
            room.view(self._rows * self._room, -1).index_copy_(0, self._places, states.reshape(n, -1))
        seen = (room[:n, : self._longest].transpose(1, 2) for room in (self._keys, self._values))
        self.keys, self.values = seen
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self._longest


def grouped_attention(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Compute the attention of one new token per row, treating the query heads of a key head as positions of one head.

    transformers' `sdpa` first copies every key and value for each query head of its group, which costs more than the
    attention itself. Longer queries go there.

    Args:
        query: [rows, query heads, 1, width].
        key: [rows, key heads, length, width].
        value: [rows, key heads, length, value width].
        attention_mask: [rows, 1, 1, length], 0 where the token attends and -inf elsewhere; None: it attends to all.

    Returns:
        [rows, 1, query heads, value width].
    """
    if query.shape[2] != 1 or kwargs.get("softcap"):
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    rows, heads, _, width = query.shape
    grouped = query.view(rows, key.shape[1], heads // key.shape[1], width)
    output = scaled_dot_product_attention(
        grouped, key, value, attn_mask=attention_mask, scale=kwargs.get("scaling") or width**-0.5
    )
    return output.reshape(rows, 1, heads, value.shape[-1]), None


AttentionInterface.register(ATTENTION, grouped_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
