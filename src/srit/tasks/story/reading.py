"""Reads the final answer of a text: a number, yes or no, or a name."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from srit.tasks import Reading
from srit.tasks.reading.clauses import Found, read_with
from srit.tasks.reading.tags import opening_tag
from srit.tasks.story.words import NAMES

AnswerKind = Literal["number", "yes or no", "name"]


class _Rules(NamedTuple):
    said: re.Pattern[str]  # "The answer is X", with X in group 1
    bare: re.Pattern[str]  # the whole text is X
    loose: re.Pattern[str]  # X anywhere, of which the last counts


_SAID = r"(?i:\banswer is)[\s:*$\"'(]*"
# A minus after a digit or letter is not a sign: "18-15" is a difference, not -15.
_NUMBER = r"(?<![\w.])[-+\u2212]?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?"
# In "The answer is 3 * 5 = 15.", the result counts, which is left to the last number.
_NO_SUM = r"(?![0-9]|[.,][0-9]|\s*[-+*/=x\u2212]\s*[0-9])"
_YES = r"(?i:yes|no)\b"
_WORD = r"[A-Z][a-z]+\b"
_NAME = rf"(?i:{'|'.join(sorted(NAMES))})\b"
_BARE = r"[\s*$]*(X)[\s*.!]*"


def _rules(said: str, bare: str, loose: str) -> _Rules:
    return _Rules(re.compile(_SAID + said), re.compile(_BARE.replace("X", bare)), re.compile(loose))


_RULES: dict[AnswerKind, _Rules] = {
    "number": _rules(f"({_NUMBER}){_NO_SUM}", _NUMBER, f"({_NUMBER})"),
    "yes or no": _rules(f"({_YES})", _YES, rf"\b({_YES})"),
    "name": _rules(f"({_NAME}|{_WORD})", f"{_NAME}|{_WORD}", rf"\b({_NAME})"),
}


_LOOSE: dict[AnswerKind, str] = {"number": "number", "yes or no": "yes or no", "name": "name of the question"}


def read_answer(text: str, question: str, kind: AnswerKind) -> Reading:
    """Read the last "answer is X", else a text that is X alone, else the last number, yes or no, or listed name.

    As everywhere, only the part of the text that answers the question is read: see `srit.tasks.reading`.
    """
    return read_with(text, lambda plain: _find_answer(plain, question, kind), question)


def _find_answer(text: str, question: str, kind: AnswerKind) -> Found | str:
    rules = _RULES[kind]
    if said := list(rules.said.finditer(text)):
        return _found(said[-1], 'the last "answer is"')
    if bare := rules.bare.fullmatch(text, opening_tag(text)):
        return _found(bare, "the whole text")
    loose = list(rules.loose.finditer(text))
    if kind == "name":
        asked = {match[1].casefold() for match in rules.loose.finditer(question)}
        loose = [match for match in loose if match[1].casefold() in asked]
    if loose:
        return _found(loose[-1], f"the last {_LOOSE[kind]}")
    return f'no "answer is" and no {_LOOSE[kind]}'


def _found(match: re.Match[str], rule: str) -> Found:
    return Found(normal(match[1]), *match.span(1), rule)


def normal(answer: str) -> str:
    """Normalize "+07.0" to "7" and "Yes." to "yes"; other text loses its case and the marks around it."""
    bare = answer.strip().strip("*").rstrip(".!").strip()
    number = re.fullmatch(r"([-+\u2212]?)([0-9]+(?:,[0-9]{3})*)(\.[0-9]+)?", bare)
    if number is None:
        return bare.casefold()
    # This stays text, as int() refuses more than 4300 digits, and a model may write them.
    whole = number[2].replace(",", "").lstrip("0") or "0"
    fraction = (number[3] or "").rstrip("0").rstrip(".")
    size = whole + fraction
    return f"-{size}" if number[1] in ("-", "\u2212") and size != "0" else size
