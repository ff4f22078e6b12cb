"""Decides whether two answers are equal, by what they are. Asks `Values` what only a value can decide."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from srit.tasks.judging.forms import BaseNumeral, Collection, Equation, Expression, Form, Matrix, RealInterval, Words
from srit.tasks.judging.units import units_agree
from srit.tasks.judging.writing import number, tight
from srit.tasks.reading.numerals.numerals import numbers_equal

Decided = bool | None  # None: undecided


class Values(NamedTuple):
    """Decides on terms and equations that are written differently."""

    terms: Callable[[str, str], Decided]  # answer, gold; plain LaTeX
    equations: Callable[[tuple[str, str], tuple[str, str]], Decided]  # their sides


def terms_by_writing(answer: str, gold: str) -> Decided:
    """Return whether two terms are equal; None unless they are written alike or are numbers."""
    if tight(answer) == tight(gold):
        return True
    one, other = number(answer), number(gold)
    if one is not None and other is not None:
        return numbers_equal(one, other)
    infinities = {"\\infty", "-\\infty"}
    if {tight(answer), tight(gold)} & infinities and (one or other or {tight(answer), tight(gold)} <= infinities):
        return False
    return None


def equations_by_writing(answer: tuple[str, str], gold: tuple[str, str]) -> Decided:
    """Return whether two equations have the same sides; None if they are written differently."""
    return True if set(map(tight, answer)) == set(map(tight, gold)) else None


BY_WRITING = Values(terms_by_writing, equations_by_writing)


def equal(answer: Form, gold: Form, values: Values) -> Decided:
    """Return whether an answer equals the gold one; None if `values` did not decide, or deciding takes set theory."""
    if isinstance(answer, Equation) or isinstance(gold, Equation):
        return _equation(answer, gold, values)
    if isinstance(answer, Words) or isinstance(gold, Words):
        return _words(answer, gold, values)
    if isinstance(answer, BaseNumeral) or isinstance(gold, BaseNumeral):
        return _in_bases(answer, gold)
    if isinstance(answer, Expression) and isinstance(gold, Expression):
        return units_agree(answer.unit, gold.unit) and values.terms(answer.text, gold.text)
    if isinstance(answer, Matrix) and isinstance(gold, Matrix):
        same_shape = list(map(len, answer.rows)) == list(map(len, gold.rows))
        return same_shape and _in_order(_cells(answer), _cells(gold), values)
    if isinstance(answer, RealInterval) and isinstance(gold, RealInterval):
        return _intervals(answer, gold, values)
    if isinstance(answer, Collection) and answer.kind != "tuple":
        return _several(answer, gold, values)
    if isinstance(gold, Collection) and gold.kind != "tuple":
        return _several(gold, answer, _swapped(values))
    return _ordered(answer, gold, values)


def _swapped(values: Values) -> Values:
    return Values(lambda one, other: values.terms(other, one), lambda one, other: values.equations(other, one))


def _all(verdicts: Iterable[Decided]) -> Decided:
    decided: Decided = True
    for verdict in verdicts:
        if verdict is False:
            return False
        decided = decided and verdict
    return decided


def _in_order(answers: Sequence[Form], golds: Sequence[Form], values: Values) -> Decided:
    if len(answers) != len(golds):
        return False
    return _all(equal(answer, gold, values) for answer, gold in zip(answers, golds, strict=True))


def _cells(matrix: Matrix) -> list[Form]:
    return [cell for row in matrix.rows for cell in row]


# Equations: a left side that is a name may be omitted; two lines are the same whatever their form.


def _equation(answer: Form, gold: Form, values: Values) -> Decided:
    if not isinstance(gold, Equation):
        assert isinstance(answer, Equation)
        return equal(answer.value, gold, values)
    if isinstance(answer, Equation) and not _assigns(answer):
        return values.equations((answer.left, answer.right), (gold.left, gold.right))
    if not isinstance(answer, Equation):
        if isinstance(answer, Collection) and answer.kind in ("list", "several"):
            return _several(answer, gold, values)
        return equal(answer, gold.value, values) if _assigns(gold) else False
    if answer.name is None or (_assigns(gold) and _same_name(answer.name, gold.name)):
        return equal(answer.value, gold.value, values)
    if isinstance(answer.value, Expression) and isinstance(gold.value, Expression):
        return _differently_named(answer, gold, values)
    return equal(answer.value, gold.value, values)


def _differently_named(answer: Equation, gold: Equation, values: Values) -> Decided:
    if gold.name is not None and number(answer.right) is not None and number(gold.right) is not None:
        return False  # x = 4 and y = 4 are two lines
    if gold.name is not None and answer.name is not None and "(" in gold.name and "(" in answer.name:
        return False  # f(x) and g(x)
    return values.equations((answer.left, answer.right), (gold.left, gold.right))


def _assigns(equation: Equation) -> bool:
    """Return whether the right side is the value: "x = 5", "2 + 3 = 5"."""
    return equation.name is not None or not re.search(r"(?<![\\A-Za-z])[A-Za-z]", equation.left)


def _same_name(one: str, other: str | None) -> bool:
    """Return whether two names are equal; "y" equals any "f(x)", and a left side that is a sum equals any name."""
    return one == other or other is None or (one == "y" and _is_function(other)) or (other == "y" and _is_function(one))


def _is_function(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z](?:\^\{-1\})?\([a-z]\)", name) is not None


# Words and numerals in bases.


def _words(answer: Form, gold: Form, values: Values) -> Decided:
    """Compare words as words, and an option by its letter, or by its value if the other side has no letter."""
    if isinstance(answer, Words) and isinstance(gold, Words):
        return _said(answer) == _said(gold)
    one, other = (answer, gold) if isinstance(answer, Words) else (gold, answer)
    if _said(one) == _said(other):
        return True
    value = one.value if isinstance(one, Words) else None
    if value is None:
        return False
    return equal(value, gold, values) if one is answer else equal(answer, value, values)


def _said(item: Form) -> str | Form:
    if isinstance(item, Words):
        return re.sub(r"[\s()]", "", item.text)
    return tight(item.text).lower().strip("()") if isinstance(item, Expression) else item


def _in_bases(answer: Form, gold: Form) -> bool:
    one, other = _based(answer), _based(gold)
    if one is None or other is None or one.digits != other.digits:
        return False
    return not one.base or not other.base or one.base == other.base


def _based(item: Form) -> BaseNumeral | None:
    """Read a form as a numeral; its base is "" if it is omitted."""
    if isinstance(item, Expression) and re.fullmatch(r"[0-9A-Fa-f.,]+", item.text):
        item = BaseNumeral(item.text.upper().replace(",", ""), "")
    return item._replace(digits=item.digits.lstrip("0") or "0") if isinstance(item, BaseNumeral) else None


# Sets, points, intervals.


def _intervals(answer: RealInterval, gold: RealInterval, values: Values) -> Decided:
    if (answer.low_closed, answer.high_closed) != (gold.low_closed, gold.high_closed):
        return False
    return _in_order((answer.low, answer.high), (gold.low, gold.high), values)


def _several(several: Collection, other: Form, values: Values) -> Decided:
    """Compare a list, a set, or a union with any form."""
    if isinstance(other, Expression) and other.listed:
        other = Collection("list", other.listed)
    if isinstance(other, Collection) and other.kind != "tuple":
        if "union" in (several.kind, other.kind):
            return _union(several, other, values)
        if "set" in (several.kind, other.kind):
            return _same_set(several.items, other.items, values)
        return _matched(several.items, other.items, values)
    if isinstance(other, Collection | RealInterval | Matrix):
        if several.kind == "union":
            return False if isinstance(other, Matrix) else None
        if several.kind == "set" and len(several.items) == 1:
            return equal(several.items[0], other, values)
        return _is_point(several) and _ordered(Collection("tuple", _by_variable(several.items)), other, values)
    if not several.items:
        return None if _is_set_theory(other) else False
    return _all(equal(item, other, values) for item in several.items)


def _is_point(several: Collection) -> bool:
    """Return whether a list may be a point: "1, 2", or "x = 1 and y = 2", but neither "1 or 2" nor "x = 1, x = 2"."""
    names = {item.name for item in several.items if isinstance(item, Equation)}
    return several.kind in ("list", "several") and (
        len(names) == len(several.items) if names else several.kind == "list"
    )


def _by_variable(items: tuple[Form, ...]) -> tuple[Form, ...]:
    """Order "y = 2, x = 1" as the point (1, 2); items that name no variable stay in place."""
    return tuple(sorted(items, key=lambda item: item.name or "" if isinstance(item, Equation) else ""))


def _union(one: Collection, other: Collection, values: Values) -> Decided:
    """Return True if two unions have the same parts in any order, else None: intervals that meet need set theory."""
    return _matched(one.items, other.items, values) or None


def _same_set(ones: Sequence[Form], others: Sequence[Form], values: Values) -> Decided:
    """Return whether each set contains every item of the other, however often."""
    within = _all(_any(equal(one, other, values) for other in others) for one in ones)
    return within if not within else _all(_any(equal(one, other, values) for one in ones) for other in others)


def _any(verdicts: Iterable[Decided]) -> Decided:
    decided: Decided = False
    for verdict in verdicts:
        if verdict:
            return True
        decided = None if verdict is None else decided
    return decided


def _matched(ones: Sequence[Form], others: Sequence[Form], values: Values) -> Decided:
    """Return whether two lists hold the same items in any order."""
    if len(ones) != len(others):
        return False
    left, decided = list(others), True
    for one in ones:
        verdicts = [equal(one, other, values) for other in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            decided = False
        else:
            return False
    return True if decided else None


def _ordered(answer: Form, gold: Form, values: Values) -> Decided:
    """Compare points and vectors; an open interval is written like a point."""
    if _is_set_theory(answer) or _is_set_theory(gold):
        return None
    one, other = _coordinates(answer), _coordinates(gold)
    return one is not None and other is not None and _in_order(one, other, values)


def _coordinates(item: Form) -> tuple[Form, ...] | None:
    if isinstance(item, Collection):
        return item.items
    if isinstance(item, RealInterval):
        return None if item.low_closed or item.high_closed else (item.low, item.high)
    if isinstance(item, Matrix):
        vector = len(item.rows) == 1 or all(len(row) == 1 for row in item.rows)
        return tuple(_cells(item)) if vector else None
    return None


def _is_set_theory(item: Form) -> bool:
    """Return whether a term is a set, a matrix, or an inequality: "ℝ ∖ {3}", "2x > 6"."""
    return isinstance(item, Expression) and _SET_THEORY.search(item.text) is not None


_SET_THEORY = re.compile(r"\\(?:setminus|cap|begin|backslash|mathbb|leq|geq|neq)(?![A-Za-z])|[<>]")
