"""A policy gradient over all samples of a problem, as in GRPO: no pairs, each answer against the mean of its group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from srit.recipe import Refine
from srit.settings import Positive
from srit.training.losses import LossKind

if TYPE_CHECKING:
    from torch import Tensor


class GroupSettings(Refine):
    """Group-relative advantages."""

    loss: Literal["group"] = "group"
    nll_weight: float = Field(default=0.0, ge=0)  # answers above their group's mean are learned from as it is
    # Of answers below their group's mean, to those above it, the larger of which weighs 1: with 0 only right answers
    # are learned from, 1 is the policy gradient, and with 1e9 only wrong ones are.
    negative_weight: float = Field(default=1.0, ge=0)
    ratio_clip: Positive = 0.2  # how far from 1 the ratio of policy and sampler can still be pushed


def group_loss(policy: Tensor, sampled: Tensor, advantages: Tensor, settings: GroupSettings) -> Tensor:
    """-min(ratio * advantage, clip(ratio, 1 - c, 1 + c) * advantage) of each token, without a KL term.

    Shao et al. 2024, arXiv 2402.03300, eq. 3, with advantages that are not divided by their standard deviation (Liu et
    al. 2025, arXiv 2503.20783); what is below the mean is weighed by itself (Zhu et al. 2025, arXiv 2506.01347).
    """
    above, below = 1 / max(1.0, settings.negative_weight), min(1.0, settings.negative_weight)
    weighed = advantages.clamp(min=0) * above + advantages.clamp(max=0) * below
    ratio = (policy - sampled).exp()
    kept = ratio.clamp(1 - settings.ratio_clip, 1 + settings.ratio_clip)
    return -(ratio * weighed).minimum(kept * weighed)


LOSS = LossKind(GroupSettings, token_loss=group_loss)
