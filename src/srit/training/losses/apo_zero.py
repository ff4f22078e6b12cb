"""The loss of APO-zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from srit.recipe import Referenced
from srit.settings import Positive
from srit.training.losses import LossKind, Sides

if TYPE_CHECKING:
    from torch import Tensor


class ApoZeroSettings(Referenced):
    """APO-zero."""

    loss: Literal["apo_zero"] = "apo_zero"
    beta: Positive = 0.1  # pull toward the reference


def apo_zero_loss(policy: Sides, reference: Sides, lengths: Sides, settings: ApoZeroSettings) -> Tensor:
    """sigmoid(-beta * chosen) + sigmoid(beta * rejected) of each side's own gain over the reference: chosen answers
    become likelier and rejected ones less likely, each by itself. D'Oosterlinck et al. 2024, arXiv 2408.06266, eq. 7;
    it is KTO (Ethayarajh et al. 2024, arXiv 2402.01306, eq. 8) with its point of reference at 0. 1 at equal models.
    """
    chosen, rejected = policy.chosen - reference.chosen, policy.rejected - reference.rejected
    return (-settings.beta * chosen).sigmoid() + (settings.beta * rejected).sigmoid()


LOSS = LossKind(ApoZeroSettings, apo_zero_loss)
