"""JSON Lines files of problems and recordings: every row checked, every error with file, line and field."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, cast

from srit.errors import DataError

MAX_LINE = 16 * 2**20  # decoded bytes: a compression bomb ends here


class MissingSplit(DataError):
    """The data has no such split; the message says which there are."""


class Row(NamedTuple):
    """One line of a file."""

    fields: dict[str, Any]
    where: str  # "path:line"


def read_rows(path: Path) -> Iterator[Row]:
    r"""Rows of a .jsonl or .jsonl.gz file, split at "\n" only; a byte order mark and CRLF are accepted.

    Raises:
        DataError: unreadable, cut off, not UTF-8, a line over MAX_LINE, or no JSON object.
    """
    try:
        with _open(path) as lines:
            for number in _count():
                line = lines.readline(MAX_LINE + 1)
                if not line:
                    return
                if line.strip():
                    yield _row(line, f"{path}:{number}", first=number == 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged or cut off ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _count() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _row(line: bytes, where: str, *, first: bool) -> Row:
    if len(line) > MAX_LINE:
        raise DataError(f"{where}: the line is longer than {MAX_LINE // 2**20} MiB")
    try:
        fields = json.loads(_text(line, where).removeprefix("\ufeff" if first else ""), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {str(error)[:200]}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where}: a row is a JSON object, not {type(fields).__name__}")
    return Row(fields, where)


def _text(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte 0x{line[error.start]:02x} at column {error.start + 1} is not UTF-8") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def text_field(row: Row, name: str, *, blank: bool = False) -> str:
    """A field that must hold text; a number is taken as its text.

    Raises:
        DataError: missing, another type, a lone surrogate, or blank though it must not be.
    """
    value = row.fields.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise DataError(f"{row.where}: {name}: {'is missing' if value is None else f'{value!r:.80} is not text'}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{row.where}: {name}: holds half a surrogate pair at character {error.start + 1}") from error
    if not blank and not value.strip():
        raise DataError(f"{row.where}: {name}: is empty")
    return value


def optional_text(row: Row, name: str) -> str | None:
    """A text field that may be null or missing."""
    return None if row.fields.get(name) is None else text_field(row, name, blank=True)


def choices_field(row: Row) -> tuple[str, ...] | None:
    """The options of a row: 2 to 26 texts, or None.

    Raises:
        DataError: anything else.
    """
    value = row.fields.get("choices")
    if value is None:
        return None
    if not isinstance(value, list) or not 2 <= len(value) <= 26:
        raise DataError(f"{row.where}: choices: must be a list of 2 to 26 texts, or null")
    return tuple(
        text_field(Row({f"choices[{index}]": choice}, row.where), f"choices[{index}]", blank=True)
        for index, choice in enumerate(value)
    )
