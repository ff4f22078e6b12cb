"""All that a run asked and was told about each problem, gathered from its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from srit.recipe.compared import OPTIONS
from srit.records import Completion, Demonstration, Model, Pair, Prediction, Problem
from srit.run_directory import read_records

TRAINED = "train"

_Place = tuple[str, str, str]  # where a problem is asked, its task and id
_Question = tuple[object, ...]  # what makes two problems one, whichever files they are in
_Record = TypeVar("_Record", Demonstration, Completion, Pair, Prediction)


@dataclass(frozen=True, slots=True)
class Said:
    """A problem, and what was said about it in the order of the stages."""

    problem: Problem
    demonstrations: list[Demonstration] = field(default_factory=list)
    completions: list[tuple[int, Completion]] = field(default_factory=list)  # with the number of the round
    pairs: list[tuple[int, Pair]] = field(default_factory=list)
    predictions: list[tuple[Model, Prediction]] = field(default_factory=list)

    @property
    def is_silent(self) -> bool:
        """Whether nothing was said."""
        return not (self.demonstrations or self.completions or self.pairs or self.predictions)


def gather(folder: Path, wanted: Callable[[Problem], bool] = lambda problem: True) -> list[Said]:
    """Gather what was said about the wanted problems, in the order of their files.

    Raises:
        DataError: a file of the run is damaged.
    """
    asked = _asked(folder)
    found = {_question(problem): Said(problem) for problem in asked.values() if wanted(problem)}
    anywhere = {(said.problem.task, said.problem.id): said for said in found.values()}
    ids = {said.problem.id for said in found.values()}

    def about(place: str, record: _Record) -> Said | None:
        """Find the problem of a record: an id is unique in training, and in each evaluated task."""
        there = asked.get((place, record.task, record.problem_id))
        return found.get(_question(there)) if there else anywhere.get((record.task, record.problem_id))

    for demonstration in _records(folder / "demonstrations.jsonl", Demonstration, ids):
        if said := about(TRAINED, demonstration):
            said.demonstrations.append(demonstration)
    for path in sorted(folder.glob("round-*/completions.jsonl"), key=_round):
        for completion in _records(path, Completion, ids):
            if said := about(TRAINED, completion):
                said.completions.append((_round(path), completion))
        for pair in _records(path.with_name("pairs.jsonl"), Pair, ids):
            if said := about(TRAINED, pair):
                said.pairs.append((_round(path), pair))
    for path in sorted(folder.glob("predictions/*/*.jsonl"), key=_by_model):
        for prediction in () if path.stem.endswith(OPTIONS) else _records(path, Prediction, ids):
            if said := about(f"evaluate-{path.stem}", prediction):
                said.predictions.append((Model.named(path.parent.name), prediction))
    return list(found.values())


def in_order(model: Model) -> tuple[int, int, str]:
    """Return a model's place: as the method makes them, then the controls and the teacher."""
    kinds = ("base", "instructed", "instructed-again", "refined", "control", "teacher")
    return kinds.index(model.kind), model.round + 1000 * model.is_last, model.control


def _asked(folder: Path) -> dict[_Place, Problem]:
    """Map a run's problems by where they are asked."""
    return {
        (TRAINED if path.stem in ("train", "refine") else path.stem, problem.task, problem.id): problem
        for path in sorted((folder / "problems").glob("*.jsonl"))
        for problem in read_records(path, Problem)
    }


def _question(problem: Problem) -> _Question:
    return problem.task, problem.id, problem.question, problem.choices


def _round(path: Path) -> int:
    return int(path.parent.name.removeprefix("round-"))


def _by_model(path: Path) -> tuple[tuple[int, int, str], str]:
    return in_order(Model.named(path.parent.name)), path.name


def _records(path: Path, kind: type[_Record], wanted: set[str]) -> Iterator[_Record]:
    if path.exists():
        yield from (record for record in read_records(path, kind) if record.problem_id in wanted)
