"""Reads JSON Lines files of problems and recordings; every row is checked, and errors name file, line, and field."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from shlex import quote
from typing import IO, Any, NamedTuple, NoReturn, TypeGuard, cast

from srit.errors import DataError

MAX_LINE = 16 * 2**20  # decoded bytes; a compression bomb stops here
MAX_TEXT = 2**20  # characters of a question, an option or another field of a problem
# A compressed file may hold this many times its own size, or so many bytes, whichever is more. Text takes 3 to 10
# times its compressed size, generated problems up to 40 times.
MOST_COMPRESSED = 200
LEAST_DECODED = 64 * 2**20
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
    r"""Yield the rows of a .jsonl or .jsonl.gz file, split only at "\n"; accepts a byte order mark and CRLF.

    Raises:
        DataError: the file is a table, unreadable, cut off, not UTF-8, or a compression bomb, or a line is over
            MAX_LINE or not a JSON object.
    """
    if (command := _CONVERTED.get(path.suffix.lower())) is not None:
        made = command.format(quote(str(path)), quote(str(path.with_suffix(".jsonl"))))
        raise DataError(f"{path}: a table, not JSON Lines. This converts it: {made}")
    try:
        most, decoded = _most_decoded(path), 0
        with _open(path) as lines:
            for number in _count():
                line = lines.readline(MAX_LINE + 1)
                if not line:
                    return
                decoded += len(line)
                if decoded > most:
                    raise DataError(f"{path}:{number}: the gzip file holds over {MOST_COMPRESSED} times its own size")
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


def _most_decoded(path: Path) -> float:
    """Return how many bytes a file may hold."""
    return max(LEAST_DECODED, MOST_COMPRESSED * path.stat().st_size) if path.suffix == ".gz" else float("inf")


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _row(line: bytes, where: str, *, first: bool) -> Row:
    if len(line) > MAX_LINE:
        raise DataError(f"{where}: the line is longer than {MAX_LINE // 2**20} MiB")
    try:
        text = _text(line, where).removeprefix("\ufeff" if first else "")
        if first and text.lstrip().startswith("["):
            raise DataError(f"{where}: {_ONE_LIST}")
        fields = json.loads(text, parse_constant=_no_constant, parse_float=_decimal)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {str(error)[:200]}") from error
    if not isinstance(fields, dict):
        raise DataError(f"{where}: a row is a JSON object, not {type(fields).__name__}")
    return Row(fields, where)


_ONE_LIST = "the file is one JSON list, but a row is a line: jq -c '.[]' FILE > FILE.jsonl makes lines of it"


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


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text:.80} is too large") from None


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
