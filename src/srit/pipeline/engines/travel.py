"""Sends works to machines that share no files with this one.

A folder of weights travels as its checksum: the other machine puts the files into its cache once, under that checksum.
So do a student that is a local folder and the base folder of an adapter; each machine loads an embedded student, or one
from the hub, by itself.
"""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from srit.errors import MachineError
from srit.recipe import Student
from srit.run_directory import building, canonical_sum, file_lock, read_json, sha256_of, write_json
from srit.students.adapted import ADAPTER, base_student
from srit.students.embedded import EMBEDDED
from srit.students.loading import locate
from srit.students.sources import Trained
from srit.sums import cache, sum_of

PIECE = 32 * 2**20  # bytes of a file that travel together


def packed(value: object, paths: dict[str, Path] | None = None) -> tuple[bytes, dict[str, Path]]:
    """Return a value as bytes, with its folders replaced by their checksums, and the folders by checksum.

    Args:
        paths: receives the other paths in the value, by the names that stand for them; None: there are none.
    """
    folders: dict[str, Path] = {}

    class Packing(pickle.Pickler):
        def persistent_id(self, part: object) -> object:
            if isinstance(part, Trained):
                folders[part.sum] = part.folder
                return "trained", part.sum
            if isinstance(part, Student) and (folder := _own_folder(part)) is not None:
                total = sum_of(folder)
                folders[total] = folder
                # A base that is a folder is also a student, so pickle asks about it separately.
                return "student", part.model_dump(mode="json", exclude={"model"}), total, _base_folder_of(part)
            if isinstance(part, Path) and paths is not None:
                paths[name := str(len(paths))] = part
                return "path", name
            return None

    data = io.BytesIO()
    Packing(data).dump(value)
    return data.getvalue(), folders


def unpacked(data: bytes, place: Callable[[str], Path], paths: Path | None = None) -> Any:
    """Return the value that `packed` was given.

    Args:
        place: returns the folder with a given checksum on this machine.
        paths: the folder in which its other paths are, by their names.
    """

    class Unpacking(pickle.Unpickler):
        def persistent_load(self, mark: Any) -> object:
            if mark[0] == "trained":
                return Trained(place(mark[1]), mark[1])
            if mark[0] == "path":
                assert paths is not None
                return paths / mark[1]
            _, fields, total, base = mark
            folder = place(total) if base is None else _naming(base, place(total))
            return Student.model_validate({**fields, "model": str(folder)})

    return Unpacking(io.BytesIO(data)).load()


def _own_folder(student: Student) -> Path | None:
    """Return a student's folder if other machines cannot load it by themselves."""
    return None if student.model in EMBEDDED else locate(student)


def _base_folder_of(student: Student) -> Student | None:
    """Return the base of an adapter student, if that base has to travel."""
    base = base_student(student)
    return None if base == student or _own_folder(base) is None else base


def _naming(base: Student, adapter: Path) -> Path:
    """Return a copy of an adapter that names the place of its base on this machine."""
    folder = adapter.with_name(canonical_sum([adapter.name, base.model]))
    with file_lock(folder):
        if not folder.exists():
            with building(folder) as partial:
                shutil.copytree(adapter, partial, dirs_exist_ok=True)
                write_json(partial / ADAPTER, read_json(adapter / ADAPTER) | {"base_model_name_or_path": base.model})
    return folder


def pieces(folder: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the name of every file in a folder, and the file in pieces."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield str(path.relative_to(folder)), cut(path)


def cut(path: Path) -> Iterator[bytes]:
    """Yield a file in pieces."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def lay(folder: Path, files: Mapping[str, Iterable[bytes]]) -> None:
    """Write files that arrived in pieces into a folder."""
    for name, parts in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            file.writelines(parts)


def laid_out(total: str, files: Mapping[str, Iterable[bytes]]) -> Path:
    """Return the cache's folder with a checksum, written from its files if this machine does not have it yet.

    Raises:
        MachineError: the files that arrived do not match the checksum.
    """
    folder = cache() / "received" / total
    if folder.exists():
        return folder
    with file_lock(folder):
        if not folder.exists():
            with building(folder) as partial:
                lay(partial, files)
                if sha256_of(partial) != total:
                    raise MachineError(
                        f"{folder}: the received files do not match their checksum: rerun the same command to send "
                        "them again"
                    )
    return folder
