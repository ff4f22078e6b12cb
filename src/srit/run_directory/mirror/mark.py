"""What a folder knows of its copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from srit.run_directory.files import write_json

MARK = ".mirror.json"


class Mark(NamedTuple):
    """What a folder knows of its copy."""

    url: str
    place: str  # a name for the folder that no other has
    number: int = 0  # of the newest snapshot that the folder has all of; 0: of none


def read_mark(folder: Path) -> Mark | None:
    """Return what a folder knows of its copy; None: it has none."""
    path = folder / MARK
    return Mark(**json.loads(path.read_bytes())) if path.exists() else None


def write_mark(folder: Path, mark: Mark) -> None:
    """Keep it."""
    write_json(folder / MARK, mark._asdict())
