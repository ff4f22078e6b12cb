"""Reads the final expression of a text, as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from srit.tasks import Reading
from srit.tasks.judging.units import split_unit
from srit.tasks.judging.writing import plain, split_top
from srit.tasks.reading.clauses import Box, Clause, Found, find_boxes, find_clauses, find_sentences, read_with
from srit.tasks.reading.numbers import concluded_number
from srit.tasks.reading.numerals.numerals import has_numeral

MAX_FORMULA = 3000  # characters between two delimiters
MAX_BETWEEN = 120  # characters between two formulas of one list


def read_math(text: str, question: str = "") -> Reading:
    """Read the final expression of a text as LaTeX: boxed, announced, the last formula, or the last number.

    Formulas or boxes that form a list, such as "$3$, $5$ or $8$", are one answer: "3 and 5 and 8".
    """
    return read_with(text, _find_math, question)


def _find_math(text: str) -> Found | str:
    formulas, boxes = find_formulas(text), find_boxes(text)
    found: Found | None = None
    denied = 0  # up to where
    for clause in find_clauses(text):
        if clause.rule == "boxed":
            found = _boxed(text, clause, boxes)
        elif _is_denied(text, clause, formulas):
            denied = max(denied, clause.end)
        elif not any(box.start <= clause.start < box.end for box in boxes):
            found = _announced(text, clause, formulas)
        if found:
            return found
    said = _last_formula(text, formulas) or _bare_line(text) or _said_formula(text) or _last_number(text)
    return "the only answer named is ruled out" if isinstance(said, Found) and said.start < denied else said


# Formulas and their delimiters.


class Formula(NamedTuple):
    """Bounds a formula with its delimiters, and what it holds."""

    start: int
    end: int
    inner: tuple[int, int]


_ENVIRONMENTS = r"(?:align|equation|gather|multline|eqnarray|displaymath|math|flalign|alignat)\*?"
_OPENERS = re.compile(
    rf"\\\\|\\\$|(?P<delimiter>\$\$|\$|\\\(|\\\[|\\begin\{{(?P<environment>{_ENVIRONMENTS})\}}"
    r"|\\begin\{(?P<object>[pbBv]?matrix|cases|array)\}|```(?:math|latex|tex)\n|^[ \t]*\[[ \t]*\n)",
    re.MULTILINE,
)
_CLOSERS = {"$": r"(?<!\\)\$", "$$": r"\$\$", "\\(": r"\\\)", "\\[": r"\\\]", "`": "```", "[": r"^[ \t]*\][ \t]*$"}
_PRICE = re.compile(r"[0-9][0-9,.]*\s(?:[^\\$]*\s)?[A-Za-z]{2,}")  # "$5 for 3 apples and $6"


def find_formulas(text: str) -> list[Formula]:
    """Find what stands between dollars, backslashed brackets, or the ends of an environment; none are nested."""
    found: list[Formula] = []
    closers = _Closers(text)
    position = 0
    while opener := _OPENERS.search(text, position):
        formula = _formula(text, opener, closers) if opener["delimiter"] else None
        position = formula.end if formula else opener.end()
        if formula:
            found.append(formula)
    return found


class _Closers:
    """Finds the next closing delimiter of each kind; searches for each only once, which keeps this linear."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next: dict[str, tuple[int, int]] = {}

    def after(self, start: int, pattern: str) -> tuple[int, int]:
        """Return the span of the first match at or after `start`, or the end of the text."""
        span = self._next.get(pattern, (-1, -1))
        if span[0] < start:
            match = re.compile(pattern, re.MULTILINE).search(self._text, start)
            span = self._next[pattern] = match.span() if match else (len(self._text), len(self._text))
        return span


def _formula(text: str, opener: re.Match[str], closers: _Closers) -> Formula | None:
    name, delimiter = opener["environment"] or opener["object"], opener["delimiter"].strip()
    pattern = rf"\\end\{{{re.escape(name)}\}}" if name else _CLOSERS.get(delimiter) or _CLOSERS[delimiter[0]]
    end, after = closers.after(opener.end(), pattern)
    inside = text[opener.end() : end]
    cut_off = after == end and delimiter not in ("$$", "\\[")
    if cut_off or len(inside) > MAX_FORMULA or not inside.strip() or (_is_inline(opener) and "\n\n" in inside):
        return None
    if delimiter == "$" and (_PRICE.match(inside) or text[after : after + 1].isdigit()):
        return None
    return Formula(opener.start(), after, (opener.start(), after) if opener["object"] else (opener.end(), end))


def _is_inline(opener: re.Match[str]) -> bool:
    return opener[0] in ("$", "\\(")


_ROWS = re.compile(r"\\(?:begin|end)\{(?:aligned|alignedat|split|gathered|cases|array)\}(?:\{[^{}]*\})?")
_FOLLOWS = re.compile(r"\\(?:implies|Rightarrow|Longrightarrow|iff|Leftrightarrow|therefore|so)(?![A-Za-z])")
_RELATION = re.compile(r"(?:=|<|>|\\(?:leq?|geq?|approx|equiv|neq?|Rightarrow|implies)(?![A-Za-z]))")
_ASSIGNMENT = re.compile(r"(?:[A-Za-z]|\\[a-z]+)(?:_\{?\w+\}?)?(?:\([a-z]\))?\s*=[^=]+")


# What is left of \frac, \binom, \text, and \right where the backslash was read as an escape.
_ESCAPED = re.compile("\f(?=rac)|\b(?=inom|oxed)|\t(?=ext|imes|heta)|\r(?=ight)")
_CONTROLS = {"\f": "\\f", "\b": "\\b", "\t": "\\t", "\r": "\\r"}


def _final(latex: str) -> str:
    """Return the last row or conclusion of a formula of several steps; a row that begins with "=" continues the last.

    If every row gives the value of a variable, all rows together are the answer.
    """
    latex = _ESCAPED.sub(lambda control: _CONTROLS[control[0]], latex)
    row_ends = r"\\\\(?:\[[^\]]{0,20}\])?" + ("" if "\\begin" in latex or "&" in latex else r"(?=\s|$)")
    if "matrix" not in latex and re.search(row_ends, latex):  # not "\\\\circ", which was escaped twice
        rows: list[str] = []
        for part in split_top(_ROWS.sub(" ", latex), row_ends):
            row = re.sub(r"\s*&\s*", " ", part.text).strip()
            if rows and _RELATION.match(row):
                rows[-1] += " " + row
            elif row:
                rows.append(row)
        steps = [_FOLLOWS.split(row)[-1].strip(" ,.;") for row in rows]
        names = {step.partition("=")[0].strip() for step in steps if _ASSIGNMENT.fullmatch(step)}
        latex = ", ".join(steps) if len(names) == len(steps) else (steps or [""])[-1]
    return _FOLLOWS.split(latex)[-1].strip().rstrip(".,;").strip()


# Lists, and what may stand between two items.

_VARIABLE = r"(?:[A-Za-z]|\\[a-z]{2,8})(?:_\{?\w{1,3}\}?)?(?:\([a-z]\))?"
_BETWEEN = re.compile(
    rf"""(?:
        \n\s{{0,4}}(?:[-•–]|[0-9]{{1,2}}[.)]|\([a-z0-9]\))\s
      | \s | \$ | [*_`,;&] | \\[()\[\],;!:\ ] | \\\\ | \\q?quad(?![A-Za-z]) | \.(?=\s*\n)
      | \b(?:and|or|also|either|both|as\ well\ as)\b | \\(?:text|mbox|textrm)\{{[\s,]*(?:and|or)\s*\}}
      | \bthe\ (?:other|second|third)(?:\ (?:solution|root|value|one|answer))?\ (?:is|equals)\b
      | (?<![A-Za-z\\]){_VARIABLE}\s?=
    )*+""",
    re.VERBOSE,
)
_SEPARATES = re.compile(r"[,;&]|\band\b|\bor\b|\n\s{0,4}[-•–0-9(]|=|quad|as well|the ")
_ASSIGNED = re.compile(rf"(?<![A-Za-z\\_^{{]){_VARIABLE}\s?=\s?$")


def _continues(between: str) -> bool:
    """Return whether two formulas with this text between them are items of one list."""
    if len(between) > MAX_BETWEEN or not _BETWEEN.fullmatch(between):
        return False
    return _SEPARATES.search(between) is not None or "\n\n" not in between


def _joined(items: Iterable[str]) -> str:
    """Join items into one list, each item once."""
    return " and ".join(dict.fromkeys(item for item in items if item))


def _boxed(text: str, clause: Clause, boxes: list[Box]) -> Found | None:
    """Find a box together with those before it in its list."""
    boxes = [box for box in boxes if box.end <= clause.end]
    first = len(boxes) - 1
    while first > 0 and _continues(text[boxes[first - 1].after : boxes[first].before]):
        first -= 1
    listed = boxes[first:]
    if not any(text[box.start : box.end].strip() for box in listed):
        return None
    return Found(_joined(_box_content(text, box) for box in listed), listed[0].start, clause.end, clause.rule)


def _box_content(text: str, box: Box) -> str:
    """Return what a box holds; of "y = \\boxed{2x}", the whole equation."""
    content = _final(text[box.start : box.end])
    assigned = _ASSIGNED.search(text[max(0, box.before - 20) : box.before])
    return f"{assigned[0].strip()} {content}" if assigned and content and "=" not in content else content


class FormulaList(NamedTuple):
    """Holds the formulas of one list as one answer."""

    start: int
    end: int  # after the last delimiter
    answer: str


def _formula_lists(text: str, formulas: list[Formula]) -> list[FormulaList]:
    lists: list[FormulaList] = []
    for formula in formulas:
        content = _final(text[slice(*formula.inner)])
        if lists and _continues(text[lists[-1].end : formula.start]):
            lists[-1] = FormulaList(lists[-1].start, formula.end, _joined([lists[-1].answer, content]))
        else:
            lists.append(FormulaList(formula.start, formula.end, content))
    return lists


# Announced answers.

_DENIED = re.compile(r"(?:not|n['’]t|never)\b(?![ ]only)", re.IGNORECASE)


def _is_denied(text: str, clause: Clause, formulas: list[Formula]) -> bool:
    """Return whether a clause rules out a formula or a number; "not continuous" is an answer."""
    if not _DENIED.match(text, clause.start, clause.end):
        return False
    return has_numeral(text, clause.start, clause.end) or any(clause.start <= f.start < clause.end for f in formulas)


_LEAD = re.compile(r"(?:[\s*:_\"'`(~≈]|[A-Za-z,]++(?![\\^_{=0-9]))*+")
_PROSE_AFTER = re.compile(
    r"[,;]?\s+(?:because|since|as|which|when|where|so|by|if|that|with|after|using|hence|therefore|thus|but)\b"
    r"|\s\((?=[A-Za-z]{3})|\s[–—]\s|</?[A-Za-z]"
)


def _announced(text: str, clause: Clause, formulas: list[Formula]) -> Found | None:
    within = [f for f in formulas if clause.start <= f.start and (f.start < clause.end or f.start == clause.start)]
    lists = _formula_lists(text, within)
    if lists and not text[clause.start : lists[0].start].strip(" *:\n(_"):
        return _found_list(text, lists[0], clause.rule)
    if lists and _LEAD.fullmatch(text, clause.start, lists[0].start):
        return _found_list(text, _main(text, lists), clause.rule)
    start = clause.start - (text[clause.start - 1 : clause.start] in ("\f", "\b"))  # not blanks here, see _final
    said = text[start : clause.end].strip(" *_`\"'\n").removeprefix("$").removesuffix("$").strip(" ")
    prose = _PROSE_AFTER.search(said)
    said = said[: prose.start()] if prose and prose.start() else said
    if not re.search(r"[<>]\s?[\w\\]+\s?[<>]?.*,", said):
        said = said.removeprefix("<").removesuffix(">").strip(" ")
    return Found(_final(said), clause.start, clause.end, clause.rule) if said else None


# "the minimum is $-1$ at $x = 2$"
_CIRCUMSTANCE = re.compile(r"[\s,]*(?:at|when|where|since|because)\s*", re.IGNORECASE)


def _main(text: str, lists: list[FormulaList]) -> FormulaList:
    """Return the last list of formulas that is not a circumstance of the one before it."""
    last = len(lists) - 1
    while last > 0 and _CIRCUMSTANCE.fullmatch(text, lists[last - 1].end, lists[last].start):
        last -= 1
    return lists[last]


def _found_list(text: str, listed: FormulaList, rule: str) -> Found | None:
    return Found(listed.answer + _unit(text, listed.end), listed.start, listed.end, rule) if listed.answer else None


_UNIT = re.compile(
    r"[ ]?(\\?%|°[CF]?|(?:(?:square|cubic|sq|cu)\.?[ ])?[A-Za-z]{1,14}(?:\^[23]|[²³])?"
    r"(?:(?:/|[ ]per[ ])[A-Za-z]{1,9})?)(?![A-Za-z])"
)


def _unit(text: str, start: int) -> str:
    """Return the unit after a formula or number, with a blank before it; "" if no unit of the table follows."""
    match = _UNIT.match(text, start)
    return f" {match[1]}" if match and _is_unit(match[1]) and match[1] != "in" else ""


def _is_unit(words: str) -> bool:
    """Return whether words are exactly a unit of the table."""
    value, unit = split_unit(plain(f"1 {words}"))
    return value == "1" and bool(unit)


# No answer is announced.

_WHERE = re.compile(r"\s*(?:where|here|with|check|note|verify)\b", re.IGNORECASE)


def _last_formula(text: str, formulas: list[Formula]) -> Found | None:
    """Find the last list of formulas in the last sentence that has one, unless a number follows it."""
    for start, end in reversed(_whole_sentences(text, formulas)):
        lists = _formula_lists(text, [formula for formula in formulas if start <= formula.start < end])
        if _WHERE.match(text, start, end):
            continue
        if lists and not has_numeral(text, lists[-1].end, end):
            return _found_list(text, _main(text, lists), "last sentence, last formula")
        if lists or has_numeral(text, start, end):
            return None
    return None


def _whole_sentences(text: str, formulas: list[Formula]) -> list[tuple[int, int]]:
    """Return the spans of sentences, joined so that none ends within a formula."""
    whole: list[tuple[int, int]] = []
    ends = iter(formulas)
    formula = next(ends, None)
    start = 0
    for _, end in find_sentences(text):
        while formula and formula.end < end:
            formula = next(ends, None)
        if formula is None or not formula.start < end < formula.end:
            whole.append((start, end))
            start = end
    return whole + ([(start, len(text))] if text[start:].strip() else [])


_PROSE = re.compile(
    r"(?<![\\A-Za-z])(?!(?:and|sqrt|sin|cos|tan|log|min|max)\b)[A-Za-z]{3,}"
    r"|\b(?i:is|it|so|we|to|of|in|at|by|if|as|an|be|he|on|no|up|do|my)\b"
)
_OPERATES = re.compile(r"\\[a-zA-Z]|[-+*/^=<>≤≥±√π∞∪({[|,]|[0-9][A-Za-z]|[A-Za-z][0-9]")


def _bare_line(text: str) -> Found | None:
    """Read a last line that is a formula without delimiters."""
    end = len(text.rstrip())
    start = text.rfind("\n", 0, end) + 1
    if end - start > MAX_FORMULA:
        return None
    said = re.sub(r"^(?:[-*•]|[0-9]{1,2}[.)])\s+", "", text[start:end].strip()).strip(" *_`\"'")
    words = re.sub(r"\\[A-Za-z]+\s?\{\s?[A-Za-z .,]*\}|\\[A-Za-z]+", " ", said)
    if _PROSE.search(words) or not _OPERATES.search(said) or "$" in said:
        return None
    return Found(_final(said), start, end, "a line by itself")


_MATH_WORD = re.compile(
    r"(?:[^\sA-Za-z$]|\\[A-Za-z]+|(?<![A-Za-z])(?:[A-Za-z]|sqrt|sin|cos|tan|log|ln|pi|and|or)(?![a-z]))+"
)
_NOT_A_NUMBER = re.compile(r"[√π∞^±∪\\]|sqrt|(?<![A-Za-z])[A-Za-z]\)?\s?[=<>≤≥]|[0-9=+*/(-]\s?[A-Za-z](?![A-Za-z])")
_LABEL = re.compile(r"a|I|.*:")  # not part of a formula at the end of a sentence
_SEVERAL = re.compile(r"-?[0-9][0-9/.]*+(?:\s?(?:,? (?:and|or) |, ?|:)-?[0-9][0-9/.]*+)+")
_INTRODUCES = re.compile(r"\b(?:is|are|be|were|equals?|either|both|namely)\s+$|[:=]\s*$")


def _said_formula(text: str) -> Found | None:
    """Read the undelimited formula, or the numbers, that end the last sentence: "The line is y = 3x + 7."."""
    said = [(start, end) for start, end in find_sentences(text)[-3:] if has_numeral(text, start, end)]
    if not said or _WHERE.match(text, *said[-1]):
        return None
    start, end = said[-1]
    end = start + len(text[start:end].rstrip(" \n.!?*_\"'"))
    begin = _math_tail(text, start, end)
    if not _is_whole(text[begin:end]):
        begin = text.rfind("=", begin, end) + 1 or begin
    formula = text[begin:end].strip()
    listed = _SEVERAL.fullmatch(formula) and _INTRODUCES.search(text, max(start, begin - 20), begin)
    if listed or (_NOT_A_NUMBER.search(formula) and _is_whole(formula)):
        return Found(formula, begin, end, "last sentence, its formula")
    return None


def _math_tail(text: str, start: int, end: int) -> int:
    """Return where the mathematics that ends a sentence begins, including a unit after it."""
    near = max(start, end - MAX_BETWEEN)
    words = [(near + word.start(), word[0]) for word in re.finditer(r"\S+", text[near:end])][near > start :]
    unit = next((n for n in (3, 2, 1) if _is_unit(" ".join(word for _, word in words[-n:]))), 0)
    first = last = len(words) - unit
    while first > 0 and _MATH_WORD.fullmatch(words[first - 1][1]) and not _LABEL.fullmatch(words[first - 1][1]):
        first -= 1
    while first < last and words[first][1] in ("and", "or", ",", "-"):
        first += 1
    return words[first][0] if first < last else end


def _is_whole(formula: str) -> bool:
    """Return whether every bracket and delimiter of a formula is closed."""
    pairs = (("(", ")"), ("[", "]"), ("{", "}"))
    return not re.search(r"\\[()\[\]]", formula) and all(formula.count(one) == formula.count(two) for one, two in pairs)


def _last_number(text: str) -> Found | str:
    found = concluded_number(text)
    return found if isinstance(found, str) else found._replace(answer=found.answer + _unit(text, found.end))
