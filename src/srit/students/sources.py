"""Models as values that say how to load one; equal values load the same model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from srit.compute.plan import Attention, RowKind, Targets
from srit.recipe import Student

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel
    from srit.compute.rows import Group


class Trained(NamedTuple):
    """A folder of weights or of an adapter that a stage made, and the checksum of its content."""

    folder: Path
    sum: str


@dataclass(frozen=True, slots=True)
class FrozenSource:
    """The student, or what a stage trained from it, for computing log-probabilities."""

    student: Student
    trained: Trained | None  # None: the student itself

    def build(self) -> LanguageModel:
        """Load it.

        Raises:
            DataError: it cannot be loaded.
        """
        from srit.students.loading import load_model

        # With trainable weights, the head would round its logits to the model's precision (`head.py`).
        model: LanguageModel = load_model(self.student, self.trained and self.trained.folder).requires_grad_(False)
        return model


@dataclass(frozen=True, slots=True)
class TrainableSource:
    """A training's starting model, exactly as it computes before its first step."""

    student: Student
    trained: Trained | None  # None: nothing yet, so a new adapter or the student's own weights
    targets: Targets
    attention: Attention

    def build(self) -> LanguageModel:
        """Load it; errors as for `FrozenSource`."""
        from srit.students.loading import trainable

        start = self.trained and self.trained.folder
        model: LanguageModel = trainable(self.student, start, targets=self.targets, attention=self.attention)
        return model


@dataclass(frozen=True, slots=True)
class ScoringWork:
    """Log-probabilities of chunks of groups under one model."""

    source: FrozenSource | TrainableSource
    rows: RowKind  # how completions are put into rows
    row_tokens: int  # a packed row's budget
    batch_tokens: int  # that go through the model at once
    by_token: bool = False  # whether each token is scored by itself

    def chunk(self, model: LanguageModel, groups: Sequence[Group]) -> bytes:
        """Return a list for each group in JSON: the log-probability of each completion, or of each token, nats."""
        from srit.compute.rows import COMPLETIONS, TOKENS
        from srit.compute.scoring import score
        from srit.run_directory import json_bytes

        found = score(
            model,
            groups,
            rows=self.rows,
            row_tokens=self.row_tokens,
            batch_tokens=self.batch_tokens,
            figures=TOKENS if self.by_token else COMPLETIONS,
        )
        return json_bytes(found)


def read_scores(data: bytes) -> list[list[float]]:
    """Read what `ScoringWork.chunk` wrote."""
    found: list[list[float]] = json.loads(data)
    return found
