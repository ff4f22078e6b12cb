"""Finds the result of a line that shows its work: "77 = 50 + 27", "28 (check: 28 + 4 = 32)", "4 dozen, which is 48"."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from srit.tasks.reading.numerals.affixes import MONEY
from srit.tasks.reading.numerals.digits import ANY_DIGIT, POINT_IN_DOUBT, Numeral
from srit.tasks.reading.numerals.numerals import find_all_numerals, numbers_equal

# "=" and its equivalents; "=>" is an arrow and "<=" a bound.
_EQUALS = re.compile(
    r"(?<![<>!])=+(?!>)|[≈≃≅]|\\approx(?![A-Za-z])|(?<=[0-9)])[ ](?:equals|is[ ]equal[ ]to)(?=[ ])", re.IGNORECASE
)
_PARENTHESES = re.compile(r"\([^()\n]*+(?:\)|$)|\[[^\[\]\n]*+(?:\]|$)")
# What follows these leads back to numbers of the question.
_BECAUSE = re.compile(
    r"\b(?:because|since|if|when|where|check(?:ing|ed)?|verif(?:y|ied|ying|ication)|given[ ]that|assuming"
    r"|as[ ](?=\$?[0-9]))\b|[,;][ ]?as\b",
    re.IGNORECASE,
)
_OPERAND = rf"(?:{MONEY}[ ]?)?(?:\.?[0-9]|[(√π]|\\(?:[dtc]?frac|sqrt|pi)(?![A-Za-z]))"
_GOES_ON = re.compile(
    rf"""
    [ ]?(?:[-+*/×÷^·⋅–]|x(?![A-Za-z])|\\times|\\cdot|\\div)[ ]?{_OPERAND}
  | \((?=[0-9])
  | [ ](?:plus|minus|times|over|(?:multiplied|divided)[ ]by)[ ]{_OPERAND}
  | [ ][A-Za-z]{{1,20}}[ ][+*×÷][ ]{_OPERAND}
    """,
    re.VERBOSE | re.IGNORECASE,
)
# In "6 more than 20" and "20% of 50", the number leads to another.
_COMPARED = re.compile(rf"[ ](?:more|less|fewer|greater|higher|lower)[ ]than[ ]{_OPERAND}", re.IGNORECASE)
_ODDS = re.compile(rf"[ ](?:in|out[ ]of)[ ](?:every[ ])?{_OPERAND}", re.IGNORECASE)
# "4 bags of 12"
_IN_PARTS = re.compile(rf"[ ][A-Za-z]{{1,20}}[ ](?:of|with|at|by)[ ]{_OPERAND}", re.IGNORECASE)
_SHARE_OF = re.compile(rf"[ ]of[ ]{_OPERAND}", re.IGNORECASE)
# Some of these restate the number before them; others only conclude from it.
_FINALLY = re.compile(
    r"""
    (?:(?P<restates>\b(?:which|that)(?:[ ](?:is|equals)|['’]s)\b|\bi\.?e\b\.?|\b(?:namely|in[ ]other[ ]words)\b
          |[→⇒⟹]|=>|->|\\(?:[Rr]ightarrow|implies|to)(?![A-Za-z]))
      |(?P<concludes>\b(?:so|thus|hence|therefore)\b)
      |\b(?:which|that)[ ](?:makes|gives|means|leaves|totals|yields|results[ ]in
          |(?:adds|sums|comes|works|rounds|amounts|simplifies|evaluates|converts)(?:[ ](?:up|out))?[ ]to)\b
      |[,;][ ](?:meaning|making|giving|leaving|totall?ing|yielding|equall?ing)\b
      |\bresulting[ ]in\b|\bfor[ ]a[ ](?:grand[ ])?total[ ]of\b|\brounded[ ](?:(?:up|down)[ ])?to\b)
    (?:[\s,:*]|\b(?:it|the[ ](?:answer|result|total)|that)[ ](?:is|equals)\b|\bit['’]s\b|\bequal[ ]to\b
      |\ba[ ]total[ ]of\b|\b(?:the[ ]same[ ]as|exactly|about|approximately|roughly|just|only|in[ ]total)\b){0,8}+
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NEXT_LETTER = re.compile(r"[ $]*(?:,|;|\bor\b|\band\b)[ $]*(?:or|and)?[ $]*[A-Za-z](?:_\{?\w\}?)?[ ]*")
_SET_APART = re.compile(r"(?:[ ][A-Za-z]+){0,3}[ *_]*[:;,—][^0-9=]*")
_NOTHING_MORE = re.compile(r"[\s*_$.!)]*")
_ONLY_A_NUMBER = re.compile(r"[(\[]\s?\\?\$?[0-9.,]+\s?[)\]]")
_AT_THE_START = re.compile(r"[\s*_:\"'($]*")
_SAID_BEFORE = re.compile(r"(?:^|\b(?:is|are|was|were|be|has|have|had|of)\b|[:#,])[\s*_$]*$", re.IGNORECASE)
_SAID_AFTER = re.compile(r"[\s*_$.]*(?:[A-Za-z]+[\s*_$]*){0,3}")
_ALSO = re.compile(r"(?:[ ][A-Za-z]+)?(?:,[ ]?(?:and[ ]|or[ ])?|[ ](?:and|or|&)[ ])", re.IGNORECASE)
_START = attrgetter("start")


class _Side(NamedTuple):
    """Holds what stands between two equals signs."""

    start: int
    end: int
    found: Sequence[Numeral]  # in digits or words
    numerals: Sequence[Numeral]  # those of them that count


class ParsedLine(NamedTuple):
    """Holds a stretch of text without its asides, split at its equals signs."""

    text: str  # as long as `whole`, with its asides blanked
    whole: str
    end: int  # what follows it gives the reason
    sides: Sequence[_Side]

    def says(self, numeral: Numeral) -> bool:
        """Return whether a number stands neither in an aside nor after "because"."""
        return numeral.end <= self.end and not self.text[numeral.start : numeral.end].isspace()


def take_apart(text: str, start: int, end: int) -> ParsedLine:
    """Split a line at its equals signs. Numbers in words count at the start of a side, or if it has no others."""
    said = _without_asides(text, start, end)
    numerals = find_all_numerals(said, start, end)
    because = _BECAUSE.search(said, numerals[0].end, end) if numerals else None
    end = because.start() if because else end
    signs = list(_EQUALS.finditer(said, start, end))
    bounds = zip([start, *(sign.end() for sign in signs)], [*(sign.start() for sign in signs), end], strict=True)
    return ParsedLine(said, text, end, [_side(said, numerals, *bound) for bound in bounds])


def _without_asides(text: str, start: int, end: int) -> str:
    """Blank what stands in parentheses, unless that leaves no number."""
    said = text[start:end]
    for _ in range(2):  # parentheses in parentheses
        said = _PARENTHESES.sub(_blank, said)
    return text[:start] + said + text[end:] if ANY_DIGIT.search(said) else text


def _blank(aside: re.Match[str]) -> str:
    first = not _AT_THE_START.sub("", aside.string[: aside.start()], count=1)
    return aside[0] if first or _ONLY_A_NUMBER.fullmatch(aside[0]) else " " * len(aside[0])


def _side(text: str, numerals: Sequence[Numeral], start: int, end: int) -> _Side:
    found = numerals[slice(*(bisect_left(numerals, at, key=_START) for at in (start, end)))]
    begin = _AT_THE_START.match(text, start, end)
    first = begin.end() if begin else start
    digits = [numeral for numeral in found if not numeral.words or numeral.start <= first]
    words = [numeral for numeral in found if text[numeral.start : numeral.end].lower() != "one"]
    return _Side(start, end, found, digits or words)


def goes_on(line: ParsedLine, numeral: Numeral, end: int) -> bool:
    """Return whether a number is the first operand of a sum."""
    if _GOES_ON.match(line.whole, numeral.end, end):
        return True
    written = line.text[numeral.start : numeral.end]
    return bool(re.search(r"[%/⁄½-¾⅐-⅞]|frac", written)) and bool(_SHARE_OF.match(line.text, numeral.end, end))


def line_result(line: ParsedLine) -> Numeral | str | None:
    """Return the number a line comes to; None if it has none, or only a sum; a str says why it is not read."""
    sides = [side for side in line.sides if side.numerals]
    if not sides:
        return None
    side = sides[-1]
    first = side.numerals[0]
    if is_part(line, first, side.end) and (before := _before_sum(line, side)):
        return before
    result = _last_said(line, side)
    if result is None and not (goes_on(line, first, side.end) and first.text):
        result = _first_said(line, side)
    return "several numbers are announced" if _is_second(line, side) else result


def _is_second(line: ParsedLine, side: _Side) -> bool:
    """Return whether a side is the second value of a letter: the 3 of "x = 2 or x = 3"."""
    index = line.sides.index(side)
    before = line.sides[index - 1] if index > 1 else None
    if before is None or not before.numerals or _same(before.numerals[0], side.numerals[0]):
        return False
    return len(before.numerals) == 1 and bool(_NEXT_LETTER.fullmatch(line.text, before.numerals[0].end, before.end))


def is_preceded(line: ParsedLine, result: Numeral) -> bool:
    """Return whether another number stands before the sum that comes to a line's result.

    "28, 28 + 4 = 32": the sum may be a check.
    """
    side = next(side for side in line.sides if side.numerals)
    if result in side.found or len(side.numerals) < 2:
        return False
    first, second, *_ = side.numerals
    alone = _AT_THE_START.fullmatch(line.text, side.start, first.start)
    apart = _SET_APART.fullmatch(line.text, first.end, second.start)
    return bool(alone and apart) and not _same(first, result)


def result_after(line: ParsedLine, numeral: Numeral) -> Numeral | str | None:
    """Return the result that a number leads to, the 4 of "1/3 of 12, which is 4"; None if it is the result itself."""
    side = next((side for side in line.sides if side.start <= numeral.start < side.end), None)
    if side is None or not (is_part(line, numeral, side.end) or _ends_sum(line, side, numeral)):
        return None
    return _last_said(line, side) or (None if numeral.text is None else "a sum without its result")


def _ends_sum(line: ParsedLine, side: _Side, numeral: Numeral) -> bool:
    """Return whether a number is the last of a sum: 5 of "3 * 5"."""
    before = [earlier for earlier in side.found if earlier.end <= numeral.start]
    return bool(before) and goes_on(line, before[-1], numeral.end)


def is_part(line: ParsedLine, numeral: Numeral, end: int) -> bool:
    """Return whether a number is not read, or leads to another."""
    return (
        numeral.text is None or goes_on(line, numeral, end) or _COMPARED.match(line.text, numeral.end, end) is not None
    )


def _before_sum(line: ParsedLine, side: _Side) -> Numeral | None:
    """77 of "77 = 50 + 27"."""
    index = line.sides.index(side)
    before = line.sides[index - 1] if index else None
    if before is None or not before.numerals:
        return None
    numeral = before.numerals[-1]
    alone = _SAID_BEFORE.search(line.text[before.start : numeral.start]) and _SAID_AFTER.fullmatch(
        line.text, numeral.end, before.end
    )
    return numeral if alone and not goes_on(line, numeral, before.end) else None


def _last_said(line: ParsedLine, side: _Side) -> Numeral | str | None:
    """48 of "4 dozen, which is 48"; of "28, so 5 are left" it is unclear which answers."""
    if not side.numerals:  # the number is none of the side's own, as in "1/2**km/h"
        return None
    starts = {numeral.start: numeral for numeral in side.found}
    for link in reversed(list(_FINALLY.finditer(line.text, side.numerals[0].end, side.end))):
        numeral = starts.get(link.end())
        if numeral is None or is_part(line, numeral, side.end) or _IN_PARTS.match(line.text, numeral.end, side.end):
            continue
        if link["restates"] or not isinstance(_first_said(line, side), Numeral) or _is_open(line, side, numeral):
            return numeral
        if not link["concludes"]:
            return None
        ends = _NOTHING_MORE.fullmatch(line.text, numeral.end, side.end)
        return numeral if ends else "several numbers are announced"
    return None


def _is_open(line: ParsedLine, side: _Side, numeral: Numeral) -> bool:
    """Return whether a side's first number is not a result of its own, or equals the later one."""
    return is_part(line, side.numerals[0], side.end) or _same(side.numerals[0], numeral)


def _first_said(line: ParsedLine, side: _Side) -> Numeral | str:
    first = side.numerals[0]
    if _COMPARED.match(line.text, first.end, side.end) or _ODDS.match(line.text, first.end, side.end):
        return "the number leads to another"
    following = next((numeral for numeral in side.found if numeral.start >= first.end), None)
    another = following and not goes_on(line, following, side.end) and not _same(first, following)
    if following and another and _ALSO.fullmatch(line.text, first.end, following.start):
        return "several numbers are announced"
    return first


def _same(first: Numeral, second: Numeral) -> bool:
    return first.text is not None and second.text is not None and numbers_equal(first.text, second.text)


_EUROS = re.compile(r"[ ]?(?:€|euros?\b|EUR\b)", re.IGNORECASE)


def unreadable(text: str, numeral: Numeral) -> str | None:
    """Say why a number is not read; None if it is read."""
    written = text[numeral.start : numeral.end]
    if numeral.text is None:
        return f"{written!r:.40} is not read as a number"
    euros = "€" in written or _EUROS.match(text, numeral.end)
    doubt = POINT_IN_DOUBT.fullmatch(written) or (euros and re.search(r"(?<![0-9])[1-9][0-9]{0,2}\.[0-9]{3}$", written))
    return f"{written!r:.40} may be thousands" if doubt else None
