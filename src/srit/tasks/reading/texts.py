"""An answer that is text, and texts compared."""

from __future__ import annotations

import re

from srit.tasks import Reading
from srit.tasks.reading.clauses import Clause, Found, find_clauses, read_with
from srit.tasks.reading.numerals import PLAIN, is_number, numbers_equal


def read_text(text: str) -> Reading:
    """An announced answer up to the end of its sentence, else the last line; quotes and emphasis removed."""
    return read_with(text, _find_text)


def _find_text(text: str) -> Found | str:
    lines = [match.span() for match in re.finditer(r"[^\n]+", text) if match[0].strip()]
    clauses = [*find_clauses(text), *[Clause(start, end, "last line") for start, end in lines[-1:]]]
    for clause in clauses:
        said = text[clause.start : clause.end].strip(" \t\r*_`\"'").removesuffix(".").strip(" *_`\"'")
        if said:
            return Found(said, clause.start, clause.end, clause.rule)
    return "the text is empty"


def texts_equal(first: str, second: str) -> bool:
    """Equal but for case, blanks, quotes and a final full stop; or the same number."""
    return _folded(first) == _folded(second) or (
        is_number(first) and is_number(second) and numbers_equal(first, second)
    )


def _folded(text: str) -> str:
    return " ".join(text.translate(PLAIN).split()).strip(" \"'`*").removesuffix(".").casefold()
