"""The run's models, loaded to be computed as the stage declared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from srit.compute.plan import Budget, ComputePlan
from srit.recipe import SamplerSettings, Student
from srit.samplers.chunks import SamplerSource
from srit.students.sources import FrozenSource, TrainableSource, Trained


@dataclass(frozen=True, slots=True)
class Models:
    """The student, and the models that stages made from it."""

    student: Student
    engine: SamplerSettings  # what draws its answers
    plan: ComputePlan  # how it is computed: the fields that the stage declared (`Stage.computes`)

    @property
    def budget(self) -> Budget:
        """The number of tokens that go through the model at once in training."""
        return Budget(self.plan.batch_tokens, self.plan.stored_tokens)

    def sampler(self, trained: Trained | None, rows: int) -> SamplerSource:
        """Return the source of sampled answers; `trained` None: from the student itself."""
        return SamplerSource(
            self.engine, self.student, trained, rows, self.plan.decoding, cache_bytes=self.plan.cache_bytes
        )

    def frozen(self, trained: Trained | None) -> FrozenSource:
        """Return the source of log-probabilities; `trained` as in `sampler`."""
        return FrozenSource(self.student, trained)

    def reference(self, start: Trained | None) -> TrainableSource:
        """Return the model that a training starts from; None: from the student itself."""
        return TrainableSource(self.student, start, self.plan.targets, self.plan.attention)

    def on_processor(self) -> Models:
        """Return the same models, loaded on the CPU, which has room for all of their weights."""
        return replace(self, student=self.student.model_copy(update={"device": "cpu"}))
