"""A JSON Lines file that keeps what was paid for: nothing appended is lost, and no changed line is trusted.

Each line ends with a checksum of its content. A file beside it records how many bytes were on disk for certain, so that
a line cut short by a crash can be distinguished from lines that have disappeared.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from srit.errors import DataError
from srit.run_directory import Json, make_folder, sync, write_bytes, written

_MARK = b', "sum": "'
_DIGITS = 16  # of the SHA-256 of a line


class NotWritten(OSError):
    """A row could not be written; the file is as it was before."""


class NotCopied(NotWritten):
    """A row is in the file, but not in its copy; or nothing may be asked any more."""


class Damaged(NamedTuple):
    """A line that cannot be trusted."""

    number: int
    line: bytes
    reason: str


class Journal:
    """Rows that survive a kill: they are appended in one write, and, if `synced`, are on disk before they count."""

    def __init__(
        self,
        path: Path,
        take: Callable[[Json], None],
        *,
        synced: bool = True,
        is_earlier: Callable[[Json], bool] = lambda row: False,
    ) -> None:
        """Read the file, and repair what a crash left of it.

        Args:
            take: called with each row, in order; raises ValueError for one that is not what it reads.
            synced: whether appended rows wait for the disk. Rows that do not are secured by the next one that does.
            is_earlier: whether a row was written before rows had checksums.

        Raises:
            DataError: it is not a file, but a pipe, say, of which nobody would ever read the end.
        """
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: not a file: move it away, and restore the file from a copy")
        self.path = path
        self.notes: list[str] = []  # what was found, for the user
        self._synced = synced
        self._size = _size_file(path)
        self._is_earlier = is_earlier
        size = path.stat().st_size if path.exists() else 0
        self._end, damaged, dropped = self._read(size, take)
        # A missing end of the last line does not count, since it is put back.
        self._missing = max(0, self._recorded() - (size if damaged else max(size, self._end)))
        if damaged or self._missing:
            self._keep_aside(damaged)
        if damaged or self._end != size:
            self._mend({one.number for one in damaged} | dropped)
        if synced and self._recorded() > self._end:
            self._record_size()

    @property
    def aside(self) -> Path:
        """The file of the lines that cannot be trusted, exactly as they were."""
        return self.path.with_name(f"{self.path.stem}.damaged.jsonl")

    def append(self, *rows: Json, synced: bool = False) -> None:
        """Append rows, which wait for the disk together.

        Args:
            synced: whether these wait even if others do not.

        Raises:
            NotWritten: they could not be; none of them is in the file.
        """
        lines = b"".join(map(encoded, rows))
        self._write(lines, synced=self._synced or synced)
        self._end += len(lines)
        if self._synced:
            self._record_size()

    def check_writable(self) -> None:
        """Create the file if there is none, and write to its disk.

        Raises:
            NotWritten: rows could not be appended.
        """
        self._write(b"", synced=self._synced)

    def _write(self, lines: bytes, *, synced: bool) -> None:
        try:
            self._append(lines, synced=synced)
        except OSError as error:
            raise NotWritten(error.errno, error.strerror, str(self.path)) from None

    def _append(self, lines: bytes, *, synced: bool) -> None:
        is_new = not self._end and not self.path.exists()
        if is_new:
            make_folder(self.path.parent)
        descriptor = self._opened()
        try:
            if os.write(descriptor, lines) < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if synced:
                os.fsync(descriptor)
        except OSError:
            # It is unknown whether any of it reached the disk, and a second fsync would not tell: it counts as not
            # written.
            with suppress(OSError):
                os.ftruncate(descriptor, self._end)
            raise
        finally:
            os.close(descriptor)
        if is_new:
            sync(self.path.parent)

    def _opened(self) -> int:
        """Open the file; one that is missing, or shorter than before, is not the one that was read."""
        with suppress(FileNotFoundError):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | (0 if self._end else os.O_CREAT), 0o644)
            if os.fstat(descriptor).st_size >= self._end:
                return descriptor
            os.close(descriptor)
        raise OSError(errno.ESTALE, "it was moved, deleted or cut while answers came")

    def _read(self, size: int, take: Callable[[Json], None]) -> tuple[int, list[Damaged], set[int]]:
        """Fill `notes`; return the bytes of the valid lines with their ends, the others, and a last one cut short."""
        end = begin = 0
        damaged: list[Damaged] = []
        cut: set[int] = set()
        for number, line in enumerate(self._lines(), start=1):
            try:
                take(decoded(line.removesuffix(b"\n"), self._is_earlier))
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n") and begin >= self._recorded():
                    self.notes.append(f"{self.path}: its last line was cut at byte {size:,} and is dropped")
                    cut.add(number)
                else:
                    damaged.append(Damaged(number, line.removesuffix(b"\n"), str(error)))
            else:
                end += len(line.removesuffix(b"\n")) + 1
            begin += len(line)
        return end, damaged, cut

    def _lines(self) -> Iterator[bytes]:
        if self.path.exists():
            with self.path.open("rb") as file:
                yield from file

    def _mend(self, left_out: Collection[int]) -> None:
        """Keep only the valid lines, each with its end.

        Args:
            left_out: the numbers of the others.
        """
        with written(self.path) as file:
            for number, line in enumerate(self._lines(), start=1):
                if number not in left_out:
                    file.write(line.removesuffix(b"\n") + b"\n")

    def _keep_aside(self, damaged: Collection[Damaged]) -> None:
        known = self.aside.read_bytes().split(b"\n") if self.aside.exists() else []
        lines = [one.line for one in damaged if one.line not in known]
        if self._missing:
            lines.append(b'{"bytes missing at the end": %d}' % self._missing)
            self.notes.append(f"{self.path}: {self._missing:,} bytes that were written are missing")
        write_bytes(self.aside, b"\n".join([*filter(None, known), *lines]) + b"\n")
        self.notes += [f"{self.path}:{one.number}: damaged ({one.reason}); kept in {self.aside}" for one in damaged]

    def _recorded(self) -> int:
        """Return how many bytes were on disk for certain; 0: not recorded."""
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


def command_to_start_anew(path: Path) -> str:
    """Return the shell command after which a missing file of rows counts as one that was never written."""
    return f"mkdir -p {quote(str(path.parent))}; rm -f {quote(str(_size_file(path)))}; touch {quote(str(path))}"


def _size_file(path: Path) -> Path:
    return path.with_name(f"{path.stem}.size")


def encoded(row: Json) -> bytes:
    """Return a row as a line that ends with its checksum, escaped to ASCII: a lone surrogate has no UTF-8."""
    text = json.dumps(row).encode()
    return text[:-1] + _MARK + _sum(text) + b'"}\n'


def decoded(line: bytes, is_earlier: Callable[[Json], bool]) -> Json:
    """Return the row of a line.

    Args:
        is_earlier: whether a row without a checksum is valid.

    Raises:
        ValueError, RecursionError: it is not a row, or not the one that was written.
    """
    place = len(line) - len(_MARK) - _DIGITS - 2
    if line[place : place + len(_MARK)] == _MARK and line.endswith(b'"}'):
        text = line[:place] + b"}"
        if line[place + len(_MARK) : -2] != _sum(text):
            raise ValueError("its checksum does not match")
        return json.loads(text)
    row = json.loads(line)
    if not is_earlier(row):
        raise ValueError("it has no checksum")
    return row


def _sum(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_DIGITS].encode()
