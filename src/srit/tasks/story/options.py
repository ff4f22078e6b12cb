"""Options of a task, in its name: "sums:terms=2+3+5" has sums of 2, of 3 and of 5 terms in turn.

An option is `:NAME=VALUE` after the task's name; `+` joins values that are used in turn, and a task may have several
options. Only the order below is a name, so that a task has one. Depths are kinds of problems: a task is trained on
where all of its kinds are.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from srit.errors import RecipeError
from srit.tasks.story import numbers, twins
from srit.tasks.story.depths import COMPARISONS, TRADES
from srit.tasks.story.wordings import reworded
from srit.tasks.story.words import Template

_WORDS, _TWINS = "words", "twins"


class Depth(NamedTuple):
    """How many steps a task's problems have, as an option."""

    option: str
    values: range
    usual: tuple[int, ...]  # those of the task without options
    templates: Callable[[int], Sequence[Template]]


class Options(NamedTuple):
    """The options that a task has."""

    depth: Depth | None = None
    words: bool = False  # whether there are other words for it
    twins: tuple[Template, ...] = ()  # templates of two questions

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Return the options with their values, in the order of a name."""
        depths = {self.depth.option: tuple(map(str, self.depth.values))} if self.depth else {}
        return depths | ({_TWINS: ("yes",)} if self.twins else {}) | ({_WORDS: ("varied",)} if self.words else {})


class Chosen(NamedTuple):
    """The options that a name sets."""

    templates: tuple[Template, ...]
    kinds: frozenset[str]


def _trades(n: int) -> Sequence[Template]:
    usual: Mapping[int, Sequence[Template]] = {1: numbers.TRADE_1, 2: numbers.TRADE_2}
    return usual.get(n) or [partial(told, n=n) for told in TRADES]


def _comparisons(n: int) -> Sequence[Template]:
    return numbers.COMPARE if n == 2 else [partial(told, n=n) for told in COMPARISONS]


_TERMS = Depth("terms", range(2, 7), (3,), numbers.wordings)
OPTIONS: Mapping[str, Options] = {
    "sums": Options(_TERMS, words=True),
    "trade": Options(Depth("changes", range(1, 6), (1, 2), _trades), words=True, twins=twins.TRADE),
    "compare": Options(Depth("people", range(2, 5), (2,), _comparisons), words=True, twins=twins.COMPARE),
    "groups": Options(twins=twins.GROUPS),
}
NO_OPTIONS = Options()


def about(task: str) -> str:
    """List a task's options; "" if it has none."""
    options = OPTIONS.get(task, NO_OPTIONS)
    depth = options.depth
    named = [f":{depth.option}={depth.values[0]} … {depth.values[-1]}"] if depth else []
    named += [f":{name}={values[0]}" for name, values in options.names.items() if not depth or name != depth.option]
    return ", ".join(named)


def usual_kinds(task: str) -> frozenset[str]:
    """Name the kinds of a task without options."""
    if task == "sums4":
        return _kinds("sums", _TERMS, (4,))
    depth = OPTIONS.get(task, NO_OPTIONS).depth
    return frozenset({task}) if depth is None else _kinds(task, depth, depth.usual)


def choose(task: str, said: Sequence[str], templates: Sequence[Template]) -> Chosen:
    """Make the templates that a name's options ask for.

    Args:
        said: the options, such as "terms=2+3+5".
        templates: the task's own.

    Raises:
        RecipeError: the task has no such option or value, or the options are not in their one order.
    """
    options, given = OPTIONS.get(task, NO_OPTIONS), _given(task, said)
    depth, kinds, found = options.depth, usual_kinds(task), tuple(templates)
    if depth and depth.option in given:
        if _TWINS in given:
            raise RecipeError(f"the task {task}:{':'.join(said)}: twins have no {depth.option}: leave one of them out")
        steps = [int(value) for value in given[depth.option]]
        found, kinds = _in_turn([depth.templates(n) for n in steps]), _kinds(task, depth, steps)
    if _TWINS in given:
        found = options.twins
    if _WORDS in given:
        found = tuple(map(reworded, found))
    return Chosen(found, kinds)


def _given(task: str, said: Sequence[str]) -> dict[str, list[str]]:
    options = OPTIONS.get(task, NO_OPTIONS).names
    given = {name: values.split("+") for name, _, values in (one.partition("=") for one in said)}
    for name, values in given.items():
        if name not in options:
            near = difflib.get_close_matches(name, options, n=1) or list(options)
            has = f"its options are {', '.join(near)}" if options else "it has no options"
            raise RecipeError(f"the task {task} has no option {name!r}: {has}")
        if wrong := [value for value in values if value not in options[name]]:
            allowed = ", ".join(options[name])
            raise RecipeError(f"the task {task} has no {name}={wrong[0]}: its values are {allowed}, joined by +")
    ordered = {
        name: [value for value in values if value in given[name]] for name, values in options.items() if name in given
    }
    name = ":".join([task, *(f"{option}={'+'.join(values)}" for option, values in ordered.items())])
    if name != ":".join([task, *said]):
        raise RecipeError(f"the task {':'.join([task, *said])} is called {name}")
    return given


def _kinds(task: str, depth: Depth, steps: Sequence[int]) -> frozenset[str]:
    return frozenset(f"{task} with {n} {depth.option if n > 1 else depth.option.rstrip('s')}" for n in steps)


def _in_turn(by_depth: Sequence[Sequence[Template]]) -> tuple[Template, ...]:
    """Make a round in which each depth has as many problems as any other, and each of its wordings as many too."""
    turns = math.lcm(*map(len, by_depth))
    return tuple(chain.from_iterable([templates[at % len(templates)] for templates in by_depth] for at in range(turns)))
