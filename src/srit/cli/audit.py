"""How well answers are read: a task judges a recording of answers again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from srit.errors import DataError
from srit.records import Problem, Split
from srit.tasks import Judgment, Task, judge
from srit.tasks.benchmarks import BenchmarkTask
from srit.tasks.lines import MissingSplit, Row, answered_rows, id_field, label, output_field

_SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts of a recording's rows, and the rows to look at."""

    n: int
    read: int  # an answer was found, right or not
    correct: int
    errors: int  # the judge gave up
    accuracy: float  # correct / n, 0 to 1; 0 where there are no rows
    unread: tuple[str, ...]  # problem ids in file order, one a row
    disagreements: tuple[str, ...]  # problem ids where the row's is_correct differs from our verdict


def audit(task: Task, recording: Path, problems: Path | None = None, *, data: Path | None = None) -> Audit:
    """Judge every row of a recording (id, output, optionally is_correct) against the problems with those ids.

    A row whose output is null or missing counts as unread.

    Args:
        task: whose reader and judge to use.
        recording: a .jsonl or .jsonl.gz file.
        problems: the file of problems; None: all splits of the task's own data.
        data: the folder of the task's own data; None: from the hub, or generated.

    Returns:
        Counts, and the rows to look at.

    Raises:
        DataError: a row cannot be read, or no problem has its id.
    """
    n = read = correct = errors = 0
    unread: list[str] = []
    disagreements: list[str] = []
    for row, judgment in judged_rows(task, recording, problems, data=data):
        right, problem_id = judgment.verdict == "right", _problem_id(row)
        n, read, correct = n + 1, read + (judgment.answer is not None), correct + right
        errors += judgment.verdict == "error"
        if judgment.verdict == "unread":
            unread.append(problem_id)
        if isinstance(row.fields.get("is_correct"), bool) and row.fields["is_correct"] != right:
            disagreements.append(problem_id)
    return Audit(n, read, correct, errors, correct / n if n else 0.0, tuple(unread), tuple(disagreements))


def judged_rows(
    task: Task, recording: Path, problems: Path | None = None, *, data: Path | None = None
) -> Iterator[tuple[Row, Judgment]]:
    """Yield each row of a recording with our judgment. Arguments and errors are those of `audit`."""
    by_id = _by_id(_own_problems(task, data) if problems is None else _file_problems(task, problems))
    for row in answered_rows(recording):
        problem_id = _problem_id(row)
        # Two splits may use the same id for two questions: the recording's own split decides.
        problem = by_id.get((label(row, "split"), problem_id)) or by_id.get((None, problem_id))
        if problem is None:
            source = problems or "the task's own data"
            raise DataError(
                f"{row.where}: id: no problem {problem_id!r:.100} of {task.name} is in {source}: give its file with "
                "--problems"
            )
        output = output_field(row)
        yield row, judge(task, problem, output) if output is not None else _NO_ANSWER


_NO_ANSWER = Judgment(None, None, "the recording has no answer to it", "unread")


def _problem_id(row: Row) -> str:
    return id_field(row, "id", "problem_id")


def _by_id(problems: Iterable[Problem]) -> dict[tuple[str | None, str], Problem]:
    found: dict[tuple[str | None, str], Problem] = {}
    for problem in problems:
        found[problem.split, problem.id] = problem
        found.setdefault((None, problem.id), problem)
    return found


def _file_problems(task: Task, path: Path) -> Iterator[Problem]:
    from srit.tasks.jsonl import read_problems

    if isinstance(task, BenchmarkTask):
        return task.read_file(path, "test")
    return read_problems(path, task.name, "test")


def _own_problems(task: Task, data: Path | None) -> Iterator[Problem]:
    if isinstance(task, BenchmarkTask):
        yield from task.load_all(data)
        return
    for split in _SPLITS:
        try:
            yield from task.load(split, data=data, limit=None, seed=0)
        except MissingSplit:
            continue
