"""Finds answers between tags: <answer>, <final_answer>, [ANSWER], <|begin_of_box|>, and the like."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

_NAME = r"(?:(?:final|correct|my|your)[_ -]?)?answers?(?:[_ -]?(?:final|text|choice|letter|value))?|ans|boxed"
# These hold a whole solution as often as an answer, so only a single line within them counts.
_LOOSE = r"solution|result|final|response|output|conclusion|choice|option|letter"


class _Tag(NamedTuple):
    start: int
    end: int
    opens: bool


class _Pair(NamedTuple):
    opens: re.Pattern[str]
    closes: re.Pattern[str]


def _pair(names: str) -> _Pair:
    begin = rf"(?:<|&lt;)(?:{names})(?:\s[^<>\n]{{0,200}})?(?:>|&gt;)|<\|(?:begin_of_)?(?:{names}|box)\|>"
    end = rf"(?:<|&lt;)/\s?(?:{names})\s?(?:>|&gt;)|<\|(?:/|end_of_)(?:{names}|box)\|>"
    bracketed = r"\[{0}(?-i:ANSWER|FINAL_ANSWER)\]"
    return _Pair(
        re.compile(f"{begin}|{bracketed.format('')}", re.IGNORECASE),
        re.compile(f"{end}|{bracketed.format('/')}", re.IGNORECASE),
    )


_ANSWER, _OTHER = _pair(_NAME), _pair(_LOOSE)
_ANY_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,100}>")
_CUT = re.compile(r"(?:</[a-z_]{0,20})?\Z", re.IGNORECASE)
_OPENING = re.compile(rf"{_ANSWER.opens.pattern}|{_OTHER.opens.pattern}", re.IGNORECASE)


def answer_part(text: str) -> tuple[int, int]:
    """Return the part of a text to read: from the last opening tag to its closing tag, or else all of it."""
    return _between(text, _ANSWER) or _single_line(text, _between(text, _OTHER)) or (0, len(text))


def opening_tag(text: str) -> int:
    """Return where the content begins in a text that `answer_part` has cut out; 0 if it begins without a tag."""
    tag = _OPENING.match(text)
    return tag.end() if tag else 0


def _between(text: str, pair: _Pair) -> tuple[int, int] | None:
    """Find the last pair that holds something, else an unclosed opening tag, else an unopened closing tag."""
    marks = _marks(text, pair)
    pairs = [
        (one.start, other.start)
        for one, other in pairwise(marks)
        if one.opens and not other.opens and text[one.end : other.start].strip()
    ]
    if pairs:
        return pairs[-1]
    if marks and marks[-1].opens and text[marks[-1].end :].strip():
        cut = _CUT.search(text, marks[-1].end)
        return marks[-1].start, cut.start() if cut else len(text)
    if marks and not marks[0].opens and text[: marks[0].start].strip():
        return 0, marks[0].start
    return None


def _marks(text: str, pair: _Pair) -> list[_Tag]:
    found = [_Tag(*mark.span(), opens=True) for mark in pair.opens.finditer(text)]
    found += [_Tag(*mark.span(), opens=False) for mark in pair.closes.finditer(text)]
    found.sort()
    if len(found) > 1 and not text[found[-1].end :].strip():
        found[-1] = found[-1]._replace(opens=False)  # "<answer>36<answer>"
    return found


def _single_line(text: str, part: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the part if it stands between two tags, is one line, and no words follow it outside tags; else None."""
    if part is None or part[1] == len(text):
        return None
    content = opening_tag(text[slice(*part)])
    if not content or "\n" in text[part[0] + content : part[1]].strip():
        return None
    return None if re.search(r"[A-Za-z]{2}", _ANY_TAG.sub("", text[part[1] :])) else part
