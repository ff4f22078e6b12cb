"""Problems followed through a run, as `srit show` prints them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from srit.printable import printable
from srit.records import Problem, Split
from srit.stages.report.said import ProblemTrace, gather

_SHOWN_CHARACTERS = 4000  # of one answer


class Part(NamedTuple):
    """What one stage shows about a problem."""

    name: str
    text: str
    verdict: str  # "" where there is none


class Trace(NamedTuple):
    """A problem followed through the stages."""

    problem_id: str
    task: str
    question: str
    gold: str
    parts: list[Part]


def traces(folder: Path, limit: int, problem_id: str | None = None, *, of: Split = "train") -> Iterator[Trace]:
    """Follow problems through a run.

    Args:
        limit: how many problems, spread evenly.
        problem_id: follow only the problems with this id, in any task and place.
        of: the split of the problems if none is named.

    Raises:
        DataError: a file of the run is damaged.
    """

    def wanted(problem: Problem) -> bool:
        return problem.split == of if problem_id is None else problem.id == problem_id

    found = gather(folder, wanted)
    for said in found if problem_id is not None else found[:: max(1, len(found) // limit)][:limit]:
        problem = said.problem
        yield Trace(problem.id, problem.task, problem.question, problem.answer, list(_parts(said)))


def visible(text: str) -> str:
    """Return the beginning of a text, with control and direction characters spelled out instead of obeyed."""
    shown = printable(text)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]} … ({len(shown):,} characters)"


def _parts(said: ProblemTrace) -> Iterator[Part]:
    for d in said.demonstrations:
        yield Part(f"demonstration by {d.teacher}", d.text or f"({d.reason})", d.verdict)
    for number, c in said.completions:
        yield Part(f"round-{number}: {c.prompt} answer {c.index}", c.text, c.verdict)
    for number, p in said.pairs:
        text = f"chosen ({p.chosen_from}): {p.chosen}\nrejected ({p.rejected_from}): {p.rejected}"
        yield Part(f"round-{number}: pair under the {p.prompt} prompt", text, "")
    for model, a in said.predictions:
        yield Part(f"{model}, {a.prompt}", a.text or f"({a.reason})", a.verdict)
