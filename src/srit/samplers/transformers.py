"""Sampling with a transformers model: answers are written side by side, and one that ends makes room for another.

What prompts share is computed once, and only the last position's logits. What an answer becomes depends on its
prompt and its seed; the batch can change it by floating point alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from srit.errors import MachineError
from srit.head import Head
from srit.rows import shares_prefixes
from srit.samplers import Request, Sampled, SamplingSettings
from srit.samplers.draw import Draw
from srit.samplers.slots import SlotBatch

_log = logging.getLogger(__name__)

CACHE_SHARE = 0.25  # of the machine's memory, at most, for the keys and values of a batch
REFILL_SHARE = 0.25  # of the rows must be free before others enter: prompts are computed better together


Text = Callable[[tuple[int, ...]], str]


class Batch(Protocol):
    """Answers that are written side by side."""

    def enter(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """Prompts become the last rows; logits of their first tokens, [prompts, vocabulary]."""
        ...

    def leave(self, rows: Sequence[int]) -> list[int]:
        """Takes rows out, and tells which row each of the others was."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Appends a token to each row; logits of the next ones, [rows, vocabulary]."""
        ...


class TransformersSampler:
    """Draws answers from a causal language model of transformers."""

    def __init__(self, model: Any, *, rows: int, pad_id: int, text: Text | None = None) -> None:
        """
        Args:
            model: in evaluation mode, adapters merged.
            rows: answers decoded at once.
            pad_id: any id of the vocabulary; padded positions are masked.
            text: token ids as text; needed where a text is to end an answer (`SamplingSettings.stop`).
        """
        self._model = model
        self._head = Head(model)
        self._text = text
        self._rows = rows
        self._pad_id = pad_id
        self._refills = shares_prefixes(model.config)
        if not self._refills:
            _log.warning("%s attends in windows: its answers share no prompts and end together", type(model).__name__)

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Sampled]:
        """One answer for each request, in the order of the requests.

        Raises:
            MachineError: memory does not even suffice for one answer.
        """
        yield from self._sample_as_fits(requests, settings, self._rows)

    def _sample_as_fits(self, requests: Sequence[Request], settings: SamplingSettings, rows: int) -> list[Sampled]:
        """With half the rows where memory does not suffice for all."""
        if not requests:
            return []
        room = max(len(request.prompt_ids) for request in requests) + settings.max_new_tokens
        rows = max(1, min(rows, len(requests), _cached_tokens(self._model) // room))
        try:
            return self._sample_all(requests, settings, rows, room)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        if rows == 1:
            raise MachineError("one answer alone does not fit into memory: take a smaller student or a larger machine")
        return self._sample_as_fits(requests, settings, rows // 2)

    def _sample_all(
        self, requests: Sequence[Request], settings: SamplingSettings, rows: int, room: int
    ) -> list[Sampled]:
        batch = self._batch(rows, room)
        draw, stop = Draw([request.seed for request in requests], settings), torch.tensor(settings.stop_ids)
        tokens: list[list[int]] = [[] for _ in requests]
        logps = [0.0] * len(requests)
        answers: list[int] = []  # which request each row answers
        logits = torch.empty(0)
        begun = 0
        while begun < len(requests) or answers:
            if begun < len(requests) and self._has_room(rows, len(answers)):
                entering = range(begun, min(len(requests), begun + rows - len(answers)))
                first = batch.enter([requests[index].prompt_ids for index in entering])
                logits = torch.cat([logits, first]) if answers else first
                answers, begun = [*answers, *entering], entering.stop
            steps = torch.tensor([len(tokens[answer]) for answer in answers])
            chosen, logp = draw.next_tokens(logits, torch.tensor(answers), steps)
            for answer, token, added in zip(answers, chosen.tolist(), logp.tolist(), strict=True):
                tokens[answer].append(token)
                logps[answer] += added
            ended = torch.isin(chosen, stop) | (steps + 1 == settings.max_new_tokens)
            if settings.stop:
                ended |= torch.tensor([self._says_stop(tokens[answer], settings.stop) for answer in answers])
            if ended.any():
                stayed = batch.leave(ended.nonzero()[:, 0].tolist())
                answers, chosen = [answers[row] for row in stayed], chosen[stayed]
            if answers:
                logits = batch.step(chosen)
        return [
            Sampled(
                tuple(ids), logp, truncated=ids[-1] not in settings.stop_ids and not self._says_stop(ids, settings.stop)
            )
            for ids, logp in zip(tokens, logps, strict=True)
        ]

    def _says_stop(self, token_ids: Sequence[int], stop: Sequence[str]) -> bool:
        if not stop:
            return False
        assert self._text is not None, "a text can end an answer only where the sampler can read"
        said = self._text(tuple(token_ids))
        return any(text in said for text in stop)

    def _batch(self, rows: int, room: int) -> Batch:
        if self._refills:
            return SlotBatch(self._model, self._head, rows=rows, room=room)
        return _PaddedBatch(self._model, self._head, self._pad_id)

    def _has_room(self, rows: int, taken: int) -> bool:
        return taken == 0 or (self._refills and rows - taken >= REFILL_SHARE * rows)


class _PaddedBatch:
    """The plain way, for a cache that cannot be divided into slots: all enter at once, padded on the left."""

    def __init__(self, model: Any, head: Head, pad_id: int) -> None:
        self._model = model
        self._head = head
        self._pad_id = pad_id

    def enter(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """Only into an empty batch. Equal prompts are computed once."""
        place = {prompt: index for index, prompt in enumerate(dict.fromkeys(prompts))}
        which = torch.tensor([place[prompt] for prompt in prompts])
        length = max(map(len, place))
        ids = torch.full((len(place), length), self._pad_id)
        self._mask = torch.zeros(len(place), length, dtype=torch.long)
        for prompt, row in place.items():
            # Left padding: generation continues from the last column, which must hold a token.
            ids[row, length - len(prompt) :] = torch.tensor(prompt)
            self._mask[row, length - len(prompt) :] = 1
        self._cache = DynamicCache(config=self._model.config)
        logits = self._forward(ids, (self._mask.cumsum(1) - 1).clamp(min=0))
        self._keep(which)
        return logits[which]

    def leave(self, rows: Sequence[int]) -> list[int]:
        """See `Batch`."""
        stayed = [row for row in range(len(self._mask)) if row not in set(rows)]
        if stayed:
            self._keep(torch.tensor(stayed))
        return stayed

    def step(self, tokens: Tensor) -> Tensor:
        """See `Batch`."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], dim=1)
        return self._forward(tokens[:, None], self._mask.sum(1, keepdim=True) - 1)

    def _keep(self, rows: Tensor) -> None:
        self._cache.batch_select_indices(rows.to(self._model.device))
        self._mask = self._mask[rows]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        device = self._model.device
        hidden = self._model.get_decoder()(
            input_ids=ids.to(device),
            attention_mask=self._mask.to(device),
            position_ids=positions.to(device),
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        return self._head(hidden[:, -1])


def _cached_tokens(model: Any) -> int:
    """Tokens whose keys and values take `CACHE_SHARE` of the machine's memory. Of all of it, not of what is free
    just now: batches, and with them roundings, are to be the same in every run on a machine."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token_bytes: int = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
    if model.device.type == "cuda":
        total = torch.cuda.get_device_properties(model.device).total_memory
    else:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(CACHE_SHARE * total) // token_bytes


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
