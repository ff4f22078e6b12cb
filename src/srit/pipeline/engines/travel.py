"""Works as they travel to machines that share no files with this one.

A folder of weights travels as its sum: the other machine lays the files out in its cache, under that sum, once. A
student that is a local folder travels likewise; an embedded one, or one of the hub, is that machine's own.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from srit.errors import DataError, MachineError
from srit.recipe import Student
from srit.run_directory import building, file_lock, sha256_of
from srit.students.adapted import is_adapter
from srit.students.embedded import EMBEDDED
from srit.students.loading import locate
from srit.students.sources import Trained
from srit.sums import cache, sum_of

PIECE = 32 * 2**20  # bytes of a file that travel together


def packed(value: object) -> tuple[bytes, dict[str, Path]]:
    """Return a value as bytes, with the folders in it replaced by their sums, and these folders by their sums."""
    folders: dict[str, Path] = {}

    class Packing(pickle.Pickler):
        def persistent_id(self, part: object) -> object:
            if isinstance(part, Trained):
                folders[part.sum] = part.folder
                return "trained", part.sum
            if isinstance(part, Student) and part.model not in EMBEDDED and (folder := locate(part)) is not None:
                total = _sum_of_student(folder)
                folders[total] = folder
                return "student", part.model_dump(mode="json", exclude={"model"}), total
            return None

    data = io.BytesIO()
    Packing(data).dump(value)
    return data.getvalue(), folders


def unpacked(data: bytes, place: Callable[[str], Path]) -> Any:
    """Return the value of `packed`; `place` returns the folder with a sum on this machine."""

    class Unpacking(pickle.Unpickler):
        def persistent_load(self, mark: Any) -> object:
            if mark[0] == "trained":
                return Trained(place(mark[1]), mark[1])
            _, fields, total = mark
            return Student.model_validate({**fields, "model": str(place(total))})

    return Unpacking(io.BytesIO(data)).load()


def _sum_of_student(folder: Path) -> str:
    """
    Raises:
        DataError: it is an adapter, whose base is another folder.
    """
    if is_adapter(folder):
        raise DataError(f"student.model: {folder} is an adapter: merge it into its base to use it on other machines")
    return sum_of(folder)


def pieces(folder: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the name of every file of a folder, and the file in pieces."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield str(path.relative_to(folder)), _cut(path)


def _cut(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def laid_out(total: str, files: Mapping[str, Iterable[bytes]]) -> Path:
    """Return the folder of the cache with a sum, written from its files if this machine does not have it yet.

    Raises:
        MachineError: what came has another sum.
    """
    folder = cache() / "received" / total
    if folder.exists():
        return folder
    with file_lock(folder):
        if not folder.exists():
            with building(folder) as partial:
                for name, parts in files.items():
                    (partial / name).parent.mkdir(parents=True, exist_ok=True)
                    with (partial / name).open("wb") as file:
                        file.writelines(parts)
                if sha256_of(partial) != total:
                    raise MachineError(f"{folder}: what was received has another sum: rerun to send it again")
    return folder
