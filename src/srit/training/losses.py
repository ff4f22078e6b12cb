"""Preference losses: pure functions of the summed log-probabilities of pairs.

Each takes (policy, reference, lengths, settings) and returns [pairs], in nats where not said otherwise, not
reduced: weighting and averaging are the caller's. A new loss is a function here, and a name in `LOSSES` and in
`recipe.Refine.loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class Sides(NamedTuple):
    """A figure of both sides of each pair: log-probabilities under one model, or lengths."""

    chosen: Tensor  # [pairs]; log-probabilities in nats, summed over the completion; lengths in tokens
    rejected: Tensor  # [pairs]

    def per_token(self, lengths: Sides) -> Sides:
        """Averages over the tokens of each completion."""
        return Sides(self.chosen / lengths.chosen, self.rejected / lengths.rejected)


class LossSettings(NamedTuple):
    """What shapes a loss; each uses its own."""

    beta: float  # > 0
    label_smoothing: float = 0.0  # share of pairs whose sides are taken to be the wrong way round, below 0.5
    gamma: float = 0.0  # SimPO's target margin, nats a token times beta


Loss = Callable[[Sides, Sides, Sides, LossSettings], Tensor]


def dpo_loss(policy: Sides, reference: Sides, lengths: Sides, settings: LossSettings) -> Tensor:
    """-log sigmoid(beta * margin); the margin is how much more the policy favors chosen over rejected than the
    reference does. log 2 at margin 0. Rafailov et al. 2023, arXiv 2305.18290, eq. 7.

    With label smoothing e the labels are wrong with probability e: (1 - e) and e weigh the loss of the pair and
    of the pair turned round (conservative DPO: Mitchell 2023, "A note on DPO with noisy preferences", eq. 2).
    """
    margins = settings.beta * _margins(policy, reference)
    smoothing = settings.label_smoothing
    return -(1 - smoothing) * logsigmoid(margins) - smoothing * logsigmoid(-margins)


def robust_loss(policy: Sides, reference: Sides, lengths: Sides, settings: LossSettings) -> Tensor:
    """DPO made unbiased for labels that are wrong with probability e = `label_smoothing`:
    [(1 - e) l(margin) - e l(-margin)] / (1 - 2 e). Chowdhury et al. 2024, arXiv 2403.00409, eq. 8.
    """
    margins = settings.beta * _margins(policy, reference)
    smoothing = settings.label_smoothing
    return (smoothing * logsigmoid(-margins) - (1 - smoothing) * logsigmoid(margins)) / (1 - 2 * smoothing)


def ipo_loss(policy: Sides, reference: Sides, lengths: Sides, settings: LossSettings) -> Tensor:
    """(margin a token - 1 / (2 beta))², in nats²: a margin to reach and not to exceed. Azar et al. 2023,
    arXiv 2310.12036, eq. 17; averaged over tokens as its authors did (and as TRL does).
    """
    return (_margins(policy.per_token(lengths), reference.per_token(lengths)) - 1 / (2 * settings.beta)) ** 2


def length_normalized_loss(policy: Sides, reference: Sides, lengths: Sides, settings: LossSettings) -> Tensor:
    """DPO of averages over tokens: long answers do not weigh more. Meng et al. 2024, arXiv 2405.14734, table 3
    (LN-DPO); beta is of the order of 2.
    """
    return -logsigmoid(settings.beta * _margins(policy.per_token(lengths), reference.per_token(lengths)))


def simpo_loss(policy: Sides, reference: Sides, lengths: Sides, settings: LossSettings) -> Tensor:
    """-log sigmoid(beta * (chosen - rejected) - gamma) of averages over tokens, without a reference.
    Meng et al. 2024, arXiv 2405.14734, eq. 6; beta is of the order of 2, gamma of 1.
    """
    each = policy.per_token(lengths)
    return -logsigmoid(settings.beta * (each.chosen - each.rejected) - settings.gamma)


def apo_zero_loss(policy: Sides, reference: Sides, lengths: Sides, settings: LossSettings) -> Tensor:
    """sigmoid(-beta * chosen) + sigmoid(beta * rejected) of each side's own gain over the reference: chosen answers
    become likelier and rejected ones less likely, each by itself. D'Oosterlinck et al. 2024, arXiv 2408.06266, eq. 7;
    it is KTO (Ethayarajh et al. 2024, arXiv 2402.01306, eq. 8) with its point of reference at 0. 1 at equal models.
    """
    chosen, rejected = policy.chosen - reference.chosen, policy.rejected - reference.rejected
    return (-settings.beta * chosen).sigmoid() + (settings.beta * rejected).sigmoid()


LOSSES: Mapping[str, Loss] = {
    "sigmoid": dpo_loss,
    "robust": robust_loss,
    "ipo": ipo_loss,
    "length_normalized": length_normalized_loss,
    "simpo": simpo_loss,
    "apo_zero": apo_zero_loss,
}


def loss_of_equals(name: str, settings: LossSettings) -> float | None:
    """A loss where policy and reference are the same; None for one without a reference."""
    if name == "simpo":
        return None
    equal = Sides(torch.tensor([-1.0]), torch.tensor([-1.0]))
    return float(LOSSES[name](equal, equal, Sides(torch.ones(1), torch.ones(1)), settings))


def _margins(policy: Sides, reference: Sides) -> Tensor:
    return (policy.chosen - policy.rejected) - (reference.chosen - reference.rejected)
