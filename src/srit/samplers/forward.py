"""Runs a forward pass of any model for the logits of one position in each row."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from srit.compute.device import total_bytes
from srit.compute.head import Head, parts_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CACHE_SHARE = 0.25  # the share of a device's memory that the cache of a batch may take
_STATES = ("conv_states", "recurrent_states")  # a layer's, one for each row
# The names that models give to their cache; since transformers 5.24 most call it `cache`.
_CACHES = ("past_key_values", "cache", "cache_params")


class Forward:
    """A model, called only with arguments that its forward pass takes: some models silently ignore unknown ones."""

    def __init__(self, model: PreTrainedModel, cache_bytes: int = 0) -> None:
        """Split a model into its parts; `cache_bytes` as in `ComputePlan`."""
        parts = parts_of(model)
        self._most_bytes = cache_bytes
        self.head = None if parts is None else Head(parts)
        self._model = model
        self._body: torch.nn.Module = model if parts is None else parts.decoder
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
        """Compute the logits after one column of each row: [rows, vocabulary], float32, on the model's device.

        Args:
            ids: [rows, new tokens].
            mask: [rows, all tokens], 1 for tokens and 0 for padding; None: nothing is padded.
            columns: [rows], which of the new tokens.
            positions: [rows, new tokens]; None: the columns.
            cache: the tokens so far, extended in place; None: there are none, and nothing is kept.
        """
        output = self._body(**self._inputs(ids, mask, positions, cache))
        rows = torch.arange(len(ids), device=self._device)
        columns = columns.to(self._device)
        if self.head is None:
            logits: Tensor = output.logits[rows, columns].float()
            return logits
        return self.head(output.last_hidden_state[rows, columns])

    def new_cache(self) -> Cache:
        """Make an empty cache."""
        return DynamicCache(config=self._model.config)

    def rows_that_fit(self, room: int) -> int:
        """Return how many rows of `room` tokens have a cache that fits into the bytes that it may take.

        If nothing was decided, that is `CACHE_SHARE` of the device's memory. All of it counts, not just what is free
        now, so that batches, and with them rounding, are the same in every run on a machine.
        """
        of_token, of_row = self._cache_bytes
        return (self._most_bytes or int(CACHE_SHARE * self._memory())) // (of_token * room + of_row)

    def _memory(self) -> int:
        if self._device.type == "cuda":
            return total_bytes()
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    @cached_property
    def _cache_bytes(self) -> tuple[int, int]:
        """Return the bytes that a token and a row take, measured on the cache of one token."""
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
        """Return what a cache keeps for recurrent and convolutional layers, [rows, …] each."""
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
