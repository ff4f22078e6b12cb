"""DPO of averages over tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from srit.recipe import Referenced
from srit.settings import Positive
from srit.training.losses import LossKind, Sides, margins

if TYPE_CHECKING:
    from torch import Tensor


class NormalizedSettings(Referenced):
    """DPO of averages over tokens."""

    loss: Literal["length_normalized"] = "length_normalized"
    beta: Positive = 0.1  # pull toward the reference; 2 is usual


def length_normalized_loss(policy: Sides, reference: Sides, lengths: Sides, settings: NormalizedSettings) -> Tensor:
    """DPO of averages over tokens: long answers do not weigh more. Meng et al. 2024, arXiv 2405.14734, table 3
    (LN-DPO); beta is of the order of 2.
    """
    from torch.nn.functional import logsigmoid

    return -logsigmoid(settings.beta * margins(policy.per_token(lengths), reference.per_token(lengths)))


LOSS = LossKind(NormalizedSettings, length_normalized_loss)
