"""The loss of DPO, and of conservative DPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from srit.recipe import Referenced
from srit.settings import Positive
from srit.training.losses import LossKind, Sides, margins

if TYPE_CHECKING:
    from torch import Tensor


class SigmoidSettings(Referenced):
    """DPO."""

    loss: Literal["sigmoid"] = "sigmoid"
    beta: Positive = 0.1  # pull toward the reference
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)  # share of pairs whose sides are the wrong way round


def dpo_loss(policy: Sides, reference: Sides, lengths: Sides, settings: SigmoidSettings) -> Tensor:
    """-log sigmoid(beta * margin): log 2 at margin 0. Rafailov et al. 2023, arXiv 2305.18290, eq. 7.

    With label smoothing e the labels are wrong with probability e: (1 - e) and e weigh the loss of the pair and of the
    pair turned round (conservative DPO: Mitchell 2023, "A note on DPO with noisy preferences", eq. 2).
    """
    from torch.nn.functional import logsigmoid

    scaled, smoothing = settings.beta * margins(policy, reference), settings.label_smoothing
    return -(1 - smoothing) * logsigmoid(scaled) - smoothing * logsigmoid(-scaled)


LOSS = LossKind(SigmoidSettings, dpo_loss)
