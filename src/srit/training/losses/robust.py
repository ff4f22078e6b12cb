"""DPO for noisy labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from srit.recipe import Referenced
from srit.settings import Positive
from srit.training.losses import LossKind, Sides, margins

if TYPE_CHECKING:
    from torch import Tensor


class RobustSettings(Referenced):
    """DPO for noisy labels."""

    loss: Literal["robust"] = "robust"
    beta: Positive = 0.1  # pull toward the reference
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)  # share of pairs whose sides are the wrong way round


def robust_loss(policy: Sides, reference: Sides, lengths: Sides, settings: RobustSettings) -> Tensor:
    """DPO made unbiased for labels that are wrong with probability e = `label_smoothing`:
    [(1 - e) l(margin) - e l(-margin)] / (1 - 2 e). Chowdhury et al. 2024, arXiv 2403.00409, eq. 8.
    """
    from torch.nn.functional import logsigmoid

    scaled, smoothing = settings.beta * margins(policy, reference), settings.label_smoothing
    return (smoothing * logsigmoid(-scaled) - (1 - smoothing) * logsigmoid(scaled)) / (1 - 2 * smoothing)


LOSS = LossKind(RobustSettings, robust_loss)
