from dataclasses import replace

import pytest
from answers import ALSO_GOOD, BAD, BARE, DEMONSTRATION, GOOD, PROBLEM, completion, shown, tokenize

from srit.recipe import Pairs
from srit.stages.pairs import is_bare, little_left, make_pairs, right_sides


def texts(completions, demonstrations=(), **settings):
    pairs, counts = make_pairs([PROBLEM], completions, shown(demonstrations), Pairs(**settings), tokenize)
    return [(pair.chosen, pair.rejected) for pair in pairs], counts


def test_a_right_cot_answer_is_preferred_to_a_wrong_and_to_a_bare_one():
    pairs, counts = texts([GOOD, BAD, BARE])

    assert pairs == [(GOOD.text, BAD.text), (GOOD.text, BARE.text)]
    assert (counts["pairs"], counts["problems with pairs"]) == (2, 1)


@pytest.mark.parametrize(("rejected", "expected"), [("wrong", [BAD.text]), ("direct", [BARE.text])])
def test_what_is_rejected_is_a_field(rejected, expected):
    pairs, _ = texts([GOOD, BAD, BARE], rejected=rejected)

    assert [bad for _, bad in pairs] == expected


def test_correctness_prefers_right_to_wrong_whatever_the_prompt():
    pairs, _ = texts([BARE, BAD], heuristic="correctness")

    assert pairs == [(BARE.text, BAD.text)]


def test_the_teacher_heuristic_prefers_the_demonstration_though_own_answers_are_right():
    pairs, _ = texts([GOOD, BAD], [DEMONSTRATION], heuristic="teacher")

    assert pairs == [(DEMONSTRATION.text, BAD.text)]


def test_the_demonstration_steps_in_where_no_own_answer_is_right():
    pairs, _ = texts([BAD], [DEMONSTRATION])
    skipped, counts = texts([BAD], [DEMONSTRATION], fallback="skip")

    assert pairs == [(DEMONSTRATION.text, BAD.text)]
    assert skipped == [] and counts["none: no right answer and no demonstration"] == 1


@pytest.mark.parametrize(
    ("completions", "reason"),
    [
        ([GOOD, ALSO_GOOD], "none: nothing to reject: all answers are right"),
        ([BAD], "none: no right answer and no demonstration"),
        ([], "none: no usable answer"),
        ([BARE, completion(BARE.text + "\n", right=True)], "none: chosen and rejected are the same text"),
        ([completion(GOOD.text, right=True, truncated=True), BAD], "left out: truncated"),
        ([completion(" ", right=False), GOOD], "left out: empty"),
        ([completion("?", right=False, verdict="error"), GOOD], "left out: could not be judged"),
    ],
)
def test_a_problem_without_contrast_gives_no_pair_and_is_counted(completions, reason):
    pairs, counts = texts(completions)

    assert pairs == []
    assert counts[reason] == 1


def test_a_student_that_solves_nearly_all_problems_is_warned_about():
    _, some = texts([GOOD, BAD])
    _, none = texts([GOOD, ALSO_GOOD])

    assert little_left(some) == ""
    assert little_left(none).startswith("1 of 1 problems got only right answers: little is left to learn")


def test_identical_answers_are_one_and_every_answer_is_used_before_one_is_used_again():
    wrong = [completion(f"1 + 1 makes {n}. The answer is {n}.", right=False, index=n) for n in (3, 3, 4)]

    pairs, _ = texts([GOOD, GOOD, ALSO_GOOD, *wrong], pairs_per_problem=3)

    assert {good for good, _ in pairs} == {GOOD.text, ALSO_GOOD.text}
    assert {bad for _, bad in pairs} == {wrong[0].text, wrong[2].text}


def test_pairs_keep_the_ids_that_were_sampled_and_both_prompts_may_carry_them():
    pairs, _ = make_pairs([PROBLEM], [GOOD, BAD], shown([]), Pairs(prompt="both"), tokenize)

    assert {pair.prompt for pair in pairs} == {"direct", "cot"}
    assert {pair.chosen_ids for pair in pairs} == {GOOD.token_ids}


@pytest.mark.parametrize(("distinct", "expected"), [(True, [GOOD, ALSO_GOOD]), (False, [GOOD, GOOD])])
def test_right_sides_are_limited_and_equal_ones_count_as_the_recipe_says(distinct, expected):
    sides = right_sides(
        [GOOD, replace(GOOD, index=9), BAD, ALSO_GOOD, BARE], Pairs(pairs_per_problem=2, distinct=distinct)
    )

    assert [side.text for side in sides] == [completion.text for completion in expected]


WRONG = [replace(completion(f"It is {n}.", right=False, index=n), logp=logp) for n, logp in ((3, -5), (4, -1), (5, -9))]


@pytest.mark.parametrize(
    ("settings", "rejected"),
    [
        ({}, [WRONG[0], WRONG[1]]),
        ({"rejected_by": "likeliest"}, [WRONG[1], WRONG[0]]),
        ({"rejected_by": "least_likely"}, [WRONG[2], WRONG[0]]),
        ({"distinct": False}, [WRONG[0], WRONG[0]]),
        ({"distinct": False, "rejected_by": "likeliest"}, [WRONG[1], WRONG[0]]),
    ],
)
def test_which_wrong_answers_are_rejected_first_and_how_often_are_fields(settings, rejected):
    pairs, _ = texts([GOOD, replace(WRONG[0], index=0), *WRONG], pairs_per_problem=2, **settings)

    assert pairs == [(GOOD.text, bad.text) for bad in rejected]


def test_exchanged_sides_are_those_of_the_same_pairs():
    problems = [replace(PROBLEM, id=str(n)) for n in range(200)]
    answers = [replace(answer, problem_id=problem.id) for problem in problems for answer in (GOOD, BAD)]

    plain, half, all_of_them = (
        make_pairs(problems, answers, shown([]), Pairs(swapped=share), tokenize)[0] for share in (0.0, 0.5, 1.0)
    )

    assert {(pair.chosen, pair.rejected) for pair in all_of_them} == {(BAD.text, GOOD.text)}
    assert [pair in (one, other) for pair, one, other in zip(half, plain, all_of_them, strict=True)] == [True] * 200
    assert 80 < sum(pair in all_of_them for pair in half) < 120
    assert all(pair.chosen_ids == tokenize(pair.chosen) and pair.rejected_from == "cot 0" for pair in all_of_them)


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("7", True),
        ("The answer is 7.", True),
        ("The answer is $3.50.", True),
        ("3 + 4 = 7. The answer is 7.", False),
        ("The answer is 7. For 3 + 4 is 7.", False),
        ("The answer is found as follows:\n3 + 4 = 7\n7 * 2 = 14\n14", False),
        ("", True),
    ],
)
def test_an_answer_alone_is_bare(text, bare):
    assert is_bare(text) is bare
