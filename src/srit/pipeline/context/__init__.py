"""What a stage receives besides its inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from srit.compute.mapping import Built, ChunkWork, Engine, Item, Key, mapped_once
from srit.pipeline.context.models import Models
from srit.pipeline.context.reports import Reports
from srit.pipeline.context.teaching import Teaching
from srit.pipeline.context.texts import Texts
from srit.samplers import Request, Sampled, SamplingSettings
from srit.samplers.chunks import SamplerSource, SamplingWork, chunks_of, read_answers
from srit.students.sources import Trained
from srit.training.distributed.trainers import Done, Task, Trainers, Work
from srit.watching import Progressed, Said, Watch

if TYPE_CHECKING:
    from srit.compute.model import LanguageModel

Judged = Callable[[int, Sampled], Said]  # judges an answer by its place among those that were asked for

LOOKED_AT = 8  # answers of a chunk that may be judged while others are drawn
CHUNK = 4  # this times `rows` are committed together, so a row that ends early can go to another answer of the chunk
SHORT = 128  # tokens; if answers may be longer, fewer are committed together, so a kill costs no more work


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of a run that a stage works with."""

    texts: Texts
    models: Models
    reports: Reports
    teaching: Teaching
    engine: Engine
    trainers: Trainers
    partial: Path  # the folder of the stage's unfinished work; a later run continues from it
    seconds: Mapping[str, float]  # the time that each finished stage of the recipe took

    def trainable(self, start: Trained | None) -> LanguageModel:
        """Return the model that a training starts from, and let the engine free all others; None: the student itself.

        The engine may have it still: the model that was just scored as a training's reference is often its start.
        """
        return self.engine.take(self._trained.reference(start))

    @property
    def _trained(self) -> Models:
        return self.models.on_processor() if self.trainers.shards else self.models

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
    ) -> Iterator[bytes]:
        """Compute every item, and return an iterator of their bytes in order; a later run recomputes no kept one.

        Args:
            items: by the name of the file that keeps their bytes.
            kept: the folder of those files; None: `partial`.
            sizes: how much progress each item is.
            what: the name of that progress, whose unit is a group of answers.
        """
        kept = kept or self.partial
        arrived = adding_up(sizes, self.reports.of(what, "groups", earlier=_earlier(kept, sizes)))
        return mapped_once(self.engine, work, items, kept=kept, arrived=arrived)

    def train(self, start: Callable[[], LanguageModel], work: Work, name: str) -> Done:
        """Train a model, and return it with the metrics of each step.

        Args:
            start: builds the model that the training starts from.
            work: the training: a picklable value.
            name: of its progress.
        """
        return self.trainers.train(start, Task(self._trained.reference(None), work), self.reports.steps(name))

    def sample(self, wanted: Chunks, what: str, judged: Judged) -> Iterator[Sampled]:
        """Draw the answers of all chunks, and return them in the order of their requests.

        Args:
            what: the name of the progress.
            judged: judges an answer by its place among all, for whoever watches.
        """
        arrived = seen(wanted, what, judged, self.reports.watch)
        found = mapped_once(self.engine, wanted.work, wanted.items, kept=wanted.kept, arrived=arrived)
        return (answer for data in found for answer in read_answers(data))


class Chunks(NamedTuple):
    """Chunks of requests, and the folder of the files that keep their answers."""

    work: SamplingWork
    items: Mapping[str, Sequence[Request]]  # by the name of the file
    sizes: Mapping[str, int]  # the number of answers in each
    kept: Path


def sampling(source: SamplerSource, requests: Sequence[Request], settings: SamplingSettings, kept: Path) -> Chunks:
    """Return the chunks that give an answer to each request.

    A chunk's content does not depend on the number of workers, since it decides how the chunk's numbers are rounded.
    """
    size = chunk_size(source.rows, settings.max_new_tokens)
    items = chunks_of(requests, size)
    sizes = {name: min(size, len(requests) - number * size) for number, name in enumerate(items)}
    return Chunks(SamplingWork(source, settings), items, sizes, kept)


def chunk_size(rows: int, max_new_tokens: int) -> int:
    """Return how many answers are committed together."""
    return rows * max(1, CHUNK * SHORT // max(SHORT, max_new_tokens))


def adding_up(sizes: Mapping[Key, int], progress: Callable[[int, int], None]) -> Callable[[Key], None]:
    """Turn items that arrive into progress."""
    done, total = 0, sum(sizes.values())

    def arrived(name: Key) -> None:
        nonlocal done
        done += sizes[name]
        progress(done, total)

    return arrived


def seen(wanted: Chunks, what: str, judged: Judged, watch: Watch) -> Callable[[str], None]:
    """Turn chunks that arrive into progress, with their tokens and some of their answers; arguments as in `sample`."""
    places = dict(zip(wanted.items, accumulate(wanted.sizes.values(), initial=0), strict=False))  # of the first answer
    earlier, done, total = _earlier(wanted.kept, wanted.sizes), 0, sum(wanted.sizes.values())

    def arrived(name: str) -> None:
        nonlocal done
        done += wanted.sizes[name]
        answers = partial(_answers, wanted.kept / name)
        said = partial(_judged, answers, places[name], judged)
        n_tokens = partial(_n_tokens, answers)
        watch(Progressed(what, done, total, earlier=earlier, n_tokens=n_tokens, said=said))

    return arrived


def _earlier(kept: Path, sizes: Mapping[str, int]) -> int:
    """Return how much of the progress an earlier run has made."""
    return sum(n for name, n in sizes.items() if (kept / name).exists())


def _answers(path: Path) -> list[Sampled]:
    return read_answers(path.read_bytes())


def _n_tokens(answers: Callable[[], Sequence[Sampled]]) -> int:
    return sum(len(answer.token_ids) for answer in answers())


def _judged(answers: Callable[[], Sequence[Sampled]], first: int, judged: Judged) -> Iterator[Said]:
    found = answers()
    for place in range(0, len(found), max(1, len(found) // LOOKED_AT)):
        yield judged(first + place, found[place])
