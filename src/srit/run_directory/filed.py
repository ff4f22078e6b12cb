"""Records that stay in their files: memory holds only where each begins, and a hash of its key."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, overload
from weakref import finalize

from pydantic import TypeAdapter

from srit.errors import DataError
from srit.run_directory.rows import checked, each_record, each_record_at, fault_of

if TYPE_CHECKING:
    from numpy import int64, uint64
    from numpy.typing import NDArray

Record = TypeVar("Record")

_LEAST_UNSORTED = 4096  # keys that a lookup scans one by one, or a sixteenth of all


class Filed(Sequence[Record]):
    """A file's records, each read when it is asked for: 8 bytes of memory per record."""

    def __init__(self, path: Path, kind: type[Record], begins: array[int] | None = None) -> None:
        """
        Args:
            begins: the byte offsets at which the wanted records begin; None: all.
        """
        self.path = path
        self._kind, self._adapter = kind, TypeAdapter(kind)
        self._file = path.open("rb")
        finalize(self, self._file.close)
        self._is_whole = begins is None
        self._begins = array("Q", _beginnings(path)) if begins is None else begins

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, number: int) -> Record: ...
    @overload
    def __getitem__(self, number: slice) -> Filed[Record]: ...
    def __getitem__(self, number: int | slice) -> Record | Filed[Record]:
        """Return a record, or several, which also stay in their file.

        Raises:
            DataError: it is damaged.
        """
        if isinstance(number, slice):
            return Filed(self.path, self._kind, self._begins[number])
        self._file.seek(self._begins[number])
        try:
            return checked(self._file.readline(), self._adapter)
        except (ValueError, RecursionError) as error:
            place = f"byte {self._begins[number]:,}"
            raise DataError(f"{self.path}: the record at {place}: {fault_of(error)}") from None

    def __iter__(self) -> Iterator[Record]:
        if self._is_whole:
            return each_record(self.path, self._kind)
        return (self[number] for number in range(len(self)))


def _beginnings(path: Path) -> Iterator[int]:
    place = 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield place
            place += len(line)


class Lookup:
    """Finds the numbers of things by their keys: 32 bytes of memory per key, however long it is."""

    def __init__(self) -> None:
        self._sums = array("Q")  # two numbers for each key
        self._firsts: NDArray[uint64] | None = None  # the first number of each, sorted
        self._order: NDArray[int64] | None = None  # the things they belong to

    def __len__(self) -> int:
        return len(self._sums) // 2

    def add(self, key: str) -> None:
        """Add a key; the first has the number 0."""
        self._sums.extend(_sum(key))

    def find(self, key: str) -> list[int]:
        """Return the numbers under which a key was added, in order."""
        import numpy as np

        first, second = _sum(key)
        firsts, order = self._sorted()
        sums = np.frombuffer(self._sums, np.uint64)
        found, at = [], int(np.searchsorted(firsts, np.uint64(first)))
        while at < len(firsts) and firsts[at] == first:
            found.append(int(order[at]))
            at += 1
        unsorted = sums[2 * len(firsts) :: 2]
        if len(unsorted):
            found += (len(firsts) + np.flatnonzero(unsorted == np.uint64(first))).tolist()
        return [number for number in found if sums[2 * number + 1] == second]

    def groups(self) -> Iterator[list[int]]:
        """Yield the numbers that share a key, in the order in which each key was first added."""
        import numpy as np

        if not len(self):
            return
        sums = np.frombuffer(self._sums, np.uint64).reshape(-1, 2).copy()
        order = np.lexsort((sums[:, 1], sums[:, 0]))
        begins = np.flatnonzero(np.concatenate([[True], (np.diff(sums[order], axis=0) != 0).any(axis=1)]))
        ends = np.append(begins[1:], len(order))
        # lexsort is stable: the first of a group was added first
        for group in np.argsort(order[begins], kind="stable"):
            yield order[begins[group] : ends[group]].tolist()

    def _sorted(self) -> tuple[NDArray[uint64], NDArray[int64]]:
        import numpy as np

        n = 0 if self._firsts is None else len(self._firsts)
        if self._firsts is None or self._order is None or len(self) - n > max(_LEAST_UNSORTED, n // 16):
            firsts = np.frombuffer(self._sums, np.uint64)[::2].copy()
            self._order = np.argsort(firsts, kind="stable")
            self._firsts = firsts[self._order]
        return self._firsts, self._order


def _sum(key: str) -> tuple[int, int]:
    data = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16).digest()
    return int.from_bytes(data[:8]), int.from_bytes(data[8:])


class Grouped(Generic[Record]):
    """A file's records by a key that several may share, in the file's order: 40 bytes of memory per record."""

    def __init__(
        self,
        path: Path,
        kind: type[Record],
        key: Callable[[Record], str],
        wanted: Callable[[Record], bool] = lambda record: True,
    ) -> None:
        """Read the file once.

        Raises:
            DataError: a line is not such a record.
        """
        begins, self._lookup = array("Q"), Lookup()
        for begin, record in each_record_at(path, kind):
            if wanted(record):
                begins.append(begin)
                self._lookup.add(key(record))
        self._records = Filed(path, kind, begins)

    def of(self, key: str) -> list[Record]:
        """Return the records with a key."""
        return [self._records[number] for number in self._lookup.find(key)]

    def __iter__(self) -> Iterator[list[Record]]:
        """Yield the records of each key, in the order in which the keys first come."""
        return ([self._records[number] for number in group] for group in self._lookup.groups())
