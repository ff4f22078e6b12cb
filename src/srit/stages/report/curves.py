"""The history of each training → the curves that the page draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from srit.records import TrainingLog


class Line(NamedTuple):
    """One metric over the steps of a training."""

    label: str
    style: str
    values: list[float | None]  # by step; None: it is not a number


class Curve(NamedTuple):
    """What one drawing shows of a training."""

    stage: str
    title: str
    unit: str  # "" for a share
    lines: list[Line]


_BOTH = (("loss", "nats", (("loss", "loss", "one"),)),)
_PREFERENCE = (
    (
        "log-probability of an answer",
        "nats",
        (("chosen", "chosen_logps", "one"), ("rejected", "rejected_logps", "two")),
    ),
    ("reward margin", "nats", (("margin", "margins", "one"),)),
    ("pairs with a positive margin", "", (("share", "accuracies", "one"),)),
)


def curves(logs: Mapping[str, TrainingLog]) -> list[Curve]:
    """Return the curves of every training, by stage."""
    return [curve for name, log in logs.items() if log.history for curve in _of(name, log.history)]


def _of(stage: str, history: Sequence[Mapping[str, float]]) -> Iterator[Curve]:
    preferences = any(step.get("preference_loss") for step in history)  # a control may have none
    for title, unit, drawn in (*_BOTH, *(_PREFERENCE if preferences else ())):
        lines = [Line(label, style, [_finite(step.get(name)) for step in history]) for label, name, style in drawn]
        yield Curve(stage, title, unit, lines)


def _finite(value: float | None) -> float | None:
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
