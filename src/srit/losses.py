"""Preference losses: pure functions of summed log-probabilities."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid


class PairLogps(NamedTuple):
    """Log-probabilities of both sides of each pair under one model."""

    chosen: Tensor  # [pairs], nats, summed over completion tokens
    rejected: Tensor  # [pairs]


def dpo_loss(policy: PairLogps, reference: PairLogps, *, beta: float) -> Tensor:
    """Preference loss of each pair, in nats.

    The margin is how much more the policy favors chosen over rejected than the reference does;
    the loss is -log sigmoid(beta * margin): log 2 at margin 0, toward 0 above it.

    Args:
        policy: carries gradients.
        reference: same shape, from the frozen model.
        beta: pull toward the reference, > 0; 0.1 in the paper.

    Returns:
        [pairs], not reduced: weighting and averaging are the caller's.

    Raises:
        ValueError: beta is not positive, or the shapes differ.

    Source: Rafailov et al. 2023, arXiv 2305.18290, eq. 7.
    """
    if beta <= 0:
        raise ValueError(f"beta is {beta}: it must be above 0 (0.1 in the paper)")
    shapes = {tuple(logps.shape) for logps in (*policy, *reference)}
    if len(shapes) != 1:
        raise ValueError(f"log-probabilities of one batch of pairs have shapes {sorted(shapes)}")
    margins = (policy.chosen - policy.rejected) - (reference.chosen - reference.rejected)
    return -logsigmoid(beta * margins)
