"""Words questions kept out of training, which test the skills of the other tasks in other words."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from random import Random

from srit.tasks.story.logic import put, ranked, repeated, toggled
from srit.tasks.story.numbers import two_groups
from srit.tasks.story.words import LARGEST, Chain, Person, Story, chain, chain_story, listed, people, story, title

# --- ages: compare ---


def _related_ages(draw: Random) -> tuple[int, str, str, int]:
    """Draw one's age, how the other's relates to it ("3 years older than"), the step to the other's, and it."""
    relation, first = draw.choice(("older", "younger", "older", "younger", "twice")), draw.randint(3, 12)
    if relation == "twice":
        first = draw.randint(3, 6)
        return first, "twice as old as", f"2 * {first} = {2 * first}.", 2 * first
    most = min(12, LARGEST - 2 * first) if relation == "older" else first - 2
    by = draw.randint(1, most)
    years = f"{by} year{'s' if by > 1 else ''} {relation} than"
    if relation == "older":
        return first, years, f"{first} + {by} = {first + by}.", first + by
    return first, years, f"{first} - {by} = {first - by}.", first - by


_KNOWN_FIRST = "{a} is {first} years old. {b} is {relation} {a}."
_KNOWN_LAST = "{b} is {relation} {a}, and {a} is {first} years old."


def _age(draw: Random, wording: str) -> Story:
    a, b = people(draw, 2)
    first, relation, step, other = _related_ages(draw)
    facts = wording.format(a=a, b=b, first=first, relation=relation)
    return story(f"{facts} How old is {b}?", [step], other)


def _ages_together(draw: Random, wording: str) -> Story:
    a, b = people(draw, 2)
    first, relation, step, other = _related_ages(draw)
    facts = wording.format(a=a, b=b, first=first, relation=relation)
    steps = [step, f"{first} + {other} = {first + other}."]
    return story(f"{facts} What is the sum of their ages?", steps, first + other)


def _another_year(draw: Random) -> Story:
    a, b = people(draw, 2)
    first, relation, step, other = _related_ages(draw)
    change, when = draw.choice([(1, "will {b} be next year"), (-1, "was {b} last year"), (2, "will {b} be in 2 years")])
    question = f"{_KNOWN_FIRST.format(a=a, b=b, first=first, relation=relation)} How old {when.format(b=b)}?"
    return story(question, [step, *Chain(other, (change,)).steps], other + change)


def _age_difference(draw: Random) -> Story:
    old, young = people(draw, 2)
    large, small = sorted(draw.sample(range(2, 13), 2), reverse=True)
    facts = [f"{old} is {large}", f"{young} is {small}"]
    draw.shuffle(facts)
    ends = [f"is {old} older than {young}", f"is {young} younger than {old}"]
    question = f"{' and '.join(facts)} years old. By how many years {draw.choice(ends)}?"
    return chain_story(question, Chain(large, (-small,)))


AGES = (
    partial(_age, wording=_KNOWN_FIRST),
    partial(_age, wording=_KNOWN_LAST),
    partial(_ages_together, wording=_KNOWN_FIRST),
    partial(_ages_together, wording=_KNOWN_LAST),
    _another_year,
    _age_difference,
)


# --- stock: trade ---


def _bus(draw: Random) -> Story:
    a, worked = people(draw, 1)[0], chain(draw, draw.choice([(1, -1), (-1, 1)]))
    first, then = (f"{c} people get on" if c > 0 else f"{-c} people get off" for c in worked.changes)
    bus = f"{worked.start} passengers are on {a}'s bus."
    return chain_story(f"{bus} {title(first)}, then {then}. How many passengers are on the bus now?", worked)


def _book(draw: Random) -> Story:
    a = people(draw, 1)[0]
    pages = draw.randint(12, 24)
    first, then = draw.randint(2, 6), draw.randint(2, 6)
    question = f"A book has {pages} pages. {a} reads {first} pages on Monday and {then} pages on Tuesday."
    return chain_story(f"{question} How many pages are left to read?", Chain(pages, (-first, -then)))


def _wallet(draw: Random) -> Story:
    a, worked = people(draw, 1)[0], chain(draw, draw.choice([(1, -1), (-1, 1)]))
    first, then = (f"earns {c} dollars" if c > 0 else f"spends {-c} dollars" for c in worked.changes)
    has = f"{a} has {worked.start} dollars in {a.hers} wallet. {title(a.she)} {first} and then {then}."
    return chain_story(f"{has} How many dollars are in the wallet now?", worked)


def _tank(draw: Random) -> Story:
    worked = chain(draw, draw.choice([(1, -1), (-1, 1)]))
    thing = draw.choice(("tank", "tub", "pool", "barrel", "bucket"))
    flows = (f"{c} liters flow in" if c > 0 else f"{-c} liters flow out" for c in worked.changes)
    water = f"There are {worked.start} liters of water in a {thing}. {', then '.join(flows)}."
    return chain_story(f"{water} How many liters are in the {thing} now?", worked)


def _pour(draw: Random) -> Story:
    """Move water from one to the other, and ask for either."""
    colors = draw.sample(("red", "blue", "green", "white"), 2)
    thing = draw.choice(("jug", "tank", "bucket"))
    moved = draw.randint(2, 9)
    amounts = [draw.randint(moved, 12), draw.randint(2, 12)]
    which = draw.randrange(2)
    worked = Chain(amounts[which], (moved if which else -moved,))
    facts = f"The {colors[0]} {thing} holds {amounts[0]} liters and the {colors[1]} {thing} holds {amounts[1]} liters."
    event = f"{people(draw, 1)[0]} pours {moved} liters from the {colors[0]} {thing} into the {colors[1]} {thing}."
    return chain_story(f"{facts} {event} How many liters are in the {colors[which]} {thing} now?", worked)


def _shop(draw: Random) -> Story:
    a, worked = people(draw, 1)[0], chain(draw, draw.choice([(1, -1), (-1, 1)]))
    goods = draw.choice(("hats", "chairs", "clocks", "kites", "bikes"))
    first, then = (f"{c} new ones come in" if c > 0 else f"{-c} are sold" for c in worked.changes)
    question = f"{a}'s shop has {worked.start} {goods}. {title(first)} and then {then}."
    return chain_story(f"{question} How many {goods} does the shop have now?", worked)


STOCK = (_bus, _book, _wallet, _tank, _pour, _shop)


# --- pens: groups ---


def _less(draw: Random, wording: str) -> Story:
    """Count n groups of k, less some."""
    a = people(draw, 1)[0]
    n, each = draw.randint(2, 5), draw.randint(2, 5)
    gone = draw.randint(2, min(9, n * each - 1))
    question = wording.format(a=a, n=n, each=each, gone=gone, She=title(a.she))
    return story(
        question, [f"{n} * {each} = {n * each}.", f"{n * each} - {gone} = {n * each - gone}."], n * each - gone
    )


def _packs(draw: Random) -> Story:
    """Count packs of two sizes, with nothing taken away."""
    a, goods = people(draw, 1)[0], draw.choice(("pens", "nails", "candles", "batteries"))
    n, m = draw.randint(2, 3), draw.randint(2, 3)
    each, per = draw.sample(range(2, 6), 2)
    question = f"{a} buys {n} packs of {each} {goods} and {m} packs of {per} {goods}."
    return story(f"{question} How many {goods} did {a} buy?", two_groups((n, each), (m, per)), n * each + m * per)


PENS = (
    partial(
        _less, wording="{a}'s hall has {n} rows of {each} seats. {gone} seats are broken. How many seats are good?"
    ),
    partial(_less, wording="{a} opens {n} packs of {each} pens. {She} uses up {gone} pens. How many pens are left?"),
    partial(_less, wording="{a} bakes {n} trays of {each} cakes and sells {gone} cakes. How many cakes are left?"),
    partial(
        _less,
        wording="{a} sets up {n} tables with {each} chairs each. {gone} chairs are taken. How many chairs are free?",
    ),
    partial(
        _less, wording="{a} gets {n} cartons with {each} eggs in each. {gone} eggs break. How many eggs are whole?"
    ),
    _packs,
)


# --- doors: switches ---

_OPEN = ("closed", "open")
_SHUT = ["door", "gate", "window", "drawer", "box", "cupboard"]


def _door(draw: Random) -> Story:
    return put(draw, draw.choice(_SHUT), _OPEN, acts=("closes it", "opens it", "walks past it"), n=3)


def _turned_over(draw: Random, thing: str, states: tuple[str, str], n: int) -> Story:
    acts = ("does not turn it over", "turns it over")
    return toggled(draw, thing=thing, states=states, acts=acts, short=("does not", "turns"), n=n)


def _button(draw: Random) -> Story:
    acts = ("does not push the button", "pushes the button")
    thing = draw.choice(("door", "gate", "hatch", "garage"))
    opened = toggled(draw, thing=thing, states=_OPEN, acts=acts, short=("does not", "pushes"), n=3)
    return opened._replace(question=f"A button opens a closed {thing} and closes an open one. {opened.question}")


def _flips(draw: Random) -> Story:
    thing, states = draw.choice([("coin", _COIN), ("card", _CARD)])
    return repeated(draw, thing, states, "turns it over")


_COIN = ("tails up", "heads up")
_CARD = ("face down", "face up")
DOORS = (
    _door,
    partial(_turned_over, thing="coin", states=_COIN, n=2),
    partial(_turned_over, thing="coin", states=_COIN, n=3),
    partial(_turned_over, thing="card", states=_CARD, n=3),
    _button,
    _flips,
)


# --- race: sizes ---

_ENDS = [("winner", "Who won the race?"), ("last", "Who came last?")]


def _finish(draw: Random, order: list[Person], facts: list[str]) -> Story:
    end = draw.randrange(2)
    who, (word, question) = order[-end], _ENDS[end]
    return story(f"{' '.join(facts)} {question}", ranked(order, word, who), who)


def _stated_from_either_side(draw: Random, ahead: str, behind: str) -> Story:
    order = people(draw, 3)
    facts = []
    for fast, slow in pairwise(order):
        facts.append(draw.choice([f"{fast} {ahead} {slow}.", f"{slow} {behind} {fast}."]))
    draw.shuffle(facts)
    return _finish(draw, order, facts)


def _not_as_fast(draw: Random) -> Story:
    order = people(draw, 3)
    facts = [f"{slow} was not as fast as {fast}." for fast, slow in pairwise(order)]
    draw.shuffle(facts)
    return _finish(draw, order, facts)


def _beat_both(draw: Random) -> Story:
    a, b, c = order = people(draw, 3)
    facts = [f"{a} was faster than both {listed(draw.sample((b, c), 2))}.", f"{c} was slower than {b}."]
    return _finish(draw, order, facts)


def _duel(draw: Random) -> Story:
    order, end = people(draw, 2), draw.randrange(2)
    fast, slow = order
    fact = draw.choice([f"{fast} runs faster than {slow}.", f"{slow} runs slower than {fast}."])
    word = ("faster", "slower")[end]
    return story(f"{fact} Who is the {word} runner?", ranked(order, word, order[end]), order[end])


RACE = (
    partial(_stated_from_either_side, ahead="was faster than", behind="was slower than"),
    partial(_stated_from_either_side, ahead="finished before", behind="finished after"),
    partial(_stated_from_either_side, ahead="beat", behind="lost to"),
    _not_as_fast,
    _beat_both,
    _duel,
)
