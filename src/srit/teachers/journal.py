"""A JSON Lines file that keeps what was paid for: nothing appended is lost, and nothing changed since is believed.

Each line ends with the sum of what it says. A file beside it holds how many bytes were on disk for certain, so that a
line that a crash cut short is told from lines that were there and are gone.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from srit.run_directory import Json, write_bytes

_MARK = b', "sum": "'
_DIGITS = 16  # of the SHA-256 of a line


class NotWritten(OSError):
    """A row could not be written; the file is as it was before."""


class NotCopied(NotWritten):
    """A row is in the file, and not where it is copied to; or nothing may be asked any more."""


class Damaged(NamedTuple):
    """A line that cannot be believed."""

    number: int
    line: bytes
    reason: str


class Journal:
    """Rows that survive a kill: each is appended in one write, and, if `synced`, is on disk before it counts."""

    def __init__(
        self, path: Path, *, synced: bool = True, is_earlier: Callable[[Json], bool] = lambda row: False
    ) -> None:
        """Read the file, and mend what a crash left of it.

        Args:
            synced: whether an appended row waits for the disk. Rows that do not are kept by the next that does.
            is_earlier: whether a row was written before rows had sums.
        """
        self.path = path
        self.rows: list[Json] = []
        self.notes: list[str] = []  # what was found, for a person
        self._synced = synced
        self._size = path.with_name(f"{path.stem}.size")
        self._is_earlier = is_earlier
        data = path.read_bytes() if path.exists() else b""
        self._missing = max(0, self._recorded() - len(data))
        whole, damaged = self._read(data)
        if damaged or self._missing:
            self._keep_aside(damaged)
        if whole != data:
            write_bytes(path, whole)
        self._end = len(whole)
        if synced and self._recorded() > self._end:
            self._record_size()

    @property
    def aside(self) -> Path:
        """The file of the lines that cannot be believed, exactly as they were."""
        return self.path.with_name(f"{self.path.stem}.damaged.jsonl")

    def append(self, row: Json) -> None:
        """Append a row.

        Raises:
            NotWritten: it could not be.
        """
        line = encoded(row)
        self._write(line)
        self._end += len(line)
        if self._synced:
            self._record_size()

    def check_writable(self) -> None:
        """Make the file if there is none, and write to the disk that it is on.

        Raises:
            NotWritten: rows could not be appended.
        """
        self._write(b"")

    def _write(self, line: bytes) -> None:
        try:
            self._append(line)
        except OSError as error:
            raise NotWritten(error.errno, error.strerror, str(self.path)) from None

    def _append(self, line: bytes) -> None:
        is_new = not self.path.exists()
        if is_new:
            make_folder(self.path.parent)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._synced:
                os.fsync(descriptor)
        except OSError:
            # Whether any of it reached the disk is unknown, and a second fsync would not say: it counts as not written.
            with suppress(OSError):
                os.ftruncate(descriptor, self._end)
            raise
        finally:
            os.close(descriptor)
        if is_new:
            _sync(self.path.parent)

    def _read(self, data: bytes) -> tuple[bytes, list[Damaged]]:
        """Fill `rows` and `notes`, and return the bytes of the lines that hold, and the lines that do not."""
        whole: list[bytes] = []
        damaged: list[Damaged] = []
        *lines, last = data.split(b"\n")
        for number, line in enumerate([*lines, *([last] if last else [])], start=1):
            try:
                self.rows.append(decoded(line, self._is_earlier))
                whole.append(line + b"\n")
            except (ValueError, RecursionError) as error:
                begin = len(data) - len(last)
                if number > len(lines) and begin >= self._recorded():
                    self.notes.append(f"{self.path}: its last line was cut at byte {len(data):,} and is dropped")
                else:
                    damaged.append(Damaged(number, line, str(error)))
        return b"".join(whole), damaged

    def _keep_aside(self, damaged: Collection[Damaged]) -> None:
        known = self.aside.read_bytes().split(b"\n") if self.aside.exists() else []
        lines = [one.line for one in damaged if one.line not in known]
        if self._missing:
            lines.append(b'{"bytes missing at the end": %d}' % self._missing)
            self.notes.append(f"{self.path}: {self._missing:,} bytes that were written are gone")
        write_bytes(self.aside, b"\n".join([*filter(None, known), *lines]) + b"\n")
        self.notes += [f"{self.path}:{one.number}: damaged ({one.reason}); kept in {self.aside}" for one in damaged]

    def _recorded(self) -> int:
        """The bytes that were on disk for certain; 0: nobody recorded them."""
        try:
            return int(self._size.read_bytes())
        except (OSError, ValueError):
            return 0

    def _record_size(self) -> None:
        descriptor = os.open(self._size, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, b"%020d\n" % self._end, 0)
        finally:
            os.close(descriptor)


def encoded(row: Json) -> bytes:
    """Return a row as a line that ends with its sum, escaped to ASCII: a lone surrogate has no UTF-8."""
    text = json.dumps(row).encode()
    return text[:-1] + _MARK + _sum(text) + b'"}\n'


def decoded(line: bytes, is_earlier: Callable[[Json], bool]) -> Json:
    """Return the row of a line.

    Args:
        is_earlier: whether a row without a sum is one.

    Raises:
        ValueError, RecursionError: it is not a row, or not the one that was written.
    """
    place = len(line) - len(_MARK) - _DIGITS - 2
    if line[place : place + len(_MARK)] == _MARK and line.endswith(b'"}'):
        text = line[:place] + b"}"
        if line[place + len(_MARK) : -2] != _sum(text):
            raise ValueError("it is not what its sum says")
        return json.loads(text)
    row = json.loads(line)
    if not is_earlier(row):
        raise ValueError("it has no sum")
    return row


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that none of them is lost with the power."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_DIGITS].encode()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
