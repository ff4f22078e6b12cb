import math

import numpy as np
import pytest
import torch

from srit.recipe import Refine
from srit.training.losses import LOSSES, LossSettings, Sides, loss_of_equals
from srit.training.preference import step_0_loss

CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED = np.random.default_rng(0).normal(-40, 15, (4, 256))
N_CHOSEN, N_REJECTED = np.random.default_rng(1).integers(1, 90, (2, 256)).astype(float)
MARGIN = (CHOSEN - REF_CHOSEN) - (REJECTED - REF_REJECTED)
MARGIN_A_TOKEN = (CHOSEN - REF_CHOSEN) / N_CHOSEN - (REJECTED - REF_REJECTED) / N_REJECTED


def nll(x):
    """-log sigmoid(x)."""
    return np.logaddexp(0, -x)


PUBLISHED = {
    "dpo": ("sigmoid", LossSettings(0.1), nll(0.1 * MARGIN)),
    "dpo, beta 1": ("sigmoid", LossSettings(1.0), nll(MARGIN)),
    "conservative dpo": ("sigmoid", LossSettings(0.1, 0.2), 0.8 * nll(0.1 * MARGIN) + 0.2 * nll(-0.1 * MARGIN)),
    "robust dpo": ("robust", LossSettings(0.1, 0.2), (0.8 * nll(0.1 * MARGIN) - 0.2 * nll(-0.1 * MARGIN)) / 0.6),
    "ipo": ("ipo", LossSettings(0.1), (MARGIN_A_TOKEN - 5) ** 2),
    "length-normalized dpo": ("length_normalized", LossSettings(2.0), nll(2 * MARGIN_A_TOKEN)),
    "apo zero": (
        "apo_zero",
        LossSettings(0.1),
        np.exp(-nll(-0.1 * (CHOSEN - REF_CHOSEN))) + np.exp(-nll(0.1 * (REJECTED - REF_REJECTED))),
    ),
    "simpo": ("simpo", LossSettings(2.0, gamma=1.0), nll(2 * (CHOSEN / N_CHOSEN - REJECTED / N_REJECTED) - 1)),
}


def sides(chosen, rejected):
    return Sides(torch.tensor(chosen), torch.tensor(rejected))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_loss_is_the_published_formula_in_float64(name):
    loss, settings, expected = PUBLISHED[name]

    actual = LOSSES[loss](
        sides(CHOSEN, REJECTED), sides(REF_CHOSEN, REF_REJECTED), sides(N_CHOSEN, N_REJECTED), settings
    )

    # atol: the formula's own rounding where the loss is near 0
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    "name, expected", [("sigmoid", math.log(2)), ("ipo", 25.0), ("apo_zero", 1.0), ("length_normalized", math.log(2))]
)
def test_the_loss_of_equal_models_is_known(name, expected):
    assert step_0_loss(Refine(loss=name)) == pytest.approx(expected)


def test_a_loss_without_a_reference_has_none():
    assert loss_of_equals("simpo", LossSettings(2.0)) is None
