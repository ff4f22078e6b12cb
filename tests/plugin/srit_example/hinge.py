"""SLiC's hinge loss without a reference: max(0, margin - (chosen - rejected)). Zhao et al. 2023, arXiv 2305.10425."""

from typing import Literal

from torch import Tensor

from srit.recipe import Refine
from srit.training.losses import LossKind, Sides


class HingeSettings(Refine):
    loss: Literal["hinge"] = "hinge"
    margin: float = 1.0  # nats


def hinge_loss(policy: Sides, reference: Sides, lengths: Sides, settings: HingeSettings) -> Tensor:
    return (settings.margin - (policy.chosen - policy.rejected)).clamp(min=0)


LOSS = LossKind(HingeSettings, hinge_loss, has_reference=False)
