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
    place: str  # a unique name for the folder
    number: int = 0  # number of the newest snapshot that the folder has completely; 0: none


def read_mark(folder: Path) -> Mark | None:
    """Return a folder's mark; None: it has no copy."""
    path = folder / MARK
    return Mark(**json.loads(path.read_bytes())) if path.exists() else None


def write_mark(folder: Path, mark: Mark) -> None:
    """Write a folder's mark."""
    write_json(folder / MARK, mark._asdict())
