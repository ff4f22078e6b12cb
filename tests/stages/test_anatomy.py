"""What pairs have to teach, what training does to them, and the verdict on both."""

from itertools import combinations, pairwise
from random import Random

import pytest

from srit.records import Completion, Model, Pair
from srit.records.anatomy import Anatomy, PairCounts
from srit.records.scores import Interval
from srit.stages.anatomy.differences import first_difference, places, same_but_numbers, shared_tokens
from srit.stages.anatomy.effect import Measured, auc, effect
from srit.stages.anatomy.overlaps import by_chance, count_overlap, in_common
from srit.stages.anatomy.pairs import count_pairs, pooled
from srit.stages.anatomy.samples import by_problem, count_samples
from srit.stages.anatomy.verdict import Ahead, verdict


def longest(first, second):
    """The length of a longest common subsequence, by trying all."""
    for n in range(min(len(first), len(second)), 0, -1):
        if {*combinations(first, n)} & {*combinations(second, n)}:
            return n
    return 0


@pytest.mark.parametrize("seed", range(40))
def test_shared_tokens_are_a_longest_common_subsequence(seed):
    draw = Random(seed)
    first, second = ([draw.randrange(4) for _ in range(draw.randrange(9))] for _ in range(2))

    found = shared_tokens(first, second)

    assert [first[one.first] for one in found] == [second[one.second] for one in found]
    assert all(a.first < b.first and a.second < b.second for a, b in pairwise(found))
    assert len(found) == longest(first, second)


def test_each_token_of_a_side_has_its_place():
    chosen, rejected = (1, 2, 3, 4, 5, 6), (1, 2, 9, 4, 8, 6)

    assert places(rejected, chosen) == ["beginning", "beginning", "first difference", "shared", "own", "shared"]
    assert places((1, 2), (1, 2, 3)) == ["beginning", "beginning"]
    assert places((1, 2, 3), (1, 2)) == ["beginning", "beginning", "first difference"]


@pytest.mark.parametrize(
    ("first", "second", "difference", "only_numbers"),
    [
        ("3 + 4 = 7. The answer is 7.", "3 + 4 = 8. The answer is 8.", "number, number", True),
        ("3 + 4 = 7.", "3 - 4 = 7.", "operator, operator", False),
        ("3 + 4 = 7. So 7.", "3 + 4 = 7.", "word, end", False),
        ("It is 1.5 m.", "It is 12 m.", "number, number", True),
        ("Ana, then Ben", "Ana. Ben", "sign, sign", False),
        ("a  b", "a b", "", False),
    ],
)
def test_the_first_difference_is_named_by_its_kind(first, second, difference, only_numbers):
    assert first_difference(first, second) == difference
    assert same_but_numbers(first, second) == only_numbers


def completion(problem, text, logp, *, right, prompt="cot", index=0):
    return Completion(
        problem_id=problem,
        task="sums",
        prompt=prompt,
        index=index,
        text=text,
        token_ids=tuple(text.encode()),
        logp=logp,
        truncated=False,
        answer=None,
        verdict="right" if right else "wrong",
        reward=float(right),
    )


def pair(problem, chosen, rejected, chosen_from, rejected_from):
    return Pair(problem, "sums", "cot", chosen, rejected, *map(tuple, map(str.encode, (chosen, rejected))),
                chosen_from, rejected_from)  # fmt: skip


SAMPLES = by_problem(
    [
        # the likeliest answer is wrong while another is right
        completion("a", "1 + 1 = 3", -0.5, right=False),
        completion("a", "1 + 1 = 2", -1.0, right=True, index=1),
        completion("a", "1 + 1 = 2", -0.1, right=True, prompt="direct"),
        # chosen is the likelier one already
        completion("b", "2 + 2 = 4", -0.2, right=True),
        completion("b", "2 + 1 = 4", -3.0, right=False, index=1),
        completion("c", "5", -0.3, right=True),
        completion("d", "6", -0.3, right=False),
    ]
)
PAIRS = [
    pair("a", "1 + 1 = 2", "1 + 1 = 3", "cot 1", "cot 0"),
    pair("b", "2 + 2 = 4", "2 + 1 = 4", "cot 0", "cot 1"),
    pair("d", "2 + 4 = 6", "6", "demonstration", "cot 0"),
]


def test_samples_are_counted_by_what_they_leave_to_learn():
    by_task, together = count_samples(SAMPLES)

    assert (by_task.task, together.task) == ("sums", None)
    assert (together.problems, together.samples, together.right) == (4, 7, 4)
    assert (together.all_right, together.all_wrong, together.mixed) == (1, 1, 2)
    assert (together.likeliest_right, together.can_flip, together.distinct) == (2, 1, 1.5)


def test_pairs_are_counted_by_what_they_have_to_teach():
    [*_, counts] = count_pairs(PAIRS, SAMPLES)

    assert (counts.pairs, counts.scored, counts.demonstrated, counts.rejected_direct) == (3, 2, 1, 0)
    assert (counts.chosen_likelier, counts.rejected_likeliest) == (1, 2)
    assert (counts.chosen_logp, counts.rejected_logp) == (-0.6, -1.75)
    assert counts.rejected_above == (1, 1, 1, 2)  # exp(-0.5) = 0.61 and exp(-3) = 0.0498
    assert counts.same_but_numbers == 2
    assert counts.first_difference == (8 + 4 + 0) / 3
    assert counts.shared == pytest.approx((8 / 9 + 8 / 9 + 1 / 9) / 3)
    assert counts.shared_after == pytest.approx((0 + 1 + 0) / 3)  # the first and the last have nothing after it
    assert counts.differences == {"number, number": 3}


def test_counts_of_two_runs_are_those_of_all_their_pairs():
    [*_, whole] = count_pairs(PAIRS, SAMPLES)
    parts = [count_pairs(PAIRS[:1], SAMPLES)[-1], count_pairs(PAIRS[1:], SAMPLES)[-1]]

    assert pooled([]) is None
    assert pooled(parts) == whole


def test_two_trainings_are_compared_by_what_each_changed():
    before, a, b = ([bool(int(digit)) for digit in text] for text in ("0000111", "1101100", "0111010"))

    counts = count_overlap(before, a, b)

    assert counts == (7, 3, 4, 3, 3, 2, 2, 2, 1)
    assert in_common(counts.newly_a, counts.newly_b, counts.newly_both) == 0.5
    assert by_chance(4, 2, 2) == pytest.approx(1 / 3)  # one of four by both, three by either
    assert in_common(0, 0, 0) is None and by_chance(0, 0, 0) is None


def anatomy_of(likelier, likeliest, scored=100, learned="pairs"):
    """An anatomy of a hundred pairs."""
    counts = PairCounts(None, 100, scored, likelier, -1.0, -3.0, (0, 0, 0, 0), likeliest, 0, 0, 20.0, 20.0, 0.7, 0.7,
                        4.0, 30, {"number, number": 100})  # fmt: skip
    return Anatomy((), (counts,), learned)


LITTLE, MUCH = anatomy_of(81, 13), anatomy_of(40, 60)
AHEAD, LEVEL, BEHIND = (
    Ahead(delta, Interval(delta - 0.04, delta + 0.04), sure=bool(delta)) for delta in (0.06, 0.0, -0.06)
)


@pytest.mark.parametrize(
    ("anatomy", "ahead", "outcome", "sentence"),
    [
        (LITTLE, {}, "little to teach", "chosen was already the likelier answer in 81 % of 100 pairs; 13 % reject"),
        (MUCH, {}, "something to teach", "set controls: [right] to see whether they matter"),
        (None, {}, "not known", "Whether the pairs mattered is not known: set controls: [right]"),
        (anatomy_of(0, 9, scored=0), {}, "not known", "of 100 pairs 9 % reject"),
        (Anatomy((), ()), {"in": AHEAD}, "no pairs", "No pairs were learned"),
        (anatomy_of(81, 13, learned="right answers"), {"in": LEVEL}, "no pairs", "No pairs were learned"),
        (anatomy_of(81, 13, learned="samples"), {"in": AHEAD}, "mattered", "The wrong answers mattered: refined leads"),
        (LITTLE, {"in": LEVEL, "out": LEVEL}, "hardly mattered", "by +0.0 (−4.0 to +4.0) points in-domain and"),
        (MUCH, {"in": LEVEL}, "no evidence", "There is no evidence that the pairs mattered"),
        (None, {"in": LEVEL}, "no evidence", "and 65 % of what either newly has right, both have."),
        (LITTLE, {"in": LEVEL, "out": AHEAD}, "mattered", "The pairs mattered: refined leads"),
        (MUCH, {"in": BEHIND, "out": LEVEL}, "did harm", "by −6.0 (−10.0 to −2.0) points in-domain"),
        (MUCH, {"in": AHEAD, "out": BEHIND}, "helped and harmed", "helped in one domain and did harm in the other"),
    ],
)
def test_the_verdict_follows_from_the_figures(anatomy, ahead, outcome, sentence):
    found = verdict(anatomy, ahead, in_common=0.65)

    assert found.outcome == outcome and sentence in found.sentence


def test_an_effect_is_told_by_place_and_by_what_greedy_answers_became():
    def measured(change, right):
        """As likely as -1 a token, but for the first token that differs on each side of the first two pairs."""
        sides = [[[-1.0] * len(ids) for ids in (p.chosen_ids, p.rejected_ids)] for p in PAIRS]
        sides[0][0][8] += change
        sides[1][1][4] -= 3 * change
        return Measured(sides, {("sums", problem): problem in right for problem in "abcd"})

    found = effect(Model("refined"), PAIRS, SAMPLES, measured(0.0, "c"), measured(0.5, "bc"))

    by_place = {(place.side, place.place): place for place in found.places}
    assert (found.pairs, found.margins_grew) == (3, 2)
    assert by_place["chosen", "first difference"].after == pytest.approx(-1.0 + 0.5 / 3)
    assert by_place["rejected", "first difference"].after == pytest.approx(-1.0 - 1.5 / 3)
    assert (by_place["chosen", "beginning"].tokens, by_place["chosen", "beginning"].after) == (12, -1.0)
    assert [(flip.pairs, flip.problems, flip.wrong_before, flip.fixed, flip.broken) for flip in found.flips] == [
        ("likeliest rejected", 2, 2, 0, 0),
        ("others rejected", 1, 1, 1, 0),
        ("no pairs", 1, 0, 0, 0),
    ]
    assert auc([3.0, 1.0], [2.0, 1.0]) == 0.625 and auc([], [1.0]) is None
