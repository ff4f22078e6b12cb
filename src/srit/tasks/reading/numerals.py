"""Numbers as they are written: found in a text, and compared. Every pattern is linear."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

MAX_DIGITS = 100
MAX_EXPONENT = 10_000

# One character each, so that spans stay true.
PLAIN = str.maketrans("０１２３４５６７８９．，％－＋／＝＄：（）−‑\u00a0\u202f", "0123456789.,%-+/=$:()--  ")

_SEPARATOR = r"(?:,|\{,\}|\\!|,\\!|\\,)"
_DIGITS = rf"(?:[0-9]{{1,3}}(?:{_SEPARATOR}[0-9]{{3}})+(?![0-9])|[0-9]+)"
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NUMERAL = re.compile(
    rf"""
    (?:(?<![\w)\]}}%.])(?P<sign>[-+])(?=[\\$£€¥0-9.]))?    # not "18-15", and not the list mark of "- 15"
    (?:(?:\\?\$|[£€¥])\s?(?P<inner>-)?)?
    (?<![A-Za-z0-9_])(?<![0-9]\.)(?<![0-9],)
    (?:
        (?:(?P<wide>[0-9]{{1,9}})\s?)?\\[dt]?frac\s?
            (?:\{{\s?(?P<top>-?[0-9]{{1,100}})\s?\}}\s?\{{\s?(?P<bottom>[0-9]{{1,100}})\s?\}}
            |(?P<tops>[0-9])(?P<bottoms>[0-9]))
      | (?:(?P<whole>[0-9]{{1,9}})(?:[ ]|[ ]and[ ]|-))?
        (?P<over>{_DIGITS})[ ]?/[ ]?(?P<under>[0-9]{{1,100}})(?![0-9]|[./][0-9])
      | (?P<plain>{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)
        (?:[eE](?P<power>[+-]?[0-9]{{1,6}})(?![\w.])|\s?(?:[x×*]|\\times|\\cdot)\s?10\^\{{?(?P<tens>-?[0-9]{{1,6}})\}}?)?
    )
    (?P<ordinal>(?:st|nd|rd|th)\b)?
    (?P<percent>\s?\\?%|[ ]per[ ]?cent\b)?
    (?:[ ]\b(?P<scale>{"|".join(_SCALES)})\b)?
    """,
    re.VERBOSE,
)
# As a first thing in a line it counts the steps.
LIST_MARK = re.compile(r"(?m)^[ \t]*(?:(?:step|option)[ ])?[0-9]{1,3}[.):](?=\s)", re.IGNORECASE)
# A sum that has no result behind it: "3 * 5", "10-12".
GOES_ON = re.compile(r"[ ]?(?:[-+*/×÷^]|x(?![A-Za-z])|\\times|\\cdot|\\div)[ ]?\\?\$?[0-9(]")
_BELOW_20 = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_FULL_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: value for value, word in enumerate(_BELOW_20.split(" "))}
_TENS = {word: 10 * value for value, word in enumerate(_FULL_TENS.split(" "), start=2)}
# The longest first: "sixty" before "six".
_WORD = "|".join(sorted([*_UNITS, *_TENS, *_SCALES], key=len, reverse=True))
IN_WORDS = re.compile(
    rf"[\s*:\"'($]{{0,9}}((?:{_WORD})(?:[\s-](?:and\s)?(?:{_WORD})){{0,12}})\b(?![- ]of\b)",
    re.IGNORECASE,
)


def from_words(words: str) -> int:
    """ "two hundred and four" is 204."""
    total = group = 0
    for word in re.findall(_WORD, words.lower()):
        if word in _SCALES and _SCALES[word] > 2:
            total, group = total + max(group, 1) * 10 ** _SCALES[word], 0
        elif word == "hundred":
            group = max(group, 1) * 100
        else:
            group += _UNITS[word] if word in _UNITS else _TENS[word]
    return total + group


class Numeral(NamedTuple):
    text: str  # "-1234.5", "1/2", "5%"
    start: int
    end: int
    ordinal: bool


def _shown(value: Fraction) -> str:
    """A decimal where it ends, else a fraction."""
    rest, places = value.denominator, 0
    while rest % 10 == 0 or rest % 5 == 0 or rest % 2 == 0:
        rest //= 10 if rest % 10 == 0 else 5 if rest % 5 == 0 else 2
        places += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    with localcontext() as context:
        context.prec = 2 * MAX_DIGITS + 500
        text = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _magnitude(match: re.Match[str]) -> Fraction | None:
    part = match.groupdict()
    if part["plain"]:
        digits = re.sub(_SEPARATOR, "", part["plain"])
        return Fraction(digits) if len(digits) <= MAX_DIGITS else None
    top = part["top"] or part["tops"] or re.sub(_SEPARATOR, "", part["over"] or "")
    bottom = part["bottom"] or part["bottoms"] or part["under"]
    if len(top) > MAX_DIGITS or int(bottom) == 0:
        return None
    return int(part["wide"] or part["whole"] or 0) + Fraction(int(top), int(bottom))


def _numeral(match: re.Match[str]) -> Numeral | None:
    """None: division by zero, or beyond MAX_DIGITS and MAX_EXPONENT."""
    value = _magnitude(match)
    power = int(match["power"] or match["tens"] or 0)
    if value is None or abs(power) > MAX_EXPONENT:
        return None
    value *= 10 ** _SCALES.get(match["scale"] or "", 0)
    negative = (match["sign"] == "-") != (match["inner"] == "-")
    text = _shown(-value if negative else value) + (f"e{power}" if power else "") + ("%" if match["percent"] else "")
    return Numeral(text, *match.span(), ordinal=match["ordinal"] is not None)


def find_numerals(text: str, start: int, end: int) -> list[Numeral]:
    found = [_numeral(match) for match in _NUMERAL.finditer(text, start, end)]
    return [numeral for numeral in found if numeral is not None]


_CANONICAL = re.compile(r"(-?[0-9]+)(?:/([0-9]+)|(\.[0-9]+)?(?:e(-?[0-9]+))?)(%?)")


class _Value(NamedTuple):
    value: Fraction
    percent: bool
    places: int | None  # behind the point; None: a fraction or a power


def _value(text: str) -> _Value | None:
    """The one number of a short text; None: none, or several."""
    found = find_numerals(text.translate(PLAIN), 0, len(text)) if len(text) <= 1000 else []
    match = _CANONICAL.fullmatch(found[0].text) if len(found) == 1 else None
    if match is None:
        return None
    whole, under, decimals, power, percent = match.groups()
    value = Fraction(int(whole), int(under)) if under else Fraction(whole + (decimals or ""))
    places = None if under or power else len(decimals or ".") - 1
    return _Value(value * Fraction(10) ** int(power or 0), bool(percent), places)


def is_number(text: str) -> bool:
    """Whether a text is one number and at most a short unit beside it: "72", "$1,000.50", "5 cm", "1/2"."""
    plain = text.translate(PLAIN).strip()
    found = find_numerals(plain, 0, len(plain)) if len(plain) <= 200 else []
    if len(found) != 1:
        return False
    rest = plain[: found[0].start] + plain[found[0].end :]
    return re.fullmatch(r"[\s$£€¥.\\(]*[A-Za-z°²³. ()/]{0,20}", rest) is not None


MIN_ROUNDED_PLACES = 4  # AddSub writes 2/3 as 0.666667, and the question's own numbers have 16 places


def numbers_equal(first: str, second: str) -> bool:
    """Whether two texts hold the same number.

    Exactly, but for writing: 72.0 is 72, 1,000 is 1000, 1/2 is 0.5, $5 is 5. A percent sign is a unit that may be
    left out or worked in: 5% equals 5 and 0.05. A number with MIN_ROUNDED_PLACES or more equals what rounds to it:
    0.666667 is 2/3. A text without exactly one number (NaN, inf, "3 to 4") equals nothing.
    """
    one, other = _value(first), _value(second)
    if one is None or other is None:
        return False
    if one.value == other.value or _rounds_to(one, other) or _rounds_to(other, one):
        return True
    hundred = Fraction(1, 100) if one.percent else Fraction(100)
    return bool(one.percent != other.percent and one.value * hundred == other.value)


def _rounds_to(fine: _Value, coarse: _Value) -> bool:
    places = coarse.places
    if places is None or places < MIN_ROUNDED_PLACES or (fine.places is not None and fine.places <= places):
        return False
    return abs(fine.value - coarse.value) * int(10**places) <= Fraction(1, 2)
