"""Stories with two questions: twins tell the same events, and only the question decides which numbers matter."""

from __future__ import annotations

from random import Random

from srit.tasks.story.numbers import related, two_groups
from srit.tasks.story.words import Chain, Story, chain, chain_story, people, story, things, title


def _two(draw: Random, stories: list[Story]) -> Story:
    """Take two of the questions, in either order."""
    first, second = draw.sample(stories, 2)
    return first._replace(twin=second)


# --- trade ---


def _handed_over(draw: Random) -> Story:
    """Ask for either person's things, or for those of both."""
    (a, b), (noun,), moved = people(draw, 2), things(draw), draw.randint(2, 9)
    mine, yours = draw.randint(moved, 12), draw.randint(2, 12)
    told = f"{a} has {noun.counted(mine)} and {b} has {noun.counted(yours)}. {a} gives {noun.counted(moved)} to {b}."
    each = [(a, Chain(mine, (-moved,))), (b, Chain(yours, (moved,)))]
    asked = [chain_story(f"{told} How many {noun.many} does {who} have now?", worked) for who, worked in each]
    both = chain_story(f"{told} How many {noun.many} do they have together?", Chain(mine, (yours,)))
    return _two(draw, [*asked, both])


def _there_and_back(draw: Random) -> Story:
    """Ask for what is left, or for what there was in between."""
    (a,), (noun,) = people(draw, 1), things(draw)
    worked = chain(draw, draw.choice([(1, -1), (-1, 1)]))
    first, then = (f"finds {c} more" if c > 0 else f"loses {-c}" for c in worked.changes)
    told = f"{a} has {noun.counted(worked.start)}. {title(a.she)} {first} on Monday and {then} on Tuesday."
    now = chain_story(f"{told} How many {noun.many} does {a} have on Tuesday evening?", worked)
    between = Chain(worked.start, worked.changes[:1])
    return _two(draw, [now, chain_story(f"{told} How many {noun.many} does {a} have on Monday evening?", between)])


def _one_of_two(draw: Random) -> Story:
    """Ask for what changed, or for all of it."""
    (a,), (changed, kept) = people(draw, 1), things(draw, 2)
    worked, other = chain(draw, (draw.choice((1, -1)),)), draw.randint(2, 9)
    change = worked.changes[0]
    event = f"finds {changed.counted(change)}" if change > 0 else f"loses {changed.counted(-change)}"
    told = f"{a} has {changed.counted(worked.start)} and {kept.counted(other)}. {title(a.she)} {event}."
    one = chain_story(f"{told} How many {changed.many} does {a} have now?", worked)
    every = Chain(worked.start, (change, other))
    return _two(draw, [one, chain_story(f"{told} How many things does {a} have now?", every)])


TRADE = (_handed_over, _there_and_back, _one_of_two)


# --- compare ---


def _either_or_both(draw: Random, wording: str) -> Story:
    """Ask for the other one's number, or for both."""
    (a, b), (noun,) = people(draw, 2), things(draw)
    first, relation, sums, other = related(draw)
    than = "as" if relation.endswith("many") else "than"
    told = wording.format(a=a, b=b, first=noun.counted(first), relation=f"{relation} {noun.many}", than=than)
    steps = [f"{sums} {other}."]
    one = story(f"{told} How many {noun.many} does {b} have?", steps, other)
    steps = [*steps, f"{first} + {other} = {first + other}."]
    return _two(draw, [one, story(f"{told} How many {noun.many} do they have together?", steps, first + other)])


def _known_first(draw: Random) -> Story:
    return _either_or_both(draw, "{a} has {first}. {b} has {relation} {than} {a}.")


def _known_last(draw: Random) -> Story:
    return _either_or_both(draw, "{b} has {relation} {than} {a}, and {a} has {first}.")


def _sum_or_difference(draw: Random) -> Story:
    """Give both numbers, and ask for their sum or their difference."""
    (a, b), (noun,) = people(draw, 2), things(draw)
    large, small = sorted(draw.sample(range(2, 13), 2), reverse=True)
    told = f"{a} has {noun.counted(large)} and {b} has {noun.counted(small)}."
    more = chain_story(f"{told} How many more {noun.many} does {a} have than {b}?", Chain(large, (-small,)))
    both = chain_story(f"{told} How many {noun.many} do they have together?", Chain(large, (small,)))
    return _two(draw, [more, both])


COMPARE = (_known_first, _known_last, _sum_or_difference)


# --- groups ---


def _some_loose(draw: Random) -> Story:
    """Ask for all things, or for those that are packed."""
    (a,), (noun,) = people(draw, 1), things(draw)
    n, each, loose = draw.randint(2, 5), draw.randint(2, 5), draw.randint(2, 5)
    told = f"{a} has {n} boxes with {noun.counted(each)} each and {loose} loose {noun.many}."
    packed = f"{n} * {each} = {n * each}."
    total = n * each + loose
    every = [packed, f"{n * each} + {loose} = {total}."]
    return _two(
        draw,
        [
            story(f"{told} How many {noun.many} are in the boxes?", [packed], n * each),
            story(f"{told} How many {noun.many} does {a} have?", every, total),
        ],
    )


def _two_kinds(draw: Random) -> Story:
    """Ask for what is in the holders of one kind, or in all."""
    (a,), (noun,) = people(draw, 1), things(draw)
    (n, each), (m, per) = [(draw.randint(2, 3), draw.randint(2, 5)) for _ in range(2)]
    told = f"{a} fills {n} bags with {noun.counted(each)} each and {m} jars with {noun.counted(per)} each."
    every = story(f"{told} How many {noun.many} is that?", two_groups((n, each), (m, per)), n * each + m * per)
    one = story(f"{told} How many {noun.many} are in the jars?", [f"{m} * {per} = {m * per}."], m * per)
    return _two(draw, [every, one])


GROUPS = (_some_loose, _two_kinds)
