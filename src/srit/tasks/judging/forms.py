r"""Recognizes what a LaTeX answer is: a number with a unit, a set, a point, an interval, an equation, words, …"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

from srit.tasks.judging.units import NO_UNIT, Unit, split_unit
from srit.tasks.judging.writing import Segment, number, plain, rimless, split_top, tight, unwrapped
from srit.tasks.reading.numerals.numerals import number_in_words

MAX_DEPTH = 12  # of nested brackets; whatever is deeper is one expression
MAX_CHARS = 4000  # a longer text is one expression


class Expression(NamedTuple):
    """One value: a number, a term, or anything else that is compared as a whole."""

    text: str  # plain, without its unit
    unit: Unit = NO_UNIT
    listed: tuple[Form, ...] = ()  # for "150,300", which is a number but may be meant as a list


class BaseNumeral(NamedTuple):
    """Digits in a base: 2031_4."""

    digits: str  # upper case
    base: str  # "4"


class Words(NamedTuple):
    """An answer in words, or the letter of an option."""

    text: str  # lower case
    value: Form | None = None  # the value of an option: "(B) 5"


class Collection(NamedTuple):
    """Several values.

    Only a "tuple" is ordered. A "list" is separated by commas alone and may be a tuple without its parentheses;
    "several" are joined by "and", "or", or "±". A "union" joins intervals and sets.
    """

    kind: Literal["list", "several", "set", "tuple", "union"]
    items: tuple[Form, ...]


class RealInterval(NamedTuple):
    """All real numbers between two ends; "3 < x" is also one."""

    low: Form
    high: Form
    low_closed: bool
    high_closed: bool


class Matrix(NamedTuple):
    """Rows of values."""

    rows: tuple[tuple[Form, ...], ...]


class Equation(NamedTuple):
    """Left side = right side, or the two ends of a chain of equalities."""

    name: str | None  # the left side where it is a name: "x", "f(x)", "AB"
    left: str
    right: str
    value: Form  # the right side


Form = Expression | BaseNumeral | Words | Collection | RealInterval | Matrix | Equation
EMPTY = Collection("set", ())
MINUS_INFINITY, INFINITY = Expression("-\\infty"), Expression("\\infty")
REALS = RealInterval(MINUS_INFINITY, INFINITY, low_closed=False, high_closed=False)


def form(latex: str) -> Form:
    """Return the form of an answer; anything not understood is an `Expression`."""
    text = plain(latex)
    return _form(text, MAX_DEPTH if len(text) <= MAX_CHARS else 0)


@lru_cache(maxsize=1024)
def _form(text: str, depth: int) -> Form:
    text = re.sub(r"^(?:\](?=[^\[\]]*\[$)|<(?=[^<>]*,[^<>]*>$))(.*).$", r"(\1)", rimless(text))  # "]0, 1[", "<1, 2>"
    if depth == 0:
        return Expression(text)
    for find in (_fixed, _listed, _related, _joined, _matrix, _bracketed, _either, _worded):
        found = find(text, depth - 1)
        if found is not None:
            return found
    return _valued(text, depth - 1)


_OPTION = re.compile(r"(?:\\text\{)?(?:\(([A-H])\)|([A-H])[.:)](?=[\s}]))\s?\}?\s+([^-+*/=^\s].*)")
_NOTHING = re.compile(
    r"\\emptyset|(?:there (?:is|are) )?no (?:real |integer |valid |possible )?(?:solutions?|values?|roots?)"
    r"(?: exists?)?|none|does not exist|dne|(?:the )?(?:empty|null) set"
)
_ALL_REALS = re.compile(r"\\mathbb\{r\}|(?:the set of )?all (?:the )?real(?:s| numbers?| values?)|the reals")


def _fixed(text: str, depth: int) -> Form | None:
    said = re.sub(r"\\text\{([^{}]*)\}", r"\1", text).strip().lower()
    if re.fullmatch(r"\([a-h]\)", said):
        return Words(said[1])
    option = _OPTION.fullmatch(text)
    if option:
        return Words((option[1] or option[2]).lower(), _form(option[3], depth))
    if _NOTHING.fullmatch(said):
        return EMPTY
    return REALS if _ALL_REALS.fullmatch(said) else None


_SEPARATORS = r",|;|\\\\|(?<![\\A-Za-z])(?:and|or)(?![A-Za-z])"
_GROUPED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_CONDITION = re.compile(r"[A-Za-z](?:_\w)?(?:\s?\\in(?![A-Za-z])\s?\\mathbb|\s?\\neq)|\\text\{(?:where|for|with|if)\b")


def _ungrouped(text: str) -> str:
    return _GROUPED.sub(lambda grouped: grouped[0].replace(",", ""), text)


def _items(text: str, *, bracketed: bool) -> list[Segment]:
    """Split a list. A comma without a blank after it may group thousands, unless no other comma separates."""
    tight_commas = len(re.findall(r",(?=\S)", text))
    grouping = sum(grouped[0].count(",") for grouped in _GROUPED.finditer(text))
    parts = split_top(_ungrouped(text) if tight_commas == grouping else text, _SEPARATORS)
    if bracketed and len(parts) == 1 and grouping:
        parts = split_top(text, _SEPARATORS)
    parts = [part for part in parts if part.text]
    return [part for part in parts if not _CONDITION.match(part.text)] or parts if len(parts) > 1 else parts


def _listed(text: str, depth: int) -> Form | None:
    parts = _items(text, bracketed=False)
    if len(parts) < 2:
        return None
    items = _flat(_form(part.text, depth) for part in parts)
    if all(isinstance(item, RealInterval) or (isinstance(item, Collection) and item.kind == "union") for item in items):
        both = _between(items) if parts[-1].separator == "and" else None
        return both or Collection("union", items)
    joined = any(part.separator in ("and", "or") for part in parts)
    return Collection("several" if joined else "list", items)


def _flat(forms: Iterable[Form]) -> tuple[Form, ...]:
    """Flatten lists among the items: "1 ± √5, −2" are three."""
    found: list[Form] = []
    for item in forms:
        inner = isinstance(item, Collection) and item.kind in ("list", "several")
        found.extend(item.items if inner and isinstance(item, Collection) else [item])
    return tuple(found)


def _between(items: tuple[Form, ...]) -> RealInterval | None:
    """Read "x > 1 and x < 5" as one interval, but not "x < 1 and x > 5", which is meant as a union."""
    intervals = [item for item in items if isinstance(item, RealInterval)]
    lows = [item for item in intervals if item.high == INFINITY and item.low != MINUS_INFINITY]
    highs = [item for item in intervals if item.low == MINUS_INFINITY and item.high != INFINITY]
    if len(items) != 2 or len(lows) != 1 or len(highs) != 1 or _reversed(lows[0].low, highs[0].high):
        return None
    return RealInterval(lows[0].low, highs[0].high, lows[0].low_closed, highs[0].high_closed)


def _reversed(low: Form, high: Form) -> bool:
    ends = [number(end.text) if isinstance(end, Expression) else None for end in (low, high)]
    values = [Fraction(end) for end in ends if end is not None and not end.endswith("%")]
    return len(values) == 2 and values[0] >= values[1]


_RELATIONS = r"(?<![<>!:])=|\\(?:neq|leq|geq|approx|in|sim|simeq)(?![A-Za-z])|<=?|>=?"
_SIGNS = {"<=": "\\leq", ">=": "\\geq", "\\sim": "\\approx", "\\simeq": "\\approx"}
_LESS = {"<": False, "\\leq": True}  # whether the end is included
_MORE = {">": False, "\\geq": True}
_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|rho|sigma|tau|phi|varphi|psi|omega|Delta|Omega"
_NAME = re.compile(
    r"m?\\(?:angle|triangle|overline|widehat|vec|hat|bar)\s?\{?[A-Za-z]{1,4}\}?"
    r"|\|?[A-Z]{2,4}\|?|[A-Za-z]{4,}|\([A-Za-z](?:,\s?[A-Za-z])+\)"
    rf"|(?:[A-Za-z]|\\(?:{_GREEK}))(?:_(?:\w|\{{[^{{}}]*\}}))?'*(?:\^\{{-1\}})?(?:\([^()=]*\))?"
)


def _name(side: str) -> str | None:
    text = tight(side)
    return text if _NAME.fullmatch(text) else None


def _related(text: str, depth: int) -> Form | None:
    """Read an equation, the set of "x ∈ …", or an inequality as an interval."""
    parts = split_top(text, _RELATIONS)
    if len(parts) == 1 or not parts[-1].text:
        return None
    sides, signs = [part.text for part in parts], [_SIGNS.get(part.separator, part.separator) for part in parts[1:]]
    if "\\approx" in signs:  # the exact value counts
        exact = signs.index("\\approx") + 1
        if exact > 1 or (sides[0] and _name(sides[0]) is None):
            return _form("".join(f"{part.separator} {part.text} " for part in parts[:exact]), depth)
        signs[0] = "="
    if set(signs) == {"="}:
        return Equation(_name(sides[0]), sides[0], sides[-1], _form(sides[-1], depth))
    if signs == ["\\in"]:
        return _form(sides[1], depth)
    return _inequality(sides, signs, depth) or Expression(text)


def _inequality(sides: list[str], signs: list[str], depth: int) -> Form | None:
    if set(signs) <= set(_MORE):
        sides, signs = sides[::-1], [{">": "<", "\\geq": "\\leq"}[sign] for sign in reversed(signs)]
    names = [_name(side) is not None and number(side) is None for side in sides]
    if signs == ["\\neq"] and names[0]:
        end = _form(sides[1], depth)
        below, above = RealInterval(MINUS_INFINITY, end, False, False), RealInterval(end, INFINITY, False, False)
        return Collection("union", (below, above))
    if not set(signs) <= set(_LESS):
        return None
    if len(sides) == 2 and names[0] and not names[1]:
        return RealInterval(MINUS_INFINITY, _form(sides[1], depth), False, _LESS[signs[0]])
    if len(sides) == 2 and names[1] and not names[0]:
        return RealInterval(_form(sides[0], depth), INFINITY, _LESS[signs[0]], False)
    if len(sides) == 3 and names[1]:
        return RealInterval(_form(sides[0], depth), _form(sides[2], depth), _LESS[signs[0]], _LESS[signs[1]])
    return None


def _joined(text: str, depth: int) -> Form | None:
    parts = split_top(text, r"\\cup(?![A-Za-z])")
    if len(parts) == 1:
        return None
    return Collection("union", tuple(_as_interval(_form(part.text, depth)) for part in parts))


def _as_interval(item: Form) -> Form:
    if isinstance(item, Collection) and item.kind == "tuple" and len(item.items) == 2:
        return RealInterval(*item.items, low_closed=False, high_closed=False)
    return item


_MATRIX = re.compile(
    r"[\[(]?\s*\\begin\s?\{((?:[pbB]|small)?matrix|array)\}(?:\s?\{[^{}]*\})?(.*)\\end\s?\{\1\}\s*[\])]?", re.DOTALL
)


def _matrix(text: str, depth: int) -> Form | None:
    match = _MATRIX.fullmatch(text)
    if match is None or "\\begin" in match[2]:
        return None
    rows = [row for row in match[2].split("\\\\") if row.strip()]
    return Matrix(tuple(tuple(_form(cell, depth) for cell in row.split("&")) for row in rows))


def _bracketed(text: str, depth: int) -> Form | None:
    point = re.match(r"[A-Z]\s?(?=\([^()]*,)", text)  # "A(1, 2)"
    opening, inner, closing = unwrapped(text[point.end() :] if point else text) or ("", "", "")
    if not opening:
        return None
    built = split_top(inner, r"\||:") if opening == "\\{" else []
    if len(built) == 2 and _name(re.sub(r"\\in(?![A-Za-z]).*", "", built[0].text)) is not None:
        return _form(built[1].text, depth)
    parts = _items(inner, bracketed=True)
    items = _flat(_form(part.text, depth) for part in parts)
    if opening == "\\{" or (opening == "{" and len(parts) > 1):
        return Collection("set", items)
    if len(parts) < 2:
        return _form(inner, depth) if inner else None
    ends = any("\\infty" in part.text for part in parts)
    if len(items) == 2 and (ends or (opening, closing) != ("(", ")")):
        return RealInterval(*items, low_closed=opening == "[", high_closed=closing == "]")
    return Collection("tuple", items)


def _either(text: str, depth: int) -> Form | None:
    """Read the two values of "1 ± √5"."""
    if "\\pm" not in text:
        return None
    variants = [text.replace("\\pm", plus).replace("\\mp", minus) for plus, minus in ("+-", "-+")]
    return Collection("several", tuple(_form(variant, depth) for variant in variants))


# Three words in a row make a sentence, which is not searched for formulas.
_SENTENCE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}[ ][A-Za-z]{2,}[ ][A-Za-z]{2,}")
_WORDED = re.compile(
    r"(?:(?:an?|the) )?(?:\\text\{[^{}]*\}|[A-Za-z]{4,})(?:\s(?:[A-Za-z]{2,}|[0-9]{1,4})|\s?\\text\{[^{}]*\})*"
)


def _worded(text: str, depth: int) -> Form | None:
    if not _WORDED.fullmatch(text):
        return None
    said = " ".join(re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text).split())
    count = number_in_words(said)
    if count:
        return Expression(count)
    return Words(re.sub(r"^(?:an?|the) ", "", said.lower().strip(" ().\"'")))


_BASES = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9"}
_BASES |= {"ten": "10", "eleven": "11", "twelve": "12", "sixteen": "16"}
_IN_BASE = re.compile(
    r"\(?\s?([0-9A-Fa-f]+(?:\.[0-9A-Fa-f]+)?)\s?\)?\s?"
    r"(?:_\s?\{?\s?\(?(?:\\text\{)?([0-9]{1,2}|[a-z]+)\}?\)?\}?"
    r"|\(?(?:\\text\{)?\(?\s?(?:in )?base[ -]?\}?\s?\{?([0-9]{1,2}|[a-z]+)\}?\)?\}?)"
)
_DEGREES = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s?\^\s?\\circ")
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")


def _valued(text: str, depth: int) -> Form:
    """Read a number, a numeral in a base, or a term, with or without a unit."""
    based = _IN_BASE.fullmatch(text)
    base = based and (based[2] or based[3])
    if based and base and (base.isdigit() or base in _BASES):
        return BaseNumeral(based[1].upper(), _BASES.get(base, base))
    if _TRIGONOMETRIC.search(text):
        return Expression(_DEGREES.sub(r"(\\frac{\1}{180}\\pi)", text))
    if number(text) is not None and re.match(r"-?(?:[0-9.]|\\frac)", text):
        return Expression(text, listed=_as_list(text))
    value, unit = split_unit(text)
    if value != text:
        inner = _form(value, depth) if depth else Expression(value)
        return inner._replace(unit=unit) if isinstance(inner, Expression) else inner
    if _SENTENCE.search(text):
        return Words(" ".join(text.lower().split()))
    return Expression(re.sub(r"(?<=[0-9]) (?=[0-9]{3}(?![0-9]))", "", text))


def _as_list(text: str) -> tuple[Form, ...]:
    return tuple(map(Expression, text.split(","))) if _GROUPED.fullmatch(text.lstrip("-+")) else ()
