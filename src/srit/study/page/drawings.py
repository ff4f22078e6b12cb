"""A curve of a study → its drawing: axes, lines, and the interval of every point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from srit.page.axes import ticks
from srit.study.tables.curves import Curve, Line, Point

WIDTH, HEIGHT = 400.0, 165.0  # of a drawing, inside its axes
HUES = 6  # that the style has


class Mark(NamedTuple):
    """A point in the coordinates of its drawing, with its interval and a description."""

    x: float
    y: float
    low: float
    high: float
    words: str


class DrawnLine(NamedTuple):
    """A line in the coordinates of its drawing."""

    label: str
    style: str
    marks: list[Mark]


class Tick(NamedTuple):
    """A number on an axis, and its place on it."""

    label: str
    place: float


class Drawing(NamedTuple):
    """A curve in the coordinates of its drawing."""

    title: str
    x: str
    lines: list[DrawnLine]
    across: list[Tick]
    up: list[Tick]


def drawing(curve: Curve) -> Drawing:
    """Draw a curve: one color per line, or per pair if lines come in pairs, with instructed dashed."""
    points = [point for line in curve.lines for point in line.points]
    up = ticks(min(p.low for p in points), max(p.high for p in points), 4)
    left, right = min(p.x for p in points), max(p.x for p in points)
    low, high = min(up[0], *(p.low for p in points)), max(up[-1], *(p.high for p in points))

    def across(x: float) -> float:
        return round(WIDTH * (x - left) / ((right - left) or 1.0), 1)

    def down(y: float) -> float:
        return round(HEIGHT * (1 - (y - low) / ((high - low) or 1.0)), 1)

    def mark(line: Line, p: Point) -> Mark:
        words = f"{line.label}, {curve.x} {p.x:g}: {p.mean:.1f} % ({p.low:.1f}–{p.high:.1f})"
        return Mark(across(p.x), down(p.mean), down(p.low), down(p.high), words)

    styles = _styles([line.label for line in curve.lines])
    return Drawing(
        curve.title,
        curve.x,
        [
            DrawnLine(line.label, style, [mark(line, point) for point in line.points])
            for line, style in zip(curve.lines, styles, strict=True)
        ],
        [Tick(f"{x:g}", across(x)) for x in sorted({point.x for point in points})],
        [Tick(f"{y:g}", down(y)) for y in up],
    )


def _styles(labels: Sequence[str]) -> list[str]:
    """Return the classes of lines: those that differ only in the model share a color."""
    parts = [label.rpartition(" · ") for label in labels]
    groups = list(dict.fromkeys(group for group, _, model in parts if model in ("instructed", "refined")))
    if len(groups) < 2:
        return [f"hue-{number % HUES}" for number in range(len(labels))]
    return [
        f"hue-{groups.index(group) % HUES}{' dashed' if model == 'instructed' else ''}" for group, _, model in parts
    ]
