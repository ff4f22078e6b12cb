"""The run directory: the only code that writes files, and what is known about each of them.

Order of writing: temporary file, flush, fsync, rename, fsync of the folder, and the manifest last. What
exists under its name is whole. A stage is done when the manifest holds its fingerprint and its outputs
still have the recorded sums; nothing looks at times.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from srit.errors import DataError, MachineError

Record = TypeVar("Record")
Json = Any


def canonical(value: Json) -> bytes:
    """One spelling for equal JSON values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sha256_of(path: Path, of_file: Callable[[Path], str] | None = None) -> str:
    """Of a file's bytes, or of a folder's names and bytes.

    Args:
        of_file: what finds the sum of one file; None: this.
    """
    if path.is_dir():
        parts = {str(p.relative_to(path)): sha256_of(p, of_file) for p in sorted(path.rglob("*")) if p.is_file()}
        return hashlib.sha256(canonical(parts)).hexdigest()
    if of_file is not None:
        return of_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def write_json(path: Path, value: Json) -> None:
    """One JSON value, indented for people."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def write_records(path: Path, records: Iterable[Any]) -> None:
    """One record a line. Escaped to ASCII: a teacher's lone surrogate has no UTF-8."""
    write_bytes(path, b"".join(json.dumps(asdict(record)).encode() + b"\n" for record in records))


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """The records of a file, checked.

    Raises:
        DataError: a line is not such a record; names file, line and field.
    """
    hints = get_type_hints(kind)
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            records.append(_record(line, kind, hints, f"{path}:{number}"))
    return records


def _record(line: bytes, kind: type[Record], hints: Mapping[str, Any], where: str) -> Record:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError(f"a record is a JSON object, this is {type(row).__name__}")
        values = {name: _typed(row[name], hints[name]) for name in (f.name for f in fields(kind))}  # type: ignore[arg-type]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: {error}") from None
    except KeyError as error:
        raise DataError(f"{where}: the field {error} is missing") from None
    return kind(**values)


def _typed(value: Json, hint: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _typed(value, next(a for a in arguments if a is not type(None)))
    if origin is tuple and isinstance(value, list):
        return tuple(value)
    if hint is float and isinstance(value, int):
        return float(value)
    if isinstance(hint, type) and not isinstance(value, hint):
        raise ValueError(f"{value!r} is no {hint.__name__}")
    return value


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A folder made beside its place and renamed when whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for path in sorted(partial.rglob("*")):
        _sync(path)
    _sync(partial)
    if folder.exists():
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        shutil.rmtree(old)
    partial.rename(folder)
    _sync_folder(folder.parent)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """While one process makes what is kept at a path, others that come here wait; then they should look again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Journal:
    """Lines that survive a kill: each is appended whole and synced before it counts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            write_bytes(path, whole)  # a kill cut the last line
        self.rows: list[Json] = [json.loads(line) for line in whole.split(b"\n") if line]

    def append(self, row: Json) -> None:
        """Returns when the line is on disk."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, json.dumps(row).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.rows.append(row)


class Run:
    """A run directory, held by one process at a time."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            MachineError: the folder cannot be written, or another process holds it.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / ".lock").open("w")
        except OSError as error:
            raise MachineError(f"{folder}: cannot be written ({error.strerror}): choose another with --out") from None
        try:
            # Freed by the kernel when the process ends, however it ends; a pid file is not.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError(f"{folder}: another srit process is at work here; wait for it or end it") from None
        self.manifest: dict[str, Any] = read_manifest(folder)

    def close(self) -> None:
        """Lets another process, or another part of this one, hold the folder."""
        self._lock.close()

    def path(self, name: str) -> Path:
        """Of an output, by its name in the manifest."""
        return self.folder / name

    def partial(self, stage: str, fingerprint: str) -> Path:
        """Where a stage keeps what it has finished before all is; of this fingerprint alone."""
        kept = self.folder / ".partial" / stage.replace("/", "-") / fingerprint[:16]
        if kept.parent.exists():
            for stale in sorted(set(kept.parent.iterdir()) - {kept}):
                shutil.rmtree(stale)
        kept.mkdir(parents=True, exist_ok=True)
        return kept

    def is_done(self, stage: str, fingerprint: str) -> bool:
        """Whether the stage's outputs are there, whole, and made from just these inputs."""
        entry = self.manifest["stages"].get(stage)
        return entry is not None and entry["fingerprint"] == fingerprint and is_whole(self.folder, entry)

    def commit(self, stage: str, entry: Mapping[str, Json], outputs: Sequence[str]) -> None:
        """Records a stage as done; what it kept on the way is removed."""
        sums = {name: sha256_of(self.path(name)) for name in outputs}
        self.manifest["stages"][stage] = {**entry, "outputs": sums}
        write_json(self.folder / "manifest.json", self.manifest)
        self.clear(stage)

    def clear(self, stage: str) -> None:
        """Removes what a finished stage kept on the way; a kill may have come between the manifest and this."""
        shutil.rmtree(self.folder / ".partial" / stage.replace("/", "-"), ignore_errors=True)

    def share(self, stage: str, outputs: Sequence[str], kept: Path, *, anew: bool = False) -> None:
        """Puts a finished stage where other runs find it: hard links, and what the manifest says of it.

        Nothing here writes into a file that exists, so a link is as good as a copy. Outputs are kept by their
        place among the stage's outputs, since the same work may have another name elsewhere.

        Args:
            anew: in place of what is there, which an earlier run had to leave unfinished.
        """
        if (kept / "entry.json").exists() and not anew:
            return
        _remove(kept)  # what an interrupted removal left
        entry = self.manifest["stages"][stage]
        with building(kept) as partial:
            for number, name in enumerate(outputs):
                _link(self.path(name), partial / str(number))
            sums = [entry["outputs"][name] for name in outputs]
            write_json(partial / "entry.json", {**entry, "outputs": sums, "made by": "/".join(self.folder.parts[-2:])})

    def adopt(self, stage: str, outputs: Sequence[str], kept: Path) -> bool:
        """Takes a stage that another run has shared; False if there is none, or it is damaged."""
        if not (kept / "entry.json").exists():
            return False
        entry = json.loads((kept / "entry.json").read_bytes())
        for number, total in enumerate(entry["outputs"]):
            if not (kept / str(number)).exists() or sha256_of(kept / str(number)) != total:
                shutil.rmtree(kept)
                return False
        for number, name in enumerate(outputs):
            place = self.path(name)
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_name(f".{place.name}.partial")
            _remove(partial)
            _link(kept / str(number), partial)
            if place.is_dir():
                shutil.rmtree(place)  # a folder cannot be renamed over another
            partial.replace(place)
            _sync_folder(place.parent)
        self.commit(stage, {**entry, "shared": True}, outputs)
        return True


def is_whole(folder: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a finished stage's outputs are there and still have their recorded sums.

    Args:
        entry: the stage's, of a manifest.
    """
    outputs: Mapping[str, str] = entry["outputs"]
    return all((folder / name).exists() and sha256_of(folder / name) == total for name, total in outputs.items())


def recorded_sum(stages: Mapping[str, Any], output: str) -> str:
    """The sum of a finished output, from a manifest's stages; "" where none has made it."""
    return next((str(entry["outputs"][output]) for entry in stages.values() if output in entry["outputs"]), "")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run, or that of one which has not begun.

    Raises:
        DataError: it is damaged.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return {"stages": {}}
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        if broken := [name for name, entry in manifest["stages"].items() if not _is_entry(entry)]:
            raise ValueError(f"the entry of {broken[0]!r:.80} is none")
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({error}); put back a copy, or start over in another folder") from None


def _is_entry(entry: Any) -> bool:
    """Whether an entry of a manifest has what every version of srit has written."""
    kinds = {"fingerprint": str, "outputs": dict, "counts": dict, "seconds": int | float}
    return isinstance(entry, dict) and all(isinstance(entry.get(name), kind) for name, kind in kinds.items())


def _link(source: Path, target: Path) -> None:
    """A file or folder under a second name; copied where the file system has no links."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file)
    else:
        _link_file(str(source), str(target))


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_sync_folder = _sync
