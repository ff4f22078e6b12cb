"""Published benchmarks: from a local folder laid out as NAME/SPLIT.jsonl[.gz], or from the Hugging Face hub."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from srit.errors import DataError
from srit.kinds import Finding, extra
from srit.records import Problem, Split
from srit.sums import sum_of
from srit.tasks import Family, Reading, reading
from srit.tasks.golds import Numbering, gold_of
from srit.tasks.hub import BENCHMARKS, Benchmark, BenchmarkKind, Fields, Hub, asking_hub, datasets_installed
from srit.tasks.lines import MissingSplit, Row, id_field, optional_text, read_rows, text_field
from srit.tasks.reading.options import LETTERS

_FILES: dict[Split, tuple[str, ...]] = {"train": ("train",), "dev": ("validation", "dev"), "test": ("test",)}
REPEATED = 5  # repeated ids, after which the rest of a file is not read
_INSTRUCTIONS: dict[BenchmarkKind, str] = {
    "number": 'Solve the problem. End with "The answer is" and the number.',
    "choice": 'Choose the best option. End with "The answer is" and its letter in parentheses.',
    "math": "Solve the problem. Put the final answer in \\boxed{}.",
}


# ------------------------------------------------------------------------------------------------- the task


class BenchmarkTask:
    """A benchmark as a task; see `srit.tasks.Task`."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.name = benchmark.name
        self.about = f"{benchmark.kind}; {benchmark.sizes}; license: {benchmark.license}"
        self.instruction = benchmark.instruction or _INSTRUCTIONS[benchmark.kind]
        self.has_choices = benchmark.kind == "choice"
        self._benchmark = benchmark

    def load(self, split: Split, *, data: Path | None, limit: int | None, seed: int) -> Iterator[Problem]:
        """Yield the problems of a split, in the order of the source. All rows are checked, drawn or not.

        Raises:
            MissingSplit: there is no such split here.
            DataError: a row cannot be used.
        """
        if data is None:
            self._hub(split)
        else:
            self._file(data, split)
        return drawn(lambda: self._all(split, data), limit=limit, draw=random.Random(f"{seed}/{self.name}/{split}"))

    def load_all(self, data: Path | None) -> Iterator[Problem]:
        """Yield the problems of every file or split; a problem in two files comes twice."""
        if data is None:
            for split in self._benchmark.hub:
                yield from self._all(split, None)
            return
        splits: dict[str, Split] = {"train": "train", "validation": "dev", "dev": "dev", "test": "test", "all": "test"}
        found = self._files(data)
        if not found:
            raise DataError(f"{data / self.name}: no such folder, or no .jsonl or .jsonl.gz file in it")
        for stem, path in found.items():
            yield from self.read_file(path, splits.get(stem, "test"))

    def read_file(self, path: Path, split: Split) -> Iterator[Problem]:
        """Yield the problems of one local file."""
        return self._checked(read_rows(path), split)

    def count(self, split: Split, *, data: Path | None, limit: int | None) -> int | None:
        """Count the rows of a local file; the hub is not asked."""
        if data is None:
            return None
        rows = sum(1 for _ in read_rows(self._file(data, split)))
        return rows if limit is None else min(rows, limit)

    def source(self, split: Split, *, data: Path | None) -> str:
        """Return the SHA-256 sum of the split's local file, or its place on the hub."""
        if data is not None:
            return sum_of(self._file(data, split))
        hub = self._hub(split)
        return " ".join(filter(None, (hub.id, *hub.configs, hub.split, hub.revision)))

    def phrase(self, problem: Problem) -> str:
        """Write out the question and its options; see `phrase`."""
        return phrase(problem)

    def read(self, text: str, problem: Problem) -> Reading:
        """Read an answer by the rules in `srit.tasks.reading`."""
        if self._benchmark.kind == "choice":
            return reading.read_choice(text, problem.choices or (), problem.question)
        read = reading.read_number if self._benchmark.kind == "number" else reading.read_math
        return read(text, problem.question)

    def equal(self, answer: str, gold: str) -> bool:
        """Compare letters, numbers exactly, and LaTeX by value.

        Raises:
            JudgeError: the LaTeX could not be compared.
        """
        if self._benchmark.kind == "choice":
            return answer.strip().upper() == gold.strip().upper()
        if self._benchmark.kind == "number":
            return reading.numbers_equal(answer, gold)
        from srit.tasks.math_judge import math_equal

        return math_equal(answer, gold)

    def solve(self, problem: Problem) -> str | None:
        """Return None, as benchmarks have no solver."""
        return None

    def _all(self, split: Split, data: Path | None) -> Iterator[Problem]:
        rows = self._hub_rows(split) if data is None else read_rows(self._file(data, split))
        return self._checked(rows, split)

    def _files(self, data: Path) -> dict[str, Path]:
        folder = data / self.name
        found = [*folder.glob("*.jsonl.gz"), *folder.glob("*.jsonl")]
        return {path.name.partition(".jsonl")[0]: path for path in sorted(found)}

    def _file(self, data: Path, split: Split) -> Path:
        files = self._files(data)
        # MultiArith is often kept whole, since its zero-shot figures are over all 600 problems.
        for stem in (*_FILES[split], *(["all"] if split == "test" else [])):
            if stem in files:
                return files[stem]
        there = ", ".join(files) or "no file at all"
        wanted = f"{_FILES[split][0]}.jsonl[.gz]"
        raise MissingSplit(
            f"{data / self.name}: no {split} split ({wanted}) of {self.name} here; there is: {there}. Put it there "
            "(docs/tasks.md), or leave out `data` to load it from the hub"
        )

    def _hub(self, split: Split) -> Hub:
        hub = self._benchmark.hub
        if split not in hub:
            raise MissingSplit(f"{self.name} has no {split} split on the hub; it has: {', '.join(hub)}")
        return hub[split]

    def _hub_rows(self, split: Split) -> Iterator[Row]:
        hub = self._hub(split)
        for config in hub.configs:
            where = "/".join(filter(None, (hub.id, config, hub.split)))
            for index, raw in enumerate(_download(hub, config, where)):
                yield Row(self._converted(raw, f"{where}:{index}", f"{self.name}-{where}-{index}"), f"{where}:{index}")

    def _converted(self, raw: Fields, where: str, made_up_id: str) -> Fields:
        try:
            fields = self._benchmark.convert(raw)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where}: not a row of {self.name} as known: {type(error).__name__}: {error}") from error
        return fields if fields.get("id") not in (None, "") else {**fields, "id": made_up_id}

    def _checked(self, rows: Iterable[Row], split: Split) -> Iterator[Problem]:
        return checked(rows, lambda row: self._problem(row, split))

    def _problem(self, row: Row, split: Split) -> Problem:
        problem = problem_of(row, self.name, split)
        check_gold(problem, self._benchmark.kind, row.where)
        return problem


def _download(hub: Hub, config: str | None, where: str) -> Iterable[Fields]:
    with asking_hub(where, ", or give a data folder"):
        from datasets import load_dataset

        rows: Iterable[Fields] = load_dataset(hub.id, config, split=hub.split, revision=hub.revision)
    return rows


# ------------------------------------------------------------------------ shared with the other file tasks


def problem_of(row: Row, task: str, split: Split, numbering: Callable[[], Numbering] | None = None) -> Problem:
    """Turn a row into a problem, checking the types of its fields.

    Args:
        numbering: what whole numbers that stand for options mean; None if they must be an option's words.

    Raises:
        DataError: the row cannot be used; the message names file, line, and field.
    """
    identity, question = id_field(row, "id"), text_field(row, "question")
    gold, rationale = gold_of(row, numbering), optional_text(row, "rationale")
    worked = gold.solution if gold.solution and not (rationale or "").strip() else rationale
    return Problem(identity, task, split, question, gold.answer, gold.choices, worked)


def check_gold(problem: Problem, kind: BenchmarkKind, where: str) -> None:
    """Check that the judge would find a gold answer equal to itself.

    Raises:
        DataError: it would not.
    """
    if kind == "choice":
        letters = LETTERS[: len(problem.choices or ())]
        if not letters:
            raise DataError(f"{where}: choices: are missing")
        if len(problem.answer) != 1 or problem.answer not in letters:
            raise DataError(
                f"{where}: answer: gold {problem.answer!r:.80} of {problem.id!r} is none of {', '.join(letters)}"
            )
    elif kind == "number" and not (
        reading.is_number(problem.answer) and reading.numbers_equal(problem.answer, problem.answer)
    ):
        raise DataError(f"{where}: answer: gold {problem.answer!r:.80} of {problem.id!r} is not a number")


def checked(rows: Iterable[Row], make: Callable[[Row], Problem]) -> Iterator[Problem]:
    """Yield the problems of rows, no id twice.

    Raises:
        DataError: ids repeat, of which it names the first `REPEATED`; or whatever `make` raises.
    """
    seen: set[str] = set()
    repeated: list[str] = []
    for row in rows:
        problem = make(row)
        if problem.id in seen:
            repeated.append(f"{row.where}: {problem.id!r:.80}")
            if len(repeated) == REPEATED:
                break
            continue
        seen.add(problem.id)
        yield problem
    if repeated:
        n = f"{REPEATED} rows or more repeat" if len(repeated) == REPEATED else f"{len(repeated)} rows repeat"
        raise DataError(f"{n} an id: {'; '.join(repeated)}. Ids must be unique in a split.")


def drawn(problems: Callable[[], Iterator[Problem]], *, limit: int | None, draw: random.Random) -> Iterator[Problem]:
    """Yield at most `limit` problems in their own order, in two passes rather than with all in memory."""
    if limit is None:
        yield from problems()
        return
    n = sum(1 for _ in problems())
    wanted = set(draw.sample(range(n), min(limit, n)))
    yield from (problem for index, problem in enumerate(problems()) if index in wanted)


def phrase(problem: Problem) -> str:
    """Write out the question, then its options one per line as "(A) …"; yes-or-no questions stand alone."""
    if not problem.choices or problem.choices == ("Yes", "No"):
        return problem.question
    options = (f"({letter}) {choice}" for letter, choice in zip(LETTERS, problem.choices, strict=False))
    return "\n".join([problem.question, *options])


def names() -> list[str]:
    """Return the names of all benchmarks."""
    return list(BENCHMARKS)


def knows(name: str) -> bool:
    """Return whether `make` can make a task of this name."""
    return name in BENCHMARKS


def make(name: str) -> BenchmarkTask:
    """Make the task of a benchmark.

    Raises:
        DataError: the benchmark is unknown; the message names the nearest.
    """
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name, BENCHMARKS, n=1) or list(BENCHMARKS)
        raise DataError(f"no benchmark is called {name!r}; did you mean {', '.join(near)}?")
    return BenchmarkTask(BENCHMARKS[name])


def _doctor() -> Sequence[Finding]:
    return [datasets_installed(), extra("math", "math_verify", "judging MATH")]


FAMILY = Family(__doc__, names, knows, make, _doctor)
