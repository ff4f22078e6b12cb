"""What runs on a cluster's machines: an actor that builds models, computes chunks, and trains."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from srit.pipeline.engines.crew import Built, Computing, Failed, portable
from srit.pipeline.engines.ray.training import training
from srit.pipeline.engines.travel import laid_out, lay, unpacked
from srit.pipeline.environment import environment

Files = Mapping[str, Sequence[Any]]  # the pieces of each file, as Ray's references
Message = tuple[bytes, Mapping[str, Files]]  # a value, and the folders that it names, by checksum


class Machine(NamedTuple):
    """Where a worker is."""

    node: str
    name: str  # for people
    versions: Mapping[str, str]


class Actor:
    """A worker's side: it returns pickled events."""

    def __init__(self) -> None:
        self._computing = Computing()
        self._given: tuple[Any, Any] | None = None

    def describe(self) -> Machine:
        """Return where this is."""
        import ray

        node, address = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
        return Machine(node, f"{os.uname().nodename} ({address})", environment())

    def begin(self, message: Message) -> bytes:
        """Build what a work needs."""
        try:
            self._given = _unpacked(message)
        except Exception as error:
            return pickle.dumps(Failed(portable(error)))
        return pickle.dumps(self._computing.build(self._given[0]))

    def finish(self) -> bytes:
        """Compute the chunk that `begin` was given."""
        assert self._given is not None
        return pickle.dumps(self._computing.chunk(*self._given))

    def attempt(self, message: Message) -> bytes:
        """Do both."""
        begun = self.begin(message)
        return self.finish() if isinstance(pickle.loads(begun), Built) else begun

    def train(self, message: Message, files: Files) -> Iterator[bytes]:
        """Train, and yield what the other side must know.

        Args:
            message: with the task.
            files: the contents of the task's paths, by the names under which they travel.
        """
        with TemporaryDirectory(prefix="srit-training-") as place:
            try:
                lay(Path(place), _fetched(files))
                task = _unpacked(message, Path(place))
            except Exception as error:
                yield pickle.dumps(Failed(portable(error)))
                return
            for event in training(task, Path(place)):
                yield pickle.dumps(event)


def _unpacked(message: Message, place: Path | None = None) -> Any:
    data, folders = message
    return unpacked(data, lambda total: laid_out(total, _fetched(folders[total])), place)


def _fetched(files: Files) -> Mapping[str, Iterable[bytes]]:
    import ray

    return {name: map(ray.get, references) for name, references in files.items()}
