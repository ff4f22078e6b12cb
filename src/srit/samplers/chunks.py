"""Answers in fixed chunks: a chunk's content depends only on the model, the requests and the settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from srit.compute.mapping import Later
from srit.compute.plan import Decoding
from srit.recipe import SamplerSettings, Student
from srit.run_directory import json_bytes
from srit.samplers import Request, Sampled, Sampler, SamplerNeeds, SamplingSettings, make_sampler
from srit.students.sources import Trained

if TYPE_CHECKING:
    from srit.students.prompts import Prompts


@dataclass(frozen=True, slots=True)
class SamplerSource:
    """An engine with a model (the student, or what a stage trained from it), as a value."""

    engine: SamplerSettings
    student: Student
    trained: Trained | None  # None: the student itself
    rows: int  # answers decoded at once
    decoding: Decoding | None  # None: as the model's cache suggests
    cache_bytes: int = 0  # as in `ComputePlan`

    def build(self) -> Sampler:
        """Load the model into the engine.

        Raises:
            DataError: the model cannot be loaded.
            MachineError: the engine is not installed.
        """
        folder = self.trained and self.trained.folder
        needs = SamplerNeeds(self.student, folder, self.rows, self._text, self.decoding, self.cache_bytes)
        return make_sampler(self.engine, needs)

    def _text(self, token_ids: tuple[int, ...]) -> str:
        """Read an answer; the tokenizer is loaded for the first one, since few settings ask for it."""
        return _prompts(self.student).text(token_ids)


@cache
def _prompts(student: Student) -> Prompts:
    from srit.students.loading import load_prompts

    return load_prompts(student)


@dataclass(frozen=True, slots=True)
class SamplingWork:
    """Answers to chunks of requests."""

    source: SamplerSource
    settings: SamplingSettings

    def chunk(self, sampler: Sampler, requests: Sequence[Request]) -> bytes:
        """Return the answers in JSON, in the order of the requests."""
        made = sampler.sample(requests, self.settings)
        return json_bytes([[answer.token_ids, answer.logp, answer.truncated] for answer in made])


def read_answers(data: bytes) -> list[Sampled]:
    """Read what `SamplingWork.chunk` wrote."""
    return [Sampled(tuple(token_ids), logp, truncated) for token_ids, logp, truncated in json.loads(data)]


def chunks_of(requests: Sequence[Request], size: int) -> Mapping[str, Sequence[Request]]:
    """Cut requests into chunks, by the names of the files that keep their answers.

    Args:
        size: requests in a chunk; neighbors, since a task's prompts share their beginning and are of like length.
    """

    def members(start: int) -> Sequence[Request]:
        return requests[start : start + size]

    starts = range(0, len(requests), size)
    names = {start: f"chunk-{start // size:05d}-{_digest(members(start))}.json" for start in starts}
    return Later({name: partial(members, start) for start, name in names.items()})


def _digest(requests: Sequence[Request]) -> str:
    return hashlib.sha256(json.dumps(requests).encode()).hexdigest()[:16]
