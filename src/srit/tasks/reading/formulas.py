"""The final expression of a text, as LaTeX."""

from __future__ import annotations

import re

from srit.tasks import Reading
from srit.tasks.reading.clauses import Clause, Found, find_clauses, find_sentences, read_with
from srit.tasks.reading.numbers import concluded_number
from srit.tasks.reading.numerals import find_numerals

_DOLLARS = re.compile(r"\$\$?([^$\n]{1,2000}?)\$\$?|\\\(([^\n]{1,2000}?)\\\)")


def read_math(text: str, question: str = "") -> Reading:
    """The final expression of a text as LaTeX: boxed, announced, the last formula, or the last number."""
    return read_with(text, _find_math, question)


def _find_math(text: str) -> Found | str:
    for clause in find_clauses(text):
        found = _expression(text, clause)
        if found:
            return found
    for start, end in reversed(find_sentences(text)):
        formulas = list(_DOLLARS.finditer(text, start, end))
        if formulas and not find_numerals(text, formulas[-1].end(), end):
            inside = formulas[-1].span(1 if formulas[-1][1] else 2)
            return Found(_after_equals(text[slice(*inside)]), *inside, "last sentence, last formula")
        if formulas or find_numerals(text, start, end):
            break
    return concluded_number(text)


def _after_equals(formula: str) -> str:
    """The right side of a definition such as "x = 5", where nothing else is on the left."""
    match = re.fullmatch(r"\s*(?:[A-Za-z](?:_\{?\w\}?)?|[A-Za-z]\([a-z]\))\s*=\s*([^=]+)", formula)
    return (match[1] if match else formula).strip()


def _expression(text: str, clause: Clause) -> Found | None:
    if clause.rule == "boxed":
        inner = text[clause.start : clause.end].strip()
        return Found(_after_equals(inner), clause.start, clause.end, clause.rule) if inner else None
    formula = _DOLLARS.search(text, clause.start, min(len(text), clause.start + 3000))
    blank = formula and not text[clause.start : formula.start()].strip(" *:\n(")
    if formula and blank:
        span = formula.span(1 if formula[1] else 2)
        return Found(_after_equals(text[slice(*span)]), *span, clause.rule)
    said = text[clause.start : clause.end].strip(" *_`\"'").removeprefix("$").removesuffix("$").strip()
    return Found(_after_equals(said), clause.start, clause.end, clause.rule) if said else None
