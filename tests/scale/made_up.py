"""An engine that says what follows from a request's seed: every other answer to a problem is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from srit.recipe import SamplerSettings
from srit.samplers import Request, Sampled, SamplerKind, SamplerNeeds, SamplingSettings
from srit.students.loading import load_prompts


class MadeUpSettings(SamplerSettings):
    kind: Literal["made_up"] = "made_up"


class MadeUp:
    """Says what follows from a request's seed: every other answer to a problem is right."""

    def __init__(self, needs: SamplerNeeds) -> None:
        self._prompts = load_prompts(needs.student)
        self._ids = {character: self._ids_of(character) for character in "0123456789"}
        self._begin, self._end = self._ids_of("So the answer is "), self._prompts.completion_ids(".")

    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Sampled]:
        return map(self._answer, requests)

    def _answer(self, request: Request) -> Sampled:
        *_, problem_id, _, index = request.seed.split("/")
        said = str(int(problem_id[1:]) + 1 + (int(index) + int(problem_id[1:])) % 2)
        ids = (*self._begin, *(i for character in said for i in self._ids[character]), *self._end)
        return Sampled(ids, -0.5 * len(ids), False)

    def _ids_of(self, text: str) -> tuple[int, ...]:
        return self._prompts.completion_ids(text)[:-1]


SAMPLER = SamplerKind(MadeUpSettings, lambda settings, needs: MadeUp(needs))
