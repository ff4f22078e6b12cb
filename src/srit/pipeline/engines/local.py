"""Compute chunks in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from srit.compute.mapping import Built, ChunkWork, Item, Key, Source
from srit.samplers import release_engines

CHUNK_THREADS = "threads of a chunk"  # float32 sums depend on them


class LastBuilt:
    """The last thing built, such as a model: an evaluation asks one model about task after task."""

    def __init__(self) -> None:
        self._kept: tuple[Source[object], object] | None = None

    def of(self, source: Source[Built]) -> Built:
        """Return what a source builds, reusing the last build if it came from an equal source."""
        if self._kept is None or self._kept[0] != source:
            if self._kept is not None and type(self._kept[0]) is not type(source):
                release_engines()  # an engine serves one model after another, but nothing else
            self._kept = None  # frees its memory before the next is loaded
            self._kept = (source, source.build())
        return cast(Built, self._kept[1])

    def take(self, source: Source[Built]) -> Built:
        """Return what a source builds, as `of` does, and keep nothing."""
        found = self.of(source)
        self.forget()
        return found

    def forget(self) -> None:
        """Free its memory and that of a sampler's engine."""
        self._kept = None
        release_engines()


class LocalEngine:
    """Computes chunks in this process, and keeps the last model."""

    size = 1

    def __init__(self) -> None:
        self._built = LastBuilt()

    @property
    def kind(self) -> Mapping[str, str]:
        """Everything that a chunk's bytes depend on besides the work and the item."""
        import torch

        return {CHUNK_THREADS: str(torch.get_num_threads())}

    def map(self, work: ChunkWork[Built, Item], items: Mapping[Key, Item]) -> Iterator[tuple[Key, bytes]]:
        """Yield the bytes of each item with its key, in order."""
        for key, item in items.items():
            yield key, work.chunk(self._built.of(work.source), item)

    def take(self, source: Source[Built]) -> Built:
        """See `Engine`."""
        return self._built.take(source)

    def release(self) -> None:
        """Free the model that it keeps."""
        self._built.forget()
