"""Takes off the letters that options bring with them: "A) 12 km", "(b) Oslo", "Option C: none", "2. Rome"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from srit.errors import DataError
from srit.tasks.reading.options import LETTERS

_SEQUENCES = (
    tuple(LETTERS.lower()),
    tuple(map(str, range(1, 27))),
    tuple(map(str, range(26))),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii"),
)
_LETTER, _COUNT = r"[A-Za-z]|[ivx]{2,4}|[IVX]{2,4}", r"[0-9]{1,2}"
_POINT = r"[*_]*[.:．：、][)]?[*_]*"
_LABELED = re.compile(
    rf"""
    [\s*_]*(?:(?:option|choice|answer)\s)?[*_]*
    (?: [(\[（{{<【［]\s?(?P<within>{_LETTER}|{_COUNT})\s?[)\]）}}>】］]
      | (?P<closed>{_LETTER}|{_COUNT})\s?[)\]）]
        # "A.D." and "A:B" are words, "1.5" and "1:2" are numbers
      | (?P<pointed>(?:{_LETTER})(?={_POINT}(?:\s|[^A-Za-z\s*_]|[A-Za-z]{{2}})|\t)|{_COUNT}(?={_POINT}\s))
      | (?P<dashed>{_LETTER})(?=\s[-–—]\s+(?:[A-Za-z]{{2}}|[0-9$€£]))
    )
    [*_]*(?:[.:．：、][)]?|(?<=[A-Za-z])\s[-–—]\s)?[*_]*\s*
    """,
    re.VERBOSE | re.IGNORECASE,
)
# "(A) and (B)" and "(1) only" refer to statements, so their letters are words like any other.
_REFERS = re.compile(
    r"(?:and|or|but|nor)\s+\S|(?:only|alone)\b|(?:is|are)\s+(?:true|false|correct|incorrect|right|wrong)\b|[&+=,/]\s",
    re.IGNORECASE,
)


_NAME = re.compile(r"[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)*")


class Labeled(NamedTuple):
    """Holds a text that begins with a label, taken apart."""

    label: str
    words: str  # what follows
    sure: bool  # whether it cannot be an initial, as in "B. Franklin"


class RowOptions(NamedTuple):
    """Holds the options of a row in their own words."""

    words: tuple[str, ...]
    labels: tuple[str, ...]  # the labels that stood before them, in lower case; () without labels


def in_order(labels: Sequence[str]) -> bool:
    """Return whether labels count options from the first one, as A, B, C and 1, 2, 3 do."""
    lower = tuple(label.lower() for label in labels)
    return any(lower == sequence[: len(lower)] for sequence in _SEQUENCES)


def out_of_order(labels: Sequence[str]) -> bool:
    """Return whether some labels are letters or numbers, but do not count options from the first one."""
    return not in_order(labels) and any(label.lower() in sequence for sequence in _SEQUENCES for label in labels)


def labeled(text: str) -> Labeled | None:
    """Take a text apart if it begins with a label, or return None."""
    match = _LABELED.match(text)
    if match is None:
        return None
    label = next(part for part in match.group("within", "closed", "pointed", "dashed") if part)
    words = text[match.end() :].strip()
    return Labeled(label, words, bool(match["within"] or match["closed"] or not _NAME.fullmatch(words)))


def unlabeled(choices: Sequence[str], where: str) -> RowOptions:
    """Take off the letters or numbers that begin all options in order.

    Raises:
        DataError: all options begin with labels that are out of order, so that a gold letter is ambiguous.
    """
    found = [labeled(choice) for choice in choices]
    parts = [part for part in found if part is not None]
    plain = RowOptions(tuple(choices), ())
    if len(parts) < len(choices) or any(_REFERS.match(part.words) for part in parts):
        return plain
    labels, words = tuple(part.label.lower() for part in parts), tuple(part.words for part in parts)
    if len(set(words)) == 1:
        return plain  # only the labels tell them apart
    if in_order(labels):
        return RowOptions(words, labels)
    if all(part.sure for part in parts) and any(
        sorted(labels) == sorted(sequence[: len(labels)]) for sequence in _SEQUENCES
    ):
        raise DataError(
            f"{where}: choices: they bring the labels {', '.join(labels).upper()}, out of order, so a gold letter may "
            "mean two of them: put them in order, or leave their labels out"
        )
    return plain
