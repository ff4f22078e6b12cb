from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom

from srit.intervals import (
    compare,
    interval_of_equals,
    mcnemar_exact,
    paired_bootstrap,
    pass_at_k,
    smallest_difference,
    wilson,
)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # published examples: Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(correct, n, low, high):
    assert wilson(correct, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("only_a", "only_b", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 6, 2 / 64), (8, 1, 20 / 512)])
def test_mcnemar_is_the_binomial_test_by_hand(only_a, only_b, p):
    assert mcnemar_exact(only_a, only_b) == pytest.approx(p)


def test_the_bootstrap_interval_is_that_of_drawing_problems_one_by_one():
    draw = np.random.default_rng(1)
    a, b = draw.random(150) < 0.6, draw.random(150) < 0.5
    picks = draw.integers(0, 150, (10_000, 150))
    expected = np.quantile(a[picks].mean(1) - b[picks].mean(1), [0.025, 0.975])

    assert paired_bootstrap(a, b) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("n", [8, 40, 300, 5000])
def test_where_all_problems_agree_the_interval_ends_where_they_would_in_one_sample_of_twenty(n):
    low, high = compare([True] * n, [True] * n).ci95
    fixed = compare([True] * n, [False] * n).ci95

    assert binom.pmf(0, n, high) == pytest.approx(0.05) and low == -high
    assert binom.pmf(n, n, (1 + fixed.low) / 2) == pytest.approx(0.05) and fixed.high == 1  # the others are broken
    assert interval_of_equals(0.0, 300).high == pytest.approx(3 / 300, rel=0.01)  # the rule of three


@pytest.mark.parametrize(("n", "observed"), [(400, 0.2), (30, 0.3), (8, 0.0)])
def test_the_smallest_difference_is_found_in_four_of_five_samples(n, observed):
    difference = smallest_difference(n, observed)
    discordant = max(observed, difference)  # a difference takes as many problems as itself
    shares = [(discordant + difference) / 2, (discordant - difference) / 2, 1 - discordant]
    counts = np.random.default_rng(0).multinomial(n, shares, size=2000)

    kinds = Counter(map(tuple, counts[:, :2]))
    found = sum(times for (a, b), times in kinds.items() if a > b and mcnemar_exact(a, b) < 0.05) / len(counts)

    assert found == pytest.approx(0.8, abs=0.04)


def test_what_too_few_problems_can_show_is_not_zero():
    alike = [True, False] * 4

    assert compare(alike, alike).detectable > 0.75  # six of eight must change, all in one direction
    assert smallest_difference(5, 0.0) is None
    assert compare([True] * 5, [False] * 5).detectable is None


def test_a_comparison_counts_who_alone_was_right():
    result = compare([True, True, False, True], [False, True, True, False])

    assert (result.only_a, result.only_b, result.delta) == (2, 1, 0.25)


@pytest.mark.parametrize(("n", "correct", "k"), [(5, 2, 1), (5, 2, 3), (6, 0, 4), (6, 5, 2), (8, 3, 8)])
def test_pass_at_k_is_the_share_of_all_choices_of_k_samples(n, correct, k):
    choices = list(combinations([True] * correct + [False] * (n - correct), k))

    assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, choices)) / len(choices))
