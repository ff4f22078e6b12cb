import pytest

from srit.recipe import Pairs
from srit.records import Completion, Demonstration, Problem
from srit.stages.pairs import is_bare, make_pairs, right_sides

PROBLEM = Problem("p", "sums", "train", "1 + 1?", "2")
DEMONSTRATION = Demonstration("p", "sums", "solver", "1 + 1 = 2. The answer is 2.", "2", "right", True, "correct")


def tokenize(text):
    return (*text.encode(), 0)


def completion(text, *, right, prompt="cot", index=0, truncated=False, verdict=None):
    return Completion(
        problem_id="p",
        task="sums",
        prompt=prompt,
        index=index,
        text=text,
        token_ids=tokenize(text),
        logp=-1.0,
        truncated=truncated,
        answer=None,
        verdict=verdict or ("right" if right else "wrong"),
        reward=float(right),
    )


GOOD = completion("1 + 1 makes 2. The answer is 2.", right=True)
ALSO_GOOD = completion("One and one is two. The answer is 2.", right=True, index=1)
BAD = completion("1 + 1 makes 3. The answer is 3.", right=False, prompt="direct")
BARE = completion("2", right=True, prompt="direct", index=1)


def texts(completions, demonstrations=(), **settings):
    pairs, counts = make_pairs([PROBLEM], completions, demonstrations, Pairs(**settings), tokenize)
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
        ([completion(GOOD.text, right=True, truncated=True), BAD], "left out: truncated"),
        ([completion(" ", right=False), GOOD], "left out: empty"),
        ([completion("?", right=False, verdict="error"), GOOD], "left out: could not be judged"),
    ],
)
def test_a_problem_without_contrast_gives_no_pair_and_is_counted(completions, reason):
    pairs, counts = texts(completions)

    assert pairs == []
    assert counts[reason] == 1


def test_identical_answers_are_one_and_every_answer_is_used_before_one_is_used_again():
    wrong = [completion(f"1 + 1 makes {n}. The answer is {n}.", right=False, index=n) for n in (3, 3, 4)]

    pairs, _ = texts([GOOD, GOOD, ALSO_GOOD, *wrong], pairs_per_problem=3)

    assert {good for good, _ in pairs} == {GOOD.text, ALSO_GOOD.text}
    assert {bad for _, bad in pairs} == {wrong[0].text, wrong[2].text}


def test_pairs_keep_the_ids_that_were_sampled_and_both_prompts_may_carry_them():
    pairs, _ = make_pairs([PROBLEM], [GOOD, BAD], [], Pairs(prompt="both"), tokenize)

    assert {pair.prompt for pair in pairs} == {"direct", "cot"}
    assert {pair.chosen_ids for pair in pairs} == {GOOD.token_ids}


def test_right_sides_are_distinct_and_limited():
    assert [side.text for side in right_sides([GOOD, GOOD, BAD, ALSO_GOOD, BARE], 2)] == [GOOD.text, ALSO_GOOD.text]


@pytest.mark.parametrize(
    ("text", "bare"), [("7", True), ("The answer is 7.", True), ("3 + 4 = 7. The answer is 7.", False), ("", True)]
)
def test_an_answer_alone_is_bare(text, bare):
    assert is_bare(text) is bare
