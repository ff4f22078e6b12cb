"""Finds where a text names options, and whether it calls them right or wrong there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from srit.tasks.reading.numerals.digits import Numeral
from srit.tasks.reading.numerals.numerals import find_numerals, is_number, numbers_equal
from srit.tasks.reading.options import LETTERS

_VERBS = r"is|are|was|were|can|cannot|could|would|should|must|may|might|has|does|do|seems?|looks?|fits?|works?|fails"
_JOINS = r"because|since|as|for|which|and|or|nor|but|due|based|given|so|if|with|in|on|by|from|not|it"


class Mention(NamedTuple):
    """Marks an option's letter or words in a text."""

    letter: str  # A for the first option
    start: int
    end: int
    stop: int  # after the closing bracket and any of the option's own words that follow
    marked: bool = False  # in brackets or called an option: "(b)", "option b"


@lru_cache(maxsize=64)
def letter_pattern(n: int) -> str:
    """Return a pattern for the letters of n options in running text, with the letter in one of three groups.

    Matches "(b)", "option b", "B", and "A is", but not the article "A", the pronoun "I", or letters within words.
    """
    upper, lower = LETTERS[:n], LETTERS[:n].lower()
    plain = re.sub("[AI]", "", upper)
    ends = rf"(?=\s*(?:[.,:;)\]}}!?*\"'<>]|$|\n)|\s+(?:{_VERBS}|{_JOINS})\b|\s+[–—(✓✔✅✗✘❌-])"
    return (
        rf"(?:[(\[]\s?([{upper}{lower}])\s?[)\]]"
        rf"|\b(?i:options?|choices?|letter|answer)[ ][*\"'(]{{0,3}}"
        rf"([{upper}{lower.replace('a', '')}](?![\w'’])|a\b{ends})"
        rf"|(?<![\w'’$\\°+-])(?:([{plain or upper}](?![\w'’+\#°-]|\.[A-Za-z]))|(A(?![\w'’+\#-]){ends})))"
    )


@lru_cache(maxsize=64)
def _letters(n: int) -> re.Pattern[str]:
    return re.compile(letter_pattern(n))


@lru_cache(maxsize=1024)
def _words(option: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", option.casefold())[:100])


@lru_cache(maxsize=1024)
def _words_pattern(option: str) -> re.Pattern[str] | None:
    """Return a pattern for an option's own words, or None if it has none, or more than 20."""
    pattern = r"\W{1,3}".join(map(re.escape, _words(option)[:20]))
    return re.compile(rf"\b{pattern}\b", re.IGNORECASE) if 0 < len(_words(option)) <= 20 else None


def mention_of(text: str, match: re.Match[str], choices: Sequence[str]) -> Mention:
    """Make a mention from the match of its letter, extended over as many of the option's words as follow it."""
    group = match.lastindex or 0
    letter, stop = match[group].upper(), match.end()
    gap = _GAP.match(text, stop)
    own = gap.end() if gap else stop
    for word in _words(choices[LETTERS.index(letter)]):
        found = _WORD.match(text, own)
        if found is None or found[1].casefold() != word:
            break
        own = stop = found.end()
    return Mention(letter, *match.span(group), stop, marked=group < 3)


_WORD = re.compile(r"\W{0,3}(\w+)")
_GAP = re.compile(r"[)\]\"'*_:.,–— -]{0,5}")


_FUNCTION_WORDS = (
    "and or nor so thus hence therefore consequently but that is are be was not neither either both only then than "
    "like unlike except besides with without as because since if while where when although though whereas which "
    "however it's its i'd would could must to out choose choosing chose pick picking select say think believe guess "
    "option options choice choices letter letters answer answers exclude eliminate reject discard dismiss "
    "leaves leaving between among"
)
# After any other word, a bare letter is part of a name: "vitamin C", "point A".
_BEFORE_A_LETTER = frozenset(_FUNCTION_WORDS.split())
_PRECEDING = re.compile(r"([A-Za-z][\w'’]*)[ ][*_\"']{0,3}$")


def _is_part_of_a_name(text: str, start: int) -> bool:
    word = _PRECEDING.search(text, max(0, start - 24), start)
    if word is None or len(word[1]) == 1 or word[1].endswith(("n't", "n’t")):
        return False
    return word[1].lower() not in _BEFORE_A_LETTER


def find_mentions(text: str, start: int, end: int, choices: Sequence[str]) -> Iterator[Mention]:
    """Find options named by their letters, in order."""
    for match in _letters(min(len(choices), len(LETTERS))).finditer(text, start, end):
        mention = mention_of(text, match, choices)
        if mention.marked or not _is_part_of_a_name(text, mention.start):
            yield mention


def find_words(text: str, start: int, end: int, choices: Sequence[str]) -> list[Mention]:
    """Find options named by their own words, in order; a longer option hides those within it."""
    found: list[Mention] = []
    numerals = find_numerals(text, start, end) if any(map(is_number, choices)) else []
    longest_first = sorted(zip(LETTERS, choices, strict=False), key=lambda option: -len(option[1]))
    for letter, choice in longest_first:
        words = _words_pattern(choice)
        for match in words.finditer(text, start, end) if words else ():
            one, other = match.span()
            # The 200 of "1,200" is no mention of an option.
            whole = not is_number(choice) or _overlaps(match, of_value(choice, numerals))
            if whole and not _overlaps(match, found):
                found.append(Mention(letter, one, other, other))
    return sorted(found, key=lambda mention: mention.start)


def of_value(choice: str, numerals: Sequence[Numeral]) -> list[Numeral]:
    """Return those of a text's numbers that equal an option."""
    return [numeral for numeral in numerals if numeral.text and numbers_equal(numeral.text, choice)]


def _overlaps(match: re.Match[str], spans: Sequence[Mention | Numeral]) -> bool:
    return any(span.start < match.end() and match.start() < span.end for span in spans)


# ------------------------------------------------------------------------------------- called right or wrong

_DENIAL = (
    r"not(?![ ](?:only|just)\b)|never|neither|nor|cannot[ ]be|except(?:[ ]for)?|excluding|without|unlike|than"
    r"|instead[ ]of|(?:ruled?|ruling|rules)[ ]out|exclud(?:es?|ed)|eliminat(?:es?|ed|ing)|reject(?:s|ed|ing)?"
    r"|discard(?:s|ed|ing)?|dismiss(?:es|ed)?"
)
_FILLED = r"(?:be|been|choose|pick|necessarily|simply|either|both|the|with|likely|really|correct|right|answer|it)[ ]"
_LABEL = r"[\"'*_(\[]{0,3}(?:(?:options?|choices?|letters?)[ ])?[\"'*_(\[]{0,3}"
_DENIED_BEFORE = re.compile(rf"(?:\b(?:{_DENIAL})|n['’]t)[ ](?:{_FILLED}){{0,3}}{_LABEL}$", re.IGNORECASE)
_KEPT_BEFORE = re.compile(
    rf"(?:\bnot|n['’]t|\bcannot)[ ](?:be[ ])?(?:rule[ ]out|exclude|eliminate|reject|discard|dismiss)[ ]{_LABEL}$",
    re.IGNORECASE,
)
_CROSSED = re.compile(r"[✗✘❌]\ufe0f?[ *_(\[]{0,3}$")
_TICKED = re.compile(r"[✓✔✅☑]\ufe0f?[ *_(\[]{0,3}$")
_SUPPOSED = re.compile(
    r"\b(?:if|whether|unless|suppose|assuming|assume|why|how|think|thinks)\b[^.\n]{0,25}$", re.IGNORECASE
)

_WRONG = (
    r"wrong|incorrect|false|untrue|invalid|(?:easily[ ])?excluded|ruled[ ]out|eliminated|rejected|discarded|dismissed"
    r"|impossible|implausible|improbable|unlikely|irrelevant|unrelated|inappropriate"
    r"|less[ ](?:likely|plausible|suitable)"
)
_TRAP = r"an?[ ](?:\w{1,15}[ ]){0,2}(?:slip|mistake|error|trap|distractor|misconception|red[ ]herring|misreading)"
_IS = (
    r"(?:(?:which|that|it|and)[ ])?"
    r"(?:(?:is|are|was|were|seems?|looks?|can|could|would|should|must|may|might|has|have|gets?)(?:[ ](?:be|been))?[ ])"
)
_ADVERB = r"also|clearly|obviously|simply|just|definitely|therefore|thus|probably|likely|certainly|then|all|both"
_ADVERBS = rf"(?:(?:{_ADVERB})[ ]){{0,2}}"
_CLOSING = r"[)\]\"'*_`]{0,4}"
_SET_OFF = rf"[ ]?(?:[:=→(–—-]|[ ]-)[ ]?(?:it['’]?s[ ]|is[ ]|this[ ]is[ ])?{_ADVERBS}"
_NAMED_NEXT = r"(?![ ][\"'*(]{0,2}(?:options?[ ]|choices?[ ])?[\"'*(]{0,2}[A-Z]\b)"  # "A, not B"
_DENIED_AFTER = re.compile(
    rf"""
    {_CLOSING}(?:
        [ ,]{{1,2}}{_IS}{_ADVERBS}(?:not\b{_NAMED_NEXT}|{_WRONG}|{_TRAP}|out\b|too[ ]\w|never\b)
      | [ ](?:is|was|does|do|can|could|would|has|are)(?:n['’]t|[ ]?not)\b{_NAMED_NEXT}
      | [ ](?:fails|misses|contradicts|makes[ ]no[ ]sense)\b
      | {_SET_OFF}(?:(?:{_WRONG}|{_TRAP}|not\b{_NAMED_NEXT}|no)\b)
      | [):*]{{1,4}}[ ](?:{_WRONG}|no)\b | \?[ ](?:no|nope|not|{_WRONG})\b
      | [ ]?[:(–—-]?[ ]?[✗✘❌]
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_KEPT_AFTER = re.compile(
    rf"{_CLOSING}[ ](?:is|was|can|could|are)(?:n['’]t|[ ]?not)[ ](?:be[ ])?(?:{_WRONG})", re.IGNORECASE
)
_GOOD = r"correct|right(?!-)|best|better|likely|plausible|appropriate|suitable|logical|answer|left"
_RIGHT_AFTER = re.compile(
    rf"""
    {_CLOSING}(?:
        [ ](?:(?:is|must[ ]be|has[ ]to[ ]be|would[ ]be|should[ ]be|seems|looks)[ ]|['’]s[ ]){_ADVERBS}(?:indeed[ ])?
        (?P<best>(?:the|our|my|most|more)[ ](?:(?:most|more|only|one|single|final|correct|right|best)[ ]){{0,2}})?
        (?:{_GOOD}|(?:option|choice|one)[ ]that[ ]fits)\b
      | [ ](?:it[ ]is\s?(?=[.!*\n]|$)|fits\b|matches\b|works\b(?=[ ]best|\s?[.,;!]|$))
      | {_SET_OFF}(?:the[ ])?(?:most[ ])?(?:correct|right|true|best|yes)\b
      | [):*]{{1,4}}[ ](?:correct|right|true|yes)\b | \?[ ](?:yes|correct|right)\b
      | [ ](?:is|are)[ ]true\b
      | [ ]?[:(–—-]?[ ]?[✓✔✅☑]
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_JOINT = re.compile(
    r"[)\]\"'*_]{0,4}(?P<comma>,)?(?P<and>[ ](?:or|nor|and)\b|/|[ ]&)?[ ]?[\"'*_(]{0,3}(?:options?[ ]|choices?[ ])?"
    r"[\"'*_(]{0,3}"
)
_PLURAL = re.compile(rf"{_CLOSING}[ ](?:are|were|do[ ]not|don['’]t|both|all)\b", re.IGNORECASE)


def _before(text: str, mention: Mention) -> str:
    """Return what stands before a mention in its sentence."""
    left = text[max(0, mention.start - 60) : mention.start]
    return re.split(r"[.!?\n;](?=\s|$)", left)[-1]


def is_denied(text: str, mention: Mention) -> bool:
    """Return whether a text rules out an option where it names it: "not (A)", "(A) is wrong", "A: incorrect"."""
    before = _before(text, mention)
    if _KEPT_AFTER.match(text, mention.stop) or _KEPT_BEFORE.search(before):
        return False
    return any((_DENIED_AFTER.match(text, mention.stop), _DENIED_BEFORE.search(before), _CROSSED.search(before)))


def is_called_right(text: str, mention: Mention) -> re.Match[str] | None:
    """Find the words that call an option right: "(B) is the best choice", "C: correct", "B it is"."""
    before = _before(text, mention)
    if is_denied(text, mention) or _SUPPOSED.search(before):
        return None
    return _RIGHT_AFTER.match(text, mention.stop) or _KEPT_AFTER.match(text, mention.stop) or _TICKED.search(before)


class SplitMentions(NamedTuple):
    kept: list[Mention]  # of options that the passage rules out nowhere
    denied: list[Mention]


def split_mentions(text: str, mentions: Sequence[Mention]) -> SplitMentions:
    """Split the options of a passage into kept and denied; "not A or B" and "A and B are wrong" deny both."""
    out = [is_denied(text, mention) for mention in mentions]
    joints = [_JOINT.fullmatch(text, one.stop, other.start) for one, other in pairwise(mentions)]
    for index, joint in enumerate(joints):
        if joint and out[index] and not is_called_right(text, mentions[index + 1]):
            out[index + 1] = True
    listed = False
    for index in reversed(range(len(joints))):
        joint, before, after = joints[index], joints[index - 1] if index else None, mentions[index + 1]
        series = before is not None and before["comma"] is not None  # "A, B, and D"
        together = joint and joint["and"] and (series or not joint["comma"] or _PLURAL.match(text, after.stop))
        listed = bool(out[index + 1] and joint and (together or listed))
        out[index] = out[index] or listed
    denied = [mention for mention, is_out in zip(mentions, out, strict=True) if is_out]
    letters = {mention.letter for mention in denied}
    return SplitMentions([mention for mention in mentions if mention.letter not in letters], denied)
