"""Finds where a text takes its answer back: "The answer is 40. Wait, there are three. So it is 60."."""

from __future__ import annotations

import re
from typing import NamedTuple

_APOSTROPHE = r"['’]?"
_MISTAKE = r"i[ ](?:have[ ]|just[ ])?ma(?:de|ke)[ ]an?[ ](?:\w{1,20}[ ])?(?:mistake|error|slip)"
_ANYWHERE = rf"""
    no,?[ ]wait | (?:oh|but|ah|hmm+|um+|uh+),?[ ]wait | (?:scratch|strike)[ ]that | on[ ]second[ ]thoughts?
    | {_MISTAKE} | i[ ](?:was|am)[ ](?:wrong|mistaken) | i[ ]take[ ](?:that|it)[ ]back | or[ ]rather
    | i[ ](?:do[ ]not|don['’]t)[ ]think[ ](?:so|(?:that|it|this)(?:['’]s|[ ]is)[ ](?:right|correct))
    | i[ ]mis(?:read|counted|calculated|spoke|understood|remembered|took|stated)
"""
_PAUSE = r"(?=\s*[,.!?…—–:;-]|\s+(?:a\s+(?:minute|second|moment|sec)|that|this|it|its|i|no|the|there|we)\b)"
_AT_A_START = rf"""
    (?:wait|(?:hold|hang)[ ]on)\b{_PAUSE} | hmm+\b | (?:wh)?oops\b | my[ ](?:mistake|bad|apologies)\b | i[ ]meant?\b
    | make[ ]that\b | actually\b(?=,|:|[ ](?:it|that|no|the[ ]answer)\b) | correction\b(?=\s?[:,—–-])
    | sorry\b(?=\s?[,:.—–-]) | (?:edit|update|erratum)\b(?=\s?:) | no(?:pe)?\b(?=\s?[,:.!;—–-])(?!\.\s?[0-9])
    | let[ ]me[ ](?:correct|fix|re-?think|re-?consider|re-?do|re-?calculate|re-?compute|re-?evaluate|try[ ]again)
    | (?:but[ ])?that(?:{_APOSTROPHE}s|[ ]is|[ ]does|[ ]seems|[ ]can)?[ ]?(?:not|n['’]t|{_APOSTROPHE}t)
      [ ](?:be[ ]|seem[ ]|look[ ])?(?:right|correct)\b
"""
# These may stand between a cue and the new answer: "Wait, no, sorry, it is".
_FILLER = rf"""
    (?:[\s,.…!?:;—–-]{{0,6}}
      (?:no(?!\s?[.!]?\s*\Z)|wait|sorry|actually|oops|hmm+|oh|my[ ](?:mistake|bad)|{_MISTAKE}|i[ ](?:think|believe)
        |that{_APOSTROPHE}s[ ](?:not[ ]right|wrong|incorrect|not[ ]correct)
        |let[ ]me[ ]correct[ ](?:that|this|myself))\b){{0,8}}
    [\s,.…!?:;—–-]{{0,6}}
    (?P<said>(?:(?:it|that|this)(?:{_APOSTROPHE}s|[ ](?:is|should[ ]be|must[ ]be|has[ ]to[ ]be|would[ ]be|was))
      (?:[ ](?:actually|really|in[ ]fact|instead))?(?![ ](?:an?|the|not|because|known|why|what|also|where|when)\b)
      |i[ ]meant?|make[ ]that|rather)\b)?
    [\s:]{{0,6}}
"""
_CUE = re.compile(
    rf"""
    (?: \b(?:{_ANYWHERE})
      | (?:^|(?<=[.!?…—–;:(*,)\n])|(?<=[.!?…—–;:,)]\s))[ \t*_("']{{0,4}}(?:{_AT_A_START}) )
    {_FILLER}
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
# Here the cue is the beginning of an option: "The answer is (A) Wait, then pour."
_OPTION_BEFORE = re.compile(r"(?:\([A-Za-z]\)|\b[A-Z][):])[ ]?$")
_CONFIRMS = re.compile(
    rf"""
    (?:^|[.!?,;:—–\n]\s?)[ *_"]{{0,3}}(?:yes|yep|correct|confirmed|right|ok(?:ay)?)\b[,.!]
    | \b(?:that|it|this|which|answer|result)(?:{_APOSTROPHE}s|[ ](?:is|was|looks|seems))
      [ ](?:(?:indeed|actually|still|also|all)[ ])?(?:correct|right|true|fine|as[ ](?:before|above))\b
    | \b(?:checks[ ]out|(?:answer|result)[ ](?:stands|holds|remains)|same[ ](?:answer|result)|is[ ]indeed|no[ ]change)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_WORD = re.compile(r"\w")
_DOUBTS = re.compile(r"n['’]t[ ](?:think|believe)|\bnot[ ](?:sure|certain)|\bdoubt", re.IGNORECASE)


class Correction(NamedTuple):
    """Marks where a text takes back what it said before."""

    start: int
    end: int  # where the new answer may begin
    until: int  # the end of what is said instead
    said: bool  # whether "it is", "I mean", or the like announces the new answer


def last_correction(text: str) -> Correction | None:
    """Find the last "Wait, …", "Actually, …", "Scratch that", or "No: …" with text after it, else the last of all."""
    until, last = len(text), None
    for cue in reversed(list(_CUE.finditer(text))):
        if _OPTION_BEFORE.search(text, max(0, cue.start() - 5), cue.start() + 1):
            continue
        found = Correction(*cue.span(), until, said=cue["said"] is not None)
        if _WORD.search(text, found.end, until):
            return found
        last, until = last or found, found.start
    return last


def confirms(text: str) -> bool:
    """Return whether the text after a doubt confirms the answer: "Wait, let me check: 3 * 20 = 60. Yes."."""
    return _CONFIRMS.search(text) is not None and not _DOUBTS.search(text)
