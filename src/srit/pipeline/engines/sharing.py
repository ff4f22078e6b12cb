"""Distributes chunks among workers: one that dies is replaced, and another worker repeats its chunk.

A chunk that ends three workers is given up, after all others are computed. An error that a worker reports also ends
the map, once the chunks in progress have arrived. Neither loses anything that was computed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic

from srit.compute.mapping import Built as BuiltThing
from srit.compute.mapping import ChunkWork, Item, Key, Source
from srit.errors import MachineError
from srit.pipeline.context.reports import Report
from srit.pipeline.engines.crew import Built, Crew, Died, Done, Event, Failed, Ready, Some, Unfit

TRIES = 3  # workers that one chunk may end
STARTS = 3  # workers in a row that may die before they have built what they need
IN_A_ROW = 6  # workers that may die with no chunk computed in between; after that, the chunks are not to blame


@dataclass
class _Given(Generic[Key]):
    """The chunk that a worker was given."""

    key: Key
    built: bool = False  # whether what it needs is loaded: if not, the chunk is not to blame for a death


class SharingEngine(Generic[Some]):
    """Computes chunks on a crew, whose workers keep their last model for the next work."""

    def __init__(self, crew: Crew[Some], report: Report) -> None:
        self._crew, self._report = crew, report
        self._starting: list[Some] = []
        self._idle: list[Some] = []
        # Unfit workers are not ended, since the crew might replace them with more of the same kind.
        self._unfit: list[Some] = []
        self._stillborn: list[str] = []  # how the last workers died that had not loaded what they need

    @property
    def kind(self) -> Mapping[str, str]:
        """Everything that a chunk's bytes depend on besides the work and the item."""
        return self._crew.kind

    @property
    def size(self) -> int:
        """How many workers there may be."""
        return self._crew.size

    def map(self, work: ChunkWork[BuiltThing, Item], items: Mapping[Key, Item]) -> Iterator[tuple[Key, bytes]]:
        """Yield the bytes of each item with its key, as soon as they arrive.

        Raises:
            MachineError: a chunk ended worker after worker, or none could be started.
            SritError: a chunk raised it.
        """
        share, busy = _Share(list(items)), dict[Some, _Given[Key]]()
        try:
            while share.left or busy:
                self._staff(share, len(busy), lambda key: self._crew.start(work, items[key]))
                while share.left and self._idle:
                    worker, given = self._idle.pop(), _Given(share.left.popleft())
                    busy[worker] = given
                    worker.give(work, items[given.key])
                heard = [
                    (worker, busy.get(worker), event) for worker, event in self._crew.wait([*self._starting, *busy])
                ]
                for worker, _, event in heard:  # all of them before the caller may stop
                    self._follow(worker, event, share, busy)
                for _, of, event in heard:
                    if isinstance(event, Done) and of is not None:
                        yield of.key, event.data
        finally:
            for worker in busy:  # the caller stopped early, and nobody waits for these
                worker.end()
        share.check()

    def take(self, source: Source[BuiltThing]) -> BuiltThing:
        """See `Engine`: what workers keep stays theirs."""
        self.release()
        return source.build()

    def release(self) -> None:
        """End the workers, and with them what they keep."""
        for worker in (*self._starting, *self._idle, *self._unfit):
            worker.end()
        self._starting, self._idle, self._unfit = [], [], []

    def _staff(self, share: _Share[Key], busy: int, start: Callable[[Key], Some]) -> None:
        """Start workers for chunks that no worker can take, as many as the crew may have.

        Raises:
            MachineError: all that were started died.
        """
        unused = len(self._idle) + len(self._starting)
        if len(self._stillborn) < STARTS:
            lacking = min(len(share.left), self._crew.size - busy) - unused
            self._starting += [start(share.left[place]) for place in range(lacking)]
        elif not (busy or unused):
            how, self._stillborn = self._stillborn[-1], []
            raise MachineError(
                f"{STARTS} workers in a row died before they had loaded what they need, the last for this reason: "
                f"{how}. If memory is short, use fewer (--workers). What was computed is kept: rerun the same command "
                "to continue"
            )

    def _follow(self, worker: Some, event: Event, share: _Share[Key], busy: dict[Some, _Given[Key]]) -> None:
        """Act on an event."""
        if isinstance(event, Ready):
            self._starting.remove(worker)
            self._idle.append(worker)
        elif isinstance(event, Built):
            busy[worker].built = True
            self._stillborn.clear()
        elif isinstance(event, Done | Failed):
            given = busy.pop(worker)
            self._idle.append(worker)
            if isinstance(event, Failed):
                share.failed(given.key, event.error)
            else:
                share.done()
        else:
            self._lose(worker, event, share, busy.pop(worker, None))

    def _lose(self, worker: Some, event: Died | Unfit, share: _Share[Key], given: _Given[Key] | None) -> None:
        """Give others what a worker leaves undone."""
        again = "" if given is None else f"; {given.key} is computed again"
        self._report(f"WARN {event.why}{again}")
        if worker in self._starting:
            self._starting.remove(worker)
        if isinstance(event, Unfit):
            self._unfit.append(worker)
        elif not (given and given.built):
            self._stillborn.append(event.why)
        if given is not None:
            share.again(given.key, event.why if given.built else None)
        else:
            share.left.rotate(-1)  # the next worker may be tried with another chunk


class _Share(Generic[Key]):
    """The chunks of one map: those that are left, and what went wrong with others."""

    def __init__(self, keys: list[Key]) -> None:
        self.left = deque(keys)
        self._order = {key: place for place, key in enumerate(keys)}
        self._ended: Counter[Key] = Counter()  # workers
        self._deaths: list[str] = []  # how workers died over chunks since the last was computed
        self._given_up: dict[Key, str] = {}  # how the last worker died
        self._errors: dict[Key, Exception] = {}

    def done(self) -> None:
        """Note that a chunk was computed."""
        self._deaths.clear()

    def failed(self, key: Key, error: Exception) -> None:
        """Note an error, and begin no other chunk."""
        self._errors[key] = error
        self.left.clear()

    def again(self, key: Key, why: str | None) -> None:
        """Repeat a chunk, after all others; `why` says how it ended a worker, None: it did not."""
        if why is not None:
            self._ended[key] += 1
            self._deaths.append(why)
        if why is not None and self._ended[key] == TRIES:
            self._given_up[key] = why
        elif not self._errors:
            self.left.append(key)
        if len(self._deaths) >= IN_A_ROW:
            self.left.clear()

    def check(self) -> None:
        """Raise what went wrong, the first error in the order of the chunks.

        Raises:
            SritError: a chunk raised it.
            MachineError: a chunk was given up, or all were.
        """
        if self._errors:
            raise self._errors[min(self._errors, key=self._order.__getitem__)]
        advice = (
            "If memory is short, use fewer (--workers). What was computed is kept: rerun the same command to continue"
        )
        if self._given_up:
            names = " and ".join(map(str, self._given_up))
            raise MachineError(f"{names} ended {TRIES} workers: {next(iter(self._given_up.values()))}. {advice}")
        if len(self._deaths) >= IN_A_ROW:
            raise MachineError(f"{IN_A_ROW} workers in a row died while computing chunks: {self._deaths[-1]}. {advice}")
