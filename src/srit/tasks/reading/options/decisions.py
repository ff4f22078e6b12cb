"""Reads the option that a text decides on without announcing an answer."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from functools import lru_cache

from srit.tasks.reading.clauses import Found
from srit.tasks.reading.options import LETTERS
from srit.tasks.reading.options.mentions import (
    Mention,
    find_mentions,
    is_called_right,
    is_denied,
    letter_pattern,
    mention_of,
    split_mentions,
)

_SO = r"(?:so|but|thus|therefore|hence|consequently|accordingly|overall|in[ ]conclusion|finally)"
_START = r"(?:^|[.!?,;][ ])[ \t*_]{0,6}"


@lru_cache(maxsize=64)
def _choosing(n: int) -> re.Pattern[str]:
    """Return a pattern for a decision on a letter: "I'd go with C", "it must be (b)", "Hence, B.", "leaving D"."""
    closing = r"[\"'*_)\]]{0,4}"
    ends = (
        rf"(?!{closing},?[ ](?:or|and)\b)"
        rf"(?={closing}(?:\s*(?:[.,;:!?]|$|\n)|\s+(?:because|since|as|for|which)\b))"
    )
    lower = LETTERS[:n].lower()
    return re.compile(
        rf"""(?mx)
        (?:
            (?i:\bi(?:['’](?:d|ll|m)|[ ](?:would|will|am|must|have[ ]to))?|\bwe|\blet['’]s|\blet[ ]me)[ ][^.\n]{{0,30}}?
            \b(?:go(?:ing)?[ ]with|choos(?:e|ing)|chose|select(?:ing)?|pick(?:ing)?|opt(?:ing)?[ ]for|say
              |settle[ ](?:on|for)|vote[ ]for|guess|believe|think|prefer|favor|sure|certain|confident)
            [ ](?:that[ ])?(?:it(?:['’]s|[ ]is|[ ]must[ ]be)[ ]|is[ ])?
          | {_START}(?i:(?:{_SO}|and)[, ]{{1,2}})?(?i:it|that|this)
            (?:['’]s|[ ](?:is|(?:must|has[ ]to|would|should|can[ ]only)[ ]be|leaves(?:[ ]us[ ]with)?))[ ](?:only[ ])?
          | {_START}(?i:(?:{_SO}[, ]{{1,2}})?(?:choose|select|pick|mark|go[ ]with))[ ](?:option[ ])?
          | \b(?:leav(?:es|ing)(?:[ ]us[ ]with|[ ]only)?|leads[ ]to|points[ ]to)[ ]
          | {_START}(?i:{_SO})[ ,:]{{1,3}}
          | (?:=>|→|⇒)[ ]?
        )
        (?:the[ ])?[*_\"']{{0,3}}(?=\S)(?:{letter_pattern(n)}|(?<=[ ])([{lower}])){ends}
        | {_START}(?i:{_SO}[, ]{{1,2}})?([{lower}])(?=[ ]is[ ](?:the[ ])?(?:correct|right|best|answer)\b)
        """
    )


@lru_cache(maxsize=64)
def _all_but(n: int) -> re.Pattern[str]:
    """Return a pattern for "All except C are wrong", "none but (b) fits"."""
    return re.compile(
        r"\b(?i:all|every(?:thing|[ ]?one)?|each|none|nothing)\b[^.\n]{0,30}?"
        rf"[ ](?i:except|but|besides|other[ ]than|apart[ ]from)[ ](?:for[ ])?(?:{letter_pattern(n)})"
        r"(?=[^.\n]{0,30}?\b(?:wrong|incorrect|false|out|excluded|eliminated|fits?|works?)\b)"
    )


def decided_choice(text: str, choices: Sequence[str]) -> Found | None:
    """Find the last option that a text decides on or calls the best."""
    chosen = [mention_of(text, match, choices) for match in _choosing(min(len(choices), len(LETTERS))).finditer(text)]
    mentions = list(find_mentions(text, 0, len(text), choices))
    called = [(mention, match) for mention in mentions if (match := is_called_right(text, mention))]
    best = [mention for mention, match in called if match.groupdict().get("best")]
    only = [mention_of(text, match, choices) for match in _all_but(min(len(choices), len(LETTERS))).finditer(text)]
    right = [mention for mention, _ in called] if len({mention.letter for mention, _ in called}) == 1 else []
    decided = [mention for mention in chosen if not is_denied(text, mention)] + best + only + right
    if decided:
        last = max(decided, key=lambda mention: mention.start)
        return Found(last.letter, last.start, last.end, "the option decided for")
    return _by_elimination(text, mentions, choices)


_WEIGHED = re.compile(r"\b(?:either|between)\b[^.\n]{0,80}", re.IGNORECASE)


def _by_elimination(text: str, mentions: list[Mention], choices: Sequence[str]) -> Found | None:
    """Find the option that is left when a text rules out all others, or the other one of two that it weighs."""
    left = set(LETTERS[: len(choices)]) - {mention.letter for mention in split_mentions(text, mentions).denied}
    for weighed in deque(_WEIGHED.finditer(text), 1):
        left &= {mention.letter for mention in find_mentions(text, *weighed.span(), choices)} or left
    if len(choices) < 3 or len(left) != 1:
        return None
    return Found(left.pop(), mentions[-1].start, mentions[-1].end, "all other options are ruled out")
