"""The records of study.json: the grid, its cells, their runs, and the outcome of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, FiniteFloat, TypeAdapter

from srit.errors import DataError
from srit.records import ModelName, PromptKind, ScoredBy
from srit.records.anatomy import Anatomy, Effects
from srit.run_directory import Json, checked, fault_of

FORMAT: Literal[1] = 1
Digits = Annotated[str, Field(pattern="^[01]+$")]  # by problem: 1 where the model is right
Count = bool | int | FiniteFloat


def _is_none(value: object) -> bool:
    return value is None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a study claims: model a of some cells is better than model b of the same or other cells."""

    a: ModelName
    b: ModelName
    domain: Literal["in", "out", "any"]  # tasks that a's cell was tuned on, the others, or all
    prompt: PromptKind
    where: dict[str, str]  # labels of a's cells; {}: every cell
    against: dict[str, str]  # labels of b's cells; {}: the same cell as a
    same: tuple[str, ...] | None  # labels that a's and b's cells share; None: all but those of against


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One model's answers to one task under one prompt, with one seed."""

    model: ModelName
    task: str
    prompt: PromptKind
    # None: the path gives the task's name. Written only if it does not, so other studies keep their bytes.
    place: Annotated[str | None, Field(exclude_if=_is_none)] = None
    problems: str  # hash of their ids
    right: Digits
    tokens: FiniteFloat  # mean per answer; 0 where its source does not count them
    truncated: int
    unread: int
    errors: int
    pass_at: Annotated[tuple[int, ...] | None, Field(exclude_if=_is_none)] = None
    samples: Annotated[int | None, Field(exclude_if=_is_none)] = None  # per problem
    drawn_right: Annotated[tuple[int, ...] | None, Field(exclude_if=_is_none)] = None  # right samples, by problem


@dataclass(frozen=True, slots=True)
class OptionRow:
    """How likely one model finds the options of one task's problems, with one seed; means over problems."""

    model: ModelName
    task: str
    prompt: PromptKind
    scored: ScoredBy
    problems: str
    right: Digits  # whether the likeliest option is the right one
    right_norm: Digits  # likewise, of the option that is likeliest per character
    probability: FiniteFloat  # of the right option
    confidence: FiniteFloat  # of the likeliest option
    margin: FiniteFloat  # nats: the right option less the likeliest other


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """One training of a run; its ends are the means of the first and the last tenth of its steps."""

    stage: str
    examples: Annotated[int | None, Field(exclude_if=_is_none)] = None  # of stage 1
    groups: Annotated[int | None, Field(exclude_if=_is_none)] = None  # of stage 2: prompts with their pairs
    steps: int
    tokens: FiniteFloat
    first: Annotated[dict[str, FiniteFloat] | None, Field(exclude_if=_is_none)] = None
    last: Annotated[dict[str, FiniteFloat] | None, Field(exclude_if=_is_none)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRun:
    """A run that has not been tried."""

    seed: int
    status: Literal["waiting"] = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """A run that ended in an error."""

    seed: int
    status: Literal["failed"] = "failed"
    kind: str = ""  # name of the error's class
    exit_code: int = 1
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneRun:
    """The outcome of a run."""

    seed: int
    status: Literal["done"] = "done"
    answers: tuple[AnswerRow, ...]
    # None: the recipe did not ask for them.
    options: Annotated[tuple[OptionRow, ...] | None, Field(exclude_if=_is_none)] = None
    trainings: tuple[TrainingRow, ...]
    counts: dict[str, dict[str, Count]]  # of some stages
    # By round. None: the run is older than these counts, or its recipe did not ask for them.
    anatomies: Annotated[tuple[Anatomy, ...] | None, Field(exclude_if=_is_none)] = None
    effects: Annotated[tuple[Effects, ...] | None, Field(exclude_if=_is_none)] = None


RunRecord = Annotated[WaitingRun | FailedRun | DoneRun, Discriminator("status")]


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One combination of a grid, and its runs."""

    cell: str
    labels: dict[str, str]
    changes: dict[str, Json]  # of the base recipe, by dotted field
    instructed_on: tuple[str, ...]  # tasks
    refined_on: tuple[str, ...]
    tuned_on: tuple[str, ...]  # in either stage
    rounds: int
    student: str
    runs: tuple[RunRecord, ...]

    def done(self) -> list[DoneRun]:
        """Return the runs that are done."""
        return [run for run in self.runs if isinstance(run, DoneRun)]


@dataclass(frozen=True, slots=True)
class GridRecord:
    """The grid that was run, and the claims that it tests."""

    name: str
    about: str
    seeds: tuple[int, ...]
    problems_by_seed: bool
    axes: dict[str, Json]
    recipe: Json  # the one that cells change, as it was given
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """The whole of study.json."""

    format: Literal[1]
    study: GridRecord
    cells: tuple[CellRecord, ...]


def read_study_record(path: Path) -> StudyRecord:
    """Read a study.json.

    Raises:
        DataError: there is none, or it is damaged or of another format; names the field at fault.
    """
    try:
        record = _adapter().validate_json(path.read_bytes(), strict=True)
        for cell in record.cells:
            if unknown := {run.seed for run in cell.runs} - set(record.study.seeds):
                raise ValueError(f"cell {cell.cell!r}: seed {unknown.pop()} is not one of the study's")
            for row in (row for run in cell.done() for row in run.answers):
                _check_samples(cell, row)
        return record
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: give a study folder or its study.json") from None
    except ValueError as error:
        raise DataError(f"{path}: not a study.json of format {FORMAT} ({fault_of(error)})") from None


def _check_samples(cell: CellRecord, row: AnswerRow) -> None:
    drawn, samples = row.drawn_right or (), row.samples or 0
    fits = len(drawn) in (0, len(row.right)) and all(0 <= n <= samples for n in drawn)
    if not fits or not all(0 < k <= samples for k in row.pass_at or ()):
        raise ValueError(f"cell {cell.cell!r}: {row.task}: pass_at, samples and drawn_right do not fit together")


def study_bytes(record: StudyRecord) -> bytes:
    """Return a study.json with a line for each row: compact, and readable in a diff."""
    return (_lines(_adapter().dump_python(record, mode="json"), "") + "\n").encode()


def as_read(record: StudyRecord) -> StudyRecord:
    """Return the record as it is after writing and reading, without what only YAML can express."""
    return checked(study_bytes(record), _adapter())


@cache
def _adapter() -> TypeAdapter[StudyRecord]:
    return TypeAdapter(StudyRecord)


def _lines(value: Json, indent: str) -> str:
    if not _holds_rows(value):
        return json.dumps(value, allow_nan=False)
    inner = indent + " "
    if isinstance(value, Mapping):
        parts = [f"{json.dumps(key)}: {_lines(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _lines(part, inner) for part in value) + f"\n{indent}]"


def _holds_rows(value: Json) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_rows, value.values()))
    return isinstance(value, list) and any(isinstance(row, Mapping) for row in value)
