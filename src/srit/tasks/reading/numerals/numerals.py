"""Finds numbers in a text as they are written, and compares them. Every pattern is linear."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from srit.tasks.reading.numerals.affixes import read_prefix, read_suffix, read_word_suffix
from srit.tasks.reading.numerals.amounts import joined
from srit.tasks.reading.numerals.digits import MAX_DIGITS, RUN, Numeral, run_value
from srit.tasks.reading.numerals.number_words import IN_WORDS, LEADS_ON, words_value

# Each character becomes exactly one, so that spans stay valid.
PLAIN = str.maketrans(
    "０１２３４５６７８９．，％－＋／＝＄：（）−‑‐\u00a0\u2007\u2009\u200a\u202f\u3000",
    "0123456789.,%-+/=$:()---      ",
) | {0x1D7CE + index: str(index % 10) for index in range(50)}
_GROUPING_SPACE = re.compile(r"(?<=\d)[\u00a0\u2007\u2009\u200a\u202f](?=\d{3}(?!\d))")


def plain(text: str) -> str:
    """Rewrite a text in plain characters, one for one; a space that can only group digits becomes an apostrophe."""
    return _GROUPING_SPACE.sub("'", text).translate(PLAIN)


def plain_answer(text: str) -> str:
    """Rewrite a text that is a whole answer in plain characters: there, "- 5" is negative and not a list item."""
    return re.sub(r"^[-–—] +(?=[\d.$\\])", "-", plain(text).strip())


# At the start of a line, such a number counts steps.
LIST_MARK = re.compile(r"(?m)^[ \t]*(?:(?:step|option)[ ])?[0-9]{1,3}[.):](?=\s)", re.IGNORECASE)


def find_numerals(text: str, start: int, end: int) -> list[Numeral]:
    """Find numbers in digits or symbols, in order, including those that are not read."""
    return joined(text, _in_digits(text, start, end))


def has_numeral(text: str, start: int, end: int) -> bool:
    """Return whether `find_numerals` would find any."""
    runs = RUN.finditer(text, start, end)
    return any(run["symbol"] or not _INDEX.search(text, max(start, run.start() - 3), run.start()) for run in runs)


def find_all_numerals(text: str, start: int, end: int) -> list[Numeral]:
    """Find numbers in digits, symbols, or words, in order."""
    found = [*_in_digits(text, start, end), *_in_words(text, start, end)]
    return joined(text, sorted(found, key=lambda numeral: numeral.start))


def _in_digits(text: str, start: int, end: int) -> list[Numeral]:
    found: list[Numeral] = []
    at = start
    while run := RUN.search(text, at, end):
        at = run.end()
        if run["symbol"]:
            found.append(Numeral(None, *run.span()))
        elif not _INDEX.search(text, max(start, run.start() - 3), run.start()):
            found.append(_numeral(text, run, start, end))
            at = found[-1].end
    return found


# An exponent or index whose base is not a number: "cm^2", "x_{1}".
_INDEX = re.compile(r"(?:\^|[^\W_]_)\{?[-+]?$")


def _numeral(text: str, run: re.Match[str], floor: int, limit: int) -> Numeral:
    prefix = read_prefix(text, floor, run.start())
    suffix = read_suffix(text, run[0], run_value(run[0]), (run.end(), limit), money=prefix.money)
    value = suffix.value * prefix.sign if suffix.value is not None and prefix.sign else None
    return Numeral(_shown(value, suffix.power, suffix.percent), prefix.start, suffix.end, suffix.ordinal)


def _in_words(text: str, start: int, end: int) -> list[Numeral]:
    found = []
    for words in IN_WORDS.finditer(text, start, end):
        whole = words_value(words[0])
        leads_on = LEADS_ON.match(text, words.end(), end)
        if leads_on and whole is not None and whole.denominator == 1:
            continue
        prefix = read_prefix(text, start, words.start())
        suffix = read_word_suffix(text, whole if prefix.sign and not leads_on else None, words.end(), end)
        value = None if suffix.value is None else suffix.value * prefix.sign
        found.append(Numeral(_shown(value, 0, suffix.percent), prefix.start, suffix.end, words=True))
    return found


def _shown(value: Fraction | None, power: int, percent: bool) -> str | None:
    """Write a value as a terminating decimal or else as a fraction, with an exponent if it has too many digits."""
    if value is None:
        return None
    if power and abs(power) <= MAX_DIGITS:
        value, power = value * Fraction(10) ** power, 0
    text = _decimal(value) or f"{value.numerator}/{value.denominator}"
    if power and "/" in text:
        return None
    return text + (f"e{power}" if power else "") + ("%" if percent else "")


def _decimal(value: Fraction) -> str | None:
    rest = value.denominator
    for prime in (10, 5, 2):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return None
    with localcontext() as context:
        context.prec = 2 * MAX_DIGITS + 500
        text = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


_MAX_ANSWER, _MAX_WRITTEN = 1000, 200  # characters of an answer that may hold a number, and of one that is a number
_CANONICAL = re.compile(r"(-?[0-9]+)(?:/([0-9]+)|(\.[0-9]+)?(?:e(-?[0-9]+))?)(%?)")


class _Value(NamedTuple):
    value: Fraction
    percent: bool
    places: int | None  # after the point; None for a fraction or a power


def _value(text: str) -> _Value | None:
    """Return the only number of a short text; None if it has none, several, or one that is not read."""
    return _value_of(text) if len(text) <= _MAX_ANSWER else None


# Each gold answer is compared with those of all samples and models, and each answer is read by several rules.
@lru_cache(maxsize=4096)
def _value_of(text: str) -> _Value | None:
    said = plain_answer(text)
    found = find_numerals(said, 0, len(said))
    match = _CANONICAL.fullmatch(found[0].text) if len(found) == 1 and found[0].text else None
    if match is None:
        return None
    whole, under, decimals, power, percent = match.groups()
    value = Fraction(int(whole), int(under)) if under else Fraction(whole + (decimals or ""))
    places = None if under or power else len(decimals or ".") - 1
    return _Value(value * Fraction(10) ** int(power or 0), bool(percent), places)


def is_number(text: str) -> bool:
    """Return whether a text is one number with at most a short unit next to it: "72", "$1,000.50", "5 cm", "1/2"."""
    return len(text) <= _MAX_WRITTEN and _is_number(text)


@lru_cache(maxsize=4096)
def _is_number(text: str) -> bool:
    said = plain_answer(text)
    found = find_numerals(said, 0, len(said))
    if len(found) != 1 or found[0].text is None:
        return False
    rest = said[: found[0].start] + said[found[0].end :]
    return re.fullmatch(r"[\s$£€¥.\\(]*[A-Za-z°²³. ()/]{0,20}", rest) is not None


def number_in_words(text: str) -> str | None:
    """Return the number of a text that is one number in words and nothing else, or None."""
    said = plain(text).strip(" .") if len(text) <= _MAX_WRITTEN else ""
    found = _in_words(said, 0, len(said))
    return found[0].text if len(found) == 1 and (found[0].start, found[0].end) == (0, len(said)) else None


MIN_ROUNDED_PLACES = 4  # AddSub writes 2/3 as 0.666667, and the question's own numbers have 16 places


def numbers_equal(first: str, second: str) -> bool:
    """Return whether two texts hold the same number.

    Compares values exactly, however they are written: 72.0 is 72, 1,000 is 1000, 1/2 is 0.5, $5 is 5. A percent sign is
    a unit that may be omitted or applied: 5% equals 5 and 0.05. A number with at least MIN_ROUNDED_PLACES decimals
    equals whatever rounds to it: 0.666667 is 2/3. A text without exactly one number (NaN, inf, "3 to 4")
    equals nothing.
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
