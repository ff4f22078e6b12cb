"""Where in a text its answer stands: announcements, sentences, and the finders that are tried on them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from srit.tasks import Reading
from srit.tasks.reading.numerals import plain

MAX_CHARS = 20_000  # only the end of a longer text is read
MAX_CLAUSE = 2000  # characters of a sentence that announces an answer
MAX_CUES = 20  # announcements that are looked at, from the last: with MAX_CLAUSE it bounds the time

_ANNOUNCED = re.compile(
    r"""
    \b(?:answer|ans|(?:correct|best|right)[ ](?:option|choice))\b
    (?:[ ](?:choice|option))?
    [*_]{0,3}
    (?:\s{0,3}\([^()\n]{0,60}\))?
    (?:[ ](?:to|of|for|here|in)\b[^.:\n]{0,100}?)?
    [*_]{0,3}\s{0,3}
    (?:\b(?:is|are|was|would[ ]be|should[ ]be|will[ ]be)\b(?:[ ](?:therefore|thus|indeed|simply|just))?\s{0,3}:?|[:=])
    [*_]{0,3}
    """,
    re.VERBOSE | re.IGNORECASE,
)
# "to verify the answer:" announces a sum, not the answer.
_ABOUT = re.compile(
    r"\b(?:check|verify|confirm|find|get|asks?[ ]for|calculate|express)[ ](?:the|our|your|an?)[ ]$", re.IGNORECASE
)
_HASHES = re.compile(r"####")
_LINE_A = re.compile(r"(?m)^A:")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s?\{")
# Not behind an abbreviation: "Rs. 500" is one sentence.
_STOP = re.compile(r"(?<!\bRs)(?<!\bMr)(?<!\bDr)(?<!\bSt)(?<!\bMrs)(?<!\bNo)[.!?](?=[\s\"')*]|$)|\n")
_BLANK = re.compile(r"[\s*_]*")


_THEREFORE = r"(?:so|thus|therefore|hence|overall|consequently|in conclusion|in summary|finally|in short)"
CONCLUDES = re.compile(rf"\s*{_THEREFORE}\b[\s,:]*", re.IGNORECASE)


class Clause(NamedTuple):
    """The part of a text in which an announced answer stands."""

    start: int
    end: int
    rule: str


def _closing(text: str, start: int) -> int:
    """Where the brace that opened before `start` closes; the end of the text if it never does."""
    depth = 1
    for match in re.compile(r"\\.|[{}]").finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return len(text)


def _clause_end(text: str, start: int) -> int:
    limit = min(len(text), start + MAX_CLAUSE)
    match = _STOP.search(text, start, limit)
    return match.start() if match else limit


def _spoken(text: str, cue: re.Match[str], rule: str) -> Clause:
    blank = _BLANK.match(text, cue.end())
    start = blank.end() if blank else cue.end()
    return Clause(start, _clause_end(text, start), rule)


def find_clauses(text: str, *, line_a: bool = False) -> Iterator[Clause]:
    """Announced answers, the last one first."""
    cues = [
        cue
        for cue in deque(_ANNOUNCED.finditer(text), MAX_CUES)
        if not _ABOUT.search(text[max(0, cue.start() - 40) : cue.start()])
    ]
    found = [_spoken(text, cue, "announced") for cue in cues]
    found += [_spoken(text, cue, "####") for cue in deque(_HASHES.finditer(text), MAX_CUES)]
    if line_a:
        found += [_spoken(text, cue, "A:") for cue in deque(_LINE_A.finditer(text), MAX_CUES)]
    # A box closes before the next may open: nested ones are not looked into, which keeps this linear.
    after = 0
    while box := _BOXED.search(text, after):
        after = _closing(text, box.end())
        found.append(Clause(box.end(), after, "boxed"))
    return iter(sorted(found, key=lambda clause: clause.start, reverse=True)[:MAX_CUES])


def find_sentences(text: str) -> list[tuple[int, int]]:
    ends = [match.end() for match in _STOP.finditer(text)]
    bounds = list(zip([0, *ends], [*ends, len(text)], strict=True))
    return [(start, end) for start, end in bounds if text[start:end].strip()]


class Found(NamedTuple):
    answer: str
    start: int
    end: int
    rule: str


def read_with(text: str, find: Callable[[str], Found | str]) -> Reading:
    """Applies a finder to the end of a text; a str from it says why nothing was read."""
    offset = max(0, len(text) - MAX_CHARS)
    found = find(plain(text[offset:]))
    if isinstance(found, str):
        return Reading(None, None, found)
    return Reading(found.answer, (offset + found.start, offset + found.end), found.rule)


LEFT_OPEN = re.compile(
    r"[\s:\"'*]{0,12}(?:it[ ]is[ ]|it[ ])?(?:not[ ](?:known|given|clear|provided|specified|possible|related"
    r"|definitive|certain)"
    r"|dependent|depends?|based[ ]on|unknown|unclear|impossible|indeterminate|inconclusive|undefined"
    r"|cannot[ ]be|can't[ ]be|debatable|subjective|maybe|possibly|neither)\b",
    re.IGNORECASE,
)
