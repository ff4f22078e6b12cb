"""The JSON files of a run that the page shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from srit.anatomy import Anatomy, Effect
from srit.errors import DataError
from srit.records import TrainingLog
from srit.run_directory import checked, fault_of

_Kind = TypeVar("_Kind")


def read_logs(folder: Path, stages: Iterable[str]) -> dict[str, TrainingLog]:
    """Read the logs of the stages that are trainings; other stages' files give empty logs. Errors as in `read_log`."""
    paths = {name: folder / f"{name}.json" for name in stages}
    return {name: read_log(path) for name, path in paths.items() if path.exists()}


def read_log(path: Path) -> TrainingLog:
    """Read what a training kept next to its weights; other JSON files give an empty log.

    Raises:
        DataError: it is damaged; names the field at fault.
    """
    return _read(path, TypeAdapter(TrainingLog))


def read_anatomy(path: Path) -> Anatomy:
    """Read a round's anatomy.json; errors as in `read_log`."""
    return _read(path, TypeAdapter(Anatomy))


def read_effects(path: Path) -> tuple[Effect, ...]:
    """Read a round's effect.json; errors as in `read_log`."""
    return _read(path, TypeAdapter(tuple[Effect, ...]))


def _read(path: Path, adapter: TypeAdapter[_Kind]) -> _Kind:
    try:
        return checked(path.read_bytes(), adapter)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({fault_of(error)}): put back a copy, or run it again") from None
