"""Fields of a recipe that wait for a part of the run that it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srit.recipe import Recipe


def waiting(recipe: Recipe) -> str:
    """Say which field waits for a part of the run that the recipe leaves out; "" if none does."""
    from srit.training.losses import loss_kind  # which reads recipes

    tasks, rounds, refine = recipe.tasks, recipe.rounds, recipe.refine
    if not tasks.train:
        waits = bool(tasks.refine or tasks.dev or recipe.controls)
        return "tasks.train: [] trains nothing: remove tasks.refine, tasks.dev and controls" if waits else ""
    if not recipe.demonstrations.limit and recipe.demonstrations.limit is not None and recipe.instruct.epochs:
        return "demonstrations.limit: 0 leaves stage 1 nothing to learn: set instruct.epochs: 0 as well"
    if recipe.controls and not rounds:
        return "controls: they are compared with stage 2, which rounds: 0 leaves out"
    if "instruct" in recipe.controls and recipe.demonstrations.limit == 0:
        return "controls: instruct would learn more of the demonstrations, which demonstrations.limit: 0 leaves out"
    given = "sample.path" if recipe.sample.path else "pairs.path" if recipe.pairs.path else ""
    if not given and rounds and not recipe.sample.direct + recipe.sample.cot:
        return "sample: direct: 0 and cot: 0 leave stage 2 nothing to learn from: set one of them, or rounds: 0"
    if not given:
        return ""
    if rounds != 1 or refine.parts * refine.passes > 1:
        return f"{given}: its answers are learned once: set rounds: 1, refine.parts: 1 and refine.passes: 1"
    if recipe.sample.path and recipe.pairs.path:
        return "pairs.path: pairs of a file need no answers: remove sample.path"
    if recipe.pairs.path and recipe.controls:
        return "controls: they learn from sampled answers, and with pairs.path there are none"
    if recipe.pairs.path and loss_kind(refine.loss).loss is None:
        return f"pairs.path: the loss {refine.loss} would not learn what the pairs reject: set refine.loss: sigmoid"
    if recipe.pairs.path and refine.nll_weight and refine.nll_on == "right":
        return "pairs.path: no answers are sampled whose likelihood could be raised: set refine.nll_on: chosen"
    return ""
