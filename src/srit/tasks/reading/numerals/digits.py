r"""Reads one number written in digits, with a pattern for all that may be a number and a grammar of what is read.

The pattern takes the longest run: "48 000", "3½", "12:30", "5'10". A run outside the grammar is a number that is not
read, so that no part of it passes for the whole. Every pattern is linear: each repetition is possessive or bounded.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

MAX_DIGITS = 100
MAX_EXPONENT = 10_000


class Numeral(NamedTuple):
    """Holds a number as it stands in a text."""

    text: str | None  # "-1234.5", "1/2", "5%"; None for a number that is not read, such as "3x" or "12:30"
    start: int
    end: int
    ordinal: bool = False
    words: bool = False  # written in words


_VULGAR = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
# Tells whether a text may hold a number at all, numbers in words aside.
ANY_DIGIT = re.compile(rf"[\d{_VULGAR}π∞√]|\\(?:pi|infty)")
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_SLASH = "[/⁄∕]"
# The braces of one LaTeX argument, two deep.
_GROUP = r"\{(?:[^{}\n]|\{[^{}\n]{0,80}+\}){0,80}+\}"
_PARENTHESES = r"\([^()\n]{0,40}+\)"
# A digit next to one of these letters belongs to a name. Next to a Chinese character, or after a currency code, it is
# a number.
_LETTERS = "A-Za-zÀ-ɏͰ-ӿ"
CODES = ("Rs", "USD", "EUR", "GBP", "INR", "CAD", "AUD", "CNY", "JPY", "RMB")

# May stand between digits. A space joins digits only where at most three precede it and exactly three follow.
_JOINT = rf"(?:[.,:'’]|\{{,\}}|,?\\[!,]|[ ]?{_SLASH}[ ]?|[ ]:[ ]|_(?=\d{{3}})|(?<!\d{{4}})[ ](?=\d{{3}}(?!\d)))"
_LATEX_FRACTION = r"\\[dtc]?frac[ ]?(?:\{[ ]?-?[0-9,]{1,100}[ ]?\}|[0-9])[ ]?(?:\{[ ]?[0-9]{1,100}[ ]?\}|[0-9])"
_PART = rf"(?:[{_VULGAR}]|{_LATEX_FRACTION}|\d++[ ]?{_SLASH}[ ]?\d++(?!{_SLASH}))"
_SYMBOL = rf"""
    \\(?:[dtc]?frac|sqrt|[dt]?binom|log|ln|sin|cos|tan)(?![A-Za-z])
        (?:_(?:{_GROUP}|\w))?+(?:\[[^\]\n]{{0,20}}+\])?+(?:[ ]?(?:{_GROUP}|{_PARENTHESES}|\d++)){{0,2}}+
  | \\(?:pi|infty)(?![A-Za-z])
  | (?<![α-ωΑ-Ω])π(?![α-ωΑ-Ω]) | ∞
  | [√∛∜][ ]?(?:\d++(?:\.\d++)?+|{_PARENTHESES})?+
  | (?<![A-Za-z])(?:(?:sqrt|cbrt|log|ln|sin|cos|tan)[ ]?{_PARENTHESES}|log_\{{?\w{{1,9}}+\}}?[ ]?(?:{_PARENTHESES}|\d++)
    |(?:sin|cos|tan)[ ]\d++)
"""
_AFTER_CODE = "|".join(rf"(?<=\b{code})" for code in CODES)
_NOT_IN_A_NAME = rf"""
    (?:(?<![{_LETTERS}\d])|{_AFTER_CODE})
    (?<!\d[.,:/'’])(?<![{_LETTERS}\d)}}\]]_)
"""
RUN = re.compile(
    rf"""
    {_NOT_IN_A_NAME}
    (?: \d{{4}}-\d\d-\d\d(?!\d)
      | \d++(?:{_JOINT}\d++)*+(?:(?:[ ]|[ ]and[ ]|-)?{_PART})?+
      | (?<![A-Za-z.])\.\d++
      | {_PART} )
  | (?P<symbol>{_SYMBOL})
    """,
    re.VERBOSE,
)

_SEPARATOR = r"(?P<separator>,|\{,\}|\\!|,\\!|\\,|[ ]|'|’|_)"
_GROUPED = rf"[1-9][0-9]{{0,2}}{_SEPARATOR}[0-9]{{3}}(?:(?P=separator)[0-9]{{3}})*"
_INDIAN = r"[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}"
_DECIMAL = re.compile(rf"(?P<whole>{_GROUPED}|{_INDIAN}|[0-9]+)?(?P<decimals>\.[0-9]+)?")
# "48.000,50" and "1.234.567" can mean nothing else. "8,5" may be two numbers.
_EUROPEAN = re.compile(
    r"(?P<whole>[1-9][0-9]{0,2}(?:(?:\.[0-9]{3})+(?=,)|(?:\.[0-9]{3}){2,}))(?:,(?P<decimals>[0-9]+))?"
)
_FRACTION = re.compile(
    rf"(?:(?P<mixed>[0-9]{{1,9}})(?:[ ]|[ ]and[ ]|-))?(?P<over>{_GROUPED}|[0-9]+)[ ]?{_SLASH}[ ]?(?P<under>[0-9]+)"
)
_WITH_VULGAR = re.compile(rf"(?:(?P<mixed>[0-9]{{1,9}})(?:[ ]|[ ]and[ ]|-)?)?(?P<vulgar>[{_VULGAR}])")
_WITH_LATEX = re.compile(
    r"(?:(?P<mixed>[0-9]{1,9})(?:[ ]|[ ]and[ ])?)?\\[dtc]?frac[ ]?(?:\{[ ]?(?P<top>-?[0-9,]+)[ ]?\}|(?P<tops>[0-9]))"
    r"[ ]?(?:\{[ ]?(?P<bottom>[0-9]+)[ ]?\}|(?P<bottoms>[0-9]))"
)


def run_value(run: str) -> Fraction | None:
    """Return the value of a run, or None if it is outside the grammar, divides by zero, or is too long."""
    if len(run) > 3 * MAX_DIGITS:
        return None
    if match := _DECIMAL.fullmatch(run):
        return _decimal(match["whole"] or "0", match["decimals"] or "")
    if match := _EUROPEAN.fullmatch(run):
        return _decimal(match["whole"], f".{match['decimals'] or 0}")
    if match := _FRACTION.fullmatch(run):
        return _mixed(match["mixed"], _ratio(match["over"], match["under"]))
    if match := _WITH_VULGAR.fullmatch(run):
        return _mixed(match["mixed"], Fraction(unicodedata.numeric(match["vulgar"])).limit_denominator(10))
    if match := _WITH_LATEX.fullmatch(run):
        return _mixed(match["mixed"], _ratio(match["top"] or match["tops"], match["bottom"] or match["bottoms"]))
    return None


def _decimal(whole: str, decimals: str) -> Fraction | None:
    digits = re.sub(r"[^0-9]", "", whole)
    return Fraction(digits + decimals) if len(digits + decimals) <= MAX_DIGITS else None


def _ratio(over: str, under: str) -> Fraction | None:
    top = re.sub(r"[^-0-9]", "", over)
    if max(len(top), len(under)) > MAX_DIGITS or int(under) == 0:
        return None
    return Fraction(int(top), int(under))


def _mixed(whole: str | None, part: Fraction | None) -> Fraction | None:
    """Add a whole number and a fraction: 2 1/2 is 2.5, but 2 5/2 may be a product or a slip and is not read."""
    if whole is None or part is None:
        return part
    return int(whole) + part if 0 < part < 1 else None


_EXPONENT = (
    rf"(?:[ ]?(?:\^|\*\*(?=-?[0-9]))[ ]?(?:{_GROUP}|{_PARENTHESES}|-?\w++(?:\.\w++)?+)?+|[⁻⁺]?[{_SUPERSCRIPTS}]++)"
)
_TIMES = r"[ ]?(?:[x×*·⋅∙]|\\times|\\cdot)[ ]?"
POWER_OF_TEN = re.compile(rf"(?P<exponent>{_EXPONENT})(?![\^{_SUPERSCRIPTS}])")
SCIENTIFIC = re.compile(rf"[eE](?P<short>[+-]?[0-9]{{1,6}})(?!\w|\.\w)|{_TIMES}10{POWER_OF_TEN.pattern}")


def exponent(written: str) -> int | None:
    """Return the exponent of "^{-4}", "**4", "⁴", or "4"; None unless it is a whole number up to MAX_EXPONENT."""
    digits = written.translate(str.maketrans(f"{_SUPERSCRIPTS}⁻⁺", "0123456789-+"))
    match = re.fullmatch(r"[ ]?[\^*]{0,2}[ ]?[{(]?[ ]?([+-]?[0-9]{1,6})[ ]?[)}]?", digits)
    return int(match[1]) if match and abs(int(match[1])) <= MAX_EXPONENT else None


# Single letters that are units after a number; any other letter is a variable: "3x".
_UNIT_LETTERS = "mgshlLVAWJNKCFcpdt"
# These turn the number before them into another one: a power, a base, "…", or the "x" of "3x".
CLOUDED = re.compile(
    rf"""
    (?![ ]?\^\{{?\\circ|[ ]?\^\{{?(?:\\(?:text|mathrm|rm)\{{)?(?:st|nd|rd|th)\b)[)\]}}]{{0,2}}{_EXPONENT}
  | [ⁿˣ] | _(?:{_GROUP}|[0-9A-Za-z]++) | [₀-₉]++ | [\u0300-\u036f]++
  | \.\([0-9]++\) | \.?[0-9]*+\\(?:overline|bar|dot)(?![A-Za-z])(?:{_GROUP})?+
  | [ ][A-Za-z]++[ ]and[ ](?:an?|one)[ -](?:half|third|quarter)\b
  | [ ](?:squared|cubed|to[ ]the[ ]power(?:[ ]of)?(?:[ ]-?[0-9]++)?)\b
  | [ ]to[ ]the[ ][0-9]*+[a-z]{{2,9}}+(?:[ ]power\b|(?![ ]*\w))
  | [ ](?:degrees?[ ])?below[ ]zero\b
  | [ ](?:[MBT](?![\w'’&-])|mil|mln|tens)\b
  | [ ]?(?:[‰‱]|per[ ]?mill?e?\b|[十百千万萬億亿兆半点]|k(?![\w'’])|pi\b) | [ -]dozen\b
  | (?<=\b0)[xXbBoO][0-9A-Fa-f]++
  | (?![{_UNIT_LETTERS}kKMxX])[A-Za-z](?![A-Za-z]) | [xX](?![A-Za-z]|[ ]?[0-9(]) | (?![xX][0-9])[A-Za-z]++[0-9]\w*+
    """,
    re.VERBOSE,
)
# These count only after decimals ("0.33…", "0.1(6)"): "all 12…" trails off in prose.
REPEATING = re.compile(r"\([0-9]++\)|\.{2,}+|…|\\[lc]?dots")
# Before a word, "5 100" may be two numbers; at the end of a text, and as "5 000", it is one.
SPACED = re.compile(r"[1-9][0-9]{0,2}(?: [1-9][0-9]{2})+(?:\.[0-9]+)?")
# With three decimals, the last of them zero, the point may separate thousands: "48.000".
POINT_IN_DOUBT = re.compile(r"[^0-9]*[1-9][0-9]{0,2}\.[0-9]{2}0(?![0-9,.]).*", re.DOTALL)
