"""Records in JSON Lines files: one a line, every field checked when it is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from srit.errors import DataError
from srit.run_directory.files import written

Record = TypeVar("Record")


def write_records(path: Path, records: Iterable[object]) -> None:
    """Write one record per line, escaped to ASCII: a lone surrogate in a teacher's answer has no UTF-8."""
    adapters: dict[type, TypeAdapter[Any]] = {}
    with written(path) as file:
        for record in records:
            kind = type(record)
            adapter = adapters.get(kind) or adapters.setdefault(kind, TypeAdapter(kind))
            file.write(json.dumps(adapter.dump_python(record)).encode() + b"\n")


def read_records(path: Path, kind: type[Record]) -> list[Record]:
    """Read the records of a file and check the type of every field; fields that `kind` does not have are ignored.

    Raises:
        DataError: a line is not such a record; the message names the file, the line and the field.
    """
    return list(each_record(path, kind))


def each_record(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Yield the records of a file one by one, as `read_records` reads them."""
    return (record for _, record in each_record_at(path, kind))


def each_record_at(path: Path, kind: type[Record]) -> Iterator[tuple[int, Record]]:
    """Yield each record with the byte at which it begins."""
    adapter, begin = TypeAdapter(kind), 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    record = checked(line, adapter)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{path}:{number}: {fault_of(error)}") from None
                yield begin, record
            begin += len(line)


def checked(line: bytes, adapter: TypeAdapter[Record]) -> Record:
    """Parse JSON as a type, and check every field.

    Raises:
        ValueError, RecursionError: it is not of that type; `fault_of` words the fault.
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
    message = f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
    if fault["type"] != "json_invalid":  # that input is the whole file
        message += f", not {fault['input']!r:.80}"
    return f"the field {field!r}: {message}" if field else message
