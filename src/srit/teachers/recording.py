"""The `recording` teacher: a file of another model's answers, or srit's own demonstrations."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from srit.errors import DataError
from srit.kinds import Finding
from srit.recipe import TeacherSettings
from srit.recipe.former import TEACHER_FIELDS, with_former
from srit.records import Problem
from srit.run_directory import Json, Lookup, Scratch, sha256_of
from srit.sums import sum_if_there
from srit.tasks.lines import Row, answered_rows, id_field, label, output_field
from srit.teachers import Answer, Question, Surroundings, TeacherKind

Key = tuple[str | None, str | None, str]  # the task, split and id of a problem; None: any


class RecordingSettings(TeacherSettings):
    """Recorded answers."""

    kind: Literal["recording"] = "recording"
    path: str | tuple[str, ...]  # a file, or several
    variant: str | None = None  # which variant, in files with several

    @property
    def paths(self) -> tuple[str, ...]:
        """The files."""
        return (self.path,) if isinstance(self.path, str) else self.path


class RecordingTeacher:
    """Answers from JSON Lines files, gzipped or not, by the id of the problem.

    A row has "id" and "output" (or "problem_id" and "text", as in demonstrations.jsonl). Of several answers to a
    question, the first counts; a row whose output is null or missing holds none. If several problems share an id, the
    "task" and "split" of the rows decide.
    """

    max_tokens = None

    def __init__(self, paths: Sequence[Path], variant: str | None = None) -> None:
        """
        Raises:
            DataError: a file does not exist, or a line is not such a row.
        """
        self.name = ", ".join(dict.fromkeys(path.parent.name or path.name.split(".")[0] for path in paths))
        self._keys = Lookup()
        self._rows: Scratch[tuple[Key, str | None]] = Scratch()  # None: there is a row without an answer
        for key, text in (answer for path in paths for answer in _recorded(path, variant)):
            self._keys.add(repr(key))
            self._rows.append((key, text))
        self.identity: dict[str, object] = {"recordings": [sha256_of(path) for path in paths], "variant": variant}

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """Yield one Answer for each question, without a text if none was recorded."""
        for problem in (question.problem for question in questions):
            found = [text for key in _keys(problem) for text in self._texts(key)]
            text = next((text for text in found if text is not None), None)
            missing = "the recording has no answer to it" if found else "not in the recording"
            yield Answer(problem.id, text, "" if text is not None else missing)

    def _texts(self, key: Key) -> list[str | None]:
        rows = [self._rows[number] for number in self._keys.find(repr(key))]
        return [text for same, text in rows if same == key]


def _keys(problem: Problem) -> list[Key]:
    """Return the keys under which to look up a problem's answer, in order: each task and split may use the same id."""
    return [(task, split, problem.id) for task in (problem.task, None) for split in (problem.split, None)]


def _missing(path: str | Path) -> DataError:
    return DataError(
        f"teacher.path: there is no file {path}: bring your own, with one row of id and output for each answer"
    )


def _recorded(path: Path, variant: str | None) -> Iterator[tuple[Key, str | None]]:
    """Yield a file's answers, each under everything that its row says about the problem, and under the id only."""
    if not path.is_file():
        raise _missing(path)
    variants: set[str] = set()
    for row in answered_rows(path):
        text, identity = output_field(row), id_field(row, "id", "problem_id")
        variants.add(_variant(row))
        if variant in (None, _variant(row)):
            key = (label(row, "task"), label(row, "split"), identity)
            yield from ((same, text) for same in dict.fromkeys((key, (None, None, identity))))
    if variant is not None and variant not in variants:
        raise DataError(
            f"{path}: teacher.variant {variant!r} is not in the file; it has {', '.join(sorted(variants)) or 'none'}"
        )


def _variant(row: Row) -> str:
    return "None" if row.fields.get("variant") is None else id_field(row, "variant")


def _make(settings: RecordingSettings, surroundings: Surroundings) -> RecordingTeacher:
    return RecordingTeacher([Path(path) for path in settings.paths], settings.variant)


def _shaping(settings: RecordingSettings) -> Mapping[str, Json]:
    return with_former(TEACHER_FIELDS, settings, without="prices")


def _sources(settings: RecordingSettings) -> Mapping[str, Json]:
    return {path: sum_if_there(Path(path)) for path in settings.paths}


def _look(settings: RecordingSettings) -> Iterator[Finding]:
    for path in settings.paths:
        if not Path(path).is_file():
            raise _missing(path)
        rows = sum(1 for _ in answered_rows(Path(path)))
        yield Finding(True, f"recording {path}", f"{rows:,} rows")


TEACHER = TeacherKind(RecordingSettings, _make, shaping=_shaping, sources=_sources, look=_look, free=True)
