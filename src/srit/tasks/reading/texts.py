"""An answer that is text, and texts compared."""

from __future__ import annotations

import re

from srit.tasks import Reading
from srit.tasks.reading.clauses import Clause, Found, find_clauses, read_with
from srit.tasks.reading.numerals import is_number, number_in_words, numbers_equal, plain
from srit.tasks.reading.quantities import find_quantity, has_words, quantities_equal
from srit.tasks.reading.units import unit_words


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


def texts_equal(answer: str, gold: str) -> bool:
    """Whether an answer is the gold text, or its number with its words.

    The same text but for case, blanks, quotes and a final full stop. Where the gold answer is one number, the number
    and the words that the gold answer has beside it; a missing unit is taken for the asked one: "5" and
    "5 kilograms" are "5 kg", "5 g" is not.
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
    """Several numbers and their units: "1 hour and 30 minutes" is "1 hr 30 min", "8:00 AM" is "8 a.m."."""
    said = re.sub(r"([0-9]):00(?=[ ]?[ap]\.?m\b)", r"\1", plain(text).strip(" .").lower())
    if not re.search(r"[0-9]", said) or not re.fullmatch(r"[\w\s,.:°'’]*", said):
        return None
    parts = re.findall(r"[0-9]+(?:[.,:][0-9]+)*|[^0-9]+", re.sub(r"\band\b|,(?![0-9])", " ", said))
    return tuple(word for part in parts for word in ((part,) if part[0].isdigit() else unit_words(part)))


def _folded(text: str) -> str:
    words = re.sub(r"\\(?:text|mathrm|textbf|textit|mbox)\s?\{([^{}]*)\}", r"\1", plain(text))
    words = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m", words, flags=re.IGNORECASE)
    return " ".join(words.split()).strip(" \"'`*").removesuffix(".").casefold()
