"""Joins neighboring numbers that are one number: "4 dollars and 25 cents", "1 hour 30 minutes", "5 to 6", "2√3"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from srit.tasks.reading.numerals.affixes import MONEY
from srit.tasks.reading.numerals.digits import Numeral
from srit.tasks.reading.numerals.number_words import SCALES

# Each row goes from the largest unit to the smallest.
_PARTS_OF_UNITS = (
    ("years?|yrs?", "months?|mos?", "weeks?|wks?", "days?", "hours?|hrs?|h", "minutes?|mins?|m", "seconds?|secs?|s"),
    ("miles?|mi", "yards?|yds?", "feet|foot|ft", "inch|inches|in"),
    ("kilomet(?:er|re)s?|km", "met(?:er|re)s?|m", "centimet(?:er|re)s?|cm", "millimet(?:er|re)s?|mm"),
    ("tons?|tonnes?", "stones?", "pounds?|lbs?", "ounces?|oz"),
    ("kilograms?|kilos?|kgs?", "grams?|g", "milligrams?|mg"),
    ("gallons?|gal", "quarts?|qts?", "pints?|pts?", "cups?", "tablespoons?|tbsps?", "teaspoons?|tsps?"),
    ("lit(?:er|re)s?|l", "millilit(?:er|re)s?|ml"),
    ("degrees?", "minutes?", "seconds?"),
)
_RANKS = [[re.compile(rf"(?:{names})", re.IGNORECASE) for names in row] for row in _PARTS_OF_UNITS]
_UNIT_BETWEEN = re.compile(r"[ -]?(?P<unit>[A-Za-z]{1,12})\.?,?[ ](?:and[ ])?")
_UNIT_AFTER = re.compile(r"[ -]?(?P<unit>[A-Za-z]{1,12})\b")
_MONEY_BETWEEN = re.compile(r"(?P<unit>[ -](?:dollars?|bucks?|euros?|pounds?|rupees?))?,?[ ](?:and[ ])?", re.IGNORECASE)
_CENTS_AFTER = re.compile(r"[ ]?(?:cents?\b|¢|pence\b|paise\b)", re.IGNORECASE)
_MONEY_AHEAD = re.compile(rf"-?{MONEY}", re.IGNORECASE)
_SCALED = re.compile(rf"(?:{'|'.join(SCALES)})s?$", re.IGNORECASE)
_SYMBOL = re.compile(r"[√∛∜π∞]|\\[a-z]|(?:sqrt|cbrt)\b")
_TIMES = re.compile(r"[ ]?(?:\*|·|⋅|×|\\cdot|\\times|\\,)?[ ]?")
_TO = re.compile(r"-|[ ](?:to|through|thru)[ ](?:about[ ])?", re.IGNORECASE)
_PAIRED = re.compile(r"\b(?:between|(?:sum|product|difference|quotient)[ ]of)[ ]$", re.IGNORECASE)
_APART = re.compile(
    r"[–—]|[ ]?~[ ]?|\.{2,}|…|[ ]?(?:±|\+/-|\\pm)[ ]?|['’′°][ ]?|[ ]?\(?(?:\\[bp]?mod|mod|modulo|choose)\b[ {]{0,2}"
)
_MAX_GAP = 24


def joined(text: str, numerals: Iterable[Numeral]) -> list[Numeral]:
    """Join the numbers that are one: dollars and cents are read as such, any other joined number is not read."""
    found: list[Numeral] = []
    for numeral in numerals:
        if found and numeral.start < found[-1].end:
            continue
        one = _one(text, found[-1], numeral) if found else None
        found[-1:] = [one] if one else [*found[-1:], numeral]
    return found


def _one(text: str, first: Numeral, second: Numeral) -> Numeral | None:
    if second.start - first.end > _MAX_GAP:
        return None
    gap = text[first.end : second.start]
    words = first.words and second.words
    between, cents = _MONEY_BETWEEN.fullmatch(gap), _CENTS_AFTER.match(text, second.end)
    if between and cents and (between["unit"] or _MONEY_AHEAD.match(text, first.start, first.end)):
        return Numeral(_dollars(first, second), first.start, cents.end(), words=words)
    scaled = gap in (" ", " and ") and _SCALED.search(text, max(first.start, first.end - 12), first.end)
    if scaled or _is_range(text, first, second, gap) or _is_part(text, second, gap):
        return Numeral(None, first.start, second.end, words=words)
    return None


def _dollars(dollars: Numeral, cents: Numeral) -> str | None:
    if not (dollars.text and cents.text and re.fullmatch(r"-?[0-9]+", dollars.text)):
        return None
    if not re.fullmatch(r"[0-9]{1,2}", cents.text):
        return None
    return f"{dollars.text}.{int(cents.text):02}".rstrip("0").rstrip(".")


def _is_range(text: str, first: Numeral, second: Numeral, gap: str) -> bool:
    before = text[max(0, first.start - 24) : first.start]
    if _APART.fullmatch(gap) or (gap == " and " and _PAIRED.search(before)):
        return True
    # "18-15" is a difference, and "from 5 to 6" may be a change from 5 to the answer 6.
    return bool(_TO.fullmatch(gap)) and _ascend(first, second) and not before.endswith(("from ", "From "))


def _ascend(first: Numeral, second: Numeral) -> bool:
    if first.text is None or second.text is None or "e" in first.text + second.text:
        return False
    return Fraction(first.text.rstrip("%")) < Fraction(second.text.rstrip("%"))


def _is_part(text: str, second: Numeral, gap: str) -> bool:
    """Return whether the second number is part of the first, as in "2√3" or "1 hour 30 minutes"."""
    if second.text is None and _TIMES.fullmatch(gap) and _SYMBOL.match(text, second.start):
        return True
    between, after = _UNIT_BETWEEN.fullmatch(gap), _UNIT_AFTER.match(text, second.end)
    return between is not None and after is not None and _is_smaller(between["unit"], after["unit"])


def _is_smaller(whole: str, part: str) -> bool:
    for row in _RANKS:
        wholes = [rank for rank, names in enumerate(row) if names.fullmatch(whole)]
        parts = [rank for rank, names in enumerate(row) if names.fullmatch(part)]
        if wholes and parts and wholes[0] < parts[0]:
            return True
    return False
