"""Samples with a transformers model: answers are decoded side by side, and one that ends makes room for another.

Shared prefixes of prompts are computed once, and logits only for the last position. An answer depends on its prompt and
its seed; the batch can change it only through floating-point rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from srit.compute.head import parts_of
from srit.compute.masks import windows_of
from srit.compute.plan import Decoding
from srit.errors import MachineError
from srit.samplers import Request, Sampled, SamplingSettings
from srit.samplers.draw import Draw
from srit.samplers.forward import Forward
from srit.samplers.padded import PaddedBatch, WholeBatch
from srit.samplers.slots import SlotBatch, has_slots

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WHOLE_TOKENS = 16_384  # tokens that go through a model at every step without a cache
REFILL_SHARE = 0.25  # the share of rows that must be free before others enter: prompts are faster together


Text = Callable[[tuple[int, ...]], str]


class Batch(Protocol):
    """Answers that are decoded side by side."""

    def enter(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """Add prompts as the last rows, and return the logits of their first tokens, [prompts, vocabulary]."""
        ...

    def leave(self, rows: Sequence[int]) -> list[int]:
        """Remove rows, and return the previous index of each remaining row."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token to each row, and return the logits of the next tokens, [rows, vocabulary]."""
        ...


class TransformersSampler:
    """Draws answers from a causal language model of transformers."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        rows: int,
        pad_id: int,
        text: Text | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        """Prepare to sample.

        Args:
            model: in evaluation mode, adapters merged.
            rows: the number of answers decoded at once.
            pad_id: any id of the vocabulary; padded positions are masked.
            text: decodes token ids; required if texts end answers (`SamplingSettings.stop`).
            decoding: how answers are decoded; None: as the model's cache suggests.
        """
        self._model = model
        self._text = text
        self._rows = rows
        self._pad_id = pad_id
        self._decoding = decoding or decodings(model)[0]
        self._forward = Forward(model)

    @torch.inference_mode()
    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Sampled]:
        """Draw one answer for each request, in the order of the requests.

        Raises:
            MachineError: there is not enough memory for even one answer.
            ValueError: texts are to end answers, and the sampler was made without `text`.
        """
        if settings.stop and self._text is None:
            raise ValueError("settings.stop names texts: the sampler needs `text` to decode answers")
        if self._decoding != "even":
            yield from self._sample_as_fits(requests, settings, self._rows)
            return
        answers: dict[int, Sampled] = {}
        by_length = sorted(range(len(requests)), key=lambda index: len(requests[index].prompt_ids))
        for _, alike in groupby(by_length, key=lambda index: len(requests[index].prompt_ids)):
            members = list(alike)
            sampled = self._sample_as_fits([requests[index] for index in members], settings, self._rows)
            answers |= dict(zip(members, sampled, strict=True))
        yield from (answers[index] for index in range(len(requests)))

    def _sample_as_fits(self, requests: Sequence[Request], settings: SamplingSettings, rows: int) -> list[Sampled]:
        """Sample with as many rows as fit, halving them while memory does not suffice."""
        if not requests:
            return []
        room = max(len(request.prompt_ids) for request in requests) + settings.max_new_tokens
        fit = WHOLE_TOKENS // room if self._decoding == "whole" else self._forward.rows_that_fit(room)
        rows = max(1, min(rows, len(requests), fit))
        try:
            return self._sample_all(requests, settings, rows, room)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        if rows == 1:
            raise MachineError("even one answer does not fit into memory: use a smaller student or a larger machine")
        return self._sample_as_fits(requests, settings, rows // 2)

    def _sample_all(
        self, requests: Sequence[Request], settings: SamplingSettings, rows: int, room: int
    ) -> list[Sampled]:
        batch = self._batch(rows, room)
        draw, stop = Draw([request.seed for request in requests], settings), torch.tensor(settings.stop_ids)
        tokens: list[list[int]] = [[] for _ in requests]
        logps = [0.0] * len(requests)
        answers: list[int] = []  # the request that each row answers
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
        if not stop or self._text is None:
            return False
        said = self._text(tuple(token_ids))
        return any(text in said for text in stop)

    def _batch(self, rows: int, room: int) -> Batch:
        parts, windows = parts_of(self._model), windows_of(self._model.config)
        if self._decoding == "slots" and parts and self._forward.head and windows:
            return SlotBatch(self._model, parts.decoder, self._forward.head, windows, rows=rows, room=room)
        if self._decoding == "whole":
            return WholeBatch(self._forward)
        return PaddedBatch(self._forward, self._pad_id)

    def _has_room(self, rows: int, taken: int) -> bool:
        refills = self._decoding in ("slots", "whole")
        return taken == 0 or (refills and rows - taken >= REFILL_SHARE * rows)


def decodings(model: PreTrainedModel) -> list[Decoding]:
    """List the ways in which a model may decode, fastest first; `machine.proof` finds out which of them are correct."""
    slots: list[Decoding] = ["slots"] if parts_of(model) and windows_of(model.config) and has_slots(model) else []
    return [*slots, "padded", "even", "whole"] if Forward(model).cache_name else ["whole"]


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
