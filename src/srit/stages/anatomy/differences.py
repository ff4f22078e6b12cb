"""What two answers share, and where they differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from srit.records.anatomy import Place

_PIECE = re.compile(r"\d+|[^\W\d_]+|\S")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_OPERATORS = frozenset("+-*/×÷·−=<>")


class Shared(NamedTuple):
    """Where the tokens of one answer occur in the other, in the same order."""

    first: int
    second: int


def shared_tokens(first: Sequence[int], second: Sequence[int]) -> list[Shared]:
    """Return a longest common subsequence of two answers.

    Source: Hyyrö 2004, Bit-Parallel LCS-length Computation Revisited; the way back through its rows is that of
    rapidfuzz.
    """
    places: dict[int, int] = {}
    for index, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << index
    row = whole = (1 << len(first)) - 1
    rows = []  # a bit is 0 where the subsequence grows by the token of `first` at its place
    for token in second:
        both = row & places.get(token, 0)
        row = ((row + both) | (row - both)) & whole
        rows.append(row)
    found = []
    left, right = len(first) - 1, len(second) - 1
    while left >= 0 and right >= 0:
        if rows[right] >> left & 1:
            left -= 1
        elif right and not rows[right - 1] >> left & 1:
            right -= 1
        else:
            found.append(Shared(left, right))
            left, right = left - 1, right - 1
    return found[::-1]


def n_alike(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many tokens two answers share at their beginning."""
    pairs = zip(first, second, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def places(own: Sequence[int], other: Sequence[int]) -> list[Place]:
    """Return the place of each token of one side of a pair, compared with the other side."""
    n = n_alike(own, other)
    shared = {n + one.first for one in shared_tokens(own[n:], other[n:])}
    found: list[Place] = ["beginning"] * n
    if n < len(own):
        found.append("first difference")
    found.extend("shared" if index in shared else "own" for index in range(n + 1, len(own)))
    return found


def first_difference(first: str, second: str) -> str:
    """Return the first difference of two texts, such as "number, number" or "operator, end"; "" if only in blanks."""
    pieces = zip_longest(_PIECE.findall(first), _PIECE.findall(second))
    return next((f"{_kind(a)}, {_kind(b)}" for a, b in pieces if a != b), "")


def _kind(piece: str | None) -> str:
    if piece is None:
        return "end"
    if piece.isdecimal():
        return "number"
    if piece in _OPERATORS:
        return "operator"
    return "word" if piece.isalpha() else "sign"


def same_but_numbers(first: str, second: str) -> bool:
    """Return whether two texts differ only in their numbers."""
    return _NUMBER.sub("0", first) == _NUMBER.sub("0", second)
