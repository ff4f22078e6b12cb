"""A selection from a sequence, without a copy of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

Made = TypeVar("Made")


class Chosen(Sequence[Made]):
    """A selection from a sequence, each element made when it is asked for."""

    def __init__(self, places: Sequence[int], make: Callable[[int], Made]) -> None:
        """
        Args:
            places: their indices in the sequence.
            make: makes the element at an index.
        """
        self._places, self._make = places, make

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> Made: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Made]: ...
    def __getitem__(self, number: int | slice) -> Made | Sequence[Made]:
        chosen = self._places[number]
        return self._make(chosen) if isinstance(chosen, int) else Chosen(chosen, self._make)
