"""Sampling with a transformers model: what prompts share is computed once, and forked to their samples.

Rows that have finished leave the batch, and only the last position's logits are computed. What an
answer becomes depends on its prompt and its seed; the batch can change it by floating point alone.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from srit.errors import MachineError
from srit.rows import shares_prefixes
from srit.samplers import Request, Sampled, SamplingSettings
from srit.samplers.prefixes import lay_out

ATTENTION = "srit_grouped"  # the `attn_implementation` under which `grouped_attention` is registered
CACHE_SHARE = 0.25  # of the machine's memory, at most, for the keys and values of a batch
COMPACT_BELOW = 0.75  # rows are moved together when fewer than this share is alive: moving copies the cache


class TransformersSampler:
    """Draws answers from a causal language model of transformers."""

    def __init__(self, model: Any, *, rows: int, pad_id: int) -> None:
        """
        Args:
            model: in evaluation mode, adapters merged.
            rows: answers decoded at once.
            pad_id: any id of the vocabulary; padded positions are masked.
        """
        self._model = model
        self._rows = rows
        self._pad_id = pad_id
        self._decoder = model.get_decoder()
        self._plain_attention = shares_prefixes(model.config)
        if self._plain_attention:
            model.set_attn_implementation(ATTENTION)

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Sampled]:
        """One answer for each request, in the order of the requests.

        Raises:
            MachineError: memory does not even suffice for one answer.
        """
        longest = max((len(request.prompt_ids) for request in requests), default=0) + settings.max_new_tokens
        rows = max(1, min(self._rows, _cached_tokens(self._model) // max(1, longest)))
        for start in range(0, len(requests), rows):
            yield from self._sample_as_fits(requests[start : start + rows], settings)

    def _sample_as_fits(self, requests: Sequence[Request], settings: SamplingSettings) -> list[Sampled]:
        """Too large a batch is halved until memory suffices for it."""
        try:
            return self._sample_batch(requests, settings)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        if len(requests) == 1:
            raise MachineError("one answer alone does not fit into memory: take a smaller student or a larger machine")
        half = len(requests) // 2
        return [*self._sample_as_fits(requests[:half], settings), *self._sample_as_fits(requests[half:], settings)]

    def _sample_batch(self, requests: Sequence[Request], settings: SamplingSettings) -> list[Sampled]:
        prompts = list(dict.fromkeys(request.prompt_ids for request in requests))
        place = {prompt: index for index, prompt in enumerate(prompts)}
        which = torch.tensor([place[request.prompt_ids] for request in requests])
        cache, mask, logits = self._prefill(prompts, which, settings.max_new_tokens)
        draw = _Draw([request.seed for request in requests], settings)
        stop = torch.tensor(settings.stop_ids)
        tokens: list[list[int]] = [[] for _ in requests]
        logps = torch.zeros(len(requests), dtype=torch.float64)
        answers = torch.arange(len(requests))  # which request each row of the batch answers
        done = torch.zeros(len(requests), dtype=torch.bool)
        for step in range(settings.max_new_tokens):
            chosen, logp = draw.next_tokens(logits, answers, step)
            logps[answers[~done]] += logp[~done].double()
            for request, token in zip(answers[~done].tolist(), chosen[~done].tolist(), strict=True):
                tokens[request].append(token)
            done = done | torch.isin(chosen, stop)
            if done.all():
                break
            if (~done).float().mean() < COMPACT_BELOW:
                keep = (~done).nonzero()[:, 0]
                cache.batch_select_indices(keep.to(self._model.device))
                answers, chosen, mask, done = answers[keep], chosen[keep], mask[keep], done[keep]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            logits = self._forward(chosen[:, None], mask, mask.sum(1, keepdim=True) - 1, cache)
        return [_sampled(ids, logp, settings) for ids, logp in zip(tokens, logps.tolist(), strict=True)]

    def _prefill(
        self, prompts: Sequence[tuple[int, ...]], which: Tensor, max_new_tokens: int
    ) -> tuple[DynamicCache, Tensor, Tensor]:
        """The cache, mask and next token's logits of each request, from prompts that are computed once.

        Args:
            which: [requests], the prompt of each.
        """
        if self._plain_attention:
            return self._prefill_shared(prompts, which, max_new_tokens)
        length = max(map(len, prompts))
        ids = torch.full((len(prompts), length), self._pad_id)
        mask = torch.zeros(len(prompts), length, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            # Left padding: generation continues from the last column, which must hold a token.
            ids[row, length - len(prompt) :] = torch.tensor(prompt)
            mask[row, length - len(prompt) :] = 1
        cache = DynamicCache(config=self._model.config)
        logits = self._forward(ids, mask, (mask.cumsum(1) - 1).clamp(min=0), cache)
        cache.batch_select_indices(which.to(self._model.device))
        return cache, mask[which], logits[which]

    def _prefill_shared(
        self, prompts: Sequence[tuple[int, ...]], which: Tensor, max_new_tokens: int
    ) -> tuple[DynamicCache, Tensor, Tensor]:
        length, device = max(map(len, prompts)), self._model.device
        cache = DynamicCache(config=self._model.config)
        layers = [_RoomyLayer(len(which), length, length + max_new_tokens) for _ in cache.layers]
        cache.layers = [*layers]
        mask = torch.zeros(len(which), length, dtype=torch.long)
        logits = torch.empty(len(which), self._model.config.vocab_size)
        for batch in lay_out(prompts):
            computed = DynamicCache(config=self._model.config)
            hidden = self._hidden(batch.input_ids, batch.mask, batch.positions, computed)
            place = {prompt: index for index, prompt in enumerate(batch.members)}
            requests = torch.tensor([r for r, prompt in enumerate(which.tolist()) if prompt in place])
            member = torch.tensor([place[prompt] for prompt in which[requests].tolist()])
            columns = torch.zeros(len(batch.members), length, dtype=torch.long)
            for index, path in enumerate(batch.columns):
                # Right-aligned: generation continues from the last column, which must hold a token.
                columns[index, length - len(path) :] = torch.tensor(path)
                mask[requests[member == index], length - len(path) :] = 1
            row, column = batch.row[member].to(device), columns[member].to(device)
            for layer, source in zip(layers, computed.layers, strict=True):
                layer.put(requests.to(device), source, row, column)
            logits[requests] = self._logits(hidden[row, column[:, -1]])
        return cache, mask, logits

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        return self._logits(self._hidden(ids, mask, positions, cache)[:, -1])

    def _hidden(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        device = self._model.device
        hidden: Tensor = self._decoder(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        return hidden

    def _logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._model.get_output_embeddings()(hidden).float().cpu()
        if cap := getattr(self._model.config, "final_logit_softcapping", None):
            logits = cap * (logits / cap).tanh()
        return logits


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


def _sampled(token_ids: list[int], logp: float, settings: SamplingSettings) -> Sampled:
    return Sampled(tuple(token_ids), logp, truncated=token_ids[-1] not in settings.stop_ids)


class _Draw:
    """Next tokens of a batch; each answer's luck comes from its own seed."""

    def __init__(self, seeds: Sequence[str], settings: SamplingSettings) -> None:
        self._settings = settings
        if settings.temperature > 0:
            self._luck = torch.stack([_uniforms(seed, settings.max_new_tokens) for seed in seeds])

    def next_tokens(self, logits: Tensor, answers: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Token ids [rows] and their log-probabilities [rows] at temperature 1."""
        if self._settings.temperature == 0:
            chosen = logits.argmax(1)
        else:
            # One uniform number against the cumulated probabilities: no sort over the vocabulary.
            cumulated = restricted(logits, self._settings).softmax(1).cumsum(1)
            # Below 1 also when rounded: behind the last cumulated probability there is no token.
            luck = self._luck[answers, step, None].float().clamp(max=1 - 2**-22)
            chosen = torch.searchsorted(cumulated, luck * cumulated[:, -1:], right=True)[:, 0]
        return chosen, logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(1)


def restricted(logits: Tensor, settings: SamplingSettings) -> Tensor:
    """Logits at the temperature, -inf where a token may not be drawn: top_k, then top_p, then min_p.

    Args:
        logits: [rows, vocabulary].
    """
    scores = logits / settings.temperature
    if settings.top_k is not None and settings.top_k < scores.shape[1]:
        least = scores.topk(settings.top_k, dim=1).values[:, -1:]
        scores = scores.masked_fill(scores < least, float("-inf"))
    if settings.top_p < 1:
        descending, order = scores.sort(dim=1, descending=True)
        probabilities = descending.softmax(1)
        # The token that reaches top_p stays: what comes before it does not suffice.
        beyond = probabilities.cumsum(1) - probabilities >= settings.top_p
        scores = scores.masked_fill(beyond.scatter(1, order, beyond), float("-inf"))
    if settings.min_p > 0:
        least = scores.amax(1, keepdim=True) + math.log(settings.min_p)
        scores = scores.masked_fill(scores < least, float("-inf"))
    return scores


def _uniforms(seed: str, n: int) -> Tensor:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7])
    return torch.rand(n, generator=torch.Generator().manual_seed(number), dtype=torch.float64)


class _RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer whose room is taken once: appending a token copies that token, not the whole cache."""

    def __init__(self, rows: int, length: int, room: int) -> None:
        """
        Args:
            length: columns of prompts, to be `put`.
            room: columns in all.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows = rows
        self._length = length
        self._room = room

    def put(self, rows: Tensor, source: Any, row: Tensor, columns: Tensor) -> None:
        """Prompts' keys and values, from where they were computed.

        Args:
            rows: [n], which rows of this cache.
            source: the layer that holds them.
            row, columns: [n] and [n, length], where in it.
        """
        if not self.is_initialized:
            self.lazy_initialization(source.keys, source.values)
        for room, states in ((self._key_room, source.keys), (self._value_room, source.values)):
            room[rows, :, : self._length] = states[row[:, None], :, columns].transpose(1, 2)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        # Zeros: a padded column is masked, but zero times what memory held could be NaN.
        self._key_room, self._value_room = (
            states.new_zeros(self._rows, states.shape[1], self._room, states.shape[-1])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        end = self._length + key_states.shape[-2]
        self._key_room[:, :, self._length : end] = key_states
        self._value_room[:, :, self._length : end] = value_states
        self._length = end
        self.keys, self.values = self._key_room[:, :, :end], self._value_room[:, :, :end]
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self._length

    def batch_select_indices(self, indices: Tensor) -> None:
        self._key_room = self._selected(self._key_room, indices)
        self._value_room = self._selected(self._value_room, indices)
        self.keys, self.values = self._key_room[:, :, : self._length], self._value_room[:, :, : self._length]

    def _selected(self, room: Tensor, indices: Tensor) -> Tensor:
        selected = room.new_empty(len(indices), *room.shape[1:])
        selected[:, :, : self._length] = room[indices, :, : self._length]
        return selected


def grouped_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Attention of one new token a row, the query heads of a key head together.

    `sdpa` would first copy every key and value once for each query head of its group, which costs more
    than the attention itself. Longer queries go to `sdpa`.

    Args:
        query: [rows, query heads, 1, width].
        key, value: [rows, key heads, length, width].
        attention_mask: [rows, 1, 1, length], True (or 0) where a column is seen; None: all are.

    Returns:
        [rows, 1, query heads, width].
    """
    if query.shape[2] != 1 or kwargs.get("softcap"):
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    rows, heads, _, width = query.shape
    scaling = kwargs.get("scaling") or width**-0.5
    together = query.view(rows, key.shape[1], heads // key.shape[1], width)
    scores = together @ key.transpose(2, 3) * scaling
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, float("-inf"))
    elif attention_mask is not None:
        scores = scores + attention_mask
    output = scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    return output.reshape(rows, 1, heads, width), None


AttentionInterface.register(ATTENTION, grouped_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
