"""Batches for models whose cache cannot be divided into slots: recurrent, convolutional, or with a cache of their own.

All answers enter at once. Each prompt is computed once, its state is copied for each of its answers, and rows are
dropped when they end.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from srit.samplers.forward import Forward


class PaddedBatch:
    """Rows of one length, padded on the left, with whatever kind of cache the model has."""

    def __init__(self, forward: Forward, pad_id: int) -> None:
        self._forward = forward
        self._pad_id = pad_id

    def enter(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """See `Batch`. The batch must be empty; equal prompts are computed once."""
        place = {prompt: index for index, prompt in enumerate(dict.fromkeys(prompts))}
        which = torch.tensor([place[prompt] for prompt in prompts])
        length = max(map(len, place))
        ids = torch.full((len(place), length), self._pad_id)
        self._mask = torch.zeros(len(place), length, dtype=torch.long)
        for prompt, row in place.items():
            # Left padding: generation continues from the last column, which must hold a token.
            ids[row, length - len(prompt) :] = torch.tensor(prompt)
            self._mask[row, length - len(prompt) :] = 1
        self._cache = self._forward.new_cache()
        logits = self._step(ids, (self._mask.cumsum(1) - 1).clamp(min=0))
        self._keep(which)
        return logits[which]

    def leave(self, rows: Sequence[int]) -> list[int]:
        """See `Batch`."""
        gone = set(rows)
        stayed = [row for row in range(len(self._mask)) if row not in gone]
        if stayed:
            self._keep(torch.tensor(stayed))
        return stayed

    def step(self, tokens: Tensor) -> Tensor:
        """See `Batch`."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], dim=1)
        return self._step(tokens[:, None], self._mask.sum(1, keepdim=True) - 1)

    def states(self) -> list[Tensor]:
        """Return what layers keep besides keys and values, [rows, …] each."""
        return self._forward.states(self._cache)

    def _keep(self, rows: Tensor) -> None:
        # Made for beam search, it also takes fewer or more rows than there are, and every kind of layer has it.
        self._cache.reorder_cache(rows)  # type: ignore[arg-type]  # any integers work
        self._mask = self._mask[rows]

    def _step(self, ids: Tensor, positions: Tensor) -> Tensor:
        last = torch.full((len(ids),), ids.shape[1] - 1)
        # After the first pass, only layers with keys still see padding; Mamba would apply the mask to its new token.
        seen = self._attends or ids.shape[1] == self._mask.shape[1]
        mask = self._mask if seen and not self._mask.all() else None
        return self._forward.logits(ids, mask, last, positions=positions, cache=self._cache)

    @property
    def _attends(self) -> bool:
        return any(isinstance(layer, CacheLayerMixin) for layer in self._cache.layers)


class WholeBatch:
    """Rows that are recomputed from their first token at every step, for models whose cache cannot be used.

    Only rows of the same length go through the model together, so there is no padding that could be wrong.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._rows: list[tuple[int, ...]] = []

    def enter(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """See `Batch`."""
        self._rows += prompts
        return self._logits(prompts)

    def leave(self, rows: Sequence[int]) -> list[int]:
        """See `Batch`."""
        gone = set(rows)
        stayed = [row for row in range(len(self._rows)) if row not in gone]
        self._rows = [self._rows[row] for row in stayed]
        return stayed

    def step(self, tokens: Tensor) -> Tensor:
        """See `Batch`."""
        self._rows = [(*row, token) for row, token in zip(self._rows, tokens.tolist(), strict=True)]
        return self._logits(self._rows)

    def _logits(self, rows: Sequence[tuple[int, ...]]) -> Tensor:
        by_length: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            by_length.setdefault(len(row), []).append(index)
        found: dict[int, Tensor] = {}
        for length, members in by_length.items():
            last = torch.full((len(members),), length - 1)
            logits = self._forward.logits(torch.tensor([rows[index] for index in members]), None, last)
            found |= dict(zip(members, logits, strict=True))
        return torch.stack([found[index] for index in range(len(rows))])
