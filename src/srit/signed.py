"""Numbers as pages and sentences write them: with a typographic minus."""

from __future__ import annotations

from srit.records.scores import Interval


def number(value: float | None, digits: int) -> str:
    """Write a number; "": there is none."""
    return "" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int) -> str:
    """Write a number with its sign and no negative zero."""
    return f"{value:+z.{digits}f}".replace("-", "−")


def points(share: float) -> str:
    """Write a share as signed points."""
    return signed(100 * share, 1)


def change_points(mean: float, ci95: Interval) -> str:
    """Write a difference of shares with its interval, as signed points."""
    return f"{points(mean)} ({points(ci95.low)} to {points(ci95.high)})"
