import math

import numpy as np
import pytest
import torch

from srit.losses import PairLogps, dpo_loss


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0])
def test_dpo_loss_is_the_published_formula_in_float64(beta):
    chosen, rejected, ref_chosen, ref_rejected = np.random.default_rng(0).normal(-40, 15, (4, 256))
    expected = np.logaddexp(0, -beta * ((chosen - ref_chosen) - (rejected - ref_rejected)))

    policy = PairLogps(torch.tensor(chosen), torch.tensor(rejected))
    reference = PairLogps(torch.tensor(ref_chosen), torch.tensor(ref_rejected))

    actual = dpo_loss(policy, reference, beta=beta)
    # atol: the formula's own rounding where the loss is near 0
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-12, atol=1e-15)


def test_before_the_first_step_the_loss_is_log_2():
    logps = PairLogps(torch.tensor([-3.0, -50.0]), torch.tensor([-7.0, -2.0]))

    assert dpo_loss(logps, logps, beta=0.1).tolist() == pytest.approx([math.log(2)] * 2)


def test_a_beta_that_is_not_positive_is_refused():
    logps = PairLogps(torch.zeros(1), torch.zeros(1))

    with pytest.raises(ValueError, match="beta is 0"):
        dpo_loss(logps, logps, beta=0)
