"""A teacher's questions and answers on disk: answers.jsonl, and calls.jsonl for calls that cost money."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from srit.run_directory import Json, Lookup, Scratch
from srit.teachers import UNSPENT, Answer, Call, CallEvent, Spent
from srit.teachers.journal import Journal

_ENDS: tuple[CallEvent, ...] = ("answered", "unusable", "not accepted", "lost")
_ANSWER = TypeAdapter(Answer)


@dataclass(slots=True)
class Calls:
    """The calls that were made for one question, by all processes so far."""

    sent: int = 0
    ended: int = 0  # of these, those whose end the sending process saw
    lost: int = 0  # of these, those that may have been answered nevertheless
    refused: int = 0  # of these, those that were not charged

    @property
    def maybe_paid(self) -> int:
        """Calls that may have been paid for without an answer: lost, or in flight at a kill."""
        return self.lost + self.sent - self.ended

    def add(self, event: CallEvent) -> None:
        """Count one event."""
        self.sent += event == "sent"
        self.ended += event in _ENDS
        self.lost += event == "lost"
        self.refused += event == "not accepted"


class Answers(Mapping[str, Sequence[Answer]]):
    """Answers by key, in the order of arrival; 40 bytes of memory each."""

    def __init__(self) -> None:
        self._keys = Lookup()
        self._rows: Scratch[tuple[str, Answer]] = Scratch()

    def add(self, key: str, answer: Answer) -> None:
        """Add an answer to those of its key."""
        self._keys.add(key)
        self._rows.append((key, answer))

    def __getitem__(self, key: str) -> list[Answer]:
        found = [answer for same, answer in map(self._rows.__getitem__, self._keys.find(key)) if same == key]
        if not found:
            raise KeyError(key)
        return found

    def extend(self, came: Iterable[tuple[str, Answer]]) -> None:
        """Add answers with their keys."""
        for key, answer in came:
            self.add(key, answer)

    def rows(self) -> Iterator[tuple[str, Answer]]:
        """Yield every answer with its key, in the order of arrival."""
        return iter(self._rows)

    def __iter__(self) -> Iterator[str]:
        return (self._rows[group[0]][0] for group in self._keys.groups())

    def __len__(self) -> int:
        return sum(1 for _ in self._keys.groups())


class Unreadable(NamedTuple):
    """What is missing from the paid answers."""

    file: Path  # has the lines as they were found; while it exists, nothing is asked

    def __str__(self) -> str:
        answers = self.file.with_name("answers.jsonl")
        return (
            f"{answers}: answers that were paid for are damaged or missing; what is left of them is in {self.file}. "
            f"Restore {answers.name} from a copy, or accept that they are asked for and paid for again; then delete "
            f"{self.file.name} and rerun the same command"
        )


class Ledger:
    """The answers of a folder and the calls made for them, read once and then kept up to date."""

    def __init__(self, answers: Path, *, free: bool = False) -> None:
        """
        Args:
            answers: the file of the answers; that of the calls is beside it.
            free: they cost nothing to repeat, so nothing waits for the disk, and damaged ones are simply dropped.
        """
        self.answers = Answers()
        self.calls: dict[str, Calls] = {}
        self._free = free
        self._answers = Journal(answers, self._take_answer, synced=not free, is_earlier=_is_unsummed_answer)
        self._calls = Journal(answers.with_name("calls.jsonl"), self._take_call, synced=False)
        self.notes = [*self._answers.notes, *self._calls.notes]

    @property
    def aside(self) -> Path:
        """The file of the lines that cannot be trusted."""
        return self._answers.aside

    @property
    def unreadable(self) -> Unreadable | None:
        """What is missing; None: nothing, or it costs nothing."""
        return Unreadable(self.aside) if self.aside.exists() and not self._free else None

    @property
    def spent(self) -> Spent:
        """What was spent so far, or may have been."""
        if self._free:
            return UNSPENT
        calls = sum(calls.sent - calls.refused for calls in self.calls.values())
        prompt_tokens = completion_tokens = 0
        for key, answer in self.answers.rows():
            calls += 0 if key in self.calls else answer.n_calls
            prompt_tokens += answer.n_prompt_tokens
            completion_tokens += answer.n_completion_tokens
        return Spent(calls, prompt_tokens, completion_tokens)

    def check_writable(self) -> None:
        """Check that answers can be stored, before any is paid for.

        Raises:
            NotWritten: they cannot.
        """
        self._answers.check_writable()

    def keep(self, came: Sequence[tuple[str, Answer]]) -> None:
        """Store answers with their keys; return once they cannot be lost.

        Raises:
            NotWritten: they could not be stored.
        """
        self._answers.append(*(as_row(key, answer) for key, answer in came))
        self.answers.extend(came)

    def record(self, calls: Sequence[Call]) -> None:
        """Record what happened to calls; return once the disk has those that are to be sent.

        An end that a power loss takes makes a call count as possibly paid; a beginning would hide that it was made.

        Raises:
            NotWritten: it could not be.
        """
        rows = ({"key": c.key, "call": c.event, **({"raw": c.raw} if c.raw else {})} for c in calls)
        self._calls.append(*rows, synced=not self._free and any(call.event == "sent" for call in calls))
        for call in calls:
            self.calls.setdefault(call.key, Calls()).add(call.event)

    def _take_answer(self, row: Json) -> None:
        self.answers.add(*_entry(row))

    def _take_call(self, row: Json) -> None:
        match row:
            case {"key": str(key), "call": event}:
                self.calls.setdefault(key, Calls()).add(event)
            case _:
                raise ValueError("it is not a call")


def as_row(key: str, answer: Answer) -> dict[str, Json]:
    """Return the row that stores an answer."""
    return {"key": key, "answer": answer._asdict()}


def _is_unsummed_answer(row: Json) -> bool:
    """Return whether a row is an answer from the time when rows had no checksum."""
    try:
        return set(row) == {"key", "answer"} and bool(_entry(row))
    except (TypeError, ValueError):
        return False


def _entry(row: Json) -> tuple[str, Answer]:
    """Read an answer of this or another version of srit, with its key.

    Raises:
        ValueError: it is none.
    """
    match row:
        case {"key": str(key), "answer": dict(fields)}:
            known = {name: value for name, value in fields.items() if name in Answer._fields}
            with suppress(ValidationError):
                return key, _ANSWER.validate_python(known)
    raise ValueError("it is not an answer")
