"""Words questions of any number of steps, for tasks whose depth is an option: trade, and compare."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from srit.tasks.story.words import (
    LARGEST,
    Chain,
    Person,
    Story,
    chain_story,
    listed,
    people,
    story,
    things,
    title,
)

# --- trade ---

_GAINS = ("finds {} more", "gets {} from {b}", "buys {} more", "wins {} more")
_LOSSES = ("loses {}", "gives {} to {b}", "sells {}", "gives away {}")


def traded(draw: Random, n: int) -> Story:
    """Let one person gain and lose things, n times."""
    (a, *others), (noun,) = people(draw, 1 + n), things(draw)
    worked = _course(draw, n, least=0)
    events = [_event(draw, change, b) for change, b in zip(worked.changes, others, strict=True)]
    asked = f"How many {noun.many} does {a} have now?"
    return chain_story(f"{a} has {noun.counted(worked.start)}. {title(a.she)} {listed(events)}. {asked}", worked)


def traded_in_turn(draw: Random, n: int) -> Story:
    """Return the same, with a sentence for each time."""
    (a, *others), (noun,) = people(draw, 1 + n), things(draw)
    worked = _course(draw, n, least=0)
    events = [_event(draw, change, b) for change, b in zip(worked.changes, others, strict=True)]
    told = " ".join(f"{'First' if not at else 'Then'} {a.she} {event}." for at, event in enumerate(events))
    asked = f"How many {noun.many} does {a} have in the end?"
    return chain_story(f"{a} has {noun.counted(worked.start)}. {told} {asked}", worked)


def _course(draw: Random, n: int, *, least: int) -> Chain:
    """Draw a chain of n changes by 2 to 9, with no intermediate result below `least` or above LARGEST."""
    start = value = draw.randint(3, 12)
    changes = []
    for _ in range(n):
        sizes = [[c for c in range(2 * sign, 10 * sign, sign) if least <= value + c <= LARGEST] for sign in (1, -1)]
        changes.append(draw.choice(draw.choice([of_sign for of_sign in sizes if of_sign])))
        value += changes[-1]
    return Chain(start, tuple(changes))


def _event(draw: Random, change: int, b: Person) -> str:
    return draw.choice(_GAINS if change > 0 else _LOSSES).format(abs(change), b=b)


TRADES = (traded, traded_in_turn)


# --- compare ---


def compared(draw: Random, n: int) -> Story:
    """Relate each of n people to the one before, and ask for the last one's number."""
    group, (noun,), worked = people(draw, n), things(draw), _course(draw, n - 1, least=2)
    facts = [f"{group[0]} has {noun.counted(worked.start)}."]
    for (former, one), change in zip(pairwise(group), worked.changes, strict=True):
        facts.append(f"{one} has {_relation(change)} {noun.many} than {former}.")
    return chain_story(f"{' '.join(facts)} How many {noun.many} does {group[-1]} have?", worked)


def compared_together(draw: Random, n: int) -> Story:
    """Return the same, told from the last to the first, with the total of the first and the last."""
    group, (noun,), worked = people(draw, n), things(draw), _course(draw, n - 1, least=2)
    while worked.start + worked.total > LARGEST:
        worked = _course(draw, n - 1, least=2)
    facts = [
        f"{one} has {_relation(change)} {noun.many} than {former}"
        for (former, one), change in zip(pairwise(group), worked.changes, strict=True)
    ]
    told = f"{'. '.join(reversed(facts))}, and {group[0]} has {noun.counted(worked.start)}."
    both = worked.start + worked.total
    steps = [*worked.steps, f"{worked.start} + {worked.total} = {both}."]
    return story(f"{told} How many {noun.many} do {group[0]} and {group[-1]} have together?", steps, both)


def _relation(change: int) -> str:
    return f"{abs(change)} {'more' if change > 0 else 'fewer'}"


COMPARISONS = (compared, compared_together)
