"""Keeps a run directory and its copy on object storage the same, and holds the lease."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from srit.errors import DataError, MachineError, RecipeError
from srit.run_directory.files import sha256_of, written
from srit.run_directory.manifest import MANIFEST
from srit.run_directory.mirror.answers import FILES, AnswerFile
from srit.run_directory.mirror.lease import Lease
from srit.run_directory.mirror.mark import MARK, Mark, write_mark
from srit.run_directory.mirror.snapshots import Copied, Snapshot, newest, put_next
from srit.run_directory.mirror.store import Store

COPY_SECONDS = 5.0  # between two looks for finished chunks and checkpoints
RENEWALS = 6  # of a lease, within its duration
AT_ONCE = 8  # files that are fetched at once
OF_ANSWERS = ("answers.size", "calls.size")  # how much of a file is on this disk
OF_A_RUN = (MANIFEST, "study.json", "teacher/answers.jsonl")  # a folder with one of these holds a run
# Not copied: links to outputs, which cells or variants share; a study's cells, which have their own copies; and
# messages between a study's processes.
OF_SEVERAL = ("pool", "runs", "locks")


class Seen(NamedTuple):
    """How a file is recognized: no file is ever written into, except files of answers."""

    inode: int
    size: int
    changed: int  # nanoseconds


class Copying:
    """A `Mirror` on object storage."""

    def __init__(self, folder: Path, mark: Mark, report: Callable[[str], None]) -> None:
        """
        Raises:
            RecipeError: its URL cannot be used.
        """
        self._folder, self._mark, self._report = folder, mark, report
        self._store = Store(mark.url)
        self._snapshot = Snapshot()
        self._number = 0
        self._seen: dict[str, Seen] = {}
        self._answers: list[AnswerFile] = []
        self._answered_at = 0.0
        self._one_at_a_time = threading.Lock()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._has_begun = self._is_warned = False

    def begin(self) -> None:
        """As in `Mirror`."""
        self._number, there = newest(self._store)
        self._refuse_another_run(there)
        self._lease = Lease(self._store, _place(self._mark, self._folder))
        self._start(self._renew)
        write_mark(self._folder, self._mark)
        self._number, self._snapshot = newest(self._store)
        while not self._taken_over():
            self._number, self._snapshot = newest(self._store, self._number)
        write_mark(self._folder, self._mark._replace(number=self._number))
        self._has_begun = True
        self._start(self._copy_now_and_then)

    def committed(self) -> None:
        """As in `Mirror`."""
        self.check()
        for answers in self._answers:
            answers.copy(self._snapshot)
        self._copy(answers_too=True)

    def answered(self, *, free: bool) -> None:
        """As in `Mirror`."""
        if free and time.monotonic() - self._answered_at < COPY_SECONDS:
            return
        for answers in self._answers:
            answers.copy(self._snapshot)
        self._answered_at = time.monotonic()
        self.check()  # what arrived is kept in any case

    def check(self) -> None:
        """As in `Mirror`."""
        self._lease.check()

    def end(self) -> None:
        """As in `Mirror`; what cannot be copied now is copied by the next process in this folder."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        if not self._threads:
            return  # it has no lease
        for last in [self.committed, self._lease.end] if self._has_begun else [self._lease.end]:
            try:
                last()
            except MachineError as error:
                self._report(f"WARN {error}")

    def _refuse_another_run(self, there: Snapshot) -> None:
        known = (self._folder / MARK).exists()
        if there.files and not known and any((self._folder / name).exists() for name in OF_A_RUN):
            raise RecipeError(
                f"--mirror {self._store.url}: it has one run, and {self._folder} has another: choose another --out to "
                "continue the first, or another --mirror for the second"
            )

    def _taken_over(self) -> bool:
        """Bring the folder to the newest snapshot, then write our own; return False if that is not the newest."""
        if self._number > self._mark.number:
            if self._snapshot.files:
                self._report(f"     continuing from {self._store.url}: {_amount(self._snapshot)}")
            try:
                self._fetch()
            except FileNotFoundError:  # its holder has written another since
                if newest(self._store, self._number)[0] == self._number:
                    raise DataError(
                        f"{self._store.url}: files of its newest manifest are missing: restore them from a copy"
                    ) from None
                return False
        self._answers = [AnswerFile(self._store, self._folder, name, self._lease.fence) for name in FILES]
        for answers in self._answers:
            answers.begin(self._snapshot)
        mine = self._snapshot.model_copy(update={"holder": self._lease.fence})
        return self._put(mine)

    def _put(self, snapshot: Snapshot) -> bool:
        """Write the next snapshot, and return whether no other process had written it."""
        if not put_next(self._store, self._number + 1, snapshot):
            return False
        self._number, self._snapshot = self._number + 1, snapshot
        return True

    def _fetch(self) -> None:
        """Bring the folder to a snapshot.

        Raises:
            FileNotFoundError: the mirror has moved on, or lost a file.
            DataError: a file is damaged there.
        """
        files = {name: copied for name, copied in self._snapshot.files.items() if name not in FILES}
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(self._fetched, files.items()))
        folders = {Path(name).parent for name in files if not name.startswith((".partial/", "teacher/"))} - {Path()}
        for name, _ in _files(self._folder):
            if name not in files and Path(name).parent in folders:  # of a model, say, that was made anew elsewhere
                (self._folder / name).unlink()

    def _fetched(self, file: tuple[str, Copied]) -> None:
        name, copied = file
        path = self._folder / name
        if path.is_file() and path.stat().st_size == copied.size and sha256_of(path) == copied.sum:
            return
        sum_ = hashlib.sha256()
        with written(path, copied.size) as out:
            for piece in self._store.pieces(copied.key(name), copied.size):
                sum_.update(piece)
                out.write(piece)
            if sum_.hexdigest() != copied.sum:
                raise DataError(
                    f"{self._store.url}/{copied.key(name)}: damaged (it does not match the recorded checksum)"
                )

    def _copy(self, *, answers_too: bool = False) -> None:
        """Copy every file that has changed, then write a snapshot that names them all.

        Raises:
            MachineError: the storage cannot be reached, or another process has taken over.
        """
        with self._one_at_a_time:
            before = self._snapshot
            files, appended = self._copied(answers_too=answers_too), dict(before.appended)
            if answers_too:
                appended = {answers.name: dict(answers.appended) for answers in self._answers if answers.appended}
            if files == before.files:
                return
            self.check()
            if not self._put(Snapshot(holder=self._lease.fence, files=files, appended=appended)):
                self._lease.lose()
                self.check()
            write_mark(self._folder, self._mark._replace(number=self._number))
            kept = {copied.key(name) for name, copied in files.items()}
            gone = {copied.key(name) for name, copied in before.files.items()} - kept
            self._store.remove(sorted(gone))

    def _copied(self, *, answers_too: bool) -> dict[str, Copied]:
        """Copy what has changed, and return all files."""
        files: dict[str, Copied] = {}
        for name, seen in _files(self._folder):
            known = self._snapshot.files.get(name)
            if name in FILES and not answers_too:
                files |= {} if known is None else {name: known}
            elif known is not None and self._seen.get(name) == seen:
                files[name] = known
            else:
                with suppress(FileNotFoundError):  # an old checkpoint, say, that has been removed since
                    files[name] = self._copied_file(name, known)
                    self._seen[name] = seen
        return files

    def _copied_file(self, name: str, known: Copied | None) -> Copied:
        with (self._folder / name).open("rb") as file:  # a file that replaces it meanwhile is another file
            total = hashlib.file_digest(file, "sha256").hexdigest()
            if known is not None and known.sum == total:
                return known
            copied = Copied(sum=total, size=file.tell(), fence=self._lease.fence)
            file.seek(0)
            self._store.put(copied.key(name), file)
        return copied

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _renew(self) -> None:
        while not self._ended.wait(self._lease.seconds / RENEWALS):
            with suppress(MachineError):  # `check` reports it once the time is over
                self._lease.renew()

    def _copy_now_and_then(self) -> None:
        while not self._ended.wait(COPY_SECONDS):
            try:
                self._copy()
                self._is_warned = False
            except MachineError as error:  # raised by the next commit, if it lasts
                if not self._is_warned:
                    self._report(f"WARN {error}")
                self._is_warned = True


def _place(mark: Mark, folder: Path) -> str:
    """Return a name for the folder on this machine that a copy of it elsewhere does not have."""
    return hashlib.sha256(f"{mark.place} {socket.gethostname()} {folder.resolve()}".encode()).hexdigest()[:16]


def _files(folder: Path) -> Iterator[tuple[str, Seen]]:
    """Yield the finished files of a run directory in order."""
    for place, folders, names in os.walk(folder):
        apart = OF_SEVERAL if Path(place) == folder else ()
        folders[:] = sorted(name for name in folders if name not in apart and not _is_unfinished(name))
        for name in sorted(names):
            path = Path(place, name)
            if _is_unfinished(name) or name in OF_ANSWERS or path.is_symlink():
                continue
            with suppress(FileNotFoundError):
                found = path.stat()
                yield path.relative_to(folder).as_posix(), Seen(found.st_ino, found.st_size, found.st_mtime_ns)


def _is_unfinished(name: str) -> bool:
    """Return whether a file or folder concerns only this machine: still being written, or a lock."""
    if name in (MARK, ".lock"):
        return True
    return name != ".partial" and name.startswith(".") and name.endswith((".partial", ".old", ".lock"))


def _amount(snapshot: Snapshot) -> str:
    files = snapshot.files.values()
    return f"{len(files)} files, {sum(copied.size for copied in files) / 1e6:.1f} MB"
