"""What a stage is given besides its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srit.compute.mapping import Built, ChunkWork, Engine, Item, Key, mapped_once
from srit.pipeline.models import Models
from srit.pipeline.reports import Reports
from srit.pipeline.teaching import Teaching
from srit.pipeline.texts import Texts
from srit.samplers import Request, Sampled, SamplingSettings
from srit.samplers.chunks import SamplerSource, SamplingWork, chunks_of, read_answers

CHUNK = 4  # rows times this are committed together: a row that ends early is given to another answer of the chunk
SHORT = 128  # tokens; where answers may be longer, fewer are committed together, so that a kill costs no more work


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a run that a stage works with."""

    texts: Texts
    models: Models
    reports: Reports
    teaching: Teaching
    engine: Engine
    partial: Path  # the folder of the stage's unfinished work; a later run continues from it
    seconds: Mapping[str, float]  # that each finished stage of the recipe took

    def map(self, work: ChunkWork[Built, Item], items: Mapping[Key, Item]) -> Iterator[tuple[Key, bytes]]:
        """Yield the bytes of each item with its key, as soon as they are computed, in any order."""
        return self.engine.map(work, items)

    def map_once(
        self,
        work: ChunkWork[Built, Item],
        items: Mapping[str, Item],
        *,
        kept: Path | None = None,
        sizes: Mapping[str, int],
        what: str,
    ) -> list[bytes]:
        """Return the bytes of every item in order; a later run does not compute again what this one has kept.

        Args:
            items: by the name of the file that keeps its bytes.
            kept: the folder of those files; None: `partial`.
            sizes: how much progress each item is.
            what: the name of that progress.
        """
        return mapped_once(
            self.engine, work, items, kept=kept or self.partial, arrived=_adding_up(sizes, self.reports.of(what))
        )

    def sample(
        self, source: SamplerSource, requests: Sequence[Request], settings: SamplingSettings, kept: Path, what: str
    ) -> list[Sampled]:
        """Return an answer for each request, in order; `kept` and `what` as in `map_once`."""
        size = source.rows * max(1, CHUNK * SHORT // max(SHORT, settings.max_new_tokens))
        chunks = chunks_of(requests, size)
        sizes = {name: len(members) for name, members in chunks.items()}
        found = self.map_once(SamplingWork(source, settings), chunks, kept=kept, sizes=sizes, what=what)
        return [answer for data in found for answer in read_answers(data)]


def _adding_up(sizes: Mapping[str, int], progress: Callable[[int, int], None]) -> Callable[[str], None]:
    """Turn items that arrive into progress."""
    done, total = 0, sum(sizes.values())

    def arrived(name: str) -> None:
        nonlocal done
        done += sizes[name]
        progress(done, total)

    return arrived
