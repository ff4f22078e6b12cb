import pytest
from made_up import made_up, srit, with_other_problems

from srit.intervals import wilson
from srit.study.compare import independent, side_by_side
from srit.study.estimates import Estimate


def test_two_studies_are_printed_side_by_side(finished):
    done = srit("study", "compare", finished, finished / "study.json")

    assert done.exit_code == 0
    assert "A: no evidence" in done.stdout and "B: no evidence" in done.stdout and "| +0.0 (" in done.stdout


def test_the_difference_of_two_independent_shares_has_the_published_interval():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 is 0.0524 to 0.3339 by Wilson's intervals
    of_56, of_48 = (Estimate(k / n, wilson(k, n), 1, (k / n,)) for k, n in ((56, 70), (48, 80)))

    assert independent(of_48, of_56) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_studies_of_the_same_problems_are_compared_problem_by_problem():
    a, b = made_up({"refined": 0.4}, tasks=("sums",)), made_up({"refined": 0.5}, tasks=("sums",))
    others = with_other_problems(made_up({"refined": 0.5}, tasks=("sums",), n=100), "refined")

    assert "| cell | refined | sums | cot | 40.0 | 50.0 | **+10.0 (+" in side_by_side(a, b)
    assert " i |" not in side_by_side(a, b) and " i |" in side_by_side(a, others)


def test_studies_are_compared_over_the_seeds_that_both_have():
    def shares(cell, task, seed):
        return {"refined": 0.8 if seed == 0 else 0.35}

    page = side_by_side(made_up(shares, tasks=("sums",)), made_up({"refined": 0.6}, tasks=("sums",), seeds=(0,)))

    assert "| 80.0 | 60.0 | **−20.0 (" in page


def test_studies_with_nothing_in_common_say_so():
    a, b = made_up({"refined": 0.4}, tasks=("sums",)), made_up({"refined": 0.5}, tasks=("trade",))

    assert side_by_side(a, b).endswith("a common model, task and prompt. A: cell. B: cell.")
