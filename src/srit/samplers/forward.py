"""One forward pass of whichever model, for the logits of one position in each row."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from srit.compute.head import Head, parts_of

CACHE_SHARE = 0.25  # of the machine's memory, at most, for the cache of a batch
_STATES = ("conv_states", "recurrent_states")  # of a layer, one for each row
_CACHES = ("past_key_values", "cache_params")  # what models call it


class Forward:
    """A model, called with what its forward pass takes and no more: some swallow unknown arguments without a word."""

    def __init__(self, model: Any) -> None:
        parts = parts_of(model)
        self.head = None if parts is None else Head(parts)
        self._model = model
        self._body = model if parts is None else parts.decoder
        self._device = model.device
        self._takes = inspect.signature(self._body.forward).parameters
        self.cache_name = next((name for name in _CACHES if name in self._takes), None)

    def logits(
        self,
        ids: Tensor,
        mask: Tensor | None,
        columns: Tensor,
        *,
        positions: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """[rows, vocabulary], float32 on the CPU: the logits after one column of each row.

        Args:
            ids: [rows, new tokens].
            mask: [rows, all tokens], 1 for tokens and 0 for padding; None: nothing is padded.
            columns: [rows], of the new tokens.
            positions: [rows, new tokens]; None: columns.
            cache: what came before, extended in place; None: nothing came before, and nothing is kept.
        """
        output = self._body(**self._inputs(ids, mask, positions, cache))
        rows = torch.arange(len(ids), device=self._device)
        columns = columns.to(self._device)
        if self.head is None:
            logits: Tensor = output.logits[rows, columns].float().cpu()
            return logits
        return self.head(output.last_hidden_state[rows, columns])

    def new_cache(self) -> Cache:
        """One that holds nothing yet."""
        return DynamicCache(config=self._model.config)

    def rows_that_fit(self, room: int) -> int:
        """Rows of `room` tokens whose cache takes `CACHE_SHARE` of the machine's memory.

        Of all of it, not of what is free just now: batches, and with them roundings, are to be the same in every run on
        a machine.
        """
        if self._device.type == "cuda":
            total = torch.cuda.get_device_properties(self._device).total_memory
        else:
            total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        of_token, of_row = self._cache_bytes
        return int(CACHE_SHARE * total) // (of_token * room + of_row)

    @cached_property
    def _cache_bytes(self) -> tuple[int, int]:
        """What a token and what a row takes, by looking at the cache of one token."""
        one, cache = torch.ones(1, 1, dtype=torch.long), self.new_cache() if self.cache_name else None
        with torch.no_grad():
            self._body(**self._inputs(one, None, None, cache))
        if cache is None:
            return 1, 0
        kept = [vars(layer).get(name) for layer in cache.layers for name in ("keys", "values")]
        of_token = sum(part.nbytes for part in kept if part is not None)
        return max(1, of_token), sum(state.nbytes for state in self.states(cache))

    @staticmethod
    def states(cache: Cache) -> list[Tensor]:
        """What a cache keeps of recurrent and convolutional layers, [rows, …] each."""
        kept = [vars(layer).get(name, {}) for layer in cache.layers for name in _STATES]
        return [state for by_index in kept for state in by_index.values() if state is not None]

    def _inputs(
        self, ids: Tensor, mask: Tensor | None, positions: Tensor | None, cache: Cache | None
    ) -> Mapping[str, Any]:
        inputs: dict[str, Any] = {"input_ids": ids.to(self._device), "use_cache": cache is not None}
        if mask is not None and "attention_mask" in self._takes:
            inputs["attention_mask"] = mask.to(self._device)
        if positions is not None and "position_ids" in self._takes:
            inputs["position_ids"] = positions.to(self._device)
        if cache is not None and self.cache_name:
            inputs[self.cache_name] = cache
        return inputs
