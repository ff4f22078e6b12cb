"""The loss of SimPO, which needs no reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from srit.recipe import Refine
from srit.settings import Positive
from srit.training.losses import LossKind, Sides

if TYPE_CHECKING:
    from torch import Tensor


class SimpoSettings(Refine):
    """SimPO."""

    loss: Literal["simpo"] = "simpo"
    beta: Positive = 0.1  # of the order of 2
    gamma: float = Field(default=0.0, ge=0)  # target margin, nats a token times beta


def simpo_loss(policy: Sides, reference: Sides, lengths: Sides, settings: SimpoSettings) -> Tensor:
    """-log sigmoid(beta * (chosen - rejected) - gamma) of averages over tokens, without a reference.
    Meng et al. 2024, arXiv 2405.14734, eq. 6; beta is of the order of 2, gamma of 1.
    """
    from torch.nn.functional import logsigmoid

    each = policy.per_token(lengths)
    return -logsigmoid(settings.beta * (each.chosen - each.rejected) - settings.gamma)


LOSS = LossKind(SimpoSettings, simpo_loss, has_reference=False)
