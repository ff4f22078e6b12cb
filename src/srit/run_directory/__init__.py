"""The run directory: the only code that writes files, and the record of each of them.

A write goes to a temporary file, which is flushed, synced and renamed; then the folder is synced, and the manifest
is written last. A file that exists under its name is therefore complete. A stage is done when the manifest holds its
fingerprint and its outputs still have the recorded checksums; modification times are ignored.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from srit.errors import MachineError, RecipeError
from srit.run_directory.chosen import Chosen
from srit.run_directory.filed import Filed, Grouped, Lookup
from srit.run_directory.files import (
    Json,
    building,
    canonical,
    canonical_sum,
    file_lock,
    json_bytes,
    link,
    make_folder,
    no_constant,
    read_json,
    remove,
    require_room,
    sha256_of,
    sync,
    write_bytes,
    write_json,
    written,
)
from srit.run_directory.manifest import (
    MANIFEST,
    Manifest,
    StageEntry,
    as_json,
    is_whole,
    read_manifest,
    recorded_sum,
    write_manifest,
)
from srit.run_directory.mirror import Mirror, NoMirror
from srit.run_directory.rows import checked, each_record, fault_of, read_records, write_records
from srit.run_directory.scratch import Scratch

__all__ = [
    "MANIFEST",
    "Chosen",
    "Filed",
    "Grouped",
    "Json",
    "Lookup",
    "Manifest",
    "Mirror",
    "NoMirror",
    "Run",
    "Scratch",
    "StageEntry",
    "building",
    "canonical",
    "canonical_sum",
    "checked",
    "each_record",
    "fault_of",
    "file_lock",
    "is_whole",
    "json_bytes",
    "make_folder",
    "no_constant",
    "read_json",
    "read_manifest",
    "read_records",
    "recorded_sum",
    "require_room",
    "sha256_of",
    "spend_shared",
    "sync",
    "write_bytes",
    "write_json",
    "write_manifest",
    "write_records",
    "written",
]

_PARTIAL = ".partial"  # work on stages that are not done


class Run:
    """A run directory, open in one process at a time."""

    def __init__(self, folder: Path, mirror: Mirror | None = None) -> None:
        """
        Args:
            mirror: its copy elsewhere, from which it is brought up to date; None: it has none.

        Raises:
            MachineError: the folder cannot be written, or another process has it or its copy open.
            DataError: its manifest or its copy is damaged.
            RecipeError: its copy is one of another run, or a link in it leads out of it.
        """
        self.folder = folder
        self.mirror = mirror or NoMirror()
        try:
            make_folder(folder)
            _refuse_links_out(folder)
            self._lock = (folder / ".lock").open("a+")  # "w" would erase the holder's name
            # The kernel releases it however the process ends; a pid file would stay.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MachineError(f"{folder}: {self._holder()}; wait for it to finish, or stop it") from None
        except OSError as error:
            raise MachineError(f"{folder}: cannot be written ({error.strerror}); choose another with --out") from None
        self._hold()
        try:
            self.mirror.begin()
            self.manifest = read_manifest(folder)
        except BaseException:
            self.close()
            raise

    def _hold(self) -> None:
        """Write the holder's name into the lock file, for other processes' messages."""
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        holder = f"process {os.getpid()} on {socket.gethostname()} since {began}\n"
        with suppress(OSError):  # on a full disk, those messages say less
            os.ftruncate(self._lock.fileno(), 0)
            os.write(self._lock.fileno(), holder.encode())

    def _holder(self) -> str:
        holder = os.pread(self._lock.fileno(), 200, 0).decode(errors="replace").strip()
        self._lock.close()
        return "another srit process is running here" + (f" ({holder})" if holder else "")

    def close(self) -> None:
        """Let another process, or another part of this one, open the folder."""
        self.mirror.end()
        with suppress(OSError):
            os.ftruncate(self._lock.fileno(), 0)
        self._lock.close()

    def path(self, name: str) -> Path:
        """Return the path of an output, given its name in the manifest."""
        return self.folder / name

    def partial(self, stage: str, fingerprint: str) -> Path:
        """Return the folder for a stage's partial work, and remove those of other fingerprints."""
        kept = self.folder / _PARTIAL / stage.replace("/", "-") / fingerprint[:16]
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
        """Return the current checksums of outputs."""
        return {name: sha256_of(self.path(name)) for name in outputs}

    def commit(self, stage: str, entry: StageEntry) -> None:
        """Record a stage as done, and remove its partial work.

        Raises:
            MachineError: it is done here, but could not be copied to the mirror; or the folder is gone.
        """
        self._require_place()
        self.manifest.stages[stage] = entry
        write_manifest(self.folder, self.manifest)
        self.clear(stage)
        self.mirror.committed()

    def spend(self, outputs: Iterable[str]) -> None:
        """Remove outputs that only a finished stage needed; the stage that made them stays done.

        Raises:
            MachineError: as in `commit`.
        """
        there = [name for name in outputs if self.path(name).exists()]
        if not there:
            return
        self._require_place()
        for stage, entry in self.manifest.stages.items():
            if found := set(there).intersection(entry.outputs):
                self.manifest.stages[stage] = entry.model_copy(update={"spent": sorted(found.union(entry.spent))})
        write_manifest(self.folder, self.manifest)
        self.mirror.committed()  # first, so that a copy never lacks a file which its manifest says is there
        for name in there:
            with suppress(OSError):  # what stays is removed when the stage that needed it is next seen done
                remove(self.path(name))

    def reclaim(self, stages: Iterable[str]) -> None:
        """Record that what was spent of finished stages is needed again, so that they are not done."""
        for stage in stages:
            if (entry := self.manifest.stages.get(stage)) is not None:
                self.manifest.stages[stage] = entry.model_copy(update={"spent": []})
        write_manifest(self.folder, self.manifest)

    def _require_place(self) -> None:
        """Check that the folder is where it was: another process may be working in what is there now."""
        lock = self.folder / ".lock"
        if not lock.exists() or not os.path.samestat(os.fstat(self._lock.fileno()), lock.stat()):
            raise MachineError(
                f"{self.folder}: moved or deleted while a run worked in it, so the stage is not recorded; put the "
                "folder back and rerun the same command, or rerun it with --out where the folder is now"
            )

    def clear(self, stage: str) -> None:
        """Remove a finished stage's partial work, which a kill just after writing the manifest may have left."""
        shutil.rmtree(self.folder / _PARTIAL / stage.replace("/", "-"), ignore_errors=True)

    def share(self, stage: str, outputs: Sequence[str], kept: Path, *, anew: bool = False) -> None:
        """Put a finished stage where other runs can find it: hard links to its outputs, and its entry.

        No existing file is ever written into, so a link is as good as a copy. Outputs are numbered in the stage's
        order, since the same work may have another name in another run.

        Args:
            anew: replace what is there, which an earlier run left unfinished.
        """
        if (kept / "entry.json").exists() and not anew:
            return
        remove(kept)  # an interrupted removal may have left some of it
        entry = self.manifest.stages[stage]
        with building(kept) as partial:
            for number, name in enumerate(outputs):
                if name in entry.spent and not self.path(name).exists():
                    write_bytes(_spent_mark(partial / str(number)), b"")
                else:
                    link(self.path(name), partial / str(number))
            sums = [entry.outputs[name] for name in outputs]
            made_by = "/".join(self.folder.parts[-2:])
            row = {field: value for field, value in as_json(entry).items() if field != "spent"}
            write_json(partial / "entry.json", {**row, "outputs": sums, "made by": made_by})

    def adopt(self, stage: str, outputs: Sequence[str], kept: Path) -> bool:
        """Adopt a stage that another run has shared; return False if there is none or it is damaged.

        An output that was spent there will be missing here. If this run has it recorded as there, it needs it, and
        the stage is not adopted.
        """
        try:
            return self._adopted(stage, outputs, kept)
        except FileNotFoundError:  # another process has just removed an output that was spent
            return self._adopted(stage, outputs, kept)

    def _adopted(self, stage: str, outputs: Sequence[str], kept: Path) -> bool:
        if not (kept / "entry.json").exists():
            return False
        entry = _shared_entry(kept, outputs)
        if entry is None:
            shutil.rmtree(kept)
            return False
        here = self.manifest.stages.get(stage)
        if here is not None and here.fingerprint == entry.fingerprint and not set(entry.spent) <= set(here.spent):
            return False
        for number, name in enumerate(outputs):
            if name in entry.spent:
                remove(self.path(name))  # of an earlier entry
            else:
                _place(kept / str(number), self.path(name))
        self.commit(stage, entry)
        return True


def _refuse_links_out(folder: Path) -> None:
    """Check that nothing would be written through a link to a place outside the run directory.

    Raises:
        RecipeError: something could be; names the link.
    """
    root = folder.resolve()
    for place, folders, files in os.walk(folder):
        for path in filter(Path.is_symlink, (Path(place, name) for name in (*folders, *files))):
            target = Path(os.path.realpath(path))
            if not target.is_relative_to(root):
                raise RecipeError(
                    f"{path}: this is a link to {target}, outside the run directory, where srit never writes: "
                    "put what it leads to in its place, or choose another --out"
                )
        if Path(place).parent == folder / _PARTIAL:
            folders.clear()  # what a kill left, which is removed or begun again


def _shared_entry(kept: Path, outputs: Sequence[str]) -> StageEntry | None:
    """Return a shared stage's entry with the names that its outputs have here; None: it is damaged."""
    places = {name: kept / str(number) for number, name in enumerate(outputs)}
    spent = [name for name, place in places.items() if not place.exists() and _spent_mark(place).exists()]
    try:
        row = json.loads((kept / "entry.json").read_bytes())
        sums = dict(zip(outputs, row["outputs"], strict=True))
        here = {"outputs": sums, "shared": True} | ({"spent": spent} if spent else {})
        entry = StageEntry.model_validate({**row, **here})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    there = {name: place for name, place in places.items() if name not in spent}
    whole = all(place.exists() and sha256_of(place) == sums[name] for name, place in there.items())
    return entry if whole else None


def spend_shared(kept: Path, number: int) -> None:
    """Remove an output of a shared stage that only another shared stage needed.

    Args:
        number: of the output, in the stage's order.
    """
    place = kept / str(number)
    if place.exists():
        write_bytes(_spent_mark(place), b"")  # first, so that a process which finds no output finds the mark
        remove(place)


def _spent_mark(place: Path) -> Path:
    return place.with_suffix(".spent")


def _place(source: Path, target: Path) -> None:
    """Link a file or folder to its place, replacing what is there."""
    make_folder(target.parent)
    partial = target.with_name(f".{target.name}.partial")
    remove(partial)
    link(source, partial)
    if target.is_dir():
        shutil.rmtree(target)  # a folder cannot be renamed over another
    partial.replace(target)
    sync(target.parent)
