"""The sampler that works wherever transformers does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from srit.kinds import Finding
from srit.recipe import SamplerSettings
from srit.samplers import Sampler, SamplerKind, SamplerNeeds


class TransformersSettings(SamplerSettings):
    """The transformers library, on any machine."""

    kind: Literal["transformers"] = "transformers"


def _make(settings: TransformersSettings, needs: SamplerNeeds) -> Sampler:
    from srit.samplers.transformers.engine import TransformersSampler
    from srit.students.loading import load_model

    model = load_model(needs.student, needs.trained)
    return TransformersSampler(
        model, rows=needs.rows, pad_id=0, text=needs.text, decoding=needs.decoding, cache_bytes=needs.cache_bytes
    )


def _doctor() -> Sequence[Finding]:
    return [Finding(True, "sampler: transformers", "works on any machine")]


SAMPLER = SamplerKind(TransformersSettings, _make, doctor=_doctor)
