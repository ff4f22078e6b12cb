"""Recognizes units by their names: "kilograms", "kgs", and "kg" are one, as are "km per hour" and "km/h"."""

from __future__ import annotations

import re

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
# Each unit has its plainest name first, then the others; a plural "s" may follow any of them.
_NAMES = """
year yr annum | month mo | week wk | day | hour hr h | minute min | second sec s
mile mi | yard yd | foot feet ft | inch inches in
kilometer kilometre km | meter metre m | centimeter centimetre cm | millimeter millimetre mm
ton tonne t | pound lb £ gbp quid | ounce oz | kilogram kilogramme kilo kg | gram gramme g gm | milligram mg
gallon gal | quart qt | pint pt | tablespoon tbsp | teaspoon tsp
liter litre l | milliliter millilitre ml
dollar $ usd buck | cent ¢ | euro € eur | pence penny pennies p | rupee rs inr ₹ | yen ¥ jpy
degree ° deg | celsius centigrade c | fahrenheit f | kelvin k
watt w | kilowatt kw | joule j | newton n | volt v | ampere amp a | hertz hz | calorie cal
mph | kph kmh kmph | am a.m | pm p.m | child children | person people | man men | woman women
"""
_SYMBOLS = {
    name: names.split()[0]
    for line in _NAMES.strip().splitlines()
    for names in line.split(" | ")
    for name in names.split()
}
_SYMBOLS |= {
    name: month for month in MONTHS for name in (month, month[:3], month[:4] if month == "september" else month)
}
_UNITS = set(_SYMBOLS.values()) - {*MONTHS, "am", "pm"}
_SPEEDS = {"mph": "mile/hour", "kph": "kilometer/hour"}
_POWERS = {"square": "²", "sq": "²", "squared": "²", "cubic": "³", "cu": "³", "cubed": "³"}
_WORD = re.compile(r"(?:[A-Za-z]\.){2,}|[^\W\d_²³]+|[²³]|\^\{?[23]\}?|[/°$€£¢¥₹]")


def unit_words(text: str) -> tuple[str, ...]:
    """Return the words of a text in their plainest form: ("kilometer²/hour",) for "Square Kilometres per hr"."""
    words: list[str] = []
    for word in map(_plainest, _WORD.findall(re.sub(r"\\[a-z]+", " ", text))):
        if word in ("²", "³") and words and not words[-1].endswith("/"):
            words[-1] += word
        elif word == "/" and words:
            words[-1] += "/"
        elif words and words[-1].endswith("/"):
            words[-1] += word
        elif words and words[-1] == "degree" and word in ("celsius", "fahrenheit", "kelvin"):
            words[-1] = word
        elif words and words[-1] in _POWERS:
            words[-1] = word + _POWERS[words[-1]]
        else:
            words.append(word)
    return tuple(words)


def _plainest(word: str) -> str:
    if word.startswith("^"):
        return "²" if "2" in word else "³"
    name = word.lower().rstrip(".")
    if name in ("per", "each"):
        return "/"
    if name in ("squared", "cubed"):
        return _POWERS[name]
    single = _SYMBOLS.get(name) or _SYMBOLS.get(name.removesuffix("s"))
    return _SPEEDS.get(single, single) if single else _singular(name)


def _singular(name: str) -> str:
    if name.endswith("ies") and len(name) > 4:
        return name[:-3] + "y"
    if name.endswith(("shes", "ches", "xes", "sses")):
        return name[:-2]
    return name[:-1] if name.endswith("s") and not name.endswith("ss") and len(name) > 2 else name


def is_unit(word: str) -> bool:
    """Return whether a word in its plainest form is a unit of the table."""
    return re.split(r"[²³/]", word)[0] in _UNITS
