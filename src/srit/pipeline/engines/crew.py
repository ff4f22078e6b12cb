"""Workers, which compute one chunk at a time and may die at any moment, and the events that they report.

`sharing` hands out the chunks. Each kind of worker has a file that says how it is started, asked, and ended.
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
    """What the chunk needs is loaded; from now on the chunk is blamed for a death."""


@dataclass(frozen=True, slots=True)
class Done:
    """The chunk is computed."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """Building or computing raised an error, as it would have in the process that asks."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Died:
    """The worker is dead, and what it was given is lost."""

    why: str  # for people, such as "the worker process 4711 was killed by SIGKILL"


@dataclass(frozen=True, slots=True)
class Unfit:
    """The worker's machine computes different bytes from the same chunk, so it must do nothing."""

    why: str  # for people


Event: TypeAlias = Ready | Built | Done | Failed | Died | Unfit


class Worker(Protocol):
    """Computes one chunk at a time."""

    def give(self, work: ChunkWork[BuiltThing, Item], item: Item) -> None:
        """Have it compute a chunk; the outcome arrives as events."""
        ...

    def end(self) -> None:
        """End it at once, whatever it is doing."""
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
        """Everything that a chunk's bytes depend on besides the work and the item, as `environment` records it."""
        ...

    def start(self, work: ChunkWork[BuiltThing, Item], item: Item) -> Some:
        """Start a worker, which becomes `Ready`, `Unfit` or `Died`; it may be tested with a chunk of the work."""
        ...

    def wait(self, workers: Collection[Some]) -> Iterable[tuple[Some, Event]]:
        """Wait until at least one of the workers reports something, and return its events."""
        ...


class Computing:
    """A worker's side: builds what a work needs, keeps the last build, and computes chunks."""

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
    """An internal error in a worker, with the worker's traceback as a note."""


def portable(error: Exception) -> Exception:
    """Return an error that can be sent to another process: the same one if a user can act on it, else a WorkerError."""
    told = WorkerError(f"{type(error).__name__}: {error}")
    told.add_note("".join(traceback.format_exception(error)))
    if not isinstance(error, (SritError, OSError, MemoryError)):
        return told
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a plug-in, with arguments of its own
        return told
    return error
