"""Reads what belongs to a number right before and after it: sign, currency, power, scale, percent."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from srit.tasks.reading.numerals.digits import CLOUDED, CODES, POWER_OF_TEN, REPEATING, SCIENTIFIC, SPACED, exponent
from srit.tasks.reading.numerals.number_words import PARTS, SCALES, words_value

MONEY = rf"(?:(?:US|AU?|CA?|NZ|HK|SG?|R|NT)?\\?\$|[£€¥₹₽₩₺₫₴₦₱฿₪]|\b(?:{'|'.join(CODES)})\.?)"
_SIGNS = re.compile(
    rf"(?:\b(?P<word>minus|negative)[ ]|(?P<sign>[-–—+])(?P<gap>[ ]?))?(?P<money>{MONEY}[ ]?(?P<inner>[-–])?)?$",
    re.IGNORECASE,
)
# "18-15" is a difference, "word–15" a dash.
_JOINED = re.compile(r"(?:[\w)\]}%.'’-]|\w_)$")
_EQUALS = re.compile(r"[=≈{(][ ]*[\\$*(]*$")
_IS = re.compile(r"(?:\b(?:is|are|was|were|be|equals?)|\#{4}|^)[ ]*[*$]*$", re.IGNORECASE)
_OPERAND = re.compile(r"(?:[\w)\]}%][ ]?)$")
# These make a number unknown, or only a bound: "± 5", "> 5", "x/5".
_CLOUDS = re.compile(
    r"""(?:[±∓]|\+/-|\\[pm]{2}|(?<![<>="'-])[<>](?![<>])=?|[≤≥≠]|!=|\\(?:leq?|geq?|lt|gt|neq?)"""
    r"|[A-Za-zπ)\]}](?:/|[ ]?[÷⁄][ ]?|[ ]/[ ])"
    r"|\b(?:twice|double|triple|thrice|half)(?:[ ]of)?[ ]|\b(?:root|square|cube|factorial|logarithm|reciprocal)[ ]of[ ]"
    r"|[⌊⌈]|-\(|(?:\\(?:max|min|gcd|lcm)|(?<!\\)\b[A-Za-z]{1,4})\("
    # A variable: the number is part of "x + 2" or "3n - 1".
    r"|(?:(?<![A-Za-z'’.])[b-z]|[0-9][A-Za-z]|[πθ])[ ]?[-+*/×÷·])[ ]?$"
)
# A quoted line, a tag, and "<5>" are not bounds.
_BRACKETS = re.compile(r"(?:(?:^|\n)[ ]*>|<[/|]?[A-Za-z][^<>\n]{0,40}>)[ ]?$")


class Prefix(NamedTuple):
    """Holds what was found before a number."""

    start: int
    sign: int  # 1 or -1; 0 if it is unclear, or if the number is only a bound
    money: bool


def read_prefix(text: str, floor: int, start: int) -> Prefix:
    """Read the sign and currency of a number that begins at `start`, taking nothing before `floor`."""
    match = _SIGNS.search(text, max(floor, start - 24), start)
    assert match is not None  # it may be empty
    ahead = text[max(0, match.start() - 48) : match.start()]
    sign = _sign(match, ahead)
    signed = sign != 1 or (match["sign"] == "+" and not _OPERAND.search(ahead))
    begin = match.start() if signed else match.start("money") if match["money"] else start
    before = text[max(0, begin - 48) : begin]
    clouded = _CLOUDS.search(before) and not _BRACKETS.search(before) and not _closes_bracket(text, before, start)
    return Prefix(begin, 0 if clouded else sign, match["money"] is not None)


def _closes_bracket(text: str, before: str, start: int) -> bool:
    return before.endswith("<") and re.compile(r"[^<>\n]{1,40}>").match(text, start) is not None


def _sign(match: re.Match[str], before: str) -> int:
    if match["inner"]:
        return -1
    if match["word"]:
        # "10 minus 5" subtracts.
        return 1 if match["word"].lower() == "minus" and _OPERAND.search(before) and not _IS.search(before) else -1
    if match["sign"] in (None, "+"):
        return 1
    return _spaced(match["sign"], before) if match["gap"] else _attached(match["sign"], before)


def _attached(sign: str, before: str) -> int:
    if _JOINED.search(before):
        return 1
    # An em dash is more likely a dash than a sign.
    return -1 if sign != "—" or _EQUALS.search(before) or _IS.search(before) else 0


def _spaced(sign: str, before: str) -> int:
    """Read "- 5" as an item at the start of a line, as a dash after a word, and as negative after "is" or "="."""
    if not before or before.rstrip(" ").endswith("\n"):
        return 1
    if _EQUALS.search(before):
        return -1
    if _IS.search(before):
        return -1 if sign == "-" else 0
    return 0 if before.rstrip(" *_").endswith(":") else 1


_PART = "|".join(sorted(PARTS, key=len, reverse=True))
_AND_A_HALF = re.compile(
    rf"[ ]and[ ](?P<words>(?:an?|one|two|three|four|five|six|seven|eight|nine)[ -](?:{_PART})s?)\b", re.IGNORECASE
)
# "3 quarters" may be coins.
_PARTS_OF_ONE = re.compile(rf"[ -](?!half|halves|quarter)(?P<part>{_PART})(?P<plural>s)?\b", re.IGNORECASE)
_SCALE_WORDS = re.compile(rf"(?:[ -](?:{'|'.join(SCALES)}|lac)s?\b)+", re.IGNORECASE)
_SHORT = {"k": 3, "m": 6, "mn": 6, "b": 9, "bn": 9, "t": 12, "tn": 12}
_SHORT_OF_MONEY = re.compile(r"[ ]?(?P<scale>k|mn?|bn?|tn?)(?![\w/])", re.IGNORECASE)
_SHORT_SCALE = re.compile(r"(?P<scale>[kKM]|bn|mn|Mn|Bn)(?![\w/])|[ ](?P<spaced>bn|mn)\b")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b|\^\{?(?:\\(?:text|mathrm|rm)\{)?(?:st|nd|rd|th)\b")
_PERCENT = re.compile(r"\s?\\?%|[ -]?per[ ]?cent\b|[ ]pct\b", re.IGNORECASE)
_WORD = re.compile(r"[ -][A-Za-z]")
_MODULO = re.compile(r"\s?\\?%[ ]?[0-9]")


class Suffix(NamedTuple):
    """Holds the value of a number together with what stands after it."""

    value: Fraction | None  # None if what stands there makes it a number that is not read
    end: int
    power: int = 0
    percent: bool = False
    ordinal: bool = False


def read_suffix(text: str, run: str, value: Fraction | None, span: tuple[int, int], *, money: bool) -> Suffix:
    """Read what follows a run of digits that ends at span[0], up to span[1]."""
    end, limit = span
    power = 0
    tens = POWER_OF_TEN.match(text, end, limit) if run == "10" else None
    if scientific := tens or SCIENTIFIC.match(text, end, limit):
        written = exponent(scientific.groupdict().get("short") or scientific["exponent"])
        end, power = scientific.end(), written or 0
        value = None if written is None else Fraction(1) if tens else value
    short = (_SHORT_OF_MONEY if money else _SHORT_SCALE).match(text, end, limit)
    if value is not None and short:
        name = short["scale"] or short["spaced"]
        return Suffix(value * 10 ** _SHORT[name.lower()], short.end(), power)
    cloud = CLOUDED.match(text, end, limit) or ("." in run and REPEATING.match(text, end, limit))
    if cloud or _MODULO.match(text, end, limit) or (SPACED.fullmatch(run) and _WORD.match(text, end, limit)):
        return Suffix(None, cloud.end() if cloud else end)
    return _in_words(text, value, end, limit, power)


def _in_words(text: str, value: Fraction | None, end: int, limit: int, power: int) -> Suffix:
    if (half := _AND_A_HALF.match(text, end, limit)) and value is not None:
        part = words_value(half["words"])
        value, end = (None if part is None or value.denominator != 1 else value + part), half.end()
    elif (parts := _PARTS_OF_ONE.match(text, end, limit)) and value is not None and (parts["plural"] or value == 1):
        value, end = value / PARTS[parts["part"].lower()], parts.end()
    ordinal = _ORDINAL.match(text, end, limit)
    end = ordinal.end() if ordinal else end
    if scale := _SCALE_WORDS.match(text, end, limit):
        words = re.findall("|".join(SCALES), scale[0].lower().replace("lac", "lakh"))
        value, end = (None if value is None else value * 10 ** sum(SCALES[word] for word in words)), scale.end()
    percent = _PERCENT.match(text, end, limit)
    return Suffix(value, percent.end() if percent else end, power, percent is not None, ordinal is not None)


def read_word_suffix(text: str, value: Fraction | None, end: int, limit: int) -> Suffix:
    """Read what follows a number in words."""
    percent = _PERCENT.match(text, end, limit)
    return Suffix(value, percent.end() if percent else end, percent=percent is not None)
