"""A stage can touch only what it declared: its input files, its output files, its fields of the recipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar, cast

from pydantic import BaseModel

from srit.compute.plan import ComputePlan
from srit.errors import DataError
from srit.recipe import Recipe
from srit.run_directory import (
    Filed,
    Grouped,
    Json,
    StageEntry,
    building,
    each_record,
    read_json,
    read_records,
    write_json,
    write_records,
)
from srit.students.sources import Trained

Record = TypeVar("Record")
Part = TypeVar("Part", bound=BaseModel)


class UndeclaredError(Exception):
    """A stage touched a file that it did not declare: an internal error."""


class Inputs:
    """The declared inputs of a stage, and its view of the recipe."""

    def __init__(
        self, stage: str, folder: Path, sums: Mapping[str, str], recipe: Recipe, entries: Mapping[str, StageEntry]
    ) -> None:
        """
        Args:
            sums: checksums by declared file; "" if it may be missing from the fingerprint (`Stage.after`).
            recipe: with only the declared fields, as `only` makes it.
            entries: those of the stages whose counts the stage declared (`Stage.shows`).
        """
        self.recipe = recipe
        self.entries = entries
        self._stage, self._folder, self._sums = stage, folder, sums

    def path(self, name: str) -> Path:
        """Return where a declared input is.

        Raises:
            UndeclaredError: it was not declared.
        """
        _check(name, self._sums, self._stage, "read")
        return self._folder / name

    def records(self, name: str, kind: type[Record]) -> list[Record]:
        """Read the records of a declared input; errors as in `path` and `read_records`."""
        return read_records(self.path(name), kind)

    def each_record(self, name: str, kind: type[Record]) -> Iterator[Record]:
        """Yield the records of a declared input one by one, so that not all are in memory; errors as in `records`."""
        return each_record(self.path(name), kind)

    def filed(self, name: str, kind: type[Record]) -> Filed[Record]:
        """Return the records of a declared input, which stay in their file until they are asked for."""
        return Filed(self.path(name), kind)

    def grouped(
        self,
        name: str,
        kind: type[Record],
        key: Callable[[Record], str],
        wanted: Callable[[Record], bool] = lambda record: True,
    ) -> Grouped[Record]:
        """Return the wanted records of a declared input by a key; errors as in `records`."""
        return Grouped(self.path(name), kind, key, wanted)

    def json(self, name: str) -> Json:
        """Read the JSON value of a declared input; errors as in `path`."""
        return read_json(self.path(name))

    def trained(self, name: str) -> Trained:
        """Return a declared folder of weights by its content; errors as in `path`."""
        return Trained(self.path(name), self._sums[name])

    def has(self, name: str) -> bool:
        """Return whether a file is declared."""
        return name in self._sums

    @contextmanager
    def gathered(self, place: Path) -> Iterator[Path]:
        """Yield a folder that holds the declared inputs under their names, and nothing else.

        Args:
            place: where to put it; removed afterward. A DataError of the block names the run's own files instead.
        """
        shutil.rmtree(place, ignore_errors=True)
        for name in self._sums:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).symlink_to((self._folder / name).absolute())
        try:
            yield place
        except DataError as error:  # names the file where the user knows it
            raise DataError(str(error).replace(str(place), str(self._folder))) from None
        finally:
            shutil.rmtree(place, ignore_errors=True)


class Outputs:
    """The declared outputs of a stage; each is written whole or not at all."""

    def __init__(self, stage: str, folder: Path, names: Collection[str]) -> None:
        self._stage, self._folder, self._names = stage, folder, names

    def path(self, name: str) -> Path:
        """Return where a declared output belongs.

        Raises:
            UndeclaredError: it was not declared.
        """
        _check(name, self._names, self._stage, "write")
        return self._folder / name

    def records(self, name: str, records: Iterable[object]) -> None:
        """Write records, one per line; errors as in `path`."""
        write_records(self.path(name), records)

    def json(self, name: str, value: Json) -> None:
        """Write one JSON value; errors as in `path`."""
        write_json(self.path(name), value)

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the output once the block has finished; errors as in `path`."""
        with building(self.path(name)) as partial:
            yield partial


def only(part: Part, fields: Sequence[str]) -> Part:
    """Return a copy of a part of the recipe with only these fields; reading another raises AttributeError.

    Args:
        fields: names, or paths such as "refine.beta" for a field of a field.
    """
    kept: dict[str, object] = {}
    for head in dict.fromkeys(field.partition(".")[0] for field in fields):
        inner = [field.partition(".")[2] for field in fields if field.startswith(f"{head}.")]
        kept[head] = getattr(part, head) if head in fields else only(getattr(part, head), inner)
    view = part.model_copy()
    view.__dict__.clear()
    view.__dict__.update(kept)
    return view


def only_computes(plan: ComputePlan | None, fields: Sequence[str]) -> ComputePlan:
    """Return only the declared fields of a plan; reading another raises AttributeError."""
    return cast(ComputePlan, SimpleNamespace(**{field: getattr(plan, field) for field in fields}))


def _check(name: str, declared: Collection[str], stage: str, what: str) -> None:
    if name not in declared:
        raise UndeclaredError(f"the stage {stage} did not declare {name}, which it tries to {what}")
