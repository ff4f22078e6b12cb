"""Words questions whose answer is yes or no, or a name: switches and sizes."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from random import Random

from srit.tasks.story.words import Person, Story, listed, people, story, title

# --- switches ---

_DEVICES = ["lamp", "radio", "fan", "heater", "screen", "pump", "bell", "light"]
ON_OFF = ("off", "on")


def asked(draw: Random, thing: str, states: tuple[str, str], state: int) -> tuple[str, str]:
    """Ask "Is the lamp on?" or off, and answer yes or no."""
    about = draw.randrange(2)
    return f"Is the {thing} {states[about]}?", "yes" if about == state else "no"


def toggled(
    draw: Random,
    *,
    thing: str,
    states: tuple[str, str],
    acts: tuple[str, str],
    short: tuple[str, str],
    n: int,
) -> Story:
    """Let people change the state or leave it, in turn; acts and their short forms are (leaves, changes)."""
    state = draw.randrange(2)
    sentences, steps = [f"The {thing} is {states[state]}."], [f"{title(states[state])}."]
    for person in people(draw, n):
        act = draw.randrange(2)
        state ^= act
        sentences.append(f"{person} {acts[act]}.")
        steps.append(f"{person} {short[act]}: {states[state]}.")
    question, answer = asked(draw, thing, states, state)
    return story(" ".join([*sentences, question]), steps, answer)


def _pressed(draw: Random, n: int) -> Story:
    acts = ("does not press the switch", "presses the switch")
    return toggled(draw, thing=draw.choice(_DEVICES), states=ON_OFF, acts=acts, short=("does not", "presses"), n=n)


def _set(draw: Random) -> Story:
    """Turn things on and off; turning on what is on changes nothing, so the last act counts."""
    thing = draw.choice(_DEVICES)
    return put(draw, thing, ON_OFF, acts=("turns it off", "turns it on", "does not touch it"), n=3)


def put(draw: Random, thing: str, states: tuple[str, str], *, acts: tuple[str, str, str], n: int) -> Story:
    """Let people bring about the first state, the second, or neither, in turn, whatever it was before."""
    state = draw.randrange(2)
    sentences, steps = [f"The {thing} is {states[state]}."], [f"{title(states[state])}."]
    for person in people(draw, n):
        act = draw.randrange(3)
        state = state if act == 2 else act
        sentences.append(f"{person} {acts[act]}.")
        steps.append(f"{person}: {states[state]}.")
    question, answer = asked(draw, thing, states, state)
    return story(" ".join([*sentences, question]), steps, answer)


def repeated(draw: Random, thing: str, states: tuple[str, str], act: str) -> Story:
    """Let one person change the state several times."""
    (a,), state, times = people(draw, 1), draw.randrange(2), draw.randint(2, 5)
    start = states[state]
    seen = [states[state ^ (n % 2)] for n in range(1, times + 1)]
    steps = [f"{title(start)}.", " ".join(f"{n}: {one}." for n, one in enumerate(seen, 1))]
    question, answer = asked(draw, thing, states, state ^ (times % 2))
    return story(f"The {thing} is {start}. {a} {act} {times} times. {question}", steps, answer)


def _many_times(draw: Random) -> Story:
    return repeated(draw, draw.choice(_DEVICES), ON_OFF, "presses the switch")


def _at_once(draw: Random) -> Story:
    """Say in one sentence who presses and who does not."""
    thing, state = draw.choice(_DEVICES), draw.randrange(2)
    group, n = people(draw, 3), draw.randint(1, 2)
    do, rest = group[:n], group[n:]
    presses = f"{listed(do)} {'press' if n > 1 else 'presses'} the switch"
    left = f"{listed(rest)} {'do' if len(rest) > 1 else 'does'} not"
    steps = [f"{title(ON_OFF[state])}."]
    sentences = [f"The {thing} is {ON_OFF[state]}.", f"{presses}, but {left}."]
    for person in do:
        state ^= 1
        steps.append(f"{person} presses: {ON_OFF[state]}.")
    question, answer = asked(draw, thing, ON_OFF, state)
    return story(" ".join([*sentences, question]), steps, answer)


def _two_devices(draw: Random) -> Story:
    """Press several devices; a press counts only for its own."""
    pair, group = draw.sample(_DEVICES, 2), people(draw, 3)
    states = [draw.randrange(2), draw.randrange(2)]
    target = draw.randrange(2)
    sentences = [f"The {pair[0]} is {ON_OFF[states[0]]} and the {pair[1]} is {ON_OFF[states[1]]}."]
    steps = [f"The {pair[target]} is {ON_OFF[states[target]]}."]
    for person in group:
        which = draw.randrange(2)
        states[which] ^= 1
        sentences.append(f"{person} presses the switch of the {pair[which]}.")
        steps.append(f"{person}, {pair[which]}: {ON_OFF[states[target]]}.")
    question, answer = asked(draw, pair[target], ON_OFF, states[target])
    return story(" ".join([*sentences, question]), steps, answer)


SWITCHES = (
    partial(_pressed, n=2),
    partial(_pressed, n=3),
    partial(_pressed, n=4),
    _set,
    _many_times,
    _at_once,
    _two_devices,
)


# --- sizes ---

# more, less, most, least, and the words for "not as … as"
Scale = tuple[str, str, str, str, str, str]
_SCALES: list[Scale] = [
    ("taller", "shorter", "tallest", "shortest", "tall", "short"),
    ("heavier", "lighter", "heaviest", "lightest", "heavy", "light"),
    ("stronger", "weaker", "strongest", "weakest", "strong", "weak"),
    ("richer", "poorer", "richest", "poorest", "rich", "poor"),
]


def ranked(order: list[Person], end: str, who: Person) -> list[str]:
    """Write "Ana > Ben > Cy." and "The tallest is Ana." """
    return [f"{' > '.join(map(str, order))}.", f"The {end} is {who}."]


def _either(draw: Random, high: Person, low: Person, scale: Scale) -> str:
    """State the same fact from either side."""
    if draw.random() < 0.5:
        return f"{high} is {scale[0]} than {low}."
    return f"{low} is {scale[1]} than {high}."


def _extreme(draw: Random, order: list[Person], facts: list[str], scale: Scale) -> Story:
    end = draw.randrange(2)
    who = order[-end]
    return story(f"{' '.join(facts)} Who is the {scale[2 + end]}?", ranked(order, scale[2 + end], who), who)


def _chained(draw: Random) -> Story:
    order, scale = people(draw, 3), draw.choice(_SCALES)
    a, b, c = order
    if draw.random() < 0.5:
        facts = [f"{a} is {scale[0]} than {b}.", f"{b} is {scale[0]} than {c}."]
    else:
        facts = [f"{c} is {scale[1]} than {b}.", f"{b} is {scale[1]} than {a}."]
    return _extreme(draw, order, facts, scale)


def _mixed(draw: Random) -> Story:
    order, scale = people(draw, 3), draw.choice(_SCALES)
    facts = [_either(draw, high, low, scale) for high, low in pairwise(order)]
    draw.shuffle(facts)
    return _extreme(draw, order, facts, scale)


def _pair(draw: Random) -> Story:
    high, low = order = people(draw, 2)
    scale, end = draw.choice(_SCALES), draw.randrange(2)
    who = order[end]
    question = f"{_either(draw, high, low, scale)} Who is {scale[end]}?"
    return story(question, ranked(order, scale[end], who), who)


def _not_as(draw: Random) -> Story:
    order, scale = people(draw, 3), draw.choice(_SCALES)
    a, b, c = order
    facts = [f"{b} is not as {scale[4]} as {a}.", f"{c} is not as {scale[4]} as {b}."]
    draw.shuffle(facts)
    return _extreme(draw, order, facts, scale)


def _between(draw: Random) -> Story:
    order, scale = people(draw, 3), draw.choice(_SCALES)
    facts = [_either(draw, high, low, scale) for high, low in pairwise(order)]
    draw.shuffle(facts)
    return story(f"{' '.join(facts)} Who is in the middle?", ranked(order, "middle", order[1]), order[1])


def _both(draw: Random) -> Story:
    order, scale = people(draw, 3), draw.choice(_SCALES)
    a, b, c = order
    if draw.random() < 0.5:
        facts = [f"{a} is {scale[0]} than both {listed(draw.sample((b, c), 2))}.", _either(draw, b, c, scale)]
    else:
        facts = [f"{c} is {scale[1]} than both {listed(draw.sample((a, b), 2))}.", _either(draw, a, b, scale)]
    return _extreme(draw, order, facts, scale)


def _pets(draw: Random) -> Story:
    order, pet = people(draw, 3), draw.choice(("dog", "cat", "horse", "bird"))
    scale = ("bigger", "smaller", "biggest", "smallest", "big", "small")
    facts = []
    for high, low in pairwise(order):
        first, word, second = draw.choice([(high, "bigger", low), (low, "smaller", high)])
        facts.append(f"{first}'s {pet} is {word} than {second}'s {pet}.")
    draw.shuffle(facts)
    end = draw.randrange(2)
    who = order[-end]
    steps = [f"{' > '.join(map(str, order))}.", f"The {scale[2 + end]} is {who}'s."]
    return story(f"{' '.join(facts)} Whose {pet} is the {scale[2 + end]}?", steps, who)


def _floors(draw: Random) -> Story:
    order = people(draw, 3)
    facts = []
    for high, low in pairwise(order):
        facts.append(draw.choice([f"{high} lives above {low}.", f"{low} lives below {high}."]))
    draw.shuffle(facts)
    end = draw.randrange(2)
    who, word = order[-end], ("highest", "lowest")[end]
    return story(f"{' '.join(facts)} Who lives on the {word} floor?", ranked(order, word, who), who)


SIZES = (_chained, _mixed, _pair, _not_as, _between, _both, _pets, _floors)
