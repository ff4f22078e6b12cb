"""Words questions whose answer is a number: sums, trade, compare, groups."""

from __future__ import annotations

from functools import partial
from random import Random

from srit.tasks.story.words import (
    LARGEST,
    Chain,
    Noun,
    Story,
    chain,
    chain_story,
    food,
    listed,
    people,
    story,
    things,
    title,
)

# --- sums: the same wordings for three and four terms ---


def _terms(draw: Random, n: int) -> Chain:
    return chain(draw, [draw.choice((1, -1)) for _ in range(n - 1)], largest=9, smallest=1)


def _expression(sums: Chain, plus: str = "+", minus: str = "-") -> str:
    return " ".join([str(sums.start), *(f"{minus if c < 0 else plus} {abs(c)}" for c in sums.changes)])


def _written(draw: Random, wording: str, n: int) -> Story:
    sums = _terms(draw, n)
    return chain_story(wording.format(_expression(sums)), sums)


def _spoken(draw: Random, n: int) -> Story:
    sums = _terms(draw, n)
    return chain_story(f"How much is {_expression(sums, 'plus', 'minus')}?", sums)


def _steps(draw: Random, n: int) -> Story:
    sums = _terms(draw, n)
    *first, last = [f"take away {-c}" if c < 0 else f"add {c}" for c in sums.changes]
    return chain_story(f"Start with {sums.start}, {', '.join(first)}, then {last}. What do you get?", sums)


def _sentences(draw: Random, n: int) -> Story:
    sums = _terms(draw, n)
    orders = [f"Subtract {-c}." if c < 0 else f"Add {c}." for c in sums.changes]
    return chain_story(f"Take the number {sums.start}. {' '.join(orders)} What is the result?", sums)


def _counter(draw: Random, n: int) -> Story:
    sums = _terms(draw, n)
    moves = [f"down by {-c}" if c < 0 else f"up by {c}" for c in sums.changes]
    return chain_story(f"A counter shows {sums.start}. It goes {', then '.join(moves)}. What does it show now?", sums)


def wordings(n: int) -> tuple[partial[Story], ...]:
    """Make the templates for sums of n terms."""
    written = [partial(_written, wording=w, n=n) for w in ("Calculate {}.", "What is {}?", "Find x when x = {}.")]
    return (*written, *(partial(spoken, n=n) for spoken in (_spoken, _steps, _sentences, _counter)))


SUMS = wordings(3)
SUMS4 = wordings(4)


# --- trade ---


def _give_and_find(draw: Random) -> Story:
    (a, b), (noun,) = people(draw, 2), things(draw)
    first, then = draw.choice([("gives {} to {b}", "finds {} more"), ("loses {}", "gets {} from {b}")])
    worked = chain(draw, (-1, 1))
    out, back = -worked.changes[0], worked.changes[1]
    events = f"{first.format(out, b=b)} and then {then.format(back, b=b)}"
    return chain_story(f"{a} has {noun.counted(worked.start)}. {title(a.she)} {events}. {_now(noun, a)}", worked)


def _get_and_lose(draw: Random) -> Story:
    (a, b), (noun,) = people(draw, 2), things(draw)
    first, then = draw.choice([("gets {} from {b}", "loses {}"), ("finds {}", "gives {} to {b}")])
    worked = chain(draw, (1, -1))
    come, gone = worked.changes[0], -worked.changes[1]
    events = f"{first.format(come, b=b)} and then {then.format(gone, b=b)}"
    return chain_story(f"{a} has {noun.counted(worked.start)}. {title(a.she)} {events}. {_now(noun, a)}", worked)


def _now(noun: Noun, owner: object) -> str:
    return f"How many {noun.many} does {owner} have now?"


def _hand_over(draw: Random, wording: str, sign: int) -> Story:
    """Let some things change hands, and ask for either person's."""
    (a, b), (noun,) = people(draw, 2), things(draw)
    moved = draw.randint(1, 9)
    mine, yours = draw.randint(max(2, moved), 12), draw.randint(max(2, moved), 12)
    asked = draw.choice((a, b))
    worked = Chain(mine, (sign * moved,)) if asked is a else Chain(yours, (-sign * moved,))
    has = f"{a} has {noun.counted(mine)} and {b} has {noun.counted(yours)}."
    return chain_story(f"{has} {wording.format(a=a, b=b, moved=noun.counted(moved))} {_now(noun, asked)}", worked)


def _buy_and_eat(draw: Random) -> Story:
    (a,), noun = people(draw, 1), food(draw)
    signs = draw.choice([(1, -1), (-1, 1)])
    worked = chain(draw, signs)
    first, then = (f"buys {c} more" if c > 0 else f"eats {-c}" for c in worked.changes)
    has = f"{a} has {noun.counted(worked.start)}. {title(a.she)} {first} and then {then}."
    return chain_story(f"{has} {_now(noun, a)}", worked)


def _double(draw: Random) -> Story:
    (a, b), (noun,) = people(draw, 2), things(draw)
    start = draw.randint(3, 6)
    lost = draw.randint(1, start - 1)
    if draw.random() < 0.5:
        events, doubled = f"doubles {a.hers} {noun.many} and then loses {lost}", 2 * start
        steps, total = [f"2 * {start} = {doubled}.", f"{doubled} - {lost} = {doubled - lost}."], doubled - lost
    else:
        events, left = f"gives {lost} to {b} and then doubles the rest", start - lost
        steps, total = [f"{start} - {lost} = {left}.", f"2 * {left} = {2 * left}."], 2 * left
    return story(f"{a} has {noun.counted(start)}. {title(a.she)} {events}. {_now(noun, a)}", steps, total)


def _at_first(draw: Random) -> Story:
    """Give the change and its result, and ask for the start."""
    (a, b), (noun,) = people(draw, 2), things(draw)
    sign = draw.choice((1, -1))
    worked = chain(draw, (sign,))
    event = f"gives {worked.changes[0]} to {b}" if sign > 0 else f"gets {-worked.changes[0]} from {b}"
    question = f"{a} had some {noun.many}. After {a.she} {event}, {a.she} has {noun.counted(worked.start)}."
    return chain_story(f"{question} How many {noun.many} did {a} have at first?", worked)


def _two_things(draw: Random) -> Story:
    """Change one of two things, and ask mostly for that one and sometimes for the other."""
    (a,), nouns = people(draw, 1), things(draw, 2)
    worked, other = chain(draw, (draw.choice((1, -1)),)), draw.randint(2, 12)
    changed, kept = nouns
    counts = [changed.counted(worked.start), kept.counted(other)]
    draw.shuffle(counts)
    change = worked.changes[0]
    event = f"finds {changed.counted(change)}" if change > 0 else f"loses {changed.counted(-change)}"
    has = f"{a} has {listed(counts)}. {title(a.she)} {event}."
    if draw.random() < 0.7:
        return chain_story(f"{has} {_now(changed, a)}", worked)
    return story(f"{has} {_now(kept, a)}", [f"The {kept.many} stay {other}."], other)


_GIVEN = partial(_hand_over, wording="{a} gives {moved} to {b}.", sign=-1)
_GOT = partial(_hand_over, wording="{a} gets {moved} from {b}.", sign=1)
TRADE = (_give_and_find, _get_and_lose, _GIVEN, _GOT, _buy_and_eat, _double, _at_first, _two_things)
TRADE_1 = (_GIVEN, _GOT, _at_first, _two_things)  # of one change
TRADE_2 = (_give_and_find, _get_and_lose, _buy_and_eat, _double)  # of two


# --- compare ---


def related(draw: Random) -> tuple[int, str, str, int]:
    """Draw one's number, how the other's relates to it ("3 more"), the step to the other's, and the other's.

    The sum of the two is at most LARGEST.
    """
    relation, first = draw.choice(("more", "fewer", "more", "fewer", "times")), draw.randint(3, 12)
    if relation == "times":
        first, factor = draw.randint(2, 5), draw.choice((2, 2, 3))
        return first, {2: "twice as many", 3: "three times as many"}[factor], f"{factor} * {first} =", factor * first
    if relation == "more":
        by = draw.randint(2, min(12, LARGEST - 2 * first))
        return first, f"{by} more", f"{first} + {by} =", first + by
    by = draw.randint(2, first - 1)
    return first, f"{by} fewer", f"{first} - {by} =", first - by


def _compared(draw: Random, wording: str, verb: str, *, together: bool) -> Story:
    (a, b), noun = people(draw, 2), food(draw) if verb == "pick" else things(draw)[0]
    first, relation, sums, other = related(draw)
    than = "as" if relation.endswith("many") else "than"
    facts = wording.format(a=a, b=b, first=noun.counted(first), relation=f"{relation} {noun.many}", than=than)
    steps = [f"{sums} {other}."]
    if not together:
        return story(f"{facts} How many {noun.many} does {b} {verb}?", steps, other)
    steps.append(f"{first} + {other} = {first + other}.")
    return story(f"{facts} How many {noun.many} do they {verb} together?", steps, first + other)


def _turned(draw: Random) -> Story:
    """Give the number of the one who is compared, so that "more" asks for a difference."""
    (a, b), (noun,) = people(draw, 2), things(draw)
    more = draw.random() < 0.5
    worked = chain(draw, (-1 if more else 1,))
    relation = f"{abs(worked.changes[0])} {'more' if more else 'fewer'} {noun.many}"
    facts = f"{a} has {noun.counted(worked.start)}. {title(a.she)} has {relation} than {b}."
    return chain_story(f"{facts} How many {noun.many} does {b} have?", worked)


def _difference(draw: Random) -> Story:
    (a, b), (noun,) = people(draw, 2), things(draw)
    large, small = sorted(draw.sample(range(2, 13), 2), reverse=True)
    worked = Chain(large, (-small,))
    rich, poor = draw.sample((a, b), 2)
    numbers = {rich: large, poor: small}
    facts = f"{a} has {noun.counted(numbers[a])} and {b} has {noun.counted(numbers[b])}."
    if draw.random() < 0.5:
        return chain_story(f"{facts} How many more {noun.many} does {rich} have than {poor}?", worked)
    return chain_story(f"{facts} How many fewer {noun.many} does {poor} have than {rich}?", worked)


_HAS = "{a} has {first}. {b} has {relation} {than} {a}."
_PICKS = "{a} picks {first}. {b} picks {relation} {than} {a}."
_LATER = "{b} has {relation} {than} {a}, and {a} has {first}."
COMPARE = (
    partial(_compared, wording=_HAS, verb="have", together=False),
    partial(_compared, wording=_HAS, verb="have", together=True),
    partial(_compared, wording=_PICKS, verb="pick", together=False),
    partial(_compared, wording=_PICKS, verb="pick", together=True),
    partial(_compared, wording=_LATER, verb="have", together=False),
    partial(_compared, wording=_LATER, verb="have", together=True),
    _turned,
    _difference,
)


# --- groups ---

_ANIMALS = [("hens", 2), ("ducks", 2), ("geese", 2), ("dogs", 4), ("cats", 4), ("cows", 4), ("pigs", 4), ("goats", 4)]
_RIDES = [("bikes", 2), ("scooters", 2), ("tricycles", 3), ("cars", 4), ("vans", 4), ("wagons", 4)]
_HOLDERS = ["boxes", "bags", "jars", "baskets"]


def _parts(draw: Random, kinds: list[tuple[str, int]], place: str, part: str) -> Story:
    """Count legs or wheels of two kinds that have different numbers of them."""
    (one, each), (two, per) = draw.sample(kinds, 2)
    n, m = draw.randint(2, 5), draw.randint(2, 5)
    while each == per or n * each + m * per > LARGEST:
        (one, each), (two, per) = draw.sample(kinds, 2)
        n, m = draw.randint(2, 5), draw.randint(2, 5)
    who = people(draw, 1)[0]
    question = f"{who} sees {n} {one} and {m} {two} {place}. How many {part} do they have in all?"
    return story(question, two_groups((n, each), (m, per)), n * each + m * per)


def two_groups(one: tuple[int, int], two: tuple[int, int]) -> list[str]:
    """Write the steps to n groups of k and m groups of l."""
    (n, each), (m, per) = one, two
    first, second = n * each, m * per
    return [f"{n} * {each} = {first}.", f"{m} * {per} = {second}.", f"{first} + {second} = {first + second}."]


def _loose(draw: Random) -> Story:
    (a,), (noun,) = people(draw, 1), things(draw)
    n, each, loose = draw.randint(2, 5), draw.randint(2, 5), draw.randint(1, 5)
    boxes = f"{n} {draw.choice(_HOLDERS)} with {noun.counted(each)} each"
    question = f"{a} has {boxes} and {loose} loose {noun.many if loose > 1 else noun.one}."
    steps = [f"{n} * {each} = {n * each}.", f"{n * each} + {loose} = {n * each + loose}."]
    return story(f"{question} How many {noun.many} does {a} have?", steps, n * each + loose)


def _two_holders(draw: Random) -> Story:
    (a,), (noun,) = people(draw, 1), things(draw)
    n, m, each, per = draw.randint(2, 3), draw.randint(2, 3), draw.randint(2, 5), draw.randint(2, 5)
    small, large = draw.sample(_HOLDERS, 2)
    question = f"{a} fills {n} {small} with {noun.counted(each)} each and {m} {large} with {noun.counted(per)} each."
    return story(f"{question} How many {noun.many} is that?", two_groups((n, each), (m, per)), n * each + m * per)


_GOODS = [Noun(one, f"{one}s") for one in ["cup", "book", "pencil", "hat", "ticket", "toy", "spoon", "plate"]]


def _price(draw: Random) -> Story:
    (a,), (noun, more) = people(draw, 1), draw.sample(_GOODS, 2)
    n, price, extra = draw.randint(2, 5), draw.randint(2, 5), draw.randint(2, 5)
    pays = f"{a} buys {noun.counted(n)} at {price} dollars each"
    steps = [f"{n} * {price} = {n * price}."]
    if draw.random() < 0.5:
        return story(f"{pays}. How many dollars does {a.she} pay?", steps, n * price)
    steps.append(f"{n * price} + {extra} = {n * price + extra}.")
    question = f"{pays} and one {more.one} for {extra} dollars. How many dollars does {a.she} pay?"
    return story(question, steps, n * price + extra)


def _change(draw: Random) -> Story:
    (a,), noun = people(draw, 1), draw.choice(_GOODS)
    n, price = draw.randint(2, 5), draw.randint(2, 5)
    cost = n * price
    note = draw.choice([note for note in (10, 20, 30) if note >= cost])
    question = f"One {noun.one} costs {price} dollars. {a} buys {n} and pays with {note} dollars."
    steps = [f"{n} * {price} = {cost}.", f"{note} - {cost} = {note - cost}."]
    return story(f"{question} How many dollars does {a.she} get back?", steps, note - cost)


def _shared(draw: Random) -> Story:
    (a,), noun = people(draw, 1), food(draw)
    n, each = draw.randint(2, 5), draw.randint(2, 5)
    question = f"{a} shares {noun.counted(n * each)} equally among {n} friends. How many does each friend get?"
    return story(question, [f"{n * each} / {n} = {each}."], each)


GROUPS = (
    partial(_parts, kinds=_ANIMALS, place="on a farm", part="legs"),
    partial(_parts, kinds=_RIDES, place="in a yard", part="wheels"),
    _loose,
    _two_holders,
    _price,
    _change,
    _shared,
)
