"""Work in chunks, which this process or others on other machines can compute.

A work is a frozen, picklable value. It also names the model that it needs as a value (`source`), which each worker
builds once, and makes the bytes of a chunk only from that chunk. Nothing else decides those bytes, so chunks can be
computed anywhere, in any order, and repeatedly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from srit.errors import MachineError
from srit.run_directory import write_bytes

Built = TypeVar("Built")
BuiltOut = TypeVar("BuiltOut", covariant=True)
Item = TypeVar("Item")
ItemIn = TypeVar("ItemIn", contravariant=True)
Key = TypeVar("Key")


class Source(Protocol[BuiltOut]):
    """What a work needs built; equal sources build the same thing, so it can be kept for the next work."""

    def build(self) -> BuiltOut:
        """Build it: load the model."""
        ...


@dataclass(frozen=True, slots=True)
class Nothing:
    """The source of a work that itself loads what it needs."""

    def build(self) -> None:
        """Build nothing."""


NOTHING = Nothing()


class ChunkWork(Protocol[Built, ItemIn]):
    """What to do with each chunk."""

    @property
    def source(self) -> Source[Built]:
        """What is built before the first chunk."""
        ...

    def chunk(self, built: Built, item: ItemIn, /) -> bytes:
        """Compute one chunk: a pure function of what was built, the work's own fields and the item."""
        ...


class Engine(Protocol):
    """Computes chunks."""

    @property
    def kind(self) -> Mapping[str, str]:
        """What the bytes depend on besides the work and the item, such as the number of threads, for the record."""
        ...

    @property
    def size(self) -> int:
        """The most chunks that are computed at once."""
        ...

    def map(self, work: ChunkWork[Built, Item], items: Mapping[Key, Item]) -> Iterator[tuple[Key, bytes]]:
        """Yield the bytes of each item with its key, as soon as they exist, in any order, and perhaps twice.

        Nothing is built if there are no items. An error is raised only after the items in progress are yielded.
        """
        ...

    def take(self, source: Source[Built]) -> Built:
        """Return what a source builds, kept since the last work or built now, for the caller alone; free the rest."""
        ...

    def release(self) -> None:
        """Free what it keeps for the next work, before something else takes the memory."""
        ...


class Later(Mapping[Key, Item]):
    """Items that are made each time they are asked for, so not all of them have to be in memory."""

    def __init__(self, makers: Mapping[Key, Callable[[], Item]]) -> None:
        self._makers = makers

    def __getitem__(self, key: Key) -> Item:
        return self._makers[key]()

    def __iter__(self) -> Iterator[Key]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def mapped_once(
    engine: Engine,
    work: ChunkWork[Built, Item],
    items: Mapping[str, Item],
    *,
    kept: Path,
    arrived: Callable[[str], None] = lambda name: None,
) -> Iterator[bytes]:
    """Compute every item, and return an iterator of their bytes in order; kept ones are not computed again.

    Args:
        items: by the name of the file that keeps its bytes.
        kept: the folder of those files, used only by this work. They are written here, by one process.
        arrived: called with the name of each item whose bytes have arrived.

    Raises:
        MachineError: an item was computed twice, with different results.
    """
    missing = {kept / name: partial(items.__getitem__, name) for name in items if not (kept / name).exists()}
    for name in items:
        if kept / name not in missing:
            arrived(name)
    mapped(engine, work, Later(missing), arrived=lambda path: arrived(path.name))
    return ((kept / name).read_bytes() for name in items)


def mapped(
    engine: Engine, work: ChunkWork[Built, Item], items: Mapping[Path, Item], *, arrived: Callable[[Path], None]
) -> None:
    """Compute every item, by the file that keeps its bytes; otherwise as `mapped_once`."""
    written: set[Path] = set()
    for path, data in engine.map(work, items):
        if path in written:
            _check_same(path, data)
            continue
        write_bytes(path, data)
        written.add(path)
        arrived(path)


def _check_same(path: Path, data: bytes) -> None:
    """
    Raises:
        MachineError: a file has other bytes.
    """
    kept = path.read_bytes()
    if kept != data:
        sums = " and ".join(hashlib.sha256(found).hexdigest()[:16] for found in (kept, data))
        raise MachineError(
            f"{path}: two computations of this gave different results ({sums}): the machines are of different kinds, "
            "or one of them makes errors. The first result is kept; delete the file to compute it again"
        )
