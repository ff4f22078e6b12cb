"""An engine that writes one answer after another, without a cache."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch

from srit.kinds import Finding
from srit.recipe import SamplerSettings
from srit.samplers import Request, Sampled, SamplerKind, SamplerNeeds, SamplingSettings
from srit.students.loading import load_model


class PlainSettings(SamplerSettings):
    kind: Literal["plain"] = "plain"
    longest: int = 16  # tokens of an answer, whatever the recipe allows


class PlainSampler:
    def __init__(self, model: Any, longest: int) -> None:
        self._model, self._longest = model, longest

    def sample(self, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[Sampled]:
        return (self._answer(request, settings) for request in requests)

    @torch.no_grad()
    def _answer(self, request: Request, settings: SamplingSettings) -> Sampled:
        luck = torch.Generator().manual_seed(sum(request.seed.encode()))
        ids, logp = list(request.prompt_ids), 0.0
        for _ in range(min(self._longest, settings.max_new_tokens)):
            logits = self._model(torch.tensor([ids])).logits[0, -1].float()
            drawn = logits.argmax()
            if settings.temperature:
                drawn = torch.multinomial((logits / settings.temperature).softmax(-1), 1, generator=luck)[0]
            ids.append(int(drawn))
            logp += float(logits.log_softmax(-1)[drawn])
            if ids[-1] in settings.stop_ids:
                break
        return Sampled(tuple(ids[len(request.prompt_ids) :]), logp, ids[-1] not in settings.stop_ids)


def make(settings: PlainSettings, needs: SamplerNeeds) -> PlainSampler:
    return PlainSampler(load_model(needs.student, needs.trained), settings.longest)


def doctor() -> list[Finding]:
    return [Finding(True, "sampler: plain", "slow anywhere")]


SAMPLER = SamplerKind(PlainSettings, make, doctor=doctor)
