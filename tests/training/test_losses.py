import math

import numpy as np
import pytest
import torch

from srit.kinds import LOSSES
from srit.training.losses import Sides, loss_kind, loss_of_equals
from srit.training.objective import advantages

CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED = np.random.default_rng(0).normal(-40, 15, (4, 256))
N_CHOSEN, N_REJECTED = np.random.default_rng(1).integers(1, 90, (2, 256)).astype(float)
MARGIN = (CHOSEN - REF_CHOSEN) - (REJECTED - REF_REJECTED)
MARGIN_A_TOKEN = (CHOSEN - REF_CHOSEN) / N_CHOSEN - (REJECTED - REF_REJECTED) / N_REJECTED


def nll(x):
    """-log sigmoid(x)."""
    return np.logaddexp(0, -x)


PUBLISHED = {
    "dpo": ("sigmoid", {"beta": 0.1}, nll(0.1 * MARGIN)),
    "dpo, beta 1": ("sigmoid", {"beta": 1.0}, nll(MARGIN)),
    "conservative dpo": (
        "sigmoid",
        {"beta": 0.1, "label_smoothing": 0.2},
        0.8 * nll(0.1 * MARGIN) + 0.2 * nll(-0.1 * MARGIN),
    ),
    "robust dpo": (
        "robust",
        {"beta": 0.1, "label_smoothing": 0.2},
        (0.8 * nll(0.1 * MARGIN) - 0.2 * nll(-0.1 * MARGIN)) / 0.6,
    ),
    "ipo": ("ipo", {"beta": 0.1}, (MARGIN_A_TOKEN - 5) ** 2),
    "length-normalized dpo": ("length_normalized", {"beta": 2.0}, nll(2 * MARGIN_A_TOKEN)),
    "apo zero": (
        "apo_zero",
        {"beta": 0.1},
        np.exp(-nll(-0.1 * (CHOSEN - REF_CHOSEN))) + np.exp(-nll(0.1 * (REJECTED - REF_REJECTED))),
    ),
    "simpo": ("simpo", {"beta": 2.0, "gamma": 1.0}, nll(2 * (CHOSEN / N_CHOSEN - REJECTED / N_REJECTED) - 1)),
}


def sides(chosen, rejected):
    return Sides(torch.tensor(chosen), torch.tensor(rejected))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_loss_is_the_published_formula_in_float64(name):
    loss, settings, expected = PUBLISHED[name]
    kind = loss_kind(loss)

    actual = kind.loss(
        sides(CHOSEN, REJECTED),
        sides(REF_CHOSEN, REF_REJECTED),
        sides(N_CHOSEN, N_REJECTED),
        kind.settings(**settings),
    )

    # atol: the formula's own rounding where the loss is near 0
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    "name, expected", [("sigmoid", math.log(2)), ("ipo", 25.0), ("apo_zero", 1.0), ("length_normalized", math.log(2))]
)
def test_the_loss_of_equal_models_is_known(name, expected):
    assert loss_of_equals(loss_kind(name).settings()) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["simpo", "none", "group"])
def test_a_loss_without_pairs_or_a_reference_has_none(name):
    assert loss_of_equals(loss_kind(name).settings()) is None


def test_every_loss_that_comes_with_srit_is_compared_with_its_formula():
    assert set(LOSSES.own()) == {loss for loss, _, _ in PUBLISHED.values()} | {"none", "group"}


@pytest.mark.parametrize(
    ("negative_weight", "above", "below"), [(0.0, 1, 0), (1.0, 1, 1), (0.1, 1, 0.1), (10.0, 0.1, 1), (1e9, 1e-9, 1)]
)
def test_the_group_loss_is_the_clipped_policy_gradient_with_its_negative_part_weighed_by_itself(
    negative_weight, above, below
):
    policy, sampled, advantages = np.random.default_rng(2).normal(0, 0.4, (3, 256))
    ratio, weighed = np.exp(policy - sampled), np.where(advantages > 0, above, below) * advantages
    expected = -np.minimum(ratio * weighed, np.clip(ratio, 0.8, 1.2) * weighed)
    kind = loss_kind("group")

    actual = kind.token_loss(
        *map(torch.tensor, (policy, sampled, advantages)), kind.settings(negative_weight=negative_weight)
    )

    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-12, atol=1e-14)


def test_advantages_are_measured_from_the_mean_of_their_group():
    assert advantages([1.0, 0.0, 0.0, 0.0]) == [0.75, -0.25, -0.25, -0.25]
    assert not any(advantages([1.0, 1.0]))
