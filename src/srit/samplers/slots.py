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
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, cache_utils
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from srit.compute.attention import use_attention
from srit.compute.device import moved
from srit.compute.head import Head
from srit.compute.masks import Masks, Windows, as_input, masks_for
from srit.samplers.prefixes import Prefixes, lay_out
from srit.samplers.replay import ReplayedStep

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Layers without a cache. The versions of transformers that vLLM needs (5.19 and 5.20) do not have them.
DUMMY: tuple[type, ...] = tuple(filter(None, [getattr(cache_utils, "DummyLayer", None)]))
ATTENTION = "srit_grouped"  # the `attn_implementation` under which `grouped_attention` is registered


class SlotBatch:
    """Rows 0 … n-1 of a cache, each an answer to a prompt, for models with attention layers only (`has_slots`)."""

    def __init__(
        self,
        model: PreTrainedModel,
        decoder: torch.nn.Module,
        head: Head,
        windows: Windows,
        cache_name: str,
        *,
        rows: int,
        room: int,
        replayed: bool = False,
    ) -> None:
        """Make an empty batch.

        Args:
            model: in evaluation mode.
            decoder, head: its parts.
            windows: what its layers attend to.
            cache_name: the name under which the decoder takes its cache.
            rows: the largest number of rows at once.
            room: the number of tokens that a row can hold, its prompt included.
            replayed: whether steps have a fixed shape, so that a GPU can replay them.
        """
        use_attention(model, ATTENTION)
        self._model = model
        self._head = head
        self._windows = windows
        self._decoder = decoder
        self._cache_name = cache_name
        self._cache = _cache_of(model, lambda: _SlotLayer(rows, room))
        self._room = room
        self._replayed = ReplayedStep(rows, room, model.device) if replayed else None
        self._lengths = self._ends = torch.zeros(0, dtype=torch.long)

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
            found |= dict(zip(entered.tolist(), logits[moved(member, logits.device)], strict=True))
        self._set_lengths(torch.cat([self._lengths, torch.tensor([len(prompt) for prompt in prompts])]))
        return torch.stack([found[index] for index in range(len(prompts))])

    def _fill(self, batch: Prefixes, slots: Tensor, member: Tensor) -> Tensor:
        """Compute prompts and copy their keys and values to slots.

        Args:
            slots: [n].
            member: [n], which of the batch's prompts goes to each slot.

        Returns:
            [members, vocabulary], the logits of each prompt's first token.
        """
        device, computed = self._model.device, _cache_of(self._model, DynamicLayer)
        ids, positions, visible = (moved(of, device) for of in (batch.input_ids, batch.positions, batch.visible))
        hidden = self._hidden(ids, masks_for(self._windows, visible, positions, positions), positions, computed)
        length = max(map(len, batch.columns))
        # A shorter prompt is padded with its first column, which lies beyond the row's length and is masked.
        columns = torch.tensor([path + [path[0]] * (length - len(path)) for path in batch.columns])
        places = [moved(of, device) for of in (slots, batch.row[member], columns[member])]
        for layer, source in zip(self._cache.layers, computed.layers, strict=True):
            if isinstance(layer, _SlotLayer):
                layer.put(places[0], source, places[1], places[2])
        ends = torch.tensor([path[-1] for path in batch.columns])
        return self._head(hidden[moved(batch.row, device), moved(ends, device)])

    def leave(self, rows: Sequence[int]) -> list[int]:
        """Remove rows; the last rows move into their places.

        Returns:
            The previous index of each remaining row.
        """
        gone, before = set(rows), list(range(len(self._lengths)))
        n_left = len(before) - len(gone)
        holes = [row for row in range(n_left) if row in gone]
        stayed = [row for row in before[n_left:] if row not in gone]
        if holes:
            source, target = (moved(torch.tensor(rows), self._model.device) for rows in (stayed, holes))
            for layer in self._slots:
                layer.move(source, target, self._longest)
            for hole, row in zip(holes, stayed, strict=True):
                before[hole] = row
        self._set_lengths(self._lengths[torch.tensor(before[:n_left], dtype=torch.long)])
        return before[:n_left]

    def empty(self) -> None:
        """Remove all rows, and ensure that the model still attends as the batch needs it to."""
        use_attention(self._model, ATTENTION)
        self._set_lengths(self._lengths[:0])

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row.

        Args:
            tokens: [rows].

        Returns:
            [rows, vocabulary], the logits of the next tokens, float32. The next step may overwrite them.
        """
        ends = self._ends
        self._lengths = self._lengths + 1
        self._ends = ends + 1
        if self._replayed is not None:
            return self._replayed.take(self._computed, tokens, ends, self._longest)
        return self._computed(tokens, ends, self._longest)

    def _computed(self, tokens: Tensor, ends: Tensor, longest: int) -> Tensor:
        """Compute a step; it waits for nothing, so it can be recorded.

        Args:
            tokens, ends: [rows], the new token of each row and its column.
            longest: how many columns are attended to at most.
        """
        columns = torch.arange(longest, device=ends.device)[None]
        seen = masks_for(self._windows, (columns <= ends[:, None])[:, None], ends[:, None], columns)
        places = torch.arange(len(ends), device=ends.device) * self._room + ends
        for layer in self._slots:
            layer.at(places, longest)
        hidden = self._hidden(tokens[:, None], _added(seen, self._model.dtype), ends[:, None], self._cache)
        return self._head(hidden[:, -1])

    def _set_lengths(self, lengths: Tensor) -> None:
        self._lengths = lengths  # the number of tokens in each row; on the processor, which decides by it
        self._ends = moved(lengths, self._model.device)

    @property
    def _slots(self) -> list[_SlotLayer]:
        return [layer for layer in self._cache.layers if isinstance(layer, _SlotLayer)]

    @property
    def _longest(self) -> int:
        return int(self._lengths.max())

    def _hidden(self, ids: Tensor, masks: Masks, positions: Tensor, cache: DynamicCache) -> Tensor:
        hidden: Tensor = self._decoder(
            input_ids=ids,
            attention_mask=as_input(masks, self._model),
            position_ids=positions,
            use_cache=True,
            **{self._cache_name: cache},
        ).last_hidden_state
        return hidden


def has_slots(model: PreTrainedModel) -> bool:
    """Return whether a model's cache holds only the keys and values of tokens, so that it can be divided into slots."""
    layers = DynamicCache(config=model.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer, *DUMMY) for layer in layers)


def _cache_of(model: PreTrainedModel, make: Callable[[], DynamicLayer]) -> DynamicCache:
    """Make a cache whose layers keep every token: windows are left to the masks."""
    cache = DynamicCache(config=model.config)
    cache.layers = [layer if isinstance(layer, DUMMY) else make() for layer in cache.layers]
    return cache


def _added(masks: Masks, dtype: torch.dtype) -> Masks:
    """Turn masks into numbers to add to the scores, which the kernel would otherwise do in every layer."""
    if isinstance(masks, dict):
        return {layer_type: _added_one(mask, dtype) for layer_type, mask in masks.items()}
    return _added_one(masks, dtype)


def _added_one(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, float("-inf"))


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

    def at(self, places: Tensor, longest: int) -> None:
        """Set where the next `update` writes, [rows] counted over all slots, and how many tokens it then returns."""
        self._places = places
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
