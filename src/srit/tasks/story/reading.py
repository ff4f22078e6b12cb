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
    either: re.Pattern[str]  # "X or X"


_SAID = r"(?i:\banswer is)[\s:*$\"'(<]*"
# A minus after a digit or letter is not a sign: "18-15" is a difference, not -15.
_NUMBER = r"(?<![\w.])[-+\u2212]?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?"
# In "The answer is 3 * 5 = 15.", the result counts.
_NO_SUM = r"(?![0-9]|[.,][0-9]|\s*(?:[-+*/=x\u2212]|(?i:plus|minus|times))\s*[0-9])"
_YES = r"(?i:yes|no(?! (?:one|longer|matter|doubt)\b))\b"
_WORD = r"[A-Z][a-z]+\b"
_NAME = rf"(?i:{'|'.join(sorted(NAMES))})\b"
_BARE = r"[\s*$]*(X)[\s*.!]*"
_MARKED = r"(?>[*$\"'(<]{0,3}(?:X)[*\"')>]{0,3})"
_OR = r"(?:,?\s{1,3}(?i:or)\s{1,3}|/(?!\d))"
# In "18-15 or 3", the 3 is what the difference comes to.
_NO_OPERAND = r"(?<!\w)(?<!\w[-+*/\u2212])(?<!\w [-+*/\u2212] )"
_EITHER = rf"{_NO_OPERAND}{_MARKED}(?:(?:,\s{{1,3}}|{_OR}){_MARKED}){{0,9}}{_OR}{_MARKED}"
_DENIED = re.compile(r"(?:\bnot|n['’]t)\s{1,3}[*\"'(]{0,3}$", re.IGNORECASE)
# A placeholder, such as "<yes, if it is open>"; "<yes>" is an answer.
_PLACEHOLDER = re.compile(r"<(?=[^\s<>])[^<>\n]{1,200}>")


_SUM = re.compile(rf"{_SAID}(?={_NUMBER})")  # or a number; a number alone is read before
_SUM_END = re.compile(r"[.!?](?!\d)|\n|$")
_RESULT = re.compile(rf"[\s*$(]*({_NUMBER}){_NO_SUM}")
_RESULT_FIRST = re.compile(rf"({_NUMBER})\s*=")


def _rules(said: str, bare: str, loose: str) -> _Rules:
    patterns = (_SAID + said, _BARE.replace("X", bare), loose, _EITHER.replace("X", bare))
    return _Rules(*map(re.compile, patterns))


_RULES: dict[AnswerKind, _Rules] = {
    "number": _rules(f"({_NUMBER}){_NO_SUM}", _NUMBER, f"({_NUMBER})"),
    "yes or no": _rules(f"({_YES})", _YES, rf"\b({_YES})"),
    "name": _rules(f"({_NAME}|{_WORD})", f"{_NAME}|{_WORD}", rf"\b({_NAME})"),
}


_LOOSE: dict[AnswerKind, str] = {"number": "number", "yes or no": "yes or no", "name": "name of the question"}


def read_answer(text: str, question: str, kind: AnswerKind) -> Reading:
    """Read the last "answer is X", else a text that is X alone, else the last number, yes or no, or listed name.

    Nothing is read from "X or Y", "not X", or a placeholder such as "<yes or no>".

    As everywhere, only the part of the text that answers the question is read: see `srit.tasks.reading`.
    """
    return read_with(text, lambda plain: _find_answer(plain, question, kind), question)


def _find_answer(text: str, question: str, kind: AnswerKind) -> Found | str:
    rules = _RULES[kind]
    said = list(rules.said.finditer(text))
    sums = list(_SUM.finditer(text)) if kind == "number" else []
    if sums and not (said and said[-1].start() == sums[-1].start()):
        said = [result] if (result := _result(text, sums[-1].end())) else []
        if not said:
            return "a sum without its result"
    if said:
        return _undecided(text, said[-1], rules) or _found(said[-1], 'the last "answer is"')
    if bare := rules.bare.fullmatch(text, opening_tag(text)):
        return _found(bare, "the whole text")
    loose = list(rules.loose.finditer(text))
    if kind == "name":
        asked = {match[1].casefold() for match in rules.loose.finditer(question)}
        loose = [match for match in loose if match[1].casefold() in asked]
    if loose:
        return _undecided(text, loose[-1], rules) or _found(loose[-1], f"the last {_LOOSE[kind]}")
    return f'no "answer is" and no {_LOOSE[kind]}'


def _result(text: str, start: int) -> re.Match[str] | None:
    """Find what a sum comes to: the number after its last "=", or the number before it, as in "8 = 3 + 5"."""
    end = _SUM_END.search(text, start)
    equals = text.rfind("=", start, end.start() if end else len(text))
    return None if equals < 0 else _RESULT.match(text, equals + 1) or _RESULT_FIRST.match(text, start)


def _undecided(text: str, match: re.Match[str], rules: _Rules) -> str | None:
    """Say why a match is no answer; None if it is one."""
    start, end = match.span(1)
    if any(either.start() <= start < either.end() for either in rules.either.finditer(text)):
        return "several answers are named"
    if _DENIED.search(text, max(0, start - 12), start):
        return "the answer is denied"
    if any(
        tag.start() < start and end < tag.end() and not rules.bare.fullmatch(tag[0][1:-1])
        for tag in _PLACEHOLDER.finditer(text)
    ):
        return "a placeholder is no answer"
    return None


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
