"""The `recording` teacher: a file of another model's answers, or srit's own demonstrations."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from srit.errors import DataError
from srit.kinds import Finding
from srit.recipe import TeacherSettings
from srit.recipe.former import TEACHER_FIELDS, with_former
from srit.records import Problem, Split
from srit.run_directory import Json, Lookup, Scratch, sha256_of
from srit.sums import sum_if_there
from srit.tasks.lines import Row, answered_rows, id_field, label, output_field
from srit.teachers import Answer, Question, Surroundings, TeacherKind


class _Recorded(NamedTuple):
    """What a row holds."""

    id: str
    task: str | None  # None: any
    split: str | None
    text: str | None  # None: it is there without an answer


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
    question, the first counts; a row whose output is null, blank, or missing holds none. If several problems share an
    id, the "task" and "split" of the rows decide. A task that no row names may have another name in the recording; then
    the id must be that of one task alone.
    """

    max_tokens = None

    def __init__(self, paths: Sequence[Path], variant: str | None = None) -> None:
        """
        Raises:
            DataError: a file does not exist, or a line is not such a row.
        """
        self.name = ", ".join(dict.fromkeys(path.parent.name or path.name.split(".")[0] for path in paths))
        self._ids, self._rows, self._tasks = Lookup(), Scratch[_Recorded](), set[str | None]()
        for row in (row for path in paths for row in _recorded(path, variant)):
            self._ids.add(row.id)
            self._rows.append(row)
            self._tasks.add(row.task)
        self.identity: dict[str, object] = {"recordings": [sha256_of(path) for path in paths], "variant": variant}

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """Yield one Answer for each question, without a text if none was recorded."""
        for problem in (question.problem for question in questions):
            rows = self._of(problem)
            others = {row.task for row in rows if row.task is not None} - {problem.task}
            # The rows that say most count: the task and split, else the task, the split, or neither.
            said = [(row.task == problem.task, row.split is not None) for row in rows]
            texts = [row.text for row, says in zip(rows, said, strict=True) if says == max(said)]
            text = next((text for text in texts if text is not None), None)
            missing = "the recording has no answer to it" if rows else "not in the recording"
            if len(others) > 1:
                text, missing = None, f"its id is one of {', '.join(sorted(others))} there, and none is {problem.task}"
            yield Answer(problem.id, text, "" if text is not None else missing)

    def _of(self, problem: Problem) -> list[_Recorded]:
        """Return the rows that may be about a problem."""
        tasks = {problem.task, None} if problem.task in self._tasks else self._tasks
        splits = (problem.split, None)
        rows = (self._rows[number] for number in self._ids.find(problem.id))
        return [row for row in rows if row.id == problem.id and row.task in tasks and row.split in splits]


def _missing(path: str | Path) -> DataError:
    return DataError(
        f"teacher.path: there is no file {path}: bring your own, with one row of id and output for each answer"
    )


def _recorded(path: Path, variant: str | None) -> Iterator[_Recorded]:
    """Yield a file's answers; a split that has none of srit's names counts as none."""
    if not path.is_file():
        raise _missing(path)
    variants: set[str] = set()
    for row in answered_rows(path):
        text, identity = output_field(row), id_field(row, "id", "problem_id")
        variants.add(_variant(row))
        if variant in (None, _variant(row)):
            split = label(row, "split")
            said = text if text and text.strip() else None
            yield _Recorded(identity, label(row, "task"), split if split in get_args(Split) else None, said)
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
