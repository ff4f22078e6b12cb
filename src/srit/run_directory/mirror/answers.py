"""Paid answers: each line is on object storage before it counts.

A file of answers grows line by line, and objects cannot grow. So each appended part is a separate object, under the
fence of the process that wrote it and an increasing number. Nothing ever overwrites it, so the lines of a process that
had lost its lease, but still received an answer, are found as well.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from srit.errors import DataError
from srit.run_directory.files import write_bytes
from srit.run_directory.mirror.snapshots import Snapshot
from srit.run_directory.mirror.store import Store

FILES = ("teacher/answers.jsonl", "teacher/calls.jsonl")


class AnswerFile:
    """A file of answers, and how much of it is on object storage. For the one thread that appends to it."""

    def __init__(self, store: Store, folder: Path, name: str, fence: int) -> None:
        self.name, self.path = name, folder / name
        self._store, self._fence = store, fence
        self._copied = 0  # bytes of the file, from its start
        self._inode = 0
        self.appended: Counter[str] = Counter()  # number of objects by fence whose lines are in the file

    def begin(self, snapshot: Snapshot) -> None:
        """Exchange lines: this file gets those that only the mirror has, and the mirror those that only this file has.

        Raises:
            DataError: an object is missing.
        """
        there = self._there(snapshot)
        here = self.path.read_bytes() if self.path.exists() else b""
        if not here.startswith(there):
            write_bytes(self.path, there + _without(here, there))
            self.path.with_name(f"{self.path.stem}.size").unlink(missing_ok=True)  # it described other bytes
        self._copied = len(there)
        self._inode = self.path.stat().st_ino if self.path.exists() else 0
        self.copy(snapshot)

    def copy(self, snapshot: Snapshot) -> None:
        """Write the lines that are not on object storage yet.

        Args:
            snapshot: the newest one.

        Raises:
            MachineError: the storage cannot be reached; they are written next time.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            found = os.fstat(file.fileno())
            is_same = found.st_ino == self._inode or not self._copied
            file.seek(self._copied if is_same else 0)
            lines = _whole(file.read())
        end = len(lines) + (self._copied if is_same else 0)
        if not is_same:  # it was repaired, so offsets in it have moved
            lines = _without(lines, self._there(snapshot))
        if lines:
            number = self.appended[str(self._fence)] + 1
            self._store.create(f"{self._folder}/{_object(self._fence, number)}", lines)
            self.appended[str(self._fence)] = number
        self._copied, self._inode = end, found.st_ino

    def _there(self, snapshot: Snapshot) -> bytes:
        """Return all lines of the mirror, and count the objects that they come from."""
        base = snapshot.files.get(self.name)
        # A last line that a crash cut short may be in the copy; here it is dropped when the file is next read.
        data = b"" if base is None else _whole(b"".join(self._store.pieces(base.key(self.name), base.size)))
        known = snapshot.appended.get(self.name, {})
        self.appended = Counter(known)
        for name in self._store.names(self._folder):
            fence, number = map(int, name.split("-"))
            if number > known.get(str(fence), 0):
                lines = self._store.get(f"{self._folder}/{name}")
                if lines is None:
                    raise DataError(
                        f"{self._store.url}/{self._folder}/{name}: this object has disappeared: restore it from a copy"
                    )
                data += lines
                self.appended[str(fence)] = number
        return data

    @property
    def _folder(self) -> str:
        return f"appended/{self.name}"


def _object(fence: int, number: int) -> str:
    return f"{fence:08d}-{number:08d}"


def _whole(data: bytes) -> bytes:
    """Return the lines that are complete."""
    return data[: data.rfind(b"\n") + 1]


def _without(here: bytes, there: bytes) -> bytes:
    known = set(there.splitlines(keepends=True))
    return b"".join(line for line in _whole(here).splitlines(keepends=True) if line not in known)
