from made_up import key, made_up, with_other_problems

from srit.intervals import interval_of_equals, wilson
from srit.study.estimates import accuracy, compare_answers, difference


def test_where_all_are_right_the_interval_is_that_of_as_many_problems():
    found = accuracy(made_up({"refined": 1.0}, n=10, tasks=("sums",)).marks, [key("refined")])

    assert found.ci95 == wilson(10, 10)


def test_where_no_problem_changed_the_interval_is_that_of_as_many_problems_whatever_the_seeds():
    marks = made_up({"instructed": 0.4, "refined": 0.4}, n=100).marks
    pairs = [(key("refined", task), key("instructed", task)) for task in ("sums", "trade")]

    assert compare_answers(marks, *pairs[0]).ci95 == interval_of_equals(0, 100)
    assert difference(marks, pairs).ci95 == interval_of_equals(0, 200)


def test_problems_that_cells_share_count_once_where_all_are_right():
    results = made_up({"refined": 1.0}, tasks=("sums",), n=100, cells={str(n): {} for n in range(9)})

    shared = accuracy(results.marks, [key("refined", cell=str(n)) for n in range(9)])

    assert shared.ci95 == wilson(100, 100)


def test_seeds_are_compared_only_where_both_sides_had_the_same_problems():
    results = with_other_problems(made_up({"instructed": 0.4, "refined": 0.5}), "refined", seed=1)

    compared = compare_answers(results.marks, key("refined"), key("instructed"))

    assert (compared.n, compared.only_a, compared.only_b) == (400, 40, 0)
