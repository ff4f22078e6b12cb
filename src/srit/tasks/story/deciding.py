"""Words questions for decisions between settings: the skills of compare and trade, in words that no other task has."""

from __future__ import annotations

from functools import partial
from random import Random

from srit.tasks.story.words import LARGEST, Chain, Story, chain, chain_story, people, story, title

# --- ropes: compare ---

_LONG = ("rope", "plank", "ribbon", "pole", "belt", "ladder")


def _lengths(draw: Random) -> tuple[int, str, str, int]:
    """Draw one's length, how the other's relates to it ("3 meters longer than"), the step to the other's, and it."""
    relation, first = draw.choice(("longer", "shorter", "longer", "shorter", "twice")), draw.randint(4, 12)
    if relation == "twice":
        first = draw.randint(3, 9)
        return first, "twice as long as", f"2 * {first} = {2 * first}.", 2 * first
    by = draw.randint(2, min(9, LARGEST - 2 * first) if relation == "longer" else first - 2)
    if relation == "longer":
        return first, f"{by} meters longer than", f"{first} + {by} = {first + by}.", first + by
    return first, f"{by} meters shorter than", f"{first} - {by} = {first - by}.", first - by


def _one_rope(draw: Random, wording: str) -> Story:
    (a, b), thing, (first, relation, step, other) = people(draw, 2), draw.choice(_LONG), _lengths(draw)
    told = wording.format(a=a, b=b, thing=thing, first=first, relation=relation)
    return story(f"{told} How long is {b}'s {thing}?", [step], other)


def _end_to_end(draw: Random) -> Story:
    (a, b), thing, (first, relation, step, other) = people(draw, 2), draw.choice(_LONG), _lengths(draw)
    told = _MEASURED.format(a=a, b=b, thing=thing, first=first, relation=relation)
    steps = [step, f"{first} + {other} = {first + other}."]
    return story(f"{told} How long are the two, end to end?", steps, first + other)


def _cut(draw: Random) -> Story:
    a, thing = people(draw, 1)[0], draw.choice(_LONG)
    parts = draw.randint(2, 7), draw.randint(2, 7)
    whole = draw.randint(sum(parts) + 1, 24)
    told = f"A {thing} is {whole} meters long. {a} cuts off {parts[0]} meters and later {parts[1]} meters."
    return chain_story(f"{told} How many meters remain?", Chain(whole, (-parts[0], -parts[1])))


_MEASURED = "{a}'s {thing} measures {first} meters. {b}'s {thing} is {relation} {a}'s."
_MEASURED_LAST = "{b}'s {thing} is {relation} {a}'s, which measures {first} meters."
ROPES = (
    partial(_one_rope, wording=_MEASURED),
    partial(_one_rope, wording=_MEASURED_LAST),
    _end_to_end,
    _cut,
)


# --- pond: trade ---

_ANIMALS = (("ducks", "fly"), ("frogs", "hop"), ("swans", "fly"), ("fish", "swim"), ("turtles", "swim"))


def _come_and_leave(draw: Random) -> Story:
    (animal, move), worked = draw.choice(_ANIMALS), chain(draw, draw.choice([(1, -1), (-1, 1)]))
    first, then = (f"{c} {move} in" if c > 0 else f"{-c} {move} away" for c in worked.changes)
    told = f"{people(draw, 1)[0]} counts {worked.start} {animal} in a pond. {title(first)}; then {then}."
    return chain_story(f"{told} How many {animal} are in the pond at last?", worked)


def _two_ponds(draw: Random) -> Story:
    """Move animals from one pond to the other, and ask for either."""
    animal, move = draw.choice(_ANIMALS)
    moved = draw.randint(2, 9)
    here, there = draw.randint(moved, 12), draw.randint(2, 12)
    asked = draw.randrange(2)
    worked = Chain(there, (moved,)) if asked else Chain(here, (-moved,))
    told = f"The upper pond has {here} {animal}, the lower pond {there}. {moved} of them {move} from the upper pond"
    where = ("upper", "lower")[asked]
    return chain_story(f"{told} to the lower one. How many {animal} are in the {where} pond at last?", worked)


def _at_dawn(draw: Random) -> Story:
    """Give the change and its result, and ask for the start."""
    (animal, move), gone = draw.choice(_ANIMALS), draw.random() < 0.5
    worked = chain(draw, (1 if gone else -1,))
    change = abs(worked.changes[0])
    told = f"During the day {change} {animal} {move} {'away from' if gone else 'into'} {people(draw, 1)[0]}'s pond."
    return chain_story(f"{told} At dusk it has {worked.start}. How many {animal} did it have at dawn?", worked)


POND = (_come_and_leave, _two_ponds, _at_dawn)
