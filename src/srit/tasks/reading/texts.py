"""Reads answers that are text, and compares them."""

from __future__ import annotations

import re

from srit.tasks import Reading
from srit.tasks.reading.clauses import MAX_CLAUSE, Clause, Found, find_clauses, read_with
from srit.tasks.reading.numerals.numerals import is_number, number_in_words, numbers_equal, plain
from srit.tasks.reading.quantities import SHARP, find_quantity, has_words, quantities_equal
from srit.tasks.reading.tags import opening_tag
from srit.tasks.reading.units import unit_words

_MARKS = " \t\r\n*_`\"'“”‘’"
_IN_A_SENTENCE = ("announced", "####", "A:")

_TITLE_WORDS = (
    "mr mrs ms dr st mt ft prof rev gen col lt capt sgt gov sen rep pres hon fr vs no nos vol fig eq approx ca cf e.g "
    "i.e"
)
_SHORTENED_WORDS = (
    "jr sr inc ltd co corp bros ave blvd rd dept univ est etc apt a.m p.m am pm ph.d jan feb mar apr jun jul aug sep "
    "sept oct nov dec mon tue wed thu fri sat sun"
)
_FIRST_WORDS = (
    "it this that the he she they we i you in as because since therefore thus so and but however there these those its "
    "his her their our if when while for to a an hence also note finally here"
)
# A full stop after a title does not end a sentence; after another abbreviation, it does if a new one clearly begins.
_TITLES, _SHORTENED = frozenset(_TITLE_WORDS.split()), frozenset(_SHORTENED_WORDS.split())
_BEGINS_A_SENTENCE = frozenset(_FIRST_WORDS.split())
_LAST_WORD = re.compile(r"[\w.'’]+$")
_NEXT_WORD = re.compile(r"[\"')*”’]*\s+([\w'’]+)")
_NAME = re.compile(
    r"[\"')*”’]*\s+(?:[A-Z]\.\s*){0,4}[A-Z][\w'’-]*"
    r"(?=\s*(?:$|[.,;:!?)\"'*(\n]|[A-Z]|(?:and|of|the|de|van|von|der|in|who|was|is|jr|sr)\b))"
)
_STOP = re.compile(r"[.!?](?=[\s\"')*”’]|$)|\n")

_WRAPPED = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf)|mbox|emph|boxed|fbox|underline|operatorname)\s?\{([^{}]*)\}"
)
_HEDGE = re.compile(
    r"(?:(?:definitely|probably|likely|clearly|indeed|simply|certainly|I think|I believe)[ ](?:it[ ]is[ ])?)+", re.I
)
_DENIED = re.compile(r"(?:not|n['’]t)\b(?![ ]only)", re.IGNORECASE)
# What follows these explains the answer, unless the wanted form has the same mark itself.
_ADDITIONS = {
    ",": re.compile(
        r"(?<=\w.),\s+(?:the|an?|which|who|whose|where|because|since|as|so|for|located|situated|known|also|not|in|on|at|with|but"
        r"|being|i\.e|e\.g|whereas|while|after|before|that|it|he|she|they|this|there|based|given|according|our|his|her|its"
        r"|and\s(?:it|the|so|that|this|not))\b[^\n]*"
    ),
    "(": re.compile(r"(?<!\s)\s*\([^()\n]*\)$"),
    "because": re.compile(r"(?<![\s,]),?\s+(?:because|since)\s[^\n]*"),
    ";": re.compile(r"(?<!\s)\s*;[^\n]*"),
    "-": re.compile(r"(?<!\s)\s+(?:[–—]|-{1,2})\s[^\n]*"),
}


def read_text(text: str, question: str = "", *, like: str = "") -> Reading:
    """Read an announced answer up to the end of its sentence, else the last line, without quotes, emphasis, or LaTeX.

    Args:
        text: what a model wrote.
        question: what was asked.
        like: an answer of the wanted form, such as the gold one. If it has a comma, what follows a comma is part of
            the answer; otherwise it is an addition ("Oslo, the capital of Norway").
    """
    return read_with(text, lambda plain: _find_text(plain, like), question)


def _find_text(text: str, like: str) -> Found | str:
    denied = False
    for clause in find_clauses(text, line_a=True):
        if _DENIED.match(text, clause.start) and not _DENIED.match(like):
            denied = True
            continue
        found = _bare_text(text, clause.start, _sentence_end(text, clause), clause.rule, like)
        if found:
            return found
    last = _last_resort(text)
    if denied or last is None:
        return "the only answer named is ruled out" if denied else "the text is empty"
    return _bare_text(text, *last, like) or "the text is empty"


def _last_resort(text: str) -> Clause | None:
    """Return all that stands between answer tags, or else the last line."""
    tag = opening_tag(text)
    if tag:
        return Clause(tag, len(text), "<answer>")
    lines = [match.span() for match in re.finditer(r"[^\n]+", text) if match[0].strip(" \t\r#*_`$-=")]
    return Clause(*lines[-1], "last line") if lines else None


def _bare_text(text: str, start: int, end: int, rule: str, like: str) -> Found | None:
    """Find the bare answer of a clause; its span is the whole clause if it is not written exactly as it is read."""
    said = re.sub(r"^\s*#{1,6}\s", "", text[start:end])
    emphasized = text[max(0, start - 2) : start] == "**" or said.lstrip().startswith("**")
    said = said.strip(_MARKS)
    bold, mark, rest = said.partition("**")
    if emphasized and mark and re.match(r"\s*(?:$|[,.;:(–—-]|(?:is|which|because|since|as|in)\b)", rest):
        said = bold
    said = _without_latex(said.replace("**", ""))
    said = said[_HEDGE.match(said).end() :] if _HEDGE.match(said) and not _HEDGE.match(like) else said  # type: ignore[union-attr]
    for sign, addition in _ADDITIONS.items():
        if sign not in like:
            said = addition.sub("", said, count=1)
    said = said.strip(_MARKS).removesuffix(".").strip(_MARKS)
    at = text.find(said, start, end)
    return Found(said, *((at, at + len(said)) if at >= 0 else (start, end)), rule) if said else None


def _without_latex(said: str) -> str:
    for _ in range(4):
        said = _WRAPPED.sub(r"\1", said)
    for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        if said.startswith(opening) and said.endswith(closing) and len(said) > len(opening + closing):
            said = said[len(opening) : -len(closing)]
    return said.strip(_MARKS)


def _sentence_end(text: str, clause: Clause) -> int:
    """Return where an announced text ends, which is never after an initial or an abbreviation."""
    if clause.rule not in _IN_A_SENTENCE:
        return clause.end
    limit = min(len(text), clause.start + MAX_CLAUSE)
    for stop in _STOP.finditer(text, clause.start, limit):
        if stop[0] != "." or not _is_within(text, clause.start, stop.start(), limit):
            return stop.start()
    return limit


def _is_within(text: str, start: int, dot: int, limit: int) -> bool:
    """Return whether a sentence goes on after a full stop: "T. S. Eliot", "Mt. Fuji", "8 a.m. on Monday"."""
    last, following = _LAST_WORD.search(text, max(start, dot - 20), dot), _NEXT_WORD.match(text, dot + 1, limit)
    if last is None or following is None:
        return False
    word, initials = last[0].lower(), re.fullmatch(r"(?:[A-Z]\.)*[A-Z]", last[0])
    initial_follows = len(following[1]) == 1 and text[following.end() : following.end() + 1] == "."
    begins = following[1].lower() in _BEGINS_A_SENTENCE and not initial_follows
    if word in _TITLES or (initials and following[1].islower() and not begins):
        return True
    if word in _SHORTENED or (initials and "." in last[0]):
        return not (begins and following[1][0].isupper())
    return bool(initials and not begins and _NAME.match(text, dot + 1, limit))


def texts_equal(answer: str, gold: str) -> bool:
    """Return whether an answer is the gold text, or its number with its words.

    Compares texts apart from case, blanks, quotes, and a final full stop. If the gold answer is one number, compares
    the number and the words next to it in the gold answer. A missing unit counts as the right one: "5" and
    "5 kilograms" are "5 kg", but "5 g" is not.
    """
    if _folded(answer) == _folded(gold):
        return True
    if has_words(gold):
        one, other = find_quantity(answer), find_quantity(gold)
        return one is not None and other is not None and quantities_equal(one, other)
    if is_number(answer) and is_number(gold):
        return numbers_equal(answer, gold)
    spelled = number_in_words(gold)
    return (spelled is not None and numbers_equal(answer, spelled)) or _spoken(answer) == _spoken(gold) is not None


def _spoken(text: str) -> tuple[str, ...] | None:
    """Normalize several numbers with units: "1 hour and 30 minutes" is "1 hr 30 min", "8:00 AM" is "8 a.m."."""
    said = SHARP.sub("", plain(text).strip(" .").lower())
    if not re.search(r"[0-9]", said) or not re.fullmatch(r"[\w\s,.:°'’]*", said):
        return None
    parts = re.findall(r"[0-9]+(?:[.,:][0-9]+)*|[^0-9]+", re.sub(r"\band\b|,(?![0-9])", " ", said))
    return tuple(word for part in parts for word in ((part,) if part[0].isdigit() else unit_words(part)))


def _folded(text: str) -> str:
    words = re.sub(r"\\(?:text|mathrm|textbf|textit|mbox)\s?\{([^{}]*)\}", r"\1", plain(text))
    words = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", words, flags=re.IGNORECASE)
    return " ".join(words.split()).strip(" \"'`*").removesuffix(".").casefold()
