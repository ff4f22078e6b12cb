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

from srit.compute.device import is_out_of_memory, moved, plain_writes, reporting_memory
from srit.compute.head import parts_of
from srit.compute.masks import windows_of
from srit.compute.plan import Decoding
from srit.errors import MachineError
from srit.samplers import Request, Sampled, SamplingSettings
from srit.samplers.draw import Draw
from srit.samplers.forward import Forward
from srit.samplers.padded import PaddedBatch, WholeBatch
from srit.samplers.replay import COLUMNS, rounded_up
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
        cache_bytes: int = 0,
    ) -> None:
        """Prepare to sample.

        Args:
            model: in evaluation mode, adapters merged.
            rows: the number of answers decoded at once.
            pad_id: any id of the vocabulary; padded positions are masked.
            text: decodes token ids; required if texts end answers (`SamplingSettings.stop`).
            decoding: how answers are decoded; None: as the model's cache suggests.
            cache_bytes: as in `ComputePlan`.
        """
        self._model = model
        self._text = text
        self._rows = rows
        self._pad_id = pad_id
        # Steps that were not tested on this machine are not replayed.
        self._decoding = decoding or next(kind for kind in decodings(model) if kind != "replayed")
        self._forward = Forward(model, cache_bytes)
        self._kept: tuple[tuple[int, int], SlotBatch] | None = None  # with its recordings, by rows and room

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
        """Sample with as many rows as fit, halving them while a CPU's memory does not suffice.

        On a GPU, fewer rows would mean other kernels and so other rounding; there, it reports what to set instead.
        """
        if not requests:
            return []
        room = max(len(request.prompt_ids) for request in requests) + settings.max_new_tokens
        n = len(requests)
        if self._decoding == "replayed":  # few different shapes, so that each recording serves many chunks
            room, n = rounded_up(room, COLUMNS), 1 << (n - 1).bit_length()
        fit = WHOLE_TOKENS // room if self._decoding == "whole" else self._forward.rows_that_fit(room)
        rows = max(1, min(rows, n, fit))
        try:
            with (
                plain_writes(self._model.device),
                reporting_memory(f"decoding {rows} answers at once", f"set rows to {max(1, rows // 2)} or less"),
            ):
                return self._sample_all(requests, settings, rows, room)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        if rows == 1:
            raise MachineError("even one answer does not fit into memory: use a smaller student or a larger machine")
        return self._sample_as_fits(requests, settings, rows // 2)

    def _sample_all(
        self, requests: Sequence[Request], settings: SamplingSettings, rows: int, room: int
    ) -> list[Sampled]:
        device, batch = self._model.device, self._batch(rows, room)
        draw = Draw([request.seed for request in requests], settings, device)
        tokens: list[list[int]] = [[] for _ in requests]
        logps = torch.zeros(len(requests), dtype=torch.float64, device=device)
        answers: list[int] = []  # the request that each row answers
        which = steps = logits = torch.empty(0, device=device)
        begun = 0
        while begun < len(requests) or answers:
            if begun < len(requests) and self._has_room(rows, len(answers)):
                entering = range(begun, min(len(requests), begun + rows - len(answers)))
                first = batch.enter([requests[index].prompt_ids for index in entering])
                logits = torch.cat([logits, first]) if answers else first
                answers, begun = [*answers, *entering], entering.stop
                which = moved(torch.tensor(answers), device)
                steps = moved(torch.tensor([len(tokens[answer]) for answer in answers]), device)
            chosen, logp = draw.next_tokens(logits, which, steps)
            logps[which] += logp.double()
            steps = steps + 1
            for answer, token in zip(answers, chosen.tolist(), strict=True):  # the only wait for the device in a step
                tokens[answer].append(token)
            ended = [row for row, answer in enumerate(answers) if self._has_ended(tokens[answer], settings)]
            if ended:
                stayed = batch.leave(ended)
                answers, kept = [answers[row] for row in stayed], moved(torch.tensor(stayed, dtype=torch.long), device)
                which, steps, chosen = which[kept], steps[kept], chosen[kept]
            if answers:
                logits = batch.step(chosen)
        return [
            Sampled(tuple(ids), logp, truncated=not self._is_whole(ids, settings))
            for ids, logp in zip(tokens, logps.tolist(), strict=True)
        ]

    def _has_ended(self, ids: Sequence[int], settings: SamplingSettings) -> bool:
        return len(ids) == settings.max_new_tokens or self._is_whole(ids, settings)

    def _is_whole(self, ids: Sequence[int], settings: SamplingSettings) -> bool:
        return ids[-1] in settings.stop_ids or self._says_stop(ids, settings.stop)

    def _says_stop(self, token_ids: Sequence[int], stop: Sequence[str]) -> bool:
        if not stop or self._text is None:
            return False
        said = self._text(tuple(token_ids))
        return any(text in said for text in stop)

    def _batch(self, rows: int, room: int) -> Batch:
        if self._decoding == "replayed":
            if self._kept is None or self._kept[0] != (rows, room):
                self._kept = None  # before another model takes its memory
                self._kept = (rows, room), self._slots(rows, room, replayed=True)
            self._kept[1].empty()
            return self._kept[1]
        if self._decoding == "slots":
            return self._slots(rows, room, replayed=False)
        return WholeBatch(self._forward) if self._decoding == "whole" else PaddedBatch(self._forward, self._pad_id)

    def _slots(self, rows: int, room: int, *, replayed: bool) -> SlotBatch:
        parts, windows, head = parts_of(self._model), windows_of(self._model.config), self._forward.head
        cache_name = self._forward.cache_name
        if not (parts and windows and head and cache_name):
            raise ValueError(f"a {type(self._model).__name__} cannot be decoded in slots")
        return SlotBatch(self._model, parts.decoder, head, windows, cache_name, rows=rows, room=room, replayed=replayed)

    def _has_room(self, rows: int, taken: int) -> bool:
        refills = self._decoding in ("replayed", "slots", "whole")
        return taken == 0 or (refills and rows - taken >= REFILL_SHARE * rows)


def decodings(model: PreTrainedModel) -> list[Decoding]:
    """List the ways in which a model may decode, fastest first; `machine.proof` finds out which of them are correct."""
    in_slots: list[Decoding] = ["replayed", "slots"] if model.device.type == "cuda" else ["slots"]
    slots = in_slots if parts_of(model) and windows_of(model.config) and has_slots(model) else []
    return [*slots, "padded", "even", "whole"] if Forward(model).cache_name else ["whole"]
