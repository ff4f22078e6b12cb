"""Reads files of problems and recordings, JSON Lines or one list; errors name the file, the line and the field."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from io import BufferedReader
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple, TypeGuard

from srit.errors import DataError
from srit.run_directory import no_constant

MAX_LINE = 16 * 2**20  # decoded bytes; a compression bomb stops here
PIECE = 2**20  # bytes of a list that are read at once
MAX_TEXT = 2**20  # characters of a question, an option or another field of a problem
# A compressed file may hold this many times its own size, or so many bytes, whichever is more. Text takes 3 to 10
# times its compressed size, generated problems up to 40 times.
MOST_COMPRESSED = 200
LEAST_DECODED = 64 * 2**20
MOST_EMPTY = 1_000_000  # lines of a file, a few seconds
MAX_ZEROS = 400  # to which a number's exponent is written out


class MissingSplit(DataError):
    """The data does not have this split; the message says which splits there are."""


class MissingField(DataError):
    """A row lacks a field that must hold text."""

    def __init__(self, where: str, name: str) -> None:
        super().__init__(where, name)
        self.name = name

    def __str__(self) -> str:
        return ": ".join([*self.args, "is missing"])


class Row(NamedTuple):
    """One line of a file."""

    fields: dict[str, Any]  # numbers with a point are Decimals, exactly as written
    where: str  # "path:line"


def read_rows(path: Path) -> Iterator[Row]:
    r"""Yield the rows of a .jsonl or .jsonl.gz file, or the objects of a file that is one JSON list.

    Lines are split only at "\n"; a byte order mark and CRLF are accepted.

    Raises:
        DataError: the file is a table, a pipe, unreadable, cut off, not UTF-8, a compression bomb or nearly empty, or a
            row is over MAX_LINE or not a JSON object.
    """
    if path.is_fifo():
        raise DataError(f"{path}: a pipe, and data are read more than once: write them to a file")
    if (command := _CONVERTED.get(path.suffix.lower())) is not None:
        made = command.format(quote(str(path)), quote(str(path.with_suffix(".jsonl"))))
        raise DataError(f"{path}: a table, not JSON Lines. This converts it: {made}")
    try:
        most = max(LEAST_DECODED, MOST_COMPRESSED * path.stat().st_size) if path.suffix == ".gz" else float("inf")
        with _open(path) as file:
            begins = file.peek(64)[:64].removeprefix(codecs.BOM_UTF8).lstrip()
            yield from _items(path, _pieces(path, file, most)) if begins[:1] == b"[" else _lines(path, file, most)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged or cut off ({error}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


File = gzip.GzipFile | BufferedReader


def _lines(path: Path, file: File, most: float) -> Iterator[Row]:
    decoded = empty = 0
    for number in count(1):
        where, line = f"{path}:{number}", file.readline(MAX_LINE + 1)
        if not line:
            return
        decoded += len(line)
        if decoded > most:
            raise _bomb(where)
        if len(line) > MAX_LINE:
            raise DataError(f"{where}: the line is longer than {MAX_LINE // 2**20} MiB")
        if line.strip():
            text = _text(line, where).removeprefix("\ufeff" if number == 1 else "")
            try:
                fields = _JSON.decode(text)
            except (ValueError, RecursionError) as error:
                raise _no_json(where, error) from error
            yield _row(fields, where)
        elif (empty := empty + 1) > MOST_EMPTY:
            raise DataError(f"{where}: more than {MOST_EMPTY:,} empty lines so far: is this the file that you meant?")


def _pieces(path: Path, file: File, most: float) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8")().decode  # a piece may end within a character
    piece = file.read(PIECE).removeprefix(codecs.BOM_UTF8)
    while True:
        if file.tell() > most:
            raise _bomb(str(path))
        try:
            yield decode(piece, not piece)
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: byte 0x{error.object[error.start]:02x} is not UTF-8") from error
        if not piece:
            return
        piece = file.read(PIECE)


def _items(path: Path, pieces: Iterator[str]) -> Iterator[Row]:
    """Yield the objects of a JSON list, in memory that does not grow with it."""
    text, at, before = "", 0, "["
    for number in count(1):
        where = f"{path}, item {number}"
        while True:
            try:
                found = _item(text, at, before)
                break
            except (ValueError, RecursionError) as error:  # it may go on in the next piece
                piece = next(pieces, None)
                if piece is None or len(text) - at > MAX_LINE:
                    raise _no_json(where, error) from error
                text, at = text[at:] + piece, 0
        if found is None:
            if "".join(text[at:].split()) not in ("]", "[]") or any(piece.strip() for piece in pieces):
                raise _no_json(where, ValueError("something follows the list"))
            return
        yield _row(found[0], where)
        at, before = found[1], ","


def _item(text: str, at: int, before: str) -> tuple[Any, int] | None:
    """Return the next value of a list, and where it ends; None: the list ends.

    Args:
        before: what precedes the value.

    Raises:
        ValueError, RecursionError: there is no whole value.
    """
    at = _after_blanks(text, at)
    if before == "," and text.startswith("]", at):
        return None
    if not text.startswith(before, at):
        raise ValueError(f"{before!r} is missing")
    at = _after_blanks(text, at + 1)
    return None if before == "[" and text.startswith("]", at) else _JSON.raw_decode(text, at)


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


_BLANKS = (" ", "\t", "\n", "\r")


def _open(path: Path) -> File:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _row(fields: Any, where: str) -> Row:
    if not isinstance(fields, dict):
        raise DataError(f"{where}: a row is a JSON object, not {type(fields).__name__}")
    return Row(fields, where)


def _bomb(where: str) -> DataError:
    return DataError(f"{where}: the gzip file holds over {MOST_COMPRESSED} times its own size")


def _no_json(where: str, error: Exception) -> DataError:
    return DataError(f"{where}: not JSON: {str(error)[:200]}")


# By suffix, what makes JSON Lines of a table.
_CONVERTED = {
    ".csv": "python3 -c 'import csv, json, sys; "
    "[print(json.dumps(row)) for row in csv.DictReader(sys.stdin)]' < {} > {}",
    ".parquet": "python3 -c 'import pandas, sys; "
    'pandas.read_parquet(sys.argv[1]).to_json(sys.argv[2], orient="records", lines=True)\' {} {}',
}


def _text(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte 0x{line[error.start]:02x} at column {error.start + 1} is not UTF-8") from error


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text:.80} is too large") from None


_JSON = json.JSONDecoder(parse_constant=no_constant, parse_float=_decimal)


def text_field(row: Row, name: str, *, blank: bool = False, most: int = MAX_TEXT) -> str:
    """Return a field that must hold text; a number counts as its text.

    Args:
        most: characters that it may have.

    Raises:
        DataError: the field is missing, of another type, too long, blank without `blank`, or has a lone surrogate.
    """
    value = row.fields.get(name)
    if _is_number(value):
        value = _written_out(value)
    if not isinstance(value, str):
        if value is None:
            raise MissingField(row.where, name)
        raise DataError(f"{row.where}: {name}: {value!r:.80} is not text")
    if len(value) > most:
        raise DataError(f"{row.where}: {name}: has {len(value):,} characters; at most {most:,} are read")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{row.where}: {name}: holds half a surrogate pair at character {error.start + 1}") from error
    if not blank and not value.strip():
        raise DataError(f"{row.where}: {name}: is empty")
    return value


def id_field(row: Row, *names: str) -> str:
    """Return the id of a row, under the first of `names` that the row has.

    An id may be a number in one file and text in another, or a number to which a table has added a point:
    7, 7.0, and "7" are the same id. Text stays as it is: "007" is another id.

    Raises:
        DataError: as for `text_field`.
    """
    name = next((name for name in names if row.fields.get(name) is not None), names[0])
    value = row.fields.get(name)
    if not _is_number(value):
        return text_field(row, name)
    written = _written_out(value)
    if "E" in written or "." not in written:
        return "0" if written == "-0" else written
    exact = written.rstrip("0").rstrip(".")
    return "0" if exact == "-0" else exact


OUTPUTS = ("output", "text")  # fields of a recorded answer


def output_field(row: Row) -> str | None:
    """Return the answer of a recorded row, or None if it is null or missing.

    Raises:
        DataError: the answer is not text.
    """
    name = next((name for name in OUTPUTS if row.fields.get(name) is not None), None)
    return None if name is None else text_field(row, name, blank=True, most=MAX_LINE)


def answered_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file of recorded answers.

    Raises:
        DataError: as for `read_rows`, or no row has a field for an answer, not even null.
    """
    first, answered = "", False
    for row in read_rows(path):
        first, answered = first or row.where, answered or any(name in row.fields for name in OUTPUTS)
        yield row
    if first and not answered:
        raise DataError(f"{first}: no row of this file has a field {' or '.join(OUTPUTS)}, for the answer")


def label(row: Row, name: str) -> str | None:
    """Return what a row says about itself in an optional field, or None."""
    value = row.fields.get(name)
    return value if isinstance(value, str) else None


def _is_number(value: object) -> TypeGuard[int | float | Decimal]:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _written_out(value: int | float | Decimal) -> str:
    """Write every digit, without an exponent unless it is enormous."""
    if isinstance(value, int):
        return str(value)
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return format(exact, "f") if abs(exact.adjusted()) <= MAX_ZEROS else str(exact)


def optional_text(row: Row, name: str) -> str | None:
    """Return a text field that may be null or missing."""
    return None if row.fields.get(name) is None else text_field(row, name, blank=True)


def choices_field(row: Row) -> tuple[str, ...] | None:
    """Return the options of a row, 2 to 26 texts, or None.

    Raises:
        DataError: the field holds anything else.
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
