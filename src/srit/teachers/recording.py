"""A teacher that was recorded: rows of another model's answers, or srit's own demonstrations."""

from __future__ import annotations

import gzip
import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from srit.errors import DataError
from srit.run import sha256_of
from srit.teachers import Answer, Question


class RecordingTeacher:
    """Answers from JSON Lines files, gzipped or not, by the id of the problem.

    A row has "id" and "output" (or "problem_id" and "text", as demonstrations.jsonl has); of several answers
    to a question the first counts.
    """

    max_tokens = None

    def __init__(self, paths: Sequence[Path], variant: str | None = None) -> None:
        """
        Raises:
            DataError: a file is not there or a line is not such a row.
        """
        self.name = ", ".join(dict.fromkeys(path.parent.name or path.name.split(".")[0] for path in paths))
        self._texts: dict[str, str] = {}
        for path in paths:
            self._texts = _read(path, variant) | self._texts
        self.identity: dict[str, object] = {"recordings": [sha256_of(path) for path in paths], "variant": variant}

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """One Answer a question; none where nothing was recorded."""
        for problem in (question.problem for question in questions):
            text = self._texts.get(problem.id)
            yield Answer(problem.id, text, "" if text is not None else "not in the recording")


def _read(path: Path, variant: str | None) -> dict[str, str]:
    if not path.is_file():
        raise DataError(f"teacher.path: there is no file {path}")
    texts: dict[str, str] = {}
    variants: set[Any] = set()
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line)
            identity, text = row.get("id", row.get("problem_id")), row.get("output", row.get("text"))
        except (ValueError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not a recorded answer: {error}") from None
        if not isinstance(identity, str) or not isinstance(text, str):
            raise DataError(f"{path}:{number}: a row needs the texts id and output (or problem_id and text)")
        variants.add(row.get("variant"))
        if variant in (None, row.get("variant")):
            texts.setdefault(identity, text)
    if variant is not None and variant not in variants:
        raise DataError(f"{path}: there is no variant {variant!r}, only {', '.join(sorted(map(str, variants)))}")
    return texts


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        try:
            yield from (line for line in file if line.strip())
        except (OSError, EOFError) as error:
            raise DataError(f"{path}: cut or damaged: {error}") from None
