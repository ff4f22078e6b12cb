"""Holds the people, things, and small numbers that stories draw from, and writes their worked solutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

LARGEST = 30  # of all intermediate results: a 135M model knows such sums


class Story(NamedTuple):
    """A question, its gold answer, and a worked solution that ends in the answer."""

    question: str
    answer: str
    solution: str
    twin: Story | None = None  # another question about the same events


Template = Callable[[Random], Story]


class Person(NamedTuple):
    """A name with its pronouns; formatted, it is the name."""

    name: str
    she: str
    her: str  # as object
    hers: str  # before a noun

    def __str__(self) -> str:
        return self.name


class Noun(NamedTuple):
    """A thing that can be counted; all singulars take "a", not "an"."""

    one: str
    many: str

    def counted(self, n: int) -> str:
        return f"{n} {self.one if n == 1 else self.many}"


# None of the names is also a word, so a listed name in a text is always a person.
_SHE = [
    "Ana",
    "Mia",
    "Eva",
    "Lisa",
    "Nina",
    "Sara",
    "Emma",
    "Julia",
    "Anna",
    "Maria",
    "Kate",
    "Laura",
    "Lucy",
    "Helen",
    "Alice",
    "Clara",
    "Ella",
    "Zoe",
    "Ruth",
    "Diana",
]
_HE = [
    "Ben",
    "Tom",
    "Sam",
    "Leo",
    "Max",
    "Paul",
    "David",
    "Peter",
    "Adam",
    "Eric",
    "Henry",
    "Jack",
    "Oscar",
    "Simon",
    "Tim",
    "Victor",
    "Carl",
    "Dan",
    "Luke",
    "Alex",
]
_PEOPLE = [Person(name, "she", "her", "her") for name in _SHE] + [Person(name, "he", "him", "his") for name in _HE]
NAMES = frozenset(person.name for person in _PEOPLE)

_THINGS = ["shell", "coin", "stone", "marble", "card", "stamp", "button", "bead", "ball", "sticker", "ring", "key"]
_FOODS = ["plum", "pear", "nut", "cookie", "fig", "grape", "carrot", "date"]


def people(draw: Random, n: int) -> list[Person]:
    """Draw different people."""
    return draw.sample(_PEOPLE, n)


def things(draw: Random, n: int = 1) -> list[Noun]:
    """Draw different things to own."""
    return [Noun(one, f"{one}s") for one in draw.sample(_THINGS, n)]


def food(draw: Random) -> Noun:
    """Draw a thing to eat."""
    one = draw.choice(_FOODS)
    return Noun(one, f"{one}s")


def title(text: str) -> str:
    """Capitalize the first letter, and leave the rest unchanged."""
    return text[:1].upper() + text[1:]


def listed(parts: Sequence[object]) -> str:
    """Join names as "A, B and C"."""
    *first, last = map(str, parts)
    return f"{', '.join(first)} and {last}" if first else last


class Chain(NamedTuple):
    """A start and signed changes, with no intermediate result below 0 or above LARGEST."""

    start: int
    changes: tuple[int, ...]

    @property
    def total(self) -> int:
        return self.start + sum(self.changes)

    @property
    def steps(self) -> list[str]:
        """Write the steps "5 + 8 = 13.", "13 - 3 = 10." """
        steps, value = [], self.start
        for change in self.changes:
            steps.append(f"{value} {'-' if change < 0 else '+'} {abs(change)} = {value + change}.")
            value += change
        return steps


def chain(draw: Random, signs: Sequence[int], *, largest: int = 12, smallest: int = 2) -> Chain:
    """Draw a chain with these signs; its start and the sizes of its changes are smallest … largest."""
    while True:
        start = draw.randint(smallest, largest)
        changes = tuple(sign * draw.randint(smallest, largest) for sign in signs)
        values = [start + sum(changes[:n]) for n in range(len(changes) + 1)]
        if all(0 <= value <= LARGEST for value in values):
            return Chain(start, changes)


def story(question: str, steps: Sequence[str], answer: object) -> Story:
    """Join the steps and the sentence that gives the answer."""
    return Story(question, str(answer), " ".join([*steps, f"The answer is {answer}."]))


def chain_story(question: str, worked: Chain) -> Story:
    """Make a story whose solution is a chain of sums."""
    return story(question, worked.steps, worked.total)
