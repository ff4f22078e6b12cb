"""Refuses formulas that sympy would need minutes or all memory for, or find no value of, by how they are written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from srit.tasks.judging.writing import plain

MAX_ANSWER = 1000  # characters
MAX_NESTING = 20  # brackets in brackets
MAX_EXPONENT = 99_999
MAX_BINOMIAL = 99_999
MAX_SUMMANDS = 9_999

_EXPONENT = re.compile(r"\^\s?\{?\s?-?\s?([0-9]+)(?:\s?\}?\s?\^\s?\{?\s?([0-9]+))?(\s?\}?\s?\^)?")
_BINOMIAL = re.compile(r"\\binom\s?\{([^{}]*)\}")
_SUM = re.compile(r"\\(?:sum|prod)(?![A-Za-z])\s?(?:_\s?(?:\{[^{}]*\}|\S)\s?(?:\^\s?(?:\{([^{}]*)\}|(\S)))?)?")
_RUN = re.compile(r"([-+*/^_|=<>!])\s?\1\s?\1\s?\1")


def refusal(latex: str) -> str | None:
    """Say why an answer is not computed; None if it may be."""
    if len(latex) > MAX_ANSWER:
        return f"it has more than {MAX_ANSWER} characters"
    text = plain(latex)
    return next((reason for check in _CHECKS if (reason := check(text))), None)


def _nested(text: str) -> str | None:
    depth = deepest = 0
    for bracket in re.finditer(r"[({\[]|[)}\]]", text):
        depth += 1 if bracket[0] in "({[" else -1
        deepest = max(deepest, depth)
    return f"its brackets are more than {MAX_NESTING} deep" if deepest > MAX_NESTING else None


def _power(text: str) -> str | None:
    for base, exponent, third in _EXPONENT.findall(text):
        digits = len(base) if not exponent else float(exponent[:9]) * math.log10(max(2, int(base[:9])))
        if third or digits > math.log10(MAX_EXPONENT) + (not exponent):
            return f"an exponent is above {MAX_EXPONENT}"
    return None


def _number_of_subsets(text: str) -> str | None:
    large = any(re.search(r"[0-9]{6}|\^", top) for top in _BINOMIAL.findall(text))
    return f"it counts subsets of more than {MAX_BINOMIAL}" if large else None


def _long_sum(text: str) -> str | None:
    bounds = [braced or bare for braced, bare in _SUM.findall(text)]
    large = any(re.search(r"[0-9]{5}|\\infty|\^|^$", bound) for bound in bounds)
    return f"it is a sum or product of more than {MAX_SUMMANDS} terms" if large else None


def _repeated(text: str) -> str | None:
    return "signs follow one another" if _RUN.search(text) or text.count("|") > MAX_NESTING else None


_CHECKS: tuple[Callable[[str], str | None], ...] = (_nested, _power, _number_of_subsets, _long_sum, _repeated)
