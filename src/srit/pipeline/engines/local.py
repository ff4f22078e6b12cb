"""Compute chunks in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from srit.compute.mapping import Built, ChunkWork, Item, Key, Source
from srit.samplers import release_engines

CHUNK_THREADS = "threads of a chunk"  # float32 sums depend on them


class LastBuilt:
    """What was built last, such as a model: an evaluation asks one model task after task."""

    def __init__(self) -> None:
        self._kept: tuple[Source[object], object] | None = None

    def of(self, source: Source[Built]) -> Built:
        """Return what a source builds; an equal one was built last time."""
        if self._kept is None or self._kept[0] != source:
            if self._kept is not None and type(self._kept[0]) is not type(source):
                release_engines()  # an engine serves one model after the other, but no other use
            self._kept = None  # frees its memory before the next is loaded
            self._kept = (source, source.build())
        return cast(Built, self._kept[1])

    def forget(self) -> None:
        """Free its memory, and what a sampler's engine keeps."""
        self._kept = None
        release_engines()


class LocalEngine:
    """Compute chunks here, and keep the last model."""

    size = 1

    def __init__(self) -> None:
        self._built = LastBuilt()

    @property
    def kind(self) -> Mapping[str, str]:
        """What the bytes of a chunk depend on besides the work and the item."""
        import torch

        return {CHUNK_THREADS: str(torch.get_num_threads())}

    def map(self, work: ChunkWork[Built, Item], items: Mapping[Key, Item]) -> Iterator[tuple[Key, bytes]]:
        """Yield the bytes of each item with its key, in order."""
        for key, item in items.items():
            yield key, work.chunk(self._built.of(work.source), item)

    def release(self) -> None:
        """Free the model that is kept."""
        self._built.forget()
