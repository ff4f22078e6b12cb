"""Workers that compute one chunk at a time and may die at any moment, and what they say.

`sharing` hands out the chunks. A file for each kind of worker says how it is started, asked, and ended.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from srit.compute.mapping import Built as BuiltThing
from srit.compute.mapping import ChunkWork, Item
from srit.errors import SritError
from srit.pipeline.engines.local import LastBuilt


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker can be given a chunk."""


@dataclass(frozen=True, slots=True)
class Built:
    """What the chunk needs is there; from now on a death is the chunk's."""


@dataclass(frozen=True, slots=True)
class Done:
    """The chunk is computed."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """Building or computing raised an error, as it would in the process that asks."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Died:
    """The worker is no more, and what it was given is lost."""

    why: str  # for people, such as "the worker process 4711 was killed by SIGKILL"


@dataclass(frozen=True, slots=True)
class Unfit:
    """The worker's machine computes something else from the same chunk: it is to do nothing."""

    why: str  # for people


Event: TypeAlias = Ready | Built | Done | Failed | Died | Unfit


class Worker(Protocol):
    """Computes one chunk at a time."""

    def give(self, work: ChunkWork[BuiltThing, Item], item: Item) -> None:
        """Have it compute a chunk; what becomes of it are events."""
        ...

    def end(self) -> None:
        """End it at once, whatever it does."""
        ...


Some = TypeVar("Some", bound=Worker)


class Crew(Protocol[Some]):
    """Workers of one kind."""

    @property
    def size(self) -> int:
        """How many may work at once."""
        ...

    @property
    def kind(self) -> Mapping[str, str]:
        """What the bytes of a chunk depend on besides the work and the item, as `environment` records it."""
        ...

    def start(self, work: ChunkWork[BuiltThing, Item], item: Item) -> Some:
        """Start a worker, which is `Ready` later, `Unfit`, or `Died`; it may be tried with a chunk of the work."""
        ...

    def wait(self, workers: Collection[Some]) -> Iterable[tuple[Some, Event]]:
        """Wait until at least one of the workers has something to say, and return that."""
        ...


class Computing:
    """A worker's side: builds what works need, keeps the last, and computes chunks."""

    def __init__(self) -> None:
        self._last = LastBuilt()

    def build(self, work: ChunkWork[BuiltThing, Item]) -> Built | Failed:
        """Build what a work needs."""
        try:
            self._last.of(work.source)
        except Exception as error:
            return Failed(portable(error))
        return Built()

    def chunk(self, work: ChunkWork[BuiltThing, Item], item: Item) -> Done | Failed:
        """Compute a chunk."""
        try:
            return Done(work.chunk(self._last.of(work.source), item))
        except Exception as error:
            return Failed(portable(error))


class WorkerError(Exception):
    """An internal error of a worker, with its traceback there as a note."""


def portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process: itself where a user can act on it, else a WorkerError."""
    told = WorkerError(f"{type(error).__name__}: {error}")
    told.add_note("".join(traceback.format_exception(error)))
    if not isinstance(error, (SritError, OSError, MemoryError)):
        return told
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a plug-in, with arguments of its own
        return told
    return error
