"""Your own problems: "jsonl:PATH" of a file, or of a folder with train.jsonl, dev.jsonl, and test.jsonl.

A row has `question` and `answer`, and may have `id`, `choices`, `rationale`, and `split`. Files may be gzipped. Rows of
Alpaca, ShareGPT, chat messages, and prompt and completion are read too; [own-data.md](own-data.md) has examples.

- `id`: a text or a number. 7, 7.0, and "7" are the same id, and a teacher's recording may write it in any of these
  ways. If no row has one, a row's id is a hash of its question, its choices, and the file's name, wherever it
  stands in the file.
- `answer`: a number, a formula in LaTeX, or a text. A whole solution is accepted if it marks its answer with `#### 15`,
  `\\boxed{15}`, `<answer>15</answer>`, or "The answer is 15."; it then also serves as the rationale if the row has
  none. A solution that marks no answer, or two different ones, is refused.
- `choices` or `options`: 2 to 26 texts, or `{"A": "12 km", …}`, or `{"text": […], "label": […]}`. Letters or numbers
  that begin all texts in order, as in "B) 16 km", are not part of their words. The answer is then a label, a letter or
  an option's words. It may also be an option's number if the answers of the whole file can only be numbers counted from
  0, or only numbers counted from 1.
- `split`: train, dev, or test. Rows without a split belong to every split, unless the task says how they are divided.

After a "?" the task says what the file does not: `jsonl:PATH?question=problem&answer=solution` names the columns
(`choices=A,B,C,D` if options stand in several), and `split=80/10/10` puts that many percent of the rows in train, dev,
and test, drawn by `tasks.seed` from the question alone: a row stays where it is when others are added or moved.
`judge=judge.py:right` has a function of yours decide: [own-data.md](own-data.md) says how.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from srit.errors import DataError
from srit.installing import extra_install
from srit.records import Problem, Split
from srit.sums import sum_of
from srit.tasks import Family, Reading, reading
from srit.tasks.benchmarks import check_gold, checked, drawn, phrase, problem_of
from srit.tasks.formats import as_ours, is_ours
from srit.tasks.golds import Numbering, numbering, refuse_solution
from srit.tasks.lines import MissingField, MissingSplit, Row, read_rows
from srit.tasks.options import NONE, Options, options_of

_PREFIX = "jsonl:"
_STEMS: dict[Split, tuple[str, ...]] = {"train": ("train",), "dev": ("dev", "validation"), "test": ("test",)}
_SPLIT_OF = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "test": "test"}


class Fetched(Protocol):
    """Rows that come from elsewhere."""

    def file(self, split: Split) -> Path:
        """Return a JSON Lines file of a split's rows, fetched if it is not here yet."""
        ...

    def is_here(self, split: Split) -> bool:
        """Return whether nothing has to be fetched."""
        ...

    def source(self, split: Split) -> str:
        """Return what decides a split's rows; no server is asked."""
        ...


class JsonlTask:
    """Problems of a file; see `srit.tasks.Task`. Each row decides how its answer is read."""

    instruction = 'Answer the question. End with "The answer is" and the answer.'

    def __init__(self, path: Path, name: str = "", options: Options = NONE, fetched: Fetched | None = None) -> None:
        """
        Args:
            name: its name in a recipe; "": just its path.
            fetched: where its rows come from if the path is not a file.
        """
        self._fetched = fetched
        self.name = name or f"{_PREFIX}{path}"
        self.about = f"rows of {path}: choices, numbers or text"
        self._path, self._options = path, options

    @property
    def has_choices(self) -> bool:
        """Whether any row of the test split has options; reads until one does."""
        rows = read_rows(self._file("test"))
        return any(as_ours(row, self._options.columns).fields.get("choices") for row in rows)

    def load(self, split: Split, *, data: Path | None, limit: int | None, seed: int) -> Iterator[Problem]:
        """Yield the problems of a split, in file order.

        Raises:
            MissingSplit: there is no file, or no row, of that split.
            DataError: a row cannot be used.
        """
        path = self._file(split)
        draw = random.Random(f"{seed}/{self.name}/{split}")
        division = Division(self._options.shares, seed)
        problems = partial(read_problems, path, self.name, split, self._options.columns, division)
        return drawn(problems, limit=limit, draw=draw)

    def is_here(self, split: Split) -> bool:
        """Return whether its rows are on this machine."""
        return self._fetched is None or self._fetched.is_here(split)

    def count(self, split: Split, *, data: Path | None, limit: int | None) -> int | None:
        """Count the rows of a split; those that name none are divided as with seed 0: another has about as many."""
        if not self.is_here(split):
            return None
        division = Division(self._options.shares)
        columns = self._options.columns
        rows = sum(_belongs(as_ours(row, columns), split, division) for row in read_rows(self._file(split)))
        return rows if limit is None else min(rows, limit)

    def source(self, split: Split, *, data: Path | None) -> str:
        """Return the SHA-256 sum of the split's file, marked where its rows are not what they once were."""
        if self._fetched is not None:
            return self._fetched.source(split)
        path = self._file(split)
        first = list(islice(read_rows(path), 1))
        as_ever = all(is_ours(row) and row.fields.get("id") is not None for row in first)
        return sum_of(path) if as_ever else f"{sum_of(path)} by content"

    def phrase(self, problem: Problem) -> str:
        """Write out the question and its options."""
        return phrase(problem)

    def read(self, text: str, problem: Problem) -> Reading:
        """Read a letter if there are options, a number or formula if the gold answer is one, or else text."""
        if self._options.judge is not None:
            return self._options.judge.read(text)
        if not problem.choices and is_formula(problem.answer):
            return reading.read_math(text, problem.question)
        return read_as_gold(text, problem)

    def equal(self, answer: str, gold: str) -> bool:
        """Compare letters, numbers, and texts apart from case and blanks, and formulas by value.

        Raises:
            JudgeError: the formulas could not be compared.
        """
        if self._options.judge is not None:
            return self._options.judge.right(answer, gold)
        if is_formula(gold):
            from srit.tasks.math_judge import math_equal

            return math_equal(answer, gold)
        if _LISTED.fullmatch(gold) and _unspaced(answer) == _unspaced(gold):
            return True
        return reading.texts_equal(answer, gold)

    def judge_sources(self) -> dict[str, str]:
        """Return the sum of the file that judges its answers, if one does."""
        return {} if self._options.judge is None else self._options.judge.sources()

    def solve(self, problem: Problem) -> str | None:
        """Return None, as there is no solver."""
        return None

    def _file(self, split: Split) -> Path:
        if self._fetched is not None:
            return self._fetched.file(split)
        if not self._path.is_dir():
            return self._path
        for stem in _STEMS[split]:
            for ending in (".jsonl.gz", ".jsonl"):
                if (self._path / f"{stem}{ending}").is_file():
                    return self._path / f"{stem}{ending}"
        raise MissingSplit(f"{self._path}: no {_STEMS[split][0]}.jsonl or {_STEMS[split][0]}.jsonl.gz in this folder")


def read_as_gold(text: str, problem: Problem) -> Reading:
    """Read a letter, a number or text, whichever the problem's gold answer is."""
    if problem.choices:
        return reading.read_choice(text, problem.choices, problem.question)
    if reading.has_words(problem.answer):
        return reading.read_quantity(text, problem.answer, problem.question)
    if reading.is_number(problem.answer):
        return reading.read_number(text, problem.question)
    return reading.read_text(text, problem.question, like=problem.answer)


def is_formula(gold: str) -> bool:
    """Return whether a gold answer is LaTeX, or an unknown and its value, rather than a number."""
    return (_LATEX.search(gold) or _EQUATION.fullmatch(gold)) is not None and not reading.is_number(gold)


_LATEX = re.compile(
    r"\\(?:[dtc]?frac|sqrt|pi|infty|pm|mp|cdot|times|div|left|right|text|mathrm|mathbb|begin|cup|cap|in|le|ge|leq|geq|neq"
    r"|circ|angle|log|ln|sin|cos|tan|exp|binom|overline|vec|alpha|beta|gamma|theta|sum|int|lfloor|lceil)(?![A-Za-z])"
    r"|(?<=[0-9A-Za-z)}])\^(?=[0-9A-Za-z({])"
)
_LISTED = re.compile(r"[\[({]?\s*[-+]?[0-9][0-9./]*(?:\s*,\s*[-+]?[0-9][0-9./]*)+\s*[\])}]?")  # "(2, 3)"
_EQUATION = re.compile(r"\$?[A-Za-z](?:\([A-Za-z]\))?[ ]*=[^=]+")  # "x = 5"


def _unspaced(text: str) -> str:
    return re.sub(r"\s", "", text)


class Division(NamedTuple):
    """How rows without a split are divided."""

    shares: tuple[int, int, int] | None = None  # percent of train, dev and test; None: all belong to every split
    seed: int = 0

    def split_of(self, question: str) -> Split | None:
        """Return the split of a question, by its letters and digits alone; None if it belongs to every split."""
        if self.shares is None:
            return None
        same = re.sub(r"[\W_]+", "", question.casefold())
        place = _hashed(f"{self.seed}/{same}") % 100
        train, dev, _ = self.shares
        return "train" if place < train else "dev" if place < train + dev else "test"


UNDIVIDED = Division()


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])


def read_problems(
    path: Path, task: str, split: Split, columns: Mapping[str, str] = NONE.columns, division: Division = UNDIVIDED
) -> Iterator[Problem]:
    """Yield the problems of a file that belong to a split: those that name it, and those that name none.

    Args:
        columns: as in `as_ours`.
        division: of the rows that name no split.

    Raises:
        DataError: a row cannot be used.
    """

    def read() -> Iterator[Row]:
        return (as_ours(row, columns) for row in read_rows(path))

    found = cache(lambda: numbering(read()))
    rows = (row for row in _identified(read(), path.name) if _belongs(row, split, division))
    return checked(rows, lambda row: _problem(row, task, split, found))


def _identified(rows: Iterable[Row], file: str) -> Iterator[Row]:
    """Add ids to rows: if none has an id, a row's id is a hash of its content, and how often that came before.

    The file's name is part of it, so that two files that share a question can be trained on together.
    """
    given: bool | None = None
    seen: Counter[str] = Counter()
    for row in rows:
        has_id = row.fields.get("id") is not None
        given = has_id if given is None else given
        if has_id and not given:
            raise DataError(f"{row.where}: id: earlier rows have none: give every row an id, or none")
        yield row if given else Row({**row.fields, "id": _content_id(row, file, seen)}, row.where)


def _content_id(row: Row, file: str, seen: Counter[str]) -> str:
    asked = json.dumps([file, row.fields.get("question"), row.fields.get("choices")], default=str)
    content = hashlib.sha256(asked.encode()).hexdigest()[:12]
    seen[content] += 1
    return content if seen[content] == 1 else f"{content}-{seen[content]}"


def _belongs(row: Row, split: Split, division: Division) -> bool:
    said = row.fields.get("split")
    if said is None:
        question = row.fields.get("question")  # one that is missing is reported, whichever split is read
        return question is None or division.split_of(str(question)) in (None, split)
    if not isinstance(said, str) or said not in _SPLIT_OF:
        raise DataError(f"{row.where}: split: {said!r:.80} is not train, dev or test")
    return _SPLIT_OF[said] == split


def _problem(row: Row, task: str, split: Split, found: Callable[[], Numbering]) -> Problem:
    try:
        problem = problem_of(row, task, split, found)
    except MissingField as error:
        if error.name not in ("question", "answer"):
            raise
        added = f"add ?{error.name}=COLUMN after the file's name (docs/own-data.md)"
        raise DataError(f"{error}; if another column holds it, {added}") from None
    if problem.choices:
        check_gold(problem, "choice", row.where)
    elif not reading.is_number(problem.answer):
        refuse_solution(problem.answer, row.where)
        _check_comparable(problem, row.where)
    return problem


def _check_comparable(problem: Problem, where: str) -> None:
    if is_formula(problem.answer) and find_spec("math_verify") is None:
        raise DataError(f"{where}: answer: to compare formulas needs math-verify: {extra_install('math')}")


def names() -> list[str]:
    """Return no names, as any path makes a task."""
    return []


def knows(name: str) -> bool:
    """Return whether `make` can make a task of this name."""
    return name.startswith(_PREFIX)


def make(name: str) -> JsonlTask:
    """Make the task of a path.

    Raises:
        DataError: there is nothing at that path.
    """
    given = name.removeprefix(_PREFIX)
    place, _, said = (given, "", "") if _exists(Path(given)) else given.partition("?")
    path = Path(place)
    if not place or not _exists(path):
        raise DataError(f"{name}: there is no file or folder {str(path)!r}")
    options = options_of(said, name)
    if options.shares and path.is_dir():
        raise DataError(f"{name}: split: a folder has a file for each split: remove it, or name one file")
    return JsonlTask(path, f"{_PREFIX}{path}?{said}" if said else "", options)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the name is too long for any file
        return False


FAMILY = Family(__doc__, names, knows, make)
