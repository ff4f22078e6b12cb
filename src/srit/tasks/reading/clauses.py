"""Finds where in a text its answer stands, in announcements and sentences, and applies finders there."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from srit.tasks import Reading
from srit.tasks.reading.corrections import confirms, last_correction
from srit.tasks.reading.numerals.numerals import plain
from srit.tasks.reading.tags import answer_part, opening_tag
from srit.tasks.reading.turns import own_turn

MAX_CHARS = 20_000  # only the end of a longer text is read
MAX_CLAUSE = 2000  # characters of a sentence that announces an answer
MAX_CUES = 20  # announcements that are examined, from the last; bounds the time together with MAX_CLAUSE

# "The answer must be a multiple of 5" describes the answer without giving it.
_DESCRIBES = (
    r"(?![ ](?:an?[ ]\w{2}|some|one[ ]of|less|more|at[ ](?:least|most)|between|even|odd|positive|negative|greater"
    r"|larger|smaller|divisible|in[ ]|within|above|below|under|over|the[ ]\w+[ ](?:that|which|where)))"
)
_ANNOUNCED = re.compile(
    rf"""
    \b(?:answer|ans|the[ ](?:option|choice|letter)(?=[ ]is[ ])
      |(?:correct|best|right|final|my)[ ](?:option|choice|letter|selection|pick|decision|guess))\b
    (?:[ ](?:choice|option|letter))?
    [*_]{{0,3}}
    (?:\s{{0,3}}\([^()\n]{{0,60}}\))?
    (?:[ ](?:to|of|for|here|in)\b[^.:\n]{{0,100}}?)?
    [*_]{{0,3}}\s{{0,3}}
    (?:
        (?:\b(?:is|are|was)(?=n['’]t\b)|\b(?:is|are|was|would[ ]be|should[ ]be|will[ ]be|equals)\b|(?<=answer)['’]s\b
          |\b(?:must|has[ ]to|had[ ]to|can[ ]only|ought[ ]to|would[ ]have[ ]to)[ ]be\b{_DESCRIBES})
        (?:[ ](?:therefore|thus|indeed|simply|just|clearly|obviously|definitely|certainly|hence|then|still|now)\b)?
        \s{{0,3}}:?
      | [:=]
    )
    [*_]{{0,3}}
    """,
    re.VERBOSE | re.IGNORECASE,
)
# "to verify the answer:" announces a sum rather than the answer; "if the answer is 5" and "some think the answer is"
# announce nothing.
_ABOUT = re.compile(
    r"\b(?:check|verify|confirm|find|get|asks?[ ]for|calculate|express)[ ](?:the|our|your|an?)[ ]$"
    r"|\b(?:if|whether|unless|suppose|assum(?:e|ing)|(?:might|may|could|would|some|many|people|students)[ ]"
    r"(?:\w{1,12}[ ])?(?:think|say|guess|claim|believe))[ ](?:that[ ])?(?-i:the|our|my)[ ](?:(?:correct|right)[ ])?$",
    re.IGNORECASE,
)
_SET_OFF = re.compile(
    r"(?m)(?:^|[.!?:][ ])[ \t*_>\#]{0,8}(?:(?:the|my)[ ])?(?:(?:final|correct|best)[ ])?(?:answer|choice)[*_]{0,3}"
    r"[ ]?(?:-{1,2}>?|–|—|=>|→|⇒|⟹)[ ][*_]{0,3}",
    re.IGNORECASE,
)
_ABROAD = re.compile(
    r"答案(?:应该?|應該)?(?:是|为|為|:)"
    r"|\b(?=[arо])(?:antwort|respuesta|réponse|resposta|risposta|ответ)(?:[ ](?:ist|lautet|es|est|é|è))?[ ]?:"
    r"|\b(?=[ar])(?:antwort[ ](?:ist|lautet)|respuesta[ ]es|réponse[ ]est|resposta[ ]é|risposta[ ]è)\b",
    re.IGNORECASE,
)
_JSON = re.compile(r"""["'](?:final_?|correct_?)?answer["']\s{0,3}:\s{0,3}["']?""", re.IGNORECASE)
_JSON_END = re.compile(r"""["']\s{0,3}[,}\n]|[}\n]|["']?$|,\s{0,3}["']""")
# Such a heading announces what stands below it; no other heading announces anything.
_HEADING = re.compile(
    r"(?m)^[ \t#*_>]{0,12}(?:[0-9]{1,2}[.)][ ])?[*_]{0,3}(?:(?:the|my)[ ])?"
    r"(?:(?:final|correct)[ ](?:answer|result|solution|choice)|answer)[ \t*_:]{0,8}$(?=\n)",
    re.IGNORECASE,
)
_HASHES = re.compile(r"####")
_LINE_A = re.compile(r"(?m)^A:")
# "\boxed 5" has no braces.
_BOXED = re.compile(
    r"\\(?:boxed|fbox|framebox)\s{0,3}(?:(?P<brace>\{)|(?P<bare>[0-9][0-9.,]*(?<![.,])|[A-Za-z]\b"
    r"|\\[dt]?frac\{[^{}]{0,99}\}\{[^{}]{0,99}\}))"
)
# A full stop after an abbreviation ends nothing: "Rs. 500" is one sentence.
_STOP = re.compile(
    r"(?<!\b(?:Rs|Mr|Dr|St|No|Mt|Ms|Ft|Lt|vs|cf|ca))(?<!\b(?:Mrs|Col|Gen|Sgt|Rev|Sen|Gov|Fig|e\.g|i\.e))(?<!\bProf)"
    r"[.!?](?=[\s\"')*]|$)|\n"
)
# "The answer is not 40, it is 60"; "isn't A but C".
_INSTEAD = re.compile(
    r"(?:not|n['’]t)\b(?![ ](?:only|just|known|given|clear|provided|specified|possible|certain))[^.!?\n]{1,100}?"
    r"[,;:—–]?[ ](?:but(?:[ ]rather)?|rather|(?:it|that)(?:['’]s|[ ](?:is|must[ ]be|should[ ]be)))[ ]"
    r"(?!not\b|an?[ ]\w{2}|the\b)",
    re.IGNORECASE,
)
_DISPLAY = re.compile(r"\$\$|\\\[")
_BLANK = re.compile(r"[\s*_]*")
_HEADING_LINE = re.compile(r"(?m)^[ \t]{0,3}#{1,6}[ ]([^\n]+)$")
_COUNTS = re.compile(
    r"[\s*_]{0,4}(?:step|note|part|case|section|option|phase|example|table|figure|[0-9]+(?:st|nd|rd|th)?)\b",
    re.IGNORECASE,
)
_STRUCK = re.compile(r"(?<![\w~])~~(?=[^\s~])[^~\n]{1,300}~~(?!~)|<(del|strike)>[^<\n]{1,300}</\1>")
_STATES = re.compile(r"=|\b(?:is|are|was|equals?)\b")


_THEREFORE = r"(?:so|thus|therefore|hence|overall|consequently|in conclusion|in summary|finally|in short)"
CONCLUDES = re.compile(rf"\s*{_THEREFORE}\b[\s,:]*", re.IGNORECASE)


class Clause(NamedTuple):
    """Bounds the part of a text that holds an announced answer."""

    start: int
    end: int
    rule: str


_COUNTED = re.compile(r"[0-9]{1,3}(?:[.):]\s|-?(?:st|nd|rd|th|d|step)\b)", re.IGNORECASE)


def is_value(line: str) -> bool:
    """Return whether a line is an answer by itself: "$24", "C", "24 boxes", but not "Step 2" or "2. What is left"."""
    bare = line[:400].strip(" \t*_`:=()[].~≈")
    if re.fullmatch(r"[A-Za-z]|[a-z] ?= ?[^\n]+|\\[^\n]+|\$[^\n]+\$", bare):
        return True
    words = re.findall(r"[A-Za-z]+", bare)
    return (
        re.match(r"[-+−]?[$£€¥]?\s?[.\d]", bare) is not None
        and not _COUNTED.match(bare)
        and len(words) <= 2
        and all(word.islower() or (len(word) <= 3 and word.isupper()) for word in words)
    )


def _closing(text: str, start: int) -> int:
    """Return where the brace that opened before `start` closes, or the end of the text."""
    depth = 1
    for match in re.compile(r"\\.|[{}]").finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return len(text)


class Box(NamedTuple):
    """Bounds what a box holds, text[start:end], and the whole command, text[before:after]."""

    before: int
    start: int
    end: int
    after: int


def find_boxes(text: str) -> list[Box]:
    """Find the boxes of a text in linear time: boxes within boxes are skipped."""
    boxes: list[Box] = []
    position = 0
    while match := _BOXED.search(text, position):
        start = match.end() if match["brace"] else match.start("bare")
        end = _closing(text, start) if match["brace"] else match.end()
        position = end + (match["brace"] is not None)
        boxes.append(Box(match.start(), start, end, position))
    return boxes


def _clause_end(text: str, start: int) -> int:
    limit = min(len(text), start + MAX_CLAUSE)
    display = _DISPLAY.match(text, start)
    if display:
        closing = text.find("$$" if display[0] == "$$" else r"\]", display.end(), limit)
        return closing + 2 if closing >= 0 else limit
    match = _STOP.search(text, start, limit)
    return match.start() if match else limit


def _spoken(text: str, start: int, rule: str) -> Clause:
    blank = _BLANK.match(text, start)
    start = blank.end() if blank else start
    instead = _INSTEAD.match(text, start)
    start = instead.end() if instead else start
    return Clause(start, _clause_end(text, start), rule)


def find_clauses(text: str, *, line_a: bool = False) -> Iterator[Clause]:
    """Find announced answers, the last one first."""
    cues = [
        cue.end() for cue in _ANNOUNCED.finditer(text) if not _ABOUT.search(text, max(0, cue.start() - 60), cue.start())
    ]
    cues += [cue.end() for pattern in (_SET_OFF, _HEADING, _ABROAD) for cue in pattern.finditer(text)]
    found = [_spoken(text, cue, "announced") for cue in sorted(cues)[-MAX_CUES:]]
    found += [_in_json(text, cue.end()) for cue in deque(_JSON.finditer(text), MAX_CUES)]
    found += [_spoken(text, cue.end(), "####") for cue in deque(_announcing_hashes(text), MAX_CUES)]
    if line_a:
        found += [_spoken(text, cue.end(), "A:") for cue in deque(_LINE_A.finditer(text), MAX_CUES)]
    found += [Clause(box.start, box.end, "boxed") for box in find_boxes(text)]
    tag = opening_tag(text)
    if tag and _is_statement(text[tag:].strip()):
        found.append(Clause(tag, len(text), "<answer>"))
    return iter(sorted(found, key=lambda clause: clause.start, reverse=True)[:MAX_CUES])


def _announcing_hashes(text: str) -> Iterator[re.Match[str]]:
    """Find each "####" before a value; before anything else, "####" makes a heading."""
    for hashes in _HASHES.finditer(text):
        line = text[hashes.end() : hashes.end() + 400].lstrip().partition("\n")[0]
        if is_value(line):
            yield hashes


def _in_json(text: str, start: int) -> Clause:
    end = _JSON_END.search(text, start, start + MAX_CLAUSE)
    return Clause(start, end.start() if end else min(len(text), start + MAX_CLAUSE), "JSON")


def _is_statement(text: str) -> bool:
    """Return whether a text is one sentence or a formula of several lines; else its last sentence may answer."""
    stop = _STOP.search(text)
    return (
        stop is None
        or stop.end() == len(text)
        or is_value(text[: stop.start()])
        or not re.search(r"[a-z]{2} [a-z]{2}", text)
    )


def find_sentences(text: str) -> list[tuple[int, int]]:
    """Return the spans of sentences and lines, without headings that state nothing."""
    last = len(text.rstrip())
    said = _HEADING_LINE.sub(lambda line: line[0] if _says(line, last) else " " * len(line[0]), text)
    ends = [match.end() for match in _STOP.finditer(said)]
    bounds = list(zip([0, *ends], [*ends, len(said)], strict=True))
    return [(start, end) for start, end in bounds if said[start:end].strip()]


def _says(line: re.Match[str], last: int) -> bool:
    """Return whether a heading may hold an answer: it is a value, a statement, or the last line."""
    if is_value(line[1]) or _STATES.search(line[1]):
        return True
    return line.end() >= last and not _COUNTS.match(line[1])


class Found(NamedTuple):
    answer: str
    start: int
    end: int
    rule: str


def read_with(text: str, find: Callable[[str], Found | str], question: str = "") -> Reading:
    """Apply a finder to the part of a text that answers the question.

    Args:
        text: what a model wrote; of a text longer than MAX_CHARS, only the end is read.
        find: finds the answer in that part; returns a str that says why if nothing can be read.
        question: what was asked.
    """
    turn = own_turn(text, question)
    if turn.open_thought:
        return Reading(None, None, "a thought was opened and never closed")
    offset = max(turn.start, turn.end - MAX_CHARS)
    said = plain(_STRUCK.sub(lambda struck: " " * len(struck[0]), text[offset : turn.end]))
    start, end = answer_part(said)
    found = _find_last_word(said[start:end], find)
    if isinstance(found, str):
        return Reading(None, None, found)
    offset += start
    return Reading(found.answer, (offset + found.start, offset + found.end), found.rule)


def _find_last_word(text: str, find: Callable[[str], Found | str]) -> Found | str:
    """Find the answer after the last correction, if there is one, or else in the whole text."""
    correction = last_correction(text)
    earlier = find(text[: correction.start]) if correction else ""
    if correction is None or not _answers(text[: correction.start], earlier):
        return find(text)
    after = text[correction.end : correction.until]
    announced = any(True for _ in find_clauses(after))
    if not announced and confirms(after):
        return earlier
    for start in (correction.end, correction.start):
        said = text[start : correction.until]
        found = find(said)
        if isinstance(found, Found) and (announced or correction.said or _is_settled(said, found)):
            return found._replace(start=start + found.start, end=start + found.end)
    return "the answer is taken back"


def _answers(text: str, found: Found | str) -> bool:
    """Return whether a text gives an answer to take back: an announced one, or an option."""
    return any(True for _ in find_clauses(text)) or (isinstance(found, Found) and _is_option(found))


def _is_option(found: Found) -> bool:
    return len(found.answer) == 1 and found.answer.isalpha()  # an option is read only where one is meant


def _is_settled(text: str, found: Found) -> bool:
    """Return whether a correction gives an answer ("60.", "So it is 60") or a reason ("there are 3 of them")."""
    first = _STOP.search(text.rstrip())
    end = first.start() if first else len(text)
    return (
        found.start >= end
        or _is_option(found)
        or re.search(rf"=|\b{_THEREFORE}\b", text[:end], re.IGNORECASE) is not None
        or is_value(text[:end])
        or (len(text[:end].split()) <= 3 and not re.search(r"\d", text[:end]))
    )


LEFT_OPEN = re.compile(
    r"[\s:\"'*]{0,12}(?:it[ ]is[ ]|it[ ])?(?:not[ ](?:known|given|clear|provided|specified|possible|related"
    r"|definitive|certain)"
    r"|dependent|depends?|based[ ]on|unknown|unclear|impossible|indeterminate|inconclusive|undefined"
    r"|cannot[ ]be|can't[ ]be|debatable|subjective|maybe|possibly|neither)\b",
    re.IGNORECASE,
)
