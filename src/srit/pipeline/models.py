"""The run's models, loaded for a stage as it declared that it computes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srit.compute.plan import ComputePlan
from srit.recipe import SamplerSettings, Student
from srit.samplers.chunks import SamplerSource
from srit.students.sources import FrozenSource, TrainableSource, Trained

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel


@dataclass(frozen=True, slots=True)
class Models:
    """The student, and what stages made of it."""

    student: Student
    engine: SamplerSettings  # what draws its answers
    plan: ComputePlan  # how it is computed: the fields that the stage declared (`Stage.computes`)

    def sampler(self, trained: Trained | None, rows: int) -> SamplerSource:
        """Return what draws answers; `trained` None: from the student itself."""
        return SamplerSource(self.engine, self.student, trained, rows, self.plan.decoding)

    def frozen(self, trained: Trained | None) -> FrozenSource:
        """Return what takes log-probabilities; `trained` as in `sampler`."""
        return FrozenSource(self.student, trained)

    def reference(self, start: Trained) -> TrainableSource:
        """Return what a training starts from."""
        return TrainableSource(self.student, start, self.plan.targets, self.plan.attention)

    def trainable(self, start: Path | None) -> LanguageModel:
        """Load the student with what is trained of it; None: a new adapter, or the student's own weights."""
        from srit.students.loading import trainable

        targets, attention = self.plan.targets, self.plan.attention
        model: LanguageModel = trainable(self.student, start, targets=targets, attention=attention)
        return model
