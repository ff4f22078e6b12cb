"""The loss of IPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from srit.recipe import Referenced
from srit.settings import Positive
from srit.training.losses import LossKind, Sides, margins

if TYPE_CHECKING:
    from torch import Tensor


class IpoSettings(Referenced):
    """IPO."""

    loss: Literal["ipo"] = "ipo"
    beta: Positive = 0.1  # the margin to reach is 1 / (2 beta)


def ipo_loss(policy: Sides, reference: Sides, lengths: Sides, settings: IpoSettings) -> Tensor:
    """(margin a token - 1 / (2 beta))², in nats²: a margin to reach and not to exceed. Azar et al. 2023,
    arXiv 2310.12036, eq. 17; averaged over tokens as its authors did (and as TRL does).
    """
    return (margins(policy.per_token(lengths), reference.per_token(lengths)) - 1 / (2 * settings.beta)) ** 2


LOSS = LossKind(IpoSettings, ipo_loss)
