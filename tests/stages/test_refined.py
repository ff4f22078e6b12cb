"""What a round's answers teach under each loss."""

import pytest
from answers import ALSO_GOOD, BAD, BARE, GOOD, PROBLEM, completion, shown, tokenize
from tiny import tiny_tokenizer

from srit.recipe import Pairs
from srit.stages.pairs import make_pairs
from srit.stages.refined.preferences import each_preference
from srit.students.lengths import Bound, Fitting
from srit.students.prompts import Prompts
from srit.training.losses import loss_kind


def taught(completions, **settings):
    """Texts of the pairs, and of the answers whose likelihood is raised."""
    limits = Pairs(prompt="cot")
    refine = loss_kind(settings.pop("loss", "sigmoid")).settings(**settings)
    pairs, _ = make_pairs([PROBLEM], completions, shown([]), limits, tokenize)
    texts = {completion.token_ids: completion.text for completion in completions}
    prompts = Prompts(tiny_tokenizer(), "chatml")
    made = list(each_preference([PROBLEM], pairs, completions, prompts, limits, refine, Fitting(None)))
    assert all(set(p.likely) | {i for pair in p.pairs for i in pair} == set(range(len(p.group[1]))) for p in made)
    return (
        {(texts[p.group.completions[good]], texts[p.group.completions[bad]]) for p in made for good, bad in p.pairs},
        {texts[p.group.completions[index]] for p in made for index in p.likely},
    )


LENGTHY = completion("1 and 1 make, if I add them slowly, 2. The answer is 2.", right=True, index=2)
PAIRED = {(GOOD.text, BAD.text), (ALSO_GOOD.text, BAD.text)}
RIGHT = {GOOD.text, ALSO_GOOD.text}


@pytest.mark.parametrize(
    ("settings", "pairs", "likely"),
    [
        ({}, PAIRED, RIGHT),  # with a weight of 0 their likelihood is logged alone
        ({"nll_weight": 1.0}, PAIRED, RIGHT),
        ({"nll_weight": 1.0, "nll_on": "right"}, PAIRED, RIGHT),
        ({"loss": "none"}, set(), RIGHT),
        ({"loss": "none", "nll_on": "chosen"}, set(), RIGHT),
    ],
)
def test_pairs_and_right_answers_are_taught_as_the_loss_says(settings, pairs, likely):
    assert taught([GOOD, ALSO_GOOD, GOOD, BAD], **settings) == (pairs, likely)


def test_a_group_keeps_every_answer_with_its_advantage_and_one_without_contrast_is_dropped():
    def samples(*completions):
        prompts, refine = Prompts(tiny_tokenizer(), "chatml"), loss_kind("group").settings()
        made = list(each_preference([PROBLEM], [], completions, prompts, Pairs(prompt="cot"), refine, Fitting(None)))
        return [(p.group.completions[index], advantage) for p in made for index, advantage in p.samples]

    assert samples(GOOD, BAD, GOOD, BARE) == [
        (answer.token_ids, advantage) for answer, advantage in ((GOOD, 0.25), (BAD, -0.75), (GOOD, 0.25), (BARE, 0.25))
    ]
    assert samples(GOOD, ALSO_GOOD) == samples(BAD, BAD) == []


def test_a_group_is_measured_against_its_answers_that_fit():
    def samples(*completions):
        prompts, refine = Prompts(tiny_tokenizer(), "chatml"), loss_kind("group").settings()
        longest = len(prompts.problem_ids(PROBLEM, "cot")) + len(LENGTHY.token_ids) - 1
        fitting = Fitting(Bound(longest, "the bound", "raise it"))
        made = each_preference([PROBLEM], [], completions, prompts, Pairs(prompt="cot"), refine, fitting)
        return [advantage for p in made for _, advantage in p.samples]

    assert samples(GOOD, BAD, LENGTHY) == [0.5, -0.5]
    assert samples(LENGTHY, BAD, BAD) == []


@pytest.mark.parametrize(
    ("loss", "learned"),
    [("sigmoid", {GOOD, BAD}), ("none", {GOOD}), ("group", {GOOD, BAD})],
)
def test_answers_that_are_too_long_are_left_out_with_their_pairs(loss, learned):
    completions, limits = [GOOD, LENGTHY, BAD], Pairs(prompt="cot")
    pairs, _ = make_pairs([PROBLEM], completions, shown([]), limits, tokenize)
    prompts, refine = Prompts(tiny_tokenizer(), "chatml"), loss_kind(loss).settings()
    longest = len(prompts.problem_ids(PROBLEM, "cot")) + len(GOOD.token_ids)
    fitting = Fitting(Bound(longest, "the bound", "raise it"))

    [made] = each_preference([PROBLEM], pairs, completions, prompts, limits, refine, fitting)

    assert set(made.group.completions) == {answer.token_ids for answer in learned}
    assert len(made.pairs) == (loss == "sigmoid") and (fitting.n_long, fitting.longest) == (1, "p")


@pytest.mark.parametrize(("nll_on", "likely"), [("right", {GOOD.text}), ("chosen", set())])
def test_problems_without_contrast_teach_their_right_answers_where_these_are_asked_for(nll_on, likely):
    assert taught([GOOD], loss="none", nll_on=nll_on) == (set(), likely)
