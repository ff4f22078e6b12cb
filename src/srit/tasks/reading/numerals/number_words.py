"""Reads numbers in English words: "two hundred and four", "three and a half", "a dozen"."""

from __future__ import annotations

import re
from fractions import Fraction

_BELOW_20 = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_FULL_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = "third fourth fifth sixth seventh eighth ninth tenth"
SCALES = {
    "hundred": 2, "thousand": 3, "lakh": 5, "million": 6, "crore": 7, "billion": 9, "trillion": 12,
}  # fmt: skip
PARTS = {
    "half": 2, "quarter": 4, "hundredth": 100, "thousandth": 1000,
    **{word: under for under, word in enumerate(_ORDINALS.split(" "), start=3)},
}  # fmt: skip
_VALUES = {word: value for value, word in enumerate(_BELOW_20.split(" "))} | {
    word: 10 * value for value, word in enumerate(_FULL_TENS.split(" "), start=2)
}

# The longest words come first: "sixty" before "six".
_NUMBER = "|".join(sorted([*_VALUES, *SCALES], key=len, reverse=True))
_PART = "|".join(sorted(PARTS, key=len, reverse=True))
IN_WORDS = re.compile(
    rf"""
    (?<![\w-])(?:an?[ ](?=(?:{"|".join(SCALES)}|dozen|{_PART})\b))?+
    (?:half[ ]a[ ]dozen|{_NUMBER}|half|(?<=a[ ])(?:dozen|{_PART}))\b
    (?:(?:[ -]|,[ ]|[ ]and[ ](?:an?[ ](?=(?:{_PART})\b))?+|[ ]point[ ])(?:{_NUMBER}|(?:{_PART})s?|dozen|halves)\b)*+
    """,
    re.VERBOSE | re.IGNORECASE,
)
# "one of them", "half of it", "half an hour": part of something that may itself be a number.
LEADS_ON = re.compile(r"[ -](?:of|an?)\b", re.IGNORECASE)


def words_value(words: str) -> Fraction | None:
    """Return 204 for "two hundred and four"; None if the words are not one number, as in "nineteen ninety"."""
    tokens = re.findall(rf"an?\b|and|point|,|dozen|halves|(?:{_PART})s?\b|{_NUMBER}", words.lower())
    return _shaped("".join(map(_kind, tokens)), tokens)


def _kind(token: str) -> str:
    """Map each word to one character, so that a pattern can say which sequences make a number."""
    if token in SCALES:
        return "h" if token == "hundred" else "s"
    if token in _VALUES:
        value = _VALUES[token]
        return "0" if value == 0 else "u" if value < 10 else "e" if value < 20 else "t"
    return {"a": "a", "an": "a", "and": "&", "point": ".", ",": ",", "dozen": "z"}.get(token, "p")


# These patterns use the characters of `_kind`.
_BELOW_100 = "(?:tu?|e|u)"
_BELOW_1000 = f"(?:(?:{_BELOW_100}|a)?h(?:&?{_BELOW_100})?|{_BELOW_100})"
_WHOLE = f"(?:0|(?:(?:(?:{_BELOW_1000}|a)?s,?&?)+{_BELOW_1000}?|{_BELOW_1000}))"
_SHAPE = re.compile(
    rf"""
    (?P<whole>{_WHOLE})
  | (?P<point>{_WHOLE})\.(?P<decimals>[0u]+)
  | (?P<dozen>az)
  | (?:(?P<mixed>{_WHOLE})&)?(?P<over>{_WHOLE}|a)?(?P<part>p)
    """,
    re.VERBOSE,
)
_MAX_WORDS = 30


def _shaped(kinds: str, tokens: list[str]) -> Fraction | None:
    shape = _SHAPE.fullmatch(kinds) if len(kinds) <= _MAX_WORDS else None
    if shape is None:
        return None
    if shape["dozen"]:
        return Fraction(12)
    if shape["whole"]:
        return _whole(tokens)
    if shape["point"]:
        whole, digits = _whole(tokens[: shape.end("point")]), tokens[shape.start("decimals") :]
        return (
            None
            if whole is None
            else whole + Fraction(int("".join(str(_VALUES[digit]) for digit in digits)), 10 ** len(digits))
        )
    mixed = _whole(tokens[slice(*shape.span("mixed"))]) if shape["mixed"] else Fraction(0)
    over = _whole(tokens[slice(*shape.span("over"))]) if shape["over"] not in (None, "a") else Fraction(1)
    part = None if over is None else _share(over, tokens[-1], alone=len(tokens) == 1)
    return None if mixed is None or part is None or (mixed and part >= 1) else mixed + part


def _share(over: Fraction, word: str, *, alone: bool) -> Fraction | None:
    """Return the value of "one third", "two thirds", or "half"; None for an ordinal such as "twenty-fifth"."""
    single = word in PARTS
    name = word if single else "half" if word == "halves" else word.removesuffix("s")
    if single != (over == 1) or (alone and word != "half"):
        return None
    return over / PARTS[name]


def _whole(tokens: list[str]) -> Fraction | None:
    """Return None if a scale follows a smaller one, as in "two thousand million"."""
    total = group = 0
    last = max(SCALES.values()) + 1
    for token in tokens:
        if token == "hundred":
            group = max(group, 1) * 100
        elif token in SCALES:
            if SCALES[token] >= last:
                return None
            last = SCALES[token]
            total, group = total + max(group, 1) * 10**last, 0
        else:
            group += _VALUES.get(token, 0)
    return Fraction(total + group)
