r"""Recognizes the units of numbers: "8 \text{ cm}", "\$5", "60 miles per hour", "90^\circ"."""

from __future__ import annotations

import re
from typing import NamedTuple

from srit.tasks.judging.writing import number

# Each line holds a unit and its other spellings; a plural "s" is implied. A word in no line is a noun ("3 boxes").
_TABLE = """
mm millimeter millimetre
cm centimeter centimetre
dm decimeter decimetre
m meter metre
km kilometer kilometre
in inch inches inche
ft foot feet
yd yard
mi mile
g gram gramme gm
kg kilogram kilo kilogramme
mg milligram
lb pound lbs
oz ounce
t ton tonne
l liter litre
ml milliliter millilitre
gal gallon
pt pint
qt quart
cup
s second sec
min minute
h hour hr
ms millisecond
day
week wk
month
year yr
dollar usd \\$ $ buck
cent ¢
euro eur €
pound_sterling £ gbp
yen ¥
rupee rs inr ₹
percent \\%
degree deg °
rad radian
celsius °C
fahrenheit °F
kelvin K
mph mi/h
kmh km/h kph kmph
acre
hectare ha
N newton
J joule
kJ kilojoule
W watt
kW kilowatt
V volt
A ampere amp
Hz hertz
Pa pascal
mol mole
bit
byte
am a.m a.m.
pm p.m p.m.
"""
_SPELLINGS = {spelling: line.split()[0] for line in _TABLE.strip().splitlines() for spelling in line.split()}
_SPELLINGS |= {f"{spelling}s": unit for spelling, unit in _SPELLINGS.items() if len(spelling) > 2}
_COMPOUND = {"mph": {"mi": 1, "h": -1}, "kmh": {"km": 1, "h": -1}}
_MONEY = frozenset(["dollar", "cent", "euro", "pound_sterling", "yen", "rupee"])
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_LETTERS = frozenset("mgshLNJWV")  # units that are recognized without \text: "8 m", but "8 t" is a product

Unit = frozenset[tuple[str, int]]  # powers of named units; empty without a unit, or for a noun as in "3 boxes"
NO_UNIT: Unit = frozenset()


class ValueWithUnit(NamedTuple):
    """Holds what stands before a unit, and the unit."""

    value: str
    unit: Unit


_CURRENCY = re.compile(r"([-+]?)\s?(?:(\\\$|[£€¥₹])|(?:Rs|USD|US\s?\\\$)\b\.?)\s?([-\\0-9.].*)")
_TOKEN = re.compile(
    r"(?P<text>\\text\{[^{}]*\})|(?P<mark>\^\\circ(?:\s?(?:[CF]\b|\\text\{[CF]\}))?|\\%|\\\$|[¢€£])"
    r"|(?P<word>(?<![\\A-Za-z])[A-Za-z]+\.?(?![A-Za-z]))|(?P<power>\^\s?(?:\{\s?-?[0-9]\s?\}|-?[0-9]))"
    r"|(?P<glue>\s|/|-|\\cdot(?![A-Za-z]))|\\[A-Za-z]+|."
)


def split_unit(text: str) -> ValueWithUnit:
    """Split a plain text from the unit or noun that ends it, or from the currency sign that begins it."""
    start = _tail(text)
    value, tail = text[:start].strip(), text[start:]
    currency = _CURRENCY.fullmatch(value)
    if currency:
        value, tail = currency[1] + currency[3].strip(), (currency[2] or "rs") + " " + tail
    if not tail.strip() or not re.search(r"[\w)}]", value):
        return ValueWithUnit(text, NO_UNIT)
    if not currency and "\\text" not in tail and number(value) is None and not _named(tail):
        return ValueWithUnit(text, NO_UNIT)
    return ValueWithUnit(value, _unit(tail))


def _tail(text: str) -> int:
    """Return where the words at the end of a text begin."""
    start, last = len(text), ""
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup or ""
        before = text[token.start() - 1 : token.start()]
        apart = before in ("", " ") or (last == "glue" and before == "/")
        unit = kind in ("text", "mark") or (kind == "word" and _is_unit_word(token[0], apart))
        if unit or (kind == "power" and last == "unit"):
            start, last = min(start, token.start()), "unit"
        elif kind == "glue" and last:
            last = "glue"
        else:
            start, last = len(text), ""
    return start


def _is_unit_word(word: str, apart: bool) -> bool:
    word = word.removesuffix(".")
    if len(word) == 1:
        return apart and word in _LETTERS
    return _spelled(word) is not None or (apart and len(word) > 2) or word in ("of", "per", "a", "sq", "cu")


def _spelled(word: str) -> str | None:
    return _SPELLINGS.get(word) or _SPELLINGS.get(word.lower())


def _named(tail: str) -> bool:
    """Return whether words outside \\text are a unit of the table."""
    return bool(_unit(tail))


def _unit(tail: str) -> Unit:
    """Return the powers of a unit: "square inches" is {("in", 2)}, "miles per hour" {("mi", 1), ("h", -1)}."""
    tail = re.sub(r"\^\s?\\circ\s?(?:\\text\{)?([CF])\b", r"°\1", tail).replace("^\\circ", "°").replace("\\text", "")
    words = re.findall(r"[A-Za-z°¢€£¥₹]+(?:\.[A-Za-z])?|\\[%$]|/|\^[\s{]*-?[0-9]", tail)
    powers: dict[str, int] = {}
    sign, times, last = 1, 1, ""
    for index, word in enumerate(words):
        name = None if word == "in" and any(map(str.isalpha, words[index + 1 :])) else _spelled(word)
        if word == "/" or word.lower() == "per":
            sign = -1
        elif word.startswith("^") and last:
            powers[last] *= int(re.sub(r"[^-0-9]", "", word))
        elif word.lower() in _POWERS and word.lower().endswith("d") and last:
            powers[last] *= _POWERS[word.lower()]
        elif word.lower() in _POWERS:
            times = _POWERS[word.lower()]
        else:
            for part, power in _COMPOUND.get(name or "", {name or "": 1}).items():
                powers[part] = powers.get(part, 0) + power * sign * times
            times, last = 1, name or ""
    powers.pop("", None)
    if "celsius" in powers or "fahrenheit" in powers:
        powers.pop("degree", None)
    return frozenset(powers.items())


def units_agree(one: Unit, other: Unit) -> bool:
    """Return whether two units are the same; a unit may be omitted, and so may what a price is for."""
    if not one or not other or one == other:
        return True
    if {name for name, _ in one | other} <= {"degree", "celsius", "fahrenheit"}:
        return ("degree", 1) in one | other
    over, other_over = ({name for name, power in unit if power > 0} for unit in (one, other))
    return over == other_over and over <= _MONEY and (one < other or other < one)
