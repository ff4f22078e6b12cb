"""A study in words: shares as points, claims, and the sentence about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from srit.records import Model
from srit.records.scores import Interval
from srit.stages.results import DOMAINS
from srit.study.estimates import Estimate
from srit.study.records import Claim


class Statement(NamedTuple):
    """A claim in words."""

    a: str
    b: str
    where: str  # such as "in-domain"

    def sentence(self, verb: str) -> str:
        """Return such as "refined beats instructed in-domain"."""
        return f"{self.a} {verb} {self.b} {self.where}"


def statement(claim: Claim) -> Statement:
    """Put a claim in words."""
    a, b = _side(claim.a, claim.where), _side(claim.b, claim.against)
    return Statement(a, b, DOMAINS[claim.domain] + (", direct prompt" if claim.prompt == "direct" else ""))


def _side(model: Model, labels: Mapping[str, str]) -> str:
    said = ", ".join(f"{label} {value}" for label, value in labels.items())
    return f"{model} ({said})" if said else str(model)


def pooled_change(pooled: Estimate, p_seeds: float | None) -> str:
    """Write a claim's mean difference, and those of its seeds with their t test if there are several."""
    change = f"pooled {points(pooled.mean)} points ({points(pooled.ci95.low)} to {points(pooled.ci95.high)})"
    if p_seeds is not None:
        change += f", by seed {', '.join(map(points, pooled.by_seed))} (t test p = {p_seeds:.2g})"
    return change


def counted(there: Sequence[object], n_sure: int, *, ahead: bool, of: str, significant: float) -> str:
    """Write on how many comparisons a model is ahead or behind, and on how many of these surely."""
    text = f"{'ahead' if ahead else 'behind'} on {len(there)}{of}"
    return f"{text} (Holm p < {significant} on {n_sure})" if there else text


def points(share: float) -> str:
    """Write a share as signed points, with a typographic minus."""
    return signed(100 * share, 1)


def change_points(mean: float, ci95: Interval) -> str:
    """Write a difference of shares with its interval, as signed points."""
    return f"{points(mean)} ({points(ci95.low)} to {points(ci95.high)})"


def number(value: float | None, digits: int) -> str:
    """Write a number with a typographic minus; "": there is none."""
    return "" if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int) -> str:
    """Write a number with its sign, a typographic minus, and no negative zero."""
    return f"{value:+z.{digits}f}".replace("-", "−")
