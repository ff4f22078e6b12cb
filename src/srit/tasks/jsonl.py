"""A person's own problems: "jsonl:PATH" of a file, or of a folder with train.jsonl, dev.jsonl and test.jsonl.

Rows have id, question and answer, and may have choices (then the answer is a letter), rationale and split.
A file whose rows name no split serves whichever split is asked for.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from srit.errors import DataError
from srit.records import Problem, Split
from srit.tasks import Reading
from srit.tasks.benchmarks import check_gold, checked, drawn, phrase, problem_of
from srit.tasks.lines import MissingSplit, Row, read_rows
from srit.tasks.reading.choices import read_choice
from srit.tasks.reading.numbers import read_number
from srit.tasks.reading.numerals import is_number
from srit.tasks.reading.quantities import has_words, read_quantity
from srit.tasks.reading.texts import read_text, texts_equal

_PREFIX = "jsonl:"
_STEMS: dict[Split, tuple[str, ...]] = {"train": ("train",), "dev": ("dev", "validation"), "test": ("test",)}
_SPLIT_OF = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "test": "test"}


class JsonlTask:
    """Problems of a file; see `srit.tasks.Task`. How an answer is read depends on the row: choices, number or text."""

    instruction = 'Answer the question. End with "The answer is" and the answer.'

    def __init__(self, path: Path) -> None:
        self.name = f"{_PREFIX}{path}"
        self.about = f"rows of {path}: choices, numbers or text"
        self._path = path

    @property
    def has_choices(self) -> bool:
        """Whether any row of its test split names options; reads until one does."""
        return any(row.fields.get("choices") for row in read_rows(self._file("test")))

    def load(self, split: Split, *, data: Path | None, limit: int | None, seed: int) -> Iterator[Problem]:
        """Problems of a split, in file order.

        Raises:
            MissingSplit: no file, or no row, of that split.
            DataError: a row that cannot be used.
        """
        path = self._file(split)
        draw = random.Random(f"{seed}/{self.name}/{split}")
        return drawn(lambda: read_problems(path, self.name, split), limit=limit, draw=draw)

    def phrase(self, problem: Problem) -> str:
        """The question and its options."""
        return phrase(problem)

    def read(self, text: str, problem: Problem) -> Reading:
        """A letter where there are options, a number where the gold answer is one, else text."""
        return read_as_gold(text, problem)

    def equal(self, answer: str, gold: str) -> bool:
        """The same letter, number, or text but for case and blanks."""
        return texts_equal(answer, gold)

    def solve(self, problem: Problem) -> str | None:
        """None: there is no solver."""
        return None

    def _file(self, split: Split) -> Path:
        if not self._path.is_dir():
            return self._path
        for stem in _STEMS[split]:
            for ending in (".jsonl.gz", ".jsonl"):
                if (self._path / f"{stem}{ending}").is_file():
                    return self._path / f"{stem}{ending}"
        raise MissingSplit(f"{self._path}: no {_STEMS[split][0]}.jsonl or {_STEMS[split][0]}.jsonl.gz in this folder")


def read_as_gold(text: str, problem: Problem) -> Reading:
    """Reads a letter, a number or text, whichever the problem's gold answer is."""
    if problem.choices:
        return read_choice(text, problem.choices)
    if has_words(problem.answer):
        return read_quantity(text, problem.answer)
    return read_number(text) if is_number(problem.answer) else read_text(text)


def read_problems(path: Path, task: str, split: Split) -> Iterator[Problem]:
    """Problems of a file that belong to a split: those that say so, and those that say nothing.

    Raises:
        DataError: a row that cannot be used.
    """
    return checked((row for row in read_rows(path) if _belongs(row, split)), lambda row: _problem(row, task, split))


def _belongs(row: Row, split: Split) -> bool:
    said = row.fields.get("split")
    if said is None:
        return True
    if not isinstance(said, str) or said not in _SPLIT_OF:
        raise DataError(f"{row.where}: split: {said!r:.80} is none of train, dev, test")
    return _SPLIT_OF[said] == split


def _problem(row: Row, task: str, split: Split) -> Problem:
    problem = problem_of(row, task, split)
    if problem.choices:
        check_gold(problem, "choice", row.where)
    return problem


def names() -> list[str]:
    """None by name: the path makes the task."""
    return []


def knows(name: str) -> bool:
    """Whether `make` can make a task of this name."""
    return name.startswith(_PREFIX)


def make(name: str) -> JsonlTask:
    """
    Raises:
        DataError: nothing at that path.
    """
    path = Path(name.removeprefix(_PREFIX))
    if not name.removeprefix(_PREFIX) or not path.exists():
        raise DataError(f"{name}: there is no file or folder {str(path)!r}")
    return JsonlTask(path)
