"""Reads the final number of a text."""

from __future__ import annotations

import re
from typing import NamedTuple

from srit.tasks import Reading
from srit.tasks.reading.clauses import (
    CONCLUDES,
    LEFT_OPEN,
    MAX_CLAUSE,
    Clause,
    Found,
    find_clauses,
    find_sentences,
    read_with,
)
from srit.tasks.reading.lines import ParsedLine, is_preceded, line_result, result_after, take_apart, unreadable
from srit.tasks.reading.numerals.digits import ANY_DIGIT, Numeral
from srit.tasks.reading.numerals.numerals import LIST_MARK, find_all_numerals, find_numerals


def read_number(text: str, question: str = "") -> Reading:
    """Read the final number of a text, as "1234.5", "-3", "1/2", or "5%"."""
    return read_with(text, find_number, question)


def find_number(text: str) -> Found | str:
    """Find the final number of a plain text, or return a str that says why none is read."""
    for clause in find_clauses(text, line_a=True):
        if LEFT_OPEN.match(text, clause.start, clause.end):
            return "the answer is left open"
        found = _announced(text, clause)
        if found:
            return found
    return concluded_number(text)


def announced_number(text: str, clause: Clause) -> Found | None:
    """Return the number that a clause announces; None if there is none, or none that is read."""
    found = _announced(text, clause)
    return found if isinstance(found, Found) else None


# "The answer is not 40, it is 50."; "the answer is to divide by 5 …"; "the answer is likely wrong".
_NO_ANSWER = re.compile(r"(?:not|n['’]t)\b[^,;.\n]*[,;]?|to\b[^.\n]*|(?:in)?correct\b[^.\n]*", re.IGNORECASE)
_ITEM = re.compile(
    r"(?:(?:step|option)[ ])?(?:(?P<mark>[0-9]{1,3})[.:]|\(?(?P<closed>[0-9]{1,3})\)(?=[^\n]*[0-9]))[ \t]+(?=\S)"
    r"(?P<item>[^\n]*)",
    re.IGNORECASE,
)
_BULLETS = re.compile(r"[ \t]*(?P<bullet>[-*•–])[ \t][^\n]*\n+[ \t]*(?P=bullet)[ \t][^\n]*[0-9]")
_NONE = re.compile(r"[\s*]*(?:none|nothing|nil)\b[^0-9]*", re.IGNORECASE)
_ROMAN = re.compile(r"[\s*]*[IVXLCDM]{1,12}[\s*.]*")
# Accountants write losses this way.
_IN_PARENTHESES = re.compile(r"[\s*]*(?:\(\s?\\?\$\s?[0-9.,]+\s?\)|\\?\$\s?\(\s?[0-9.,]+\s?\))")


def _announced(text: str, clause: Clause) -> Found | str | None:
    item = _item(text, clause)
    if isinstance(item, str):
        return item
    clause = item or clause
    denied = _NO_ANSWER.match(text, clause.start, clause.end)
    if denied:
        clause = clause._replace(start=denied.end())
    if _IN_PARENTHESES.match(text, clause.start, clause.end):
        return "an amount in parentheses may be negative"
    if _ROMAN.fullmatch(text, clause.start, clause.end):
        return "Roman numerals are not read"
    if _NONE.fullmatch(text, clause.start, clause.end):
        return "no number is announced"
    line = take_apart(text, clause.start, clause.end)
    result = line_result(line)
    if isinstance(result, Numeral):
        if is_preceded(line, result):
            return "a sum after the number comes to another"
        equals = line.sides[0].end <= result.start
        return _found(text, result, f"{clause.rule}, after =" if equals else clause.rule)
    return result


def _item(text: str, clause: Clause) -> Clause | str | None:
    """Return the only item of a list that begins a clause, so that its mark does not count as a number."""
    line = text.rfind("\n", 0, clause.start) + 1
    begins = text[line : clause.start].strip(" \t*-•–#") == ""
    if begins and _BULLETS.match(text, line):
        return "several numbers are announced"
    item = _ITEM.match(text, clause.start)
    if item is None or not (begins or item["closed"]):
        return None
    after = re.compile(rf"\s*\(?{int(item['mark'] or item['closed']) + 1}[.):][ \t]").match(text, item.end())
    return "several numbers are announced" if after else Clause(*item.span("item"), clause.rule)


def _found(text: str, numeral: Numeral, rule: str) -> Found | str:
    return unreadable(text, numeral) or Found(numeral.text or "", numeral.start, numeral.end, rule)


# What follows such a word is what the answer is measured against, not the answer: "6 more than 3", "2 of the 5".
_ASIDE = re.compile(
    r"\b(?:than|out of|of the|of all|from the|instead of|after|before|when|if|since|because|with|in|for|per|at|within"
    r"|using|selling|buying|eating|receiving|giving|spending|losing|each of|reach)"
    r"(?:[ ](?:the|his|her|their|its|my|our|all|only|about|another|these|those|each|every|original|initial|first|other"
    r"|buying|selling|eating|giving|receiving|adding|having|full|required))*[ ](?:\\?\$)?$",
    re.IGNORECASE,
)
_CHECK = re.compile(
    r"\s*(?:(?:so|now|finally|to|we|you|i|can|could|let(?:'|’)?s|let us|also|alternatively|just|it(?:'|’)?s"
    r"|important|in order)"
    r"[ ,]+){0,6}(?:double[- ]?check|check|verify|confirm)\b",
    re.IGNORECASE,
)


def _aside(text: str, start: int, numeral: Numeral) -> bool:
    """Return whether a number follows a word that introduces a circumstance, or stands in parentheses."""
    before = text[max(start, numeral.start - 60) : numeral.start + 1].rstrip("0123456789.$£€¥\\")
    return _ASIDE.search(before) is not None or text.rfind("(", start, numeral.start) > text.rfind(
        ")", start, numeral.start
    )


_CHECK_WORD = re.compile(r"\b(?:check|verif)|[✓✔]", re.IGNORECASE)
# "28 + 4 = 32, which is correct": a number of the question.
_CHECKED = re.compile(
    r"\bwhich[ ](?:is[ ](?:correct|right|true|what|as)|matches|checks|agrees|confirms)\b|\bchecks[ ]out\b|[✓✔]",
    re.IGNORECASE,
)
_DENIES = re.compile(r"\banswer is(?: not|n['’]t)\b", re.IGNORECASE)


def concluded_number(text: str) -> Found | str:
    """Find the number of the last sentence that has one, or return a str that says why none is read."""
    marks = {match.end() - 1 for match in LIST_MARK.finditer(text)}
    sentences = [
        (start, end)
        for start, end in map(lambda sentence: _bounded(text, *sentence), find_sentences(text))
        if (ANY_DIGIT.search(text, start, end) or _in_words(text, start, end)) and not _DENIES.search(text, start, end)
    ]
    checks = [index for index, (start, end) in enumerate(sentences) if _CHECK.match(text, start, end)]
    if checks and checks[0] > 0:
        # What follows is arithmetic on the answer, whose result is a number of the question.
        sentences = sentences[: checks[0]]
    if len(sentences) > 1 and _CHECKED.search(text, *sentences[-1]) and CONCLUDES.match(text, *sentences[-2]):
        sentences.pop()
    for start, end in reversed(sentences):
        numerals = [n for n in find_numerals(text, start, end) if n.end not in marks] or _in_words(text, start, end)
        if numerals:
            return _of_sentence(text, start, end, [n for n in numerals if not n.ordinal] or numerals)
    return "no number in the text"


def _bounded(text: str, start: int, end: int) -> tuple[int, int]:
    """Cut an overlong sentence to its end, starting after a blank so that no number is split."""
    if end - start <= MAX_CLAUSE:
        return start, end
    blank = re.compile(r"\s").search(text, end - MAX_CLAUSE, end)
    return (blank.end() if blank else end), end


def _in_words(text: str, start: int, end: int) -> list[Numeral]:
    """Find the numbers of "So five apples are left."; none if one of them is "one", which may be a pronoun."""
    if not CONCLUDES.match(text, start, end) or ANY_DIGIT.search(text, start, end):
        return []
    numerals = find_all_numerals(text, start, end)
    return [] if any(text[n.start : n.end].lower() == "one" for n in numerals) else numerals


def _of_sentence(text: str, start: int, end: int, numerals: list[Numeral]) -> Found | str:
    line = take_apart(text, start, end)
    if len(line.sides) > 1 and line.sides[-1].numerals:
        result = line_result(line) or "a sum without its result"
        return result if isinstance(result, str) else _found(text, result, "last sentence, after =")
    beside = _sum_beside(line, end)
    if beside and not _CHECK_WORD.search(text, line.end if beside.why else beside.start, end):
        return _weighed(text, line, beside)
    said = [numeral for numeral in numerals if line.says(numeral)] if beside else numerals
    numeral, rule = _stated(text, start, end, said or numerals)
    after = result_after(line, numeral)
    if isinstance(after, str):
        return after
    return _found(text, after, "last sentence, its result") if after else _found(text, numeral, rule)


class _Sum(NamedTuple):
    """Holds the last sum in a sentence's asides, or in what follows "because"."""

    start: int
    why: bool  # it follows "because"
    operands: list[Numeral]
    result: Numeral


def _sum_beside(line: ParsedLine, end: int) -> _Sum | None:
    start = line.sides[0].start
    equals = max(line.whole.rfind(sign, start, end) for sign in "=≈")
    if equals < start or (equals < line.end and line.text[equals] in "=≈"):
        return None
    results = find_numerals(line.whole, equals + 1, end)
    why = equals >= line.end
    aside = line.end if why else max(line.whole.rfind(sign, start, equals) for sign in "([")
    start = max(equals - 60, aside)
    return _Sum(start, why, find_numerals(line.whole, start, equals), results[0]) if results else None


def _weighed(text: str, line: ParsedLine, beside: _Sum) -> Found | str:
    """Weigh a sentence against the sum next to it.

    If the sum comes to a number of the sentence, that number counts; if the sentence only names what is added, the
    sum's result counts. Otherwise the sum may be a check, and nothing is read: "She has 28 apples (28 + 4 = 32)."
    """
    said = [numeral for side in line.sides for numeral in side.found]
    confirmed = [numeral for numeral in said if numeral.text == beside.result.text]
    if confirmed:
        return _found(text, confirmed[-1], "last sentence, its sum comes to it")
    values = {numeral.text for numeral in said if not numeral.words}
    operands = {numeral.text for numeral in beside.operands}
    if not values or (len(beside.operands) > 1 and operands <= values):
        return _found(text, beside.result, "last sentence, after =")
    return "the sum beside the number comes to another"


def _stated(text: str, start: int, end: int, numerals: list[Numeral]) -> tuple[Numeral, str]:
    result = _last_result(text, start)
    repeated = [numeral for numeral in numerals if result and (numeral.text or "").rstrip("%") == result]
    if repeated:
        return repeated[-1], "last sentence, repeats the last result"
    free = [numeral for numeral in numerals if not _aside(text, start, numeral)] or numerals
    # A conclusion says the answer first and the circumstances after: "So John needs 72 nails to secure 9 planks."
    if CONCLUDES.match(text, start, end):
        return free[0], "conclusion, first number"
    return free[-1], "last sentence, last number"


def _last_result(text: str, end: int) -> str | None:
    """Return the number after the last "=" before the last sentence."""
    equals = text.rfind("=", 0, end)
    numerals = find_numerals(text, equals + 1, min(end, equals + 200)) if equals >= 0 else []
    return numerals[0].text.rstrip("%") if numerals and numerals[0].text else None
