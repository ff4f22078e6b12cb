"""Compares values with math-verify in processes of its own: questions on stdin, verdicts on stdout, one per line."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, NormalizationConfig, latex2sympy, normalize_latex
from math_verify import verify
from sympy.core.relational import Relational

from srit.shortages import limit_memory
from srit.tasks.judging.comparing import Values, equal, equations_by_writing, terms_by_writing
from srit.tasks.judging.forked import serve as serve_forked
from srit.tasks.judging.forms import form
from srit.tasks.judging.writing import number, plain

MEMORY_BYTES = 2 * 2**30
MIN_PLACES = 6  # a decimal with at least this many places equals a term that rounds to it, as in math-verify
_DIGITS = 30  # of the numbers that represent a term's value
_CLOSE = sympy.Float("1e-15")  # relative to the values
_TINY = sympy.Float("1e-60")  # what remains of 0 in _DIGITS digits
_POINTS = 5  # random points at which equal terms must have equal values
# math-verify takes "5c" for 5 cents and "5t" for 5 tons, so real units are removed first.
_NORMALIZATION = NormalizationConfig(units=False, malformed_operators=True, nits=True, boxed="none")
_CONVERSION = ConversionConfig(lowercase_symbols=False)


class NotReadError(Exception):
    """The LaTeX cannot be read."""


def answer(line: bytes) -> dict[str, Any]:
    """Return the verdict on a question."""
    question = json.loads(line)
    try:
        return {"equal": compare(question["answer"], question["gold"])}
    except MemoryError:
        return {"error": "out of memory"}
    except NotReadError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": f"math-verify could not compare: {type(error).__name__}: {error}"[:300]}


def serve(seconds: float) -> None:
    """Answer questions on stdin until it ends, each within so many seconds of processor time."""
    limit_memory(MEMORY_BYTES)
    serve_forked(answer, seconds)


def compare(answer: str, gold: str) -> bool:
    """Return whether an answer has the value of the gold one.

    Raises:
        NotReadError: one of the two cannot be read.
    """
    decided = equal(form(answer), form(gold), Values(terms, equations))
    return terms(plain(answer), plain(gold)) if decided is None else decided


def terms(answer: str, gold: str) -> bool:
    """Return whether two terms are equal, as numbers or at random points; terms without values are left to math-verify.

    `sympy.simplify`, on which math-verify relies for terms, proves less than that and does not terminate on some.
    """
    decided = terms_by_writing(answer, gold)
    if decided is not None:
        return decided
    right = _read(gold)
    try:
        left = _read(answer)
    except NotReadError:
        if _looks_like_formula(answer):
            raise
        return False
    if isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr):
        same = _same_values(left, right) or _rounded(answer, right) or _rounded(gold, left)
        if same is not None:
            return same
    return bool(
        verify(_solved(right), _solved(left), timeout_seconds=None, raise_on_error=True, allow_set_relation_comp=True)
    )


def _solved(read: Any) -> Any:
    """Turn an inequality in one variable into its solution set."""
    if isinstance(read, Relational) and not isinstance(read, sympy.Eq) and len(read.free_symbols) == 1:
        return read.doit().as_set()
    return read


def equations(answer: tuple[str, str], gold: tuple[str, str]) -> bool:
    """Return whether two equations have the same solutions: left minus right of one is a multiple of the other's."""
    if equations_by_writing(answer, gold):
        return True
    first, second = _difference(answer), _difference(gold)
    if first.free_symbols != second.free_symbols:
        return False
    ratios = [_value(first / second, point) for point in _points(first.free_symbols)]
    if not ratios or any(ratio is None for ratio in ratios):
        raise NotReadError("the equations have no values to compare")
    return ratios[0] != 0 and all(_near(ratio, ratios[0]) for ratio in ratios)


def _difference(sides: tuple[str, str]) -> sympy.Expr:
    left, right = map(_read, sides)
    return sympy.numer(sympy.together((left - right).doit()))


_DECIMAL = re.compile(r"(?<![0-9.])([0-9]*)\.([0-9]+)")


@lru_cache(maxsize=256)
def _read(text: str) -> Any:
    """Parse LaTeX into a sympy object.

    Rewrites two things that latex2sympy2 1.11 gets wrong: it takes "2(3)" for the mixed number 2 + 3, and decimals
    for binary floats.
    """
    if re.search(r"[0-9]_", re.sub(r"\\log\s?_", "", text)):
        raise NotReadError(f"a sum of numerals in bases is not computed: {text:.100}")
    text = re.sub(r"((?<![_^0-9.])[0-9]+|\))\s?(?=\(|\\frac|\\sqrt)", _times, text)
    text = _DECIMAL.sub(lambda decimal: f"(\\frac{{{int(decimal[1] + decimal[2])}}}{{{10 ** len(decimal[2])}}})", text)
    try:
        read = latex2sympy(
            normalize_latex(text, _NORMALIZATION),
            is_real=True,
            normalization_config=None,
            conversion_config=_CONVERSION,
        )
    except MemoryError:
        raise
    except Exception as error:
        raise NotReadError(f"cannot be read as a formula: {text:.100}") from error
    if isinstance(read, sympy.Basic):
        read = read.xreplace({symbol: sympy.I for symbol in read.free_symbols if symbol.name == "i"})
    return read


def _times(match: re.Match[str]) -> str:
    mixed = match[1] != ")" and match.string[match.end() :].startswith("\\frac")
    return match[1] if mixed else f"{match[1]}\\cdot "


def _looks_like_formula(text: str) -> bool:
    brackets = all(text.count(opening) == text.count(closing) for opening, closing in ("()", "{}", "[]"))
    return brackets and text.isascii() and not re.search(r"(?<![\\A-Za-z{])[A-Za-z]{4,}", text)


def _points(symbols: set[sympy.Basic]) -> Iterator[dict[sympy.Basic, sympy.Expr]]:
    """Yield the same pseudo-random points between -3 and 3 for the same symbols."""
    draw = random.Random(0)
    for _ in range(_POINTS if symbols else 1):
        yield {symbol: sympy.Rational(draw.randrange(-3003, 3004), 1001) for symbol in sorted(symbols, key=str)}


_UNEVALUATED = (sympy.Function, sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit)


def _value(term: sympy.Expr, point: dict[sympy.Basic, sympy.Expr]) -> sympy.Expr | None:
    """Return the complex value of a term at a point, or None if it has none."""
    value = term.evalf(_DIGITS, subs=point)
    return value if value.is_number and value.is_finite and not value.atoms(*_UNEVALUATED) else None


def _near(one: sympy.Expr, other: sympy.Expr) -> bool:
    return bool(abs(one - other) <= max(_TINY, _CLOSE * max(abs(one), abs(other))))


def _same_values(left: sympy.Expr, right: sympy.Expr) -> bool | None:
    """Return whether two terms have the same values wherever both are real; None if they have no values."""
    symbols = left.free_symbols | right.free_symbols
    real = bool(symbols) and not left.has(sympy.I) and not right.has(sympy.I)
    compared = 0
    for point in _points(symbols):
        one, other = _value(left, point), _value(right, point)
        if one is None or other is None or (real and not (one.is_real and other.is_real)):
            continue
        if not _near(one, other):
            return False
        compared += 1
    return True if compared else None


def _rounded(decimal: str, term: sympy.Expr) -> bool:
    """Return whether a decimal is what a term's value rounds to."""
    written = number(decimal)
    places = len((written or "").partition(".")[2])
    if places < MIN_PLACES or term.free_symbols or (written or "").endswith("%"):
        return False
    value = _value(term, {})
    return value is not None and bool(abs(value - sympy.Rational(written)) * 2 * 10**places <= 1)
