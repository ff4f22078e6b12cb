"""Values set aside in a temporary file, so that any number of them can be read again."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Iterable, Sequence
from tempfile import SpooledTemporaryFile
from typing import TypeVar, overload
from weakref import finalize

Value = TypeVar("Value")

_IN_MEMORY = 32 * 2**20  # bytes; more goes to the disk


class Scratch(Sequence[Value]):
    """Values in order, each read when it is asked for: 8 bytes of memory per value.

    The file has no name, and disappears with the process. Pickling, for other processes, includes all values.
    """

    def __init__(self, values: Iterable[Value] = ()) -> None:
        self._begins = array("Q")
        self._open()
        for value in values:
            self.append(value)

    def append(self, value: Value) -> None:
        """Set one more value aside."""
        self._begins.append(self._file.seek(0, 2))
        pickle.dump(value, self._file)

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, number: int) -> Value: ...
    @overload
    def __getitem__(self, number: slice) -> list[Value]: ...
    def __getitem__(self, number: int | slice) -> Value | list[Value]:
        if isinstance(number, slice):
            return [self[one] for one in range(len(self))[number]]
        self._file.seek(self._begins[number])
        value: Value = pickle.load(self._file)
        return value

    def __getstate__(self) -> tuple[array[int], bytes]:
        self._file.seek(0)
        return self._begins, self._file.read()

    def __setstate__(self, state: tuple[array[int], bytes]) -> None:
        self._begins, data = state
        self._open()
        self._file.write(data)

    def _open(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        finalize(self, self._file.close)
