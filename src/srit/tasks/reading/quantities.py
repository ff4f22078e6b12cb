"""Reads and compares numbers whose words count: "8 AM", "July 3", "5 kg"."""

from __future__ import annotations

import re
from typing import NamedTuple

from srit.tasks import Reading
from srit.tasks.reading.clauses import Found, read_with
from srit.tasks.reading.numbers import find_number
from srit.tasks.reading.numerals.numerals import find_all_numerals, is_number, numbers_equal, plain_answer
from srit.tasks.reading.units import MONTHS, is_unit, unit_words

_MAX_CHARS, _MAX_WORDS = 200, 5
_CURRENCY = re.compile(r"[$£€¥₹]")
# Words around a number that say nothing about what it counts.
_HEDGES = re.compile(
    r"(?:\b(?:about|approximately|roughly|around|exactly|only|just|nearly|almost|precisely|the|an?|is|are|was|be|it|its|of"
    r"|total|answer|equals?|on|at|in|to|by|number|o['’]clock)\b|[=:~≈*_]|it['’]s)",
    re.IGNORECASE,
)
# At these words, the sentence goes on: "5 in total", "5 and no more".
_ENDS = re.compile(
    r"[.,;:!?()\[\]{}\n=+]|\b(?:in|on|at|for|from|with|by|to|and|or|but|so|because|since|as|when|if|which|that|than|more|less"
    r"|left|remaining|altogether|total|overall|each|after|before|is|are|was|were|will|would|not|now|together|long|tall|old)\b",
    re.IGNORECASE,
)
_HALVES_OF_DAY = ("am", "pm")
SHARP = re.compile(r"(?<=[0-9]):00(?=[ ]?[ap]\.?m\b)", re.IGNORECASE)  # "8:00 PM" is 8 PM


class Quantity(NamedTuple):
    """Holds a number and the words next to it in their plainest form."""

    number: str
    before: tuple[str, ...]
    after: tuple[str, ...]  # the same for "$5" as for "5 dollars"
    named: bool  # whether a capitalized word that is not a unit follows: "42nd Street"


def find_quantity(text: str) -> Quantity | None:
    """Return the only number of a short text with its words; None for none, several, or one that is not read."""
    said = plain_answer(text) if len(text) <= _MAX_CHARS else ""
    found = find_all_numerals(said, 0, len(said))
    if len(found) != 1 or found[0].text is None:
        return None
    numeral = found[0]
    before = unit_words(_HEDGES.sub(" ", said[: numeral.start]))
    following = _words_after(said, numeral.end)
    money = _money(said, numeral.start, numeral.end)
    percent = "percent" if found[0].text.endswith("%") else ""
    after = unit_words(f"{money} {percent} {following}")
    named = any(word[0].isupper() and not is_unit(*unit_words(word)) for word in following.split() if unit_words(word))
    return Quantity(found[0].text, before, after, named)


def _words_after(text: str, start: int) -> str:
    """Return the words after a number, up to where the sentence goes on."""
    text = re.sub(r"\\(?:text|mathrm|textbf|mbox|,|;|!|:| )\{?|[~${}]", lambda wrapper: " " * len(wrapper[0]), text)
    end = _ENDS.search(text, start)
    # "5 in" and "5 in." are inches, and "8 a.m." does not end there.
    while end and (end[0] == "." and re.search(r"\b[A-Za-z]$", text[start : end.start()])):
        end = _ENDS.search(text, end.end())
    if end and end[0].lower() == "in" and re.fullmatch(r"[\s.]*", text[end.end() :]):
        return text[start : end.end()]
    return " ".join(text[start : end.start() if end else len(text)].split()[:_MAX_WORDS])


def _money(text: str, start: int, end: int) -> str:
    """Return the currency sign of a number, unless its dollar sign delimits a formula."""
    sign = _CURRENCY.search(text, start, end)
    return sign[0] if sign and not re.match(r"[^\s$]{0,12}\$", text[end : end + 13]) else ""


def has_words(gold: str) -> bool:
    """Return whether a gold answer is one number with words or a currency next to it."""
    quantity = find_quantity(gold) if is_number(gold) else None
    return quantity is not None and bool(quantity.before or quantity.after)


def read_quantity(text: str, gold: str, question: str = "") -> Reading:
    """Read the final number of a text with the words next to it, on the sides where the gold answer has words."""
    wanted = find_quantity(gold)
    hour = wanted is not None and wanted.after[:1] in {(half,) for half in _HALVES_OF_DAY}
    return read_with(text, lambda said: _find(SHARP.sub("   ", said) if hour else said, wanted), question)


def _find(text: str, wanted: Quantity | None) -> Found | str:
    found = find_number(text)
    if isinstance(found, str):
        return found
    following = _words_after(text[: found.end + 100], found.end)
    answer = f"{_money(text, found.start, found.end)}{found.answer} {following}".strip()
    if wanted and (wanted.before or wanted.after[:1] in {(month,) for month in MONTHS}):
        answer = f"{_ahead(text, found.start)} {answer}".strip()
    return found._replace(answer=answer)


def _ahead(text: str, start: int) -> str:
    """Return the words right before a number."""
    match = re.search(r"(?:[^\W\d_][\w'’-]*[ ]){0,3}$", text[max(0, start - 60) : start])
    return match[0].strip() if match else ""


def quantities_equal(answer: Quantity, gold: Quantity) -> bool:
    """Return whether an answer is the gold number with the gold words.

    A unit may be missing, go by another of its names, or be followed by "of": "5 kg of flour" is 5 kg.
    """
    if not numbers_equal(answer.number, gold.number):
        return False
    month = next((word for word in (*gold.before, *gold.after) if word in MONTHS), None)
    if month:
        after = answer.after[1:] if answer.after[:1] == ("of",) else answer.after
        return month in (*answer.before[-1:], *after[:1])
    return answer.before[len(answer.before) - len(gold.before) :] == gold.before and _same_after(answer, gold)


def _same_after(answer: Quantity, gold: Quantity) -> bool:
    said, asked = answer.after, gold.after
    if not said or not asked:
        return not asked or not (gold.before or gold.named or asked[0] in _HALVES_OF_DAY)
    if said[: len(asked)] == asked or (asked[: len(said)] == said and asked[len(said)] == "of"):
        return True
    if is_unit(asked[0]):
        return said == ("degree",) and asked[0] in ("celsius", "fahrenheit")
    # "5 apples" counts as "5 red apples".
    return asked[-len(said) :] == said or said[-len(asked) :] == asked
