import pytest

from srit.errors import DataError
from srit.records import Problem
from srit.stages.problems import Apart


def problem(identity, question, choices=None):
    return Problem(identity, "sums", "train", question, "1", choices)


@pytest.mark.parametrize("asked", ["how many apples", "how many ap\u200bples", "How many ap\u00adples?"])
def test_case_spaces_punctuation_and_invisible_letters_do_not_hide_an_overlap(asked):
    apart = Apart()
    evaluated = [problem("t", asked), problem("u", "8 - 3 + 2?"), problem("v", "Which?", ("x", "z"))]
    trained = [problem("a", "How many  apples?"), problem("b", "8 + 3 - 2?"), problem("c", "Which?", ("x", "y"))]

    assert [*apart.evaluated(evaluated), *apart.unseen(trained)] == [*evaluated, *trained]

    with pytest.raises(DataError, match=r"1 training problems are also evaluated \(a …"):
        apart.refuse_overlap()


def test_letters_composed_in_two_ways_are_the_same():
    apart = Apart()
    list(apart.evaluated([problem("t", "Which caf\u00e9?")]))
    list(apart.unseen([problem("a", "Which cafe\u0301?")]))

    with pytest.raises(DataError, match=r"1 training problems are also evaluated"):
        apart.refuse_overlap()


def test_the_same_problem_may_be_refined_on_and_another_of_its_id_may_not():
    trained = [problem("a", "Same?"), problem("b", "Which?", ("x", "y"))]
    apart = Apart()
    list(apart.namesakes([*trained, *trained, problem("c", "New?")]))

    for other in (problem("a", "Other?"), problem("b", "Which?", ("x", "z"))):
        with pytest.raises(DataError, match=r"is another problem's in tasks\.train"):
            list(apart.namesakes([other]))
