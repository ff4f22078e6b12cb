"""Which fields of a recipe are set and change nothing."""

from __future__ import annotations

from srit.recipe import Pairs, Recipe
from srit.training.losses import loss_kind

_OF_PAIRS = ("heuristic", "fallback", "rejected", "rejected_by", "swapped")  # decide which answers are preferred


def without_effect(recipe: Recipe) -> str:
    """Say which fields of pairs change no training, as the loss learns from no pairs; "" if none is set."""
    refine = recipe.refine
    if loss_kind(refine.loss).loss is not None or (refine.nll_weight and refine.nll_on == "chosen"):
        return ""
    usual = Pairs()
    changed = [f"pairs.{name}" for name in _OF_PAIRS if getattr(recipe.pairs, name) != getattr(usual, name)]
    if not changed:
        return ""
    names = " and ".join(changed)
    return f"{names}: without effect, as the loss {refine.loss} learns from no pairs: set refine.loss: sigmoid"
