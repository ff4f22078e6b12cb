"""A study in words: its claims, and the sentence about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from srit.records import Model
from srit.signed import points
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


def pooled_change(pooled: Estimate) -> str:
    """Write a claim's mean difference, and those of its seeds with their t test if there are several."""
    low, high = pooled.ci95
    return f"pooled {points(pooled.mean)} points ({points(low)} to {points(high)}){changes_by_seed(pooled)}"


def changes_by_seed(found: Estimate) -> str:
    """Write the seeds' differences, with their t test, as the end of a sentence; "" if there is one seed."""
    if found.p_seeds is None:
        return ""
    return f", by seed {', '.join(map(points, found.by_seed))} (t test p = {found.p_seeds:.2g})"


def counted(there: Sequence[object], n_sure: int, *, ahead: bool, of: str, significant: float) -> str:
    """Write on how many comparisons a model is ahead or behind, and on how many of these surely."""
    text = f"{'ahead' if ahead else 'behind'} on {len(there)}{of}"
    return f"{text} (Holm p < {significant} on {n_sure})" if there else text
