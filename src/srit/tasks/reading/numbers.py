"""The final number of a text."""

from __future__ import annotations

import re

from srit.tasks import Reading
from srit.tasks.reading.clauses import CONCLUDES, LEFT_OPEN, Clause, Found, find_clauses, find_sentences, read_with
from srit.tasks.reading.numerals import GOES_ON, IN_WORDS, LIST_MARK, Numeral, find_numerals, from_words


def read_number(text: str, question: str = "") -> Reading:
    """The final number of a text, as "1234.5", "-3", "1/2" or "5%"."""
    return read_with(text, _find_number, question)


def _find_number(text: str) -> Found | str:
    for clause in find_clauses(text, line_a=True):
        if LEFT_OPEN.match(text, clause.start, clause.end):
            return "the answer is left open"
        found = announced_number(text, clause)
        if found:
            return found
    return concluded_number(text)


# "The answer is not 40, it is 50."; "the answer is to divide by 5 …"; "the answer is likely wrong".
_NO_ANSWER = re.compile(r"(?:not|n['’]t)\b[^,;.\n]*[,;]?|to\b[^.\n]*|(?:in)?correct\b[^.\n]*", re.IGNORECASE)


def announced_number(text: str, clause: Clause) -> Found | None:
    denied = _NO_ANSWER.match(text, clause.start, clause.end)
    if denied:
        clause = clause._replace(start=denied.end())
    equals = max(text.rfind(sign, clause.start, clause.end) for sign in "=≈")
    numerals = find_numerals(text, equals + 1 if equals >= 0 else clause.start, clause.end)
    words = IN_WORDS.match(text, clause.start, clause.end)
    if words and equals < 0:
        return Found(str(from_words(words[1])), *words.span(1), clause.rule)
    if not numerals:
        return None
    first = numerals[0]
    if GOES_ON.match(text, first.end, clause.end):
        return None
    return Found(first.text, first.start, first.end, clause.rule if equals < 0 else f"{clause.rule}, after =")


# Behind such a word stands what the answer is measured against, not the answer: "6 more than 3", "2 of the 5".
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
    """Whether a number stands behind a word that introduces a circumstance, or in parentheses."""
    before = text[max(start, numeral.start - 60) : numeral.start + 1].rstrip("0123456789.$£€¥\\")
    return _ASIDE.search(before) is not None or text.rfind("(", start, numeral.start) > text.rfind(
        ")", start, numeral.start
    )


def concluded_number(text: str) -> Found | str:
    marks = {match.end() - 1 for match in LIST_MARK.finditer(text)}
    sentences = [
        (start, end, numerals)
        for start, end in find_sentences(text)
        if (numerals := [numeral for numeral in find_numerals(text, start, end) if numeral.end not in marks])
        and not _DENIES.search(text, start, end)
    ]
    checks = [index for index, (start, end, _) in enumerate(sentences) if _CHECK.match(text, start, end)]
    if checks and checks[0] > 0:
        # What follows is arithmetic on the answer, whose result is a number of the question.
        sentences = sentences[: checks[0]]
    if not sentences:
        return "no number in the text"
    start, end, numerals = sentences[-1]
    numerals = [numeral for numeral in numerals if not numeral.ordinal] or numerals
    return _of_sentence(text, start, end, numerals)


_DENIES = re.compile(r"\banswer is(?: not|n['’]t)\b", re.IGNORECASE)


def _of_sentence(text: str, start: int, end: int, numerals: list[Numeral]) -> Found:
    equals = max(text.rfind(sign, start, end) for sign in "=≈")
    after = [numeral for numeral in numerals if numeral.start > equals]
    if equals >= 0 and after:
        return Found(after[0].text, after[0].start, after[0].end, "last sentence, after =")
    result = _last_result(text, start)
    repeated = [numeral for numeral in numerals if numeral.text.rstrip("%") == result]
    if repeated:
        return Found(result or "", repeated[-1].start, repeated[-1].end, "last sentence, repeats the last result")
    free = [numeral for numeral in numerals if not _aside(text, start, numeral)] or numerals
    # A conclusion says the answer first and the circumstances after: "So John needs 72 nails to secure 9 planks."
    if CONCLUDES.match(text, start, end):
        return Found(free[0].text, free[0].start, free[0].end, "conclusion, first number")
    return Found(free[-1].text, free[-1].start, free[-1].end, "last sentence, last number")


def _last_result(text: str, end: int) -> str | None:
    """The number behind the last "=" before the last sentence."""
    equals = text.rfind("=", 0, end)
    numerals = find_numerals(text, equals + 1, min(end, equals + 200)) if equals >= 0 else []
    return numerals[0].text.rstrip("%") if numerals else None
