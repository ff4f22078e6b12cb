"""Reads what trainings keep next to their weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter

from srit.errors import DataError
from srit.records import TrainingLog
from srit.run_directory import checked, fault_of


def read_logs(folder: Path, stages: Iterable[str]) -> dict[str, TrainingLog]:
    """Read the logs of the stages that are trainings; other stages' files give empty logs. Errors as in `read_log`."""
    paths = {name: folder / f"{name}.json" for name in stages}
    return {name: read_log(path) for name, path in paths.items() if path.exists()}


def read_log(path: Path) -> TrainingLog:
    """Read what a training kept next to its weights; other JSON files give an empty log.

    Raises:
        DataError: it is damaged; names the field at fault.
    """
    try:
        return checked(path.read_bytes(), TypeAdapter(TrainingLog))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({fault_of(error)}): restore a copy, or rerun the run's command") from None
