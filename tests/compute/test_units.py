"""Products of float32 numbers are exact again once nobody asks for the units of bfloat16 any more."""

import torch

from srit.compute.head import bfloat16_units


def test_precision_comes_back_whichever_of_two_threads_ends_first():
    products = torch.backends.mkldnn.matmul
    one, other = bfloat16_units(), bfloat16_units()

    one.__enter__()
    other.__enter__()
    assert products.fp32_precision == "bf16"
    one.__exit__(None, None, None)
    other.__exit__(None, None, None)

    assert products.fp32_precision == "none"
