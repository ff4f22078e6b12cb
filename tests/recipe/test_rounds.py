from collections import Counter

import pytest

from srit.errors import DataError
from srit.recipe.rounds import RoundPart
from srit.records import Problem

PROBLEMS = [Problem(f"{task}{n}", task, "train", "?", "0") for task, size in (("a", 10), ("b", 7)) for n in range(size)]


def parts(n, passes=1):
    return [RoundPart(1, number, n, passes) for number in range(1, n * passes + 1)]


@pytest.mark.parametrize("n", [1, 3, 7, 10])
def test_the_parts_of_a_pass_share_each_tasks_problems_out_evenly(n):
    shares = [part.problems(PROBLEMS) for part in parts(n)]

    assert Counter(problem for share in shares for problem in share) == Counter(PROBLEMS)
    for task in "ab":
        sizes = [sum(problem.task == task for problem in share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
    assert all(share == [problem for problem in PROBLEMS if problem in share] for share in shares)


def test_every_pass_has_the_same_parts():
    first, second, *again = parts(2, passes=2)

    assert [part.problems(PROBLEMS) for part in again] == [part.problems(PROBLEMS) for part in (first, second)]
    assert [part.pass_number for part in (first, second, *again)] == [0, 0, 1, 1]


def test_more_parts_than_a_task_has_problems_are_refused():
    with pytest.raises(DataError, match=r"refine.parts is 11, but no task has more than 10 problems"):
        RoundPart(1, 1, 11, 1).problems(PROBLEMS)


def test_the_files_of_a_part_are_beside_those_of_its_round_and_its_last_model_is_the_rounds():
    whole, (first, last) = RoundPart(2), parts(2)

    assert (whole.completions, whole.refined) == ("round-2/completions.jsonl", "round-2/refined")
    assert (first.completions, first.refined) == ("round-1/part-1/completions.jsonl", "round-1/part-1/refined")
    assert (last.pairs, last.refined) == ("round-1/part-2/pairs.jsonl", "round-1/refined")
