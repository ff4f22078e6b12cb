"""Preference losses: pure functions of the summed log-probabilities of pairs.

Each loss has a file that declares everything srit needs to know about it: `LOSS = LossKind(…)`. A loss takes (policy,
reference, lengths, settings) and returns [pairs], in nats unless stated otherwise, not reduced: weighting and averaging
are the caller's. The files import torch in their functions, since reading a recipe reads their settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from srit.kinds import LOSSES, Finding
from srit.recipe import Refine
from srit.settings import Configured

if TYPE_CHECKING:
    from torch import Tensor


class Sides(NamedTuple):
    """A value for both sides of each pair: log-probabilities under one model, or lengths."""

    chosen: Tensor  # [pairs]; log-probabilities in nats, summed over the completion; lengths in tokens
    rejected: Tensor  # [pairs]

    def per_token(self, lengths: Sides) -> Sides:
        """Return averages over the tokens of each completion."""
        return Sides(self.chosen / lengths.chosen, self.rejected / lengths.rejected)


Settings = TypeVar("Settings", bound=Refine)


@dataclass(frozen=True)
class LossKind(Configured[Settings]):
    """Everything that srit needs to know about a loss; `settings` are those of stage 2, including its own.

    It has `loss` or `token_loss`; with neither, only the likelihood of answers is trained (`nll_weight`).
    """

    loss: Callable[[Sides, Sides, Sides, Settings], Tensor] | None = None  # of pairs
    has_reference: bool = True  # whether it compares the policy with its reference
    doctor: Callable[[], Sequence[Finding]] = tuple  # lines of `srit doctor`
    # Over all samples of a problem: a function of each token's log-probability under the policy and under the model
    # that sampled it, of its answer's advantage, all [tokens], and of the settings. It returns [tokens].
    token_loss: Callable[[Tensor, Tensor, Tensor, Settings], Tensor] | None = None


def loss_kind(name: str) -> LossKind[Any]:
    """Return the loss with that name.

    Raises:
        RecipeError: there is none, or its plug-in does not work.
    """
    return LOSSES.find(name, LossKind)


def loss_of_equals(settings: Refine) -> float | None:
    """Return a pair's loss if policy and reference are equal, log 2 for "sigmoid"; None for a loss without either."""
    import torch

    kind = loss_kind(settings.loss)
    if kind.loss is None or not kind.has_reference:
        return None
    equal = Sides(torch.tensor([-1.0]), torch.tensor([-1.0]))
    return float(kind.loss(equal, equal, Sides(torch.ones(1), torch.ones(1)), settings))


def margins(policy: Sides, reference: Sides) -> Tensor:
    """Return how much more the policy favors chosen over rejected than the reference does, [pairs], in nats."""
    return (policy.chosen - policy.rejected) - (reference.chosen - reference.rejected)
