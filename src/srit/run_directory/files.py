"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from srit.errors import DataError, MachineError, SritError
from srit.shortages import free_disk, gigabytes, shortage

Json = Any
_RERUN = "fix this and rerun the same command"


def canonical(value: Json) -> bytes:
    """Return the canonical spelling, which equal JSON values share."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def canonical_sum(value: Json) -> str:
    """Return the SHA-256 that equal JSON values share, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def sha256_of(path: Path, of_file: Callable[[Path], str] | None = None) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's names and bytes, in hexadecimal.

    Args:
        of_file: computes the checksum of a single file; None: read the file.
    """
    if path.is_dir():
        parts = {str(p.relative_to(path)): sha256_of(p, of_file) for p in sorted(path.rglob("*")) if p.is_file()}
        return canonical_sum(parts)
    if of_file is not None:
        return of_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: all of it or nothing.

    Raises:
        MachineError: the disk is full or broken.
    """
    with written(path, len(data)) as file:
        file.write(data)


@contextmanager
def written(path: Path, size: int | None = None) -> Iterator[IO[bytes]]:
    """Yield a file that takes its place at `path` once the block has finished without an error.

    Args:
        size: the bytes that will be written, if known.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        make_folder(path.parent)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync(path.parent)
    except Exception as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError) or not (lacking := shortage(error, path.parent)):
            raise
        needed = "" if size is None else f", and {gigabytes(size)} are needed"
        raise MachineError(f"{path}: cannot be written: {lacking}{needed}; {_RERUN}") from error


def require_room(folder: Path, needed: int) -> None:
    """Check that a disk has room before something large is written to it.

    Args:
        needed: bytes.

    Raises:
        MachineError: it does not; says how much is needed and how much is free.
    """
    if (free := free_disk(folder)) < needed:
        message = f"{folder}: {gigabytes(needed)} are needed and {gigabytes(free)} are free: make room"
        raise MachineError(f"{message}, and rerun the same command")


def write_json(path: Path, value: Json) -> None:
    """Write one JSON value, indented for human readers."""
    write_bytes(path, json_bytes(value))


def read_json(path: Path) -> Json:
    """Read a JSON value that srit wrote.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: missing; restore a copy, or run the same command with another --out") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({error}); restore a copy, or remove it") from None


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and infinities, which Python's decoder reads and JSON does not have: its `parse_constant`."""
    raise ValueError(f"{name} is not JSON")


def json_bytes(value: Json) -> bytes:
    """Return the bytes that `write_json` writes."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yield a folder beside `folder` that takes its place once the block has finished without an error.

    Raises:
        MachineError: the disk is full or broken, however the library that writes into the folder words it.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        make_folder(partial)
        yield partial
        for path in sorted(partial.rglob("*")):
            sync(path)
        sync(partial)
        if folder.exists():
            old = folder.with_name(f".{folder.name}.old")
            remove(old)
            folder.rename(old)
            remove(old)
        partial.rename(folder)
        sync(folder.parent)
    except Exception as error:
        lacking = shortage(error, folder.parent)
        shutil.rmtree(partial, ignore_errors=True)
        if not lacking or isinstance(error, SritError):
            raise
        raise MachineError(f"{folder}: cannot be written: {lacking}; {_RERUN}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, so that a power loss takes none of them."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Let only one process at a time make what belongs at a path; those that waited should look again first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def link(source: Path, target: Path) -> None:
    """Give a file or folder a second name; copy it where the file system has no links."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        _link_file(str(source), str(target))


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
