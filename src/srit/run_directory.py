"""The run directory: the only code that writes files, and what is known about each of them.

A write goes to a temporary file, which is flushed, synced and renamed; then the folder is synced, and the manifest
is written last. A file that exists under its name is therefore complete. A stage is done when the manifest holds its
fingerprint and its outputs still have the recorded sums; modification times play no part.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from srit.errors import DataError, MachineError

Record = TypeVar("Record")
Json = Any


def canonical(value: Json) -> bytes:
    """Return the one spelling that equal JSON values share."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sha256_of(path: Path, of_file: Callable[[Path], str] | None = None) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's names and bytes, in hexadecimal.

    Args:
        of_file: computes the sum of a single file; None: read the file.
    """
    if path.is_dir():
        parts = {str(p.relative_to(path)): sha256_of(p, of_file) for p in sorted(path.rglob("*")) if p.is_file()}
        return hashlib.sha256(canonical(parts)).hexdigest()
    if of_file is not None:
        return of_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    _sync(path.parent)


def write_json(path: Path, value: Json) -> None:
    """Write one JSON value, indented for readers."""
    write_bytes(path, json_bytes(value))


def json_bytes(value: Json) -> bytes:
    """Return the bytes that `write_json` writes."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def write_records(path: Path, records: Collection[object]) -> None:
    """Write one record per line, escaped to ASCII: a lone surrogate in a teacher's answer has no UTF-8."""
    adapters = {kind: TypeAdapter(kind) for kind in {type(record) for record in records}}
    rows = (adapters[type(record)].dump_python(record) for record in records)
    write_bytes(path, b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read the records of a file and check the type of every field; fields that `kind` does not have are ignored.

    Raises:
        DataError: a line is not such a record; names the file, the line and the field.
    """
    adapter = TypeAdapter(kind)
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            try:
                records.append(checked(line, adapter))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}:{number}: {fault_of(error)}") from None
    return records


def checked(line: bytes, adapter: TypeAdapter[Record]) -> Record:
    """Parse JSON as a type, and check every field.

    Raises:
        ValueError, RecursionError: it is not of that type; `fault_of` has the words.
    """
    try:
        return adapter.validate_json(line, strict=True)
    except ValidationError as error:
        if error.errors()[0]["type"] != "json_invalid":
            raise
    # pydantic's parser accepts no lone surrogates. Its strict mode accepts no lists for tuples, except in JSON: so the
    # types are checked with each surrogate replaced, and the values are taken from the line itself.
    row = json.loads(line)
    adapter.validate_json(json.dumps(row, ensure_ascii=False).encode(errors="replace"), strict=True)
    return adapter.validate_python(row)


def fault_of(error: Exception) -> str:
    """Return the first fault of a record, results or manifest, with the field it is in."""
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_url=False)[0]
    field = ".".join(map(str, fault["loc"]))
    if fault["type"] == "missing":
        return f"the field {field!r} is missing"
    message = f"{fault['msg'][:1].lower()}{fault['msg'][1:]}, not {fault['input']!r:.80}"
    return f"the field {field!r}: {message}" if field else message


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yield a folder beside `folder` that takes its place once the block has finished without an error."""
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
    _sync(folder.parent)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Let one process at a time make what belongs at a path; those that waited should look again first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class StageEntry(BaseModel, frozen=True, extra="allow"):
    """What the manifest holds about a finished stage.

    Every version of srit has written the fields without a default. Fields of later versions are kept as they are.
    """

    fingerprint: str
    outputs: dict[str, str]  # sums by path in the run directory
    counts: dict[str, Json]
    seconds: float  # that the stage took where it was made
    # What the fingerprint is the sum of: see `fingerprints.basis`.
    work: str = ""
    version: int | None = None
    settings: Json = None
    inputs: dict[str, str] = {}
    student: str | None = None
    way: Json = None
    sources: dict[str, Json] = {}
    environment: dict[str, str] = {}  # versions of packages
    shared: bool = False  # taken from another run
    made_by: str = Field(default="", alias="made by")  # the run it was taken from


class Manifest(BaseModel, frozen=True, extra="allow"):
    """What a run directory knows about itself: manifest.json."""

    stages: dict[str, StageEntry]
    revisions: dict[str, str] = {}  # commits by hub id
    way: dict[str, Json] | None = None  # how the student is computed, and of which student that holds
    way_of: Json = Field(default=None, alias="way of")


class Run:
    """A run directory, open in one process at a time."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            MachineError: the folder cannot be written, or another process has it open.
            DataError: its manifest is damaged.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / ".lock").open("w")
        except OSError as error:
            raise MachineError(f"{folder}: cannot be written ({error.strerror}); choose another with --out") from None
        try:
            # The kernel releases it however the process ends; a pid file would stay.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.manifest = read_manifest(folder)
        except BlockingIOError:
            self.close()
            message = f"{folder}: another srit process is running here; wait for it to finish, or stop it"
            raise MachineError(message) from None
        except DataError:
            self.close()
            raise

    def close(self) -> None:
        """Let another process, or another part of this one, open the folder."""
        self._lock.close()

    def path(self, name: str) -> Path:
        """Return the path of an output, given its name in the manifest."""
        return self.folder / name

    def partial(self, stage: str, fingerprint: str) -> Path:
        """Return the folder for a stage's partial work, and remove that of other fingerprints."""
        kept = self.folder / ".partial" / stage.replace("/", "-") / fingerprint[:16]
        if kept.parent.exists():
            for stale in sorted(set(kept.parent.iterdir()) - {kept}):
                shutil.rmtree(stale)
        kept.mkdir(parents=True, exist_ok=True)
        return kept

    def is_done(self, stage: str, fingerprint: str) -> bool:
        """Return whether the stage's outputs exist, are intact and were made from exactly these inputs."""
        entry = self.manifest.stages.get(stage)
        return entry is not None and entry.fingerprint == fingerprint and is_whole(self.folder, entry)

    def sums(self, outputs: Sequence[str]) -> dict[str, str]:
        """Return the sums of outputs as they are now."""
        return {name: sha256_of(self.path(name)) for name in outputs}

    def commit(self, stage: str, entry: StageEntry) -> None:
        """Record a stage as done, and remove its partial work."""
        self.manifest.stages[stage] = entry
        write_json(self.folder / "manifest.json", _as_json(self.manifest))
        self.clear(stage)

    def clear(self, stage: str) -> None:
        """Remove a finished stage's partial work; a kill may have come between writing the manifest and this."""
        shutil.rmtree(self.folder / ".partial" / stage.replace("/", "-"), ignore_errors=True)

    def share(self, stage: str, outputs: Sequence[str], kept: Path, *, anew: bool = False) -> None:
        """Put a finished stage where other runs find it: hard links to its outputs, and its entry.

        No existing file is ever written into, so a link is as good as a copy. Outputs are numbered in the stage's
        order, since the same work may have another name in another run.

        Args:
            anew: replace what is there, which an earlier run had to leave unfinished.
        """
        if (kept / "entry.json").exists() and not anew:
            return
        _remove(kept)  # an interrupted removal may have left some of it
        entry = self.manifest.stages[stage]
        with building(kept) as partial:
            for number, name in enumerate(outputs):
                _link(self.path(name), partial / str(number))
            sums = [entry.outputs[name] for name in outputs]
            made_by = "/".join(self.folder.parts[-2:])
            write_json(partial / "entry.json", {**_as_json(entry), "outputs": sums, "made by": made_by})

    def adopt(self, stage: str, outputs: Sequence[str], kept: Path) -> bool:
        """Take over a stage that another run has shared; return False if there is none or it is damaged."""
        if not (kept / "entry.json").exists():
            return False
        entry = _shared_entry(kept, outputs)
        if entry is None:
            shutil.rmtree(kept)
            return False
        for number, name in enumerate(outputs):
            _place(kept / str(number), self.path(name))
        self.commit(stage, entry)
        return True


def _shared_entry(kept: Path, outputs: Sequence[str]) -> StageEntry | None:
    """The entry of a shared stage under the names that its outputs have here; None: it is damaged."""
    try:
        row = json.loads((kept / "entry.json").read_bytes())
        sums = dict(zip(outputs, row["outputs"], strict=True))
        entry = StageEntry.model_validate({**row, "outputs": sums, "shared": True})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    places = [kept / str(number) for number in range(len(outputs))]
    whole = all(place.exists() and sha256_of(place) == sums[name] for place, name in zip(places, outputs, strict=True))
    return entry if whole else None


def _place(source: Path, target: Path) -> None:
    """Link a file or folder to its place, in place of what is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    _remove(partial)
    _link(source, partial)
    if target.is_dir():
        shutil.rmtree(target)  # a folder cannot be renamed over another
    partial.replace(target)
    _sync(target.parent)


def is_whole(folder: Path, entry: StageEntry) -> bool:
    """Return whether a finished stage's outputs exist and still have their recorded sums."""
    return all((folder / name).exists() and sha256_of(folder / name) == total for name, total in entry.outputs.items())


def recorded_sum(stages: Mapping[str, StageEntry], output: str) -> str:
    """Return the sum of a finished output; "" if no stage has made it."""
    return next((entry.outputs[output] for entry in stages.values() if output in entry.outputs), "")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a run; that of a run that has not begun has no stages.

    Raises:
        DataError: it is damaged; names the file and the field.
    """
    path = folder / "manifest.json"
    if not path.exists():
        return Manifest(stages={})
    try:
        return Manifest.model_validate(json.loads(path.read_bytes()))
    except (ValueError, RecursionError) as error:
        reason = f"{path}: damaged ({fault_of(error)}); restore a copy, or start over in another folder"
        raise DataError(reason) from None


def _as_json(value: Manifest | StageEntry) -> dict[str, Json]:
    """As it was read, with what was set since: an entry of an earlier srit stays without the fields of a later one."""
    return value.model_dump(by_alias=True, exclude_unset=True)


def _link(source: Path, target: Path) -> None:
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
