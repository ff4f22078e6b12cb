"""What a teacher was asked and what it answered, on disk: answers.jsonl, and calls.jsonl for calls that cost money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from srit.run_directory import Json
from srit.teachers import Answer, CallEvent, Spent
from srit.teachers.journal import Journal

_ENDS: tuple[CallEvent, ...] = ("answered", "unusable", "not accepted", "lost")
_ANSWER = TypeAdapter(Answer)


@dataclass(slots=True)
class Calls:
    """The calls that were made for one question, by all processes so far."""

    sent: int = 0
    ended: int = 0  # of these, that the process that sent them saw the end of
    lost: int = 0  # of these, that may have been answered nevertheless

    @property
    def maybe_paid(self) -> int:
        """Calls that may have been paid for, although no answer to them came: lost, or on their way at a kill."""
        return self.lost + self.sent - self.ended

    def add(self, event: CallEvent) -> None:
        """Count one event."""
        self.sent += event == "sent"
        self.ended += event in _ENDS
        self.lost += event == "lost"


class Unreadable(NamedTuple):
    """What is missing of the answers that were paid for."""

    file: Path  # where it stands as it was found; while it is there, nothing is asked

    def __str__(self) -> str:
        answers = self.file.with_name("answers.jsonl")
        return (
            f"{answers}: answers that were paid for are damaged or gone; what was found of them is in {self.file}. "
            f"Restore {answers.name} from a copy, or accept that they are asked and paid for again; then delete "
            f"{self.file.name} and rerun the same command"
        )


class Ledger:
    """The answers of a folder and the calls made for them, read once and then kept up to date."""

    def __init__(self, answers: Path, *, free: bool = False) -> None:
        """
        Args:
            answers: the file of the answers; that of the calls is beside it.
            free: they cost nothing to get again, so that nothing waits for the disk, and nothing damaged is missed.
        """
        self.answers: dict[str, list[Answer]] = {}
        self.calls: dict[str, Calls] = {}
        self._free = free
        self._answers = Journal(answers, synced=not free, is_earlier=_is_unsummed_answer)
        self._calls = Journal(answers.with_name("calls.jsonl"), synced=False)
        self.notes = [*self._answers.notes, *self._calls.notes]
        for row in self._answers.rows:
            self._add(row["key"], _answer(row["answer"]))
        for row in self._calls.rows:
            self.calls.setdefault(row["key"], Calls()).add(row["call"])
        self._answers.rows.clear()  # `answers` and `calls` hold them now
        self._calls.rows.clear()

    @property
    def aside(self) -> Path:
        """The file of the lines that cannot be believed."""
        return self._answers.aside

    @property
    def unreadable(self) -> Unreadable | None:
        """What is missing; None: nothing is, or it costs nothing."""
        return Unreadable(self.aside) if self.aside.exists() and not self._free else None

    @property
    def spent(self) -> Spent:
        """What was spent so far."""
        answers = [answer for found in self.answers.values() for answer in found]
        uncalled = (answer.n_calls for key, found in self.answers.items() if key not in self.calls for answer in found)
        return Spent(
            calls=sum(calls.sent for calls in self.calls.values()) + sum(uncalled),
            prompt_tokens=sum(answer.n_prompt_tokens for answer in answers),
            completion_tokens=sum(answer.n_completion_tokens for answer in answers),
        )

    def check_writable(self) -> None:
        """Look whether answers can be stored, before any is paid for.

        Raises:
            NotWritten: they cannot.
        """
        self._answers.check_writable()

    def keep(self, key: str, answer: Answer) -> None:
        """Store an answer, and return once it cannot be lost.

        Raises:
            NotWritten: it could not be stored.
        """
        self._answers.append(as_row(key, answer))
        self._add(key, answer)

    def record(self, key: str, event: CallEvent, raw: str = "") -> None:
        """Record what became of a call; `raw` is what came in place of an answer.

        Raises:
            NotWritten: it could not be.
        """
        self._calls.append({"key": key, "call": event, **({"raw": raw} if raw else {})})
        self.calls.setdefault(key, Calls()).add(event)

    def _add(self, key: str, answer: Answer) -> None:
        self.answers.setdefault(key, []).append(answer)


def as_row(key: str, answer: Answer) -> dict[str, Json]:
    """Return the row that stores an answer."""
    return {"key": key, "answer": answer._asdict()}


def _is_unsummed_answer(row: Json) -> bool:
    """Whether a row is an answer as it was stored when rows had no sum."""
    try:
        return set(row) == {"key", "answer"} and bool(_answer(row["answer"]))
    except (AttributeError, TypeError, ValidationError):
        return False


def _answer(fields: Mapping[str, Json]) -> Answer:
    """Read an answer of this or another version of srit."""
    return _ANSWER.validate_python({name: value for name, value in fields.items() if name in Answer._fields})
