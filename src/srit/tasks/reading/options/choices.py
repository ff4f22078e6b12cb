"""Reads the option that a text gives as its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from srit.tasks import Reading
from srit.tasks.reading.clauses import CONCLUDES, LEFT_OPEN, Clause, Found, find_clauses, find_sentences, read_with
from srit.tasks.reading.numbers import announced_number
from srit.tasks.reading.numerals.numerals import find_numerals, is_number, numbers_equal, plain
from srit.tasks.reading.options import LETTERS
from srit.tasks.reading.options.decisions import decided_choice
from srit.tasks.reading.options.mentions import (
    Mention,
    SplitMentions,
    find_mentions,
    find_words,
    is_denied,
    mention_of,
    of_value,
    split_mentions,
)

_HEDGES = (
    r"either|both|most likely|likely|probably|going to be|definitely|clearly|obviously|certainly|almost certainly"
    r"|indeed|simply|that|to be|(?:I(?:['’]d)?|I would|we) (?:think|believe|guess|say|choose|pick)"
    r"|it(?:['’]s| is| must be| should be| would be)"
)
_OPEN = (
    rf"[\s*_\"'`$\[{{}}:<]{{0,12}}(?:(?i:{_HEDGES})[ :,]{{1,2}}){{0,4}}[*\"'`$]{{0,4}}"
    r"(?:\\(?:text|mathrm|textbf|mathbf|rm)\s?\{\s?)?"
)
_CONNECTIVES = r"because|since|as|for|which|and|or|but|due|based|given|so|if|is|with|in|on|by|from|not"


def read_choice(text: str, choices: Sequence[str], question: str = "") -> Reading:
    """Read the letter of the option that a text settles on; A is the first option.

    Reads a letter in brackets or after an announcement, or else an option's own words; "yes"/"true" and "no"/"false"
    where these are the options. An option that the text rules out is never read.
    """
    return read_with(text, lambda plain: _find_choice(plain, choices), question)


def _find_choice(text: str, choices: Sequence[str]) -> Found | str:
    denied: set[str] = set()
    for clause in find_clauses(text):
        found = _announced_choice(text, clause, choices)
        if not found and LEFT_OPEN.match(text, clause.start, clause.end):
            return "the answer is left open"
        if isinstance(found, str) or (found and found.answer not in denied):
            return found
        denied |= {mention.letter for mention in _sides(text, clause, choices).denied}
    found = _bare_choice(text, choices) or _concluded_choice(text, choices)
    if found and found.answer in denied:
        return "the only option named is ruled out"
    return found or "no option is named"


def _letters(choices: Sequence[str]) -> str:
    return LETTERS[: len(choices)]


@lru_cache(maxsize=64)
def _at_a_beginning(letters: str) -> tuple[re.Pattern[str], ...]:
    after = rf"(?=[.,:;。，、)\]}}!?*_\"'`$/<>]|\s?[-–—(]|\s*$|\s+(?:{_CONNECTIVES})\b|\s*\n)"
    lower = letters.lower()
    return tuple(
        re.compile(_OPEN + rest)
        for rest in (
            rf"(?i:\b(?:option|choice|letter)[ ])?\(\s?([{letters}{lower}])\s?\)",
            rf"(?i:option|choice|letter)[ ][*\"']*([{letters}]\b|[{lower}]{after})",
            rf"([{letters}])(?:{after}|(?<![AI])[ ](?!['’]))",
            rf"([{lower}]){after}",
        )
    )


def _letter_at(text: str, start: int, end: int, choices: Sequence[str]) -> re.Match[str] | None:
    """Find the option letter that begins a clause, as opposed to the article "A" or the pronoun "I"."""
    for pattern in _at_a_beginning(_letters(choices)):
        match = pattern.match(text, start, end)
        if match:
            return match
    return None


def _announced_choice(text: str, clause: Clause, choices: Sequence[str]) -> Found | str | None:
    letter, sides = _letter_at(text, clause.start, clause.end, choices), _sides(text, clause, choices)
    if letter and letter.start(1) not in {mention.start for mention in sides.denied}:
        if "both" in letter[0].lower() or _second_letter(text, letter.end(), clause.end, choices):
            return "several options are announced"
        first = mention_of(text, letter, choices)
        if not is_denied(text, first):
            return Found(first.letter, first.start, first.end, clause.rule)
    if letter or sides.denied:
        return _left_standing(sides, clause, choices)
    if _is_yes_no(choices) and _NO_SUCH.match(text, clause.start, clause.end):
        return None
    return _yes_or_no(text, clause, choices) or _option_text(text, clause, choices)


def _sides(text: str, clause: Clause, choices: Sequence[str]) -> SplitMentions:
    mentions = list(find_mentions(text, clause.start, clause.end, choices))
    if not mentions and not _is_yes_no(choices):
        mentions = find_words(text, clause.start, clause.end, choices)
    return split_mentions(text, mentions)


def _left_standing(sides: SplitMentions, clause: Clause, choices: Sequence[str]) -> Found | None:
    """Read the option that is left when others are ruled out: "not (A), it is (C)", "neither A nor B, so D"."""
    kept, denied = sides
    letters = {mention.letter for mention in kept} or set(_letters(choices)) - {mention.letter for mention in denied}
    if len(letters) != 1:
        return None
    span = (kept or denied)[-1]
    return Found(letters.pop(), span.start, span.end, f"{clause.rule}, the others are ruled out")


def _second_letter(text: str, start: int, end: int, choices: Sequence[str]) -> bool:
    letters = _letters(choices)
    pattern = (
        rf"[)\](?\"'* ]{{0,5}}(?:,|\b[Oo]r\b|\band\b|/|&)(?:[ ]?(?:or|and)\b)?[ ]?(?:maybe[ ]|possibly[ ]|perhaps[ ])?"
        rf"[(*\"'\[]{{0,3}}([{letters}])(?![A-Za-z'’])"
    )
    match = re.compile(rf"{pattern}(?=[)\]]|\s*[.,?*]|\s*$)").match(text, start, end + 20)
    bracketed = re.compile(r"[^.(]{0,80}?\b(?:or|and)[ ](?:possibly[ ]|maybe[ ])?\(([A-Za-z])\)").match(
        text, start, end
    )
    return any(
        second and not is_denied(text, Mention(second[1], *second.span(1), second.end()))
        for second in (match, bracketed)
    )


_NO_OTHER = r"(?![ ](?:one|more|longer|matter|doubt)\b)"  # a "no" that answers nothing
_YES_NO = re.compile(
    r"[\s*_\"'`(\[{$:]{0,12}"
    r"(?:(?:most likely|likely|probably|technically|almost certainly|definitely|generally|no doubt|a)[ ])?"
    rf"[*_\"'`(]{{0,4}}(?:\\text\{{)?(yes|no|true|false)\b{_NO_OTHER}(?![ ]and (?:yes|no)\b)",
    re.IGNORECASE,
)
_NO_SUCH = re.compile(rf"[\s*_\"'`(:]{{0,12}}no\b(?!{_NO_OTHER}|[ ]doubt[ ](?:yes|no)\b)", re.IGNORECASE)


def _is_yes_no(choices: Sequence[str]) -> bool:
    return sorted(choice.strip().lower() for choice in choices) in (["no", "yes"], ["false", "true"])


def _yes_letter(word: str, choices: Sequence[str]) -> str:
    """Return the letter of the option that means the same as yes, no, true, or false."""
    wanted = ("yes", "true") if word.lower() in ("yes", "true") else ("no", "false")
    return next(letter for letter, choice in zip(LETTERS, choices, strict=False) if choice.strip().lower() in wanted)


def _yes_or_no(text: str, clause: Clause, choices: Sequence[str]) -> Found | None:
    match = _YES_NO.match(text, clause.start, clause.end) if _is_yes_no(choices) else None
    return Found(_yes_letter(match[1], choices), *match.span(1), clause.rule) if match else None


_GROUPING = re.compile(r"(?<=\d)[,'’](?=\d{3}(?!\d))")  # the comma of "1,200"
_MINUS = re.compile(r"(?<![^\W\d])–(?=\.?\d)")  # an en dash, as in "–5"
_RATIO = re.compile(r"(?<=\d) : (?=\d)")
# The colon of "1:2" and the point of ".5" are part of a number.
_BETWEEN_WORDS = re.compile(r"(?:[^\w%°.+/=<>^√±:-]|:(?!\d)|(?<!\d):)+")
_BESIDE_A_ROOT = re.compile(r"(?<=\d) (?=√)|(?<=√) ")
_LEADING = re.compile(r"(?: |\.(?!\d))+")


@lru_cache(maxsize=256)
def _bare(text: str) -> str:
    """Reduce a text to its words, in lower case and without a leading article; "1,200" becomes "1200"."""
    said = _RATIO.sub(":", _MINUS.sub("-", _GROUPING.sub("", plain(text).lower())))
    words = _BESIDE_A_ROOT.sub("", _BETWEEN_WORDS.sub(" ", said)).rstrip(" .")
    leading = _LEADING.match(words)
    words = words[leading.end() :] if leading else words
    return re.sub(r"^(?:an?|the|to|that|option) ", "", words)


def _option_text(text: str, clause: Clause, choices: Sequence[str]) -> Found | None:
    """Read an option by its number or its own words at the beginning of a clause; the longest if several fit."""
    number = announced_number(text, clause) if any(map(is_number, choices)) else None
    valued = _with_value(number, choices)
    if number and len(valued) == 1 and all(map(is_number, choices)):
        return Found(valued[0], number.start, number.end, f"{clause.rule}, the option's number")
    said = _bare(text[clause.start : min(clause.end, clause.start + 2000)])
    # "(e) None", "The answer is none of the above", and so on are options like any other.
    fits = [
        (len(option), letter)
        for letter, choice, option in zip(LETTERS, choices, map(_bare, choices), strict=False)
        if option
        # In "3 × 5 = 15", the 3 is not the answer.
        and (said == option or (said.startswith(option + " ") and (letter in valued or not is_number(choice))))
    ]
    if fits:
        longest = max(fits)[0]
        letters = [letter for length, letter in fits if length == longest]
        if len(letters) == 1 and not _is_alternative(said[longest:], choices):
            return Found(letters[0], clause.start, clause.end, f"{clause.rule}, the option's words")
    return _option_within(text, clause, choices)


def _with_value(number: Found | None, choices: Sequence[str]) -> list[str]:
    """Return the letters of the options that equal a number."""
    return [
        letter
        for letter, choice in zip(LETTERS, choices, strict=False)
        if number and is_number(choice) and numbers_equal(number.answer, choice)
    ]


def _is_alternative(said: str, choices: Sequence[str]) -> bool:
    """Return whether a text goes on with "or" and another option's words."""
    other = re.match(r" (?:or|and) (?:an?|the)? ?", said)
    return other is not None and any(
        (said[other.end() :] + " ").startswith(f"{option} ") for option in map(_bare, choices) if option
    )


def _option_within(text: str, clause: Clause, choices: Sequence[str]) -> Found | None:
    """Read the only option whose words end a clause: "Answer: Mittens can be made into storage"."""
    if _is_yes_no(choices):
        return None
    named = _named(text, clause.start, clause.end, choices)
    if len(named) != 1 or _NEGATES.search(text, clause.start, clause.end):
        return None
    if not _bare(text[clause.start : clause.end]).endswith(f" {_bare(choices[LETTERS.index(named[0])])}"):
        return None
    return Found(named[0], clause.start, clause.end, f"{clause.rule}, ends in the option's words")


def _named(text: str, start: int, end: int, choices: Sequence[str]) -> list[str]:
    """Return the letters of the options whose words stand in text[start:end]; of "2√3", neither number does."""
    said = f" {_bare(text[start:end])} "
    return [
        letter
        for letter, choice in zip(LETTERS, choices, strict=False)
        if _bare(choice)
        and f" {_bare(choice)} " in said
        and (not is_number(choice) or of_value(choice, find_numerals(text, start, end)))
    ]


def _bare_choice(text: str, choices: Sequence[str]) -> Found | None:
    """Read a first or last line that is an option's letter, its words, or both."""
    lines = [match for match in re.finditer(r"[^\n]+", text) if match[0].strip()]
    for line in dict.fromkeys([*lines[-1:], *lines[:1]]):
        clause = Clause(*line.span(), "a line by itself")
        found = _line_choice(text, clause, choices)
        if found:
            return found
    return None


def _line_choice(text: str, clause: Clause, choices: Sequence[str]) -> Found | None:
    letters = _letters(choices)
    either = letters + letters.lower()
    marked = (
        rf"{_OPEN}(?:\(([{either}])\)|([{either}])(?:[.):]|[ ][-–—][ ]|(?=[*_`\"'}}\]\s]*$)))[.*_`\"'}}\]\s]*([^\n]*)"
    )
    match = re.compile(marked).match(text, clause.start, clause.end)
    if match:
        letter = (match[1] or match[2]).upper()
        rest = _bare(match[3])
        if not rest or rest.startswith(_bare(choices[LETTERS.index(letter)])):
            return Found(letter, *match.span(1 if match[1] else 2), clause.rule)
    said = _bare(text[clause.start : clause.end])
    same = [letter for letter, choice in zip(LETTERS, choices, strict=False) if said and said == _bare(choice)]
    if len(same) == 1:
        return Found(same[0], clause.start, clause.end, clause.rule)
    return None


def _concluded_choice(text: str, choices: Sequence[str]) -> Found | None:
    """Read what the last sentence names: a letter in brackets or after "option", yes or no, or an option's words."""
    sentences = find_sentences(text)
    if not sentences:
        return None
    start, end = sentences[-1]
    if _is_yes_no(choices):
        return _concluded_yes(text, sentences, choices)
    return (
        decided_choice(text, choices)
        or _lettered_sentence(text, start, end, choices)
        or _worded_sentence(text, start, end, choices)
    )


_SAYS = re.compile(
    r"(?:\b(?:conclusion|verdict|decision|in short)[*_]{0,3}:|\bto answer (?:the|your|this) (?:\w{1,12} )?question,)"
    r"[\s*_]{0,4}(yes|no)\b(?=[,.;:!—–-]|\s*$)",
    re.IGNORECASE,
)


def _concluded_yes(text: str, sentences: list[tuple[int, int]], choices: Sequence[str]) -> Found | None:
    """Read yes or no as the first word of the last sentence or of the text, or as its last word: "… is false."."""
    says = _SAYS.search(text, *sentences[-1])
    if says:
        return Found(_yes_letter(says[1], choices), *says.span(1), "a conclusion's first word")
    ends = re.compile(r"[^\n]*\bis[ ](?:therefore[ ])?(true|false)[.*\s]*$", re.IGNORECASE).match(
        text, sentences[-1][0]
    )
    if ends:
        return Found(_yes_letter(ends[1], choices), *ends.span(1), "last sentence, its last word")
    for start, end in (sentences[-1], sentences[0]):
        therefore = CONCLUDES.match(text, start, end)
        clause = Clause(therefore.end() if therefore else start, end, "a sentence's first word")
        found = _yes_or_no(text, clause, choices)
        if found:
            return found
    return None


_NEGATES = re.compile(
    r"\b(?:not|incorrect|wrong|neither|nor|less|unlikely|cannot|eliminate|except)\b|n['’]t\b", re.IGNORECASE
)


def _lettered_sentence(text: str, start: int, end: int, choices: Sequence[str]) -> Found | None:
    found = [mention for mention in find_mentions(text, start, end, choices) if mention.marked]
    if len({mention.letter for mention in found}) != 1 or _NEGATES.search(text, start, end):
        return None
    return Found(found[-1].letter, found[-1].start, found[-1].end, "last sentence, the only option named")


def _worded_sentence(text: str, start: int, end: int, choices: Sequence[str]) -> Found | None:
    if not CONCLUDES.match(text, start, end) or _NEGATES.search(text, start, end):
        return None
    named = _named(text, start, end, choices)
    if len(named) != 1:
        return None
    return Found(named[0], start, end, "conclusion, the only option's words")
