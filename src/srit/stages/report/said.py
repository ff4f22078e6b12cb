"""Everything that a run asked and received about each problem, gathered from its files."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from srit.recipe.compared import OPTIONS
from srit.records import Completion, Demonstration, Model, Pair, Prediction, Problem
from srit.run_directory import Chosen, Filed, Lookup

TRAINED = "train"

_AnyRecord = Demonstration | Completion | Pair | Prediction
_Record = TypeVar("_Record", Demonstration, Completion, Pair, Prediction)


@dataclass(frozen=True, slots=True)
class ProblemTrace:
    """A problem, and what was said about it in the order of the stages."""

    problem: Problem
    demonstrations: list[Demonstration] = field(default_factory=list)
    completions: list[tuple[int, Completion]] = field(default_factory=list)  # with the number of the round
    pairs: list[tuple[int, Pair]] = field(default_factory=list)
    predictions: list[tuple[Model, Prediction]] = field(default_factory=list)


class _Source(NamedTuple, Generic[_Record]):
    """The records of one file, and the stage and problems that they belong to."""

    label: object  # the round or the model that they belong to
    records: Filed[_Record]
    numbers: NDArray[np.int32]  # of their problems, sorted
    places: NDArray[np.int32]  # in the file, in the same order

    def of(self, number: int) -> list[_Record]:
        """Return what is said about a problem."""
        wanted = np.array((number, number + 1), self.numbers.dtype)  # of another type, all numbers would be converted
        first, last = np.searchsorted(self.numbers, wanted).tolist()
        return [self.records[place] for place in self.places[first:last].tolist()]


class Gathered(Sequence[ProblemTrace]):
    """What was said about a run's wanted problems, in the order of their files; read when it is asked for."""

    def __init__(self, folder: Path, wanted: Callable[[Problem], bool]) -> None:
        """
        Raises:
            DataError: a file of the run is damaged.
        """
        self._problems = _Problems(folder, wanted)
        self._demonstrations = list(self._sources([folder / "demonstrations.jsonl"], Demonstration, lambda path: ""))
        rounds = sorted(folder.glob("round-*/completions.jsonl"), key=_round)
        self._completions = list(self._sources(rounds, Completion, _round))
        pairs = [path.with_name("pairs.jsonl") for path in rounds]
        self._pairs = list(self._sources(pairs, Pair, _round))
        files = sorted(folder.glob("predictions/*/*.jsonl"), key=_by_model)
        answers = [path for path in files if not path.stem.endswith(OPTIONS)]
        self._predictions = list(self._sources(answers, Prediction, lambda path: Model.named(path.parent.name)))

    def __len__(self) -> int:
        return len(self._problems)

    @overload
    def __getitem__(self, number: int) -> ProblemTrace: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[ProblemTrace]: ...
    def __getitem__(self, number: int | slice) -> ProblemTrace | Sequence[ProblemTrace]:
        if isinstance(number, slice):
            return Chosen(range(len(self))[number], self.__getitem__)
        if number >= len(self):
            raise IndexError(number)
        return ProblemTrace(
            self._problems[number],
            [one for source in self._demonstrations for one in source.of(number)],
            [(cast(int, source.label), one) for source in self._completions for one in source.of(number)],
            [(cast(int, source.label), one) for source in self._pairs for one in source.of(number)],
            [(cast(Model, source.label), one) for source in self._predictions for one in source.of(number)],
        )

    def spoken_of(self) -> list[int]:
        """Return the numbers of the problems that have records, evaluated ones first."""
        predicted, any_said = np.zeros((2, len(self)), bool)
        trained = [source.numbers for part in (self._demonstrations, self._completions, self._pairs) for source in part]
        for numbers in trained:
            any_said[numbers] = True
        for source in self._predictions:
            predicted[source.numbers] = any_said[source.numbers] = True
        there = np.flatnonzero(any_said)
        ordered: list[int] = there[np.argsort(~predicted[there], kind="stable")].tolist()
        return ordered

    def models(self, numbers: Sequence[int]) -> list[Model]:
        """Return the models that answered any of these problems."""
        answered = (source for source in self._predictions if np.isin(source.numbers, numbers).any())
        return sorted({cast(Model, source.label) for source in answered}, key=in_order)

    def _sources(
        self, paths: Iterable[Path], kind: type[_Record], label: Callable[[Path], object]
    ) -> Iterator[_Source[_Record]]:
        for path in paths:
            if path.exists():
                place = f"evaluate-{path.stem}" if kind is Prediction else TRAINED
                records = Filed(path, kind)
                found = np.fromiter(self._problems.numbers(place, records), np.int32, len(records))
                places = np.flatnonzero(found >= 0).astype(np.int32)
                places = places[np.argsort(found[places], kind="stable")]
                yield _Source(label(path), records, found[places], places)


class _Problems:
    """The wanted problems of a run by number."""

    def __init__(self, folder: Path, wanted: Callable[[Problem], bool]) -> None:
        self._files = [Filed(path, Problem) for path in sorted((folder / "problems").glob("*.jsonl"))]
        self._asked, self._last = Lookup(), array("Q")  # by place, task and id; where each stands last, file and row
        for file, records in enumerate(self._files):
            self._ask(file, records)
        self._names = Lookup()  # of those that are wanted
        self._shown = array("Q")  # which of the asked ones each number shows
        self._numbers = self._numbered(wanted)

    def __len__(self) -> int:
        return len(self._shown)

    def __getitem__(self, number: int) -> Problem:
        return self._entry(self._shown[number])

    def numbers(self, place: str, records: Iterable[_AnyRecord]) -> Iterator[int]:
        """Yield each record's problem's number, -1: none; ids are unique in training, and in each evaluated task."""
        about, number = None, -1
        for record in records:
            if about != (record.task, record.problem_id):  # the answers to a problem follow one another
                about, number = (record.task, record.problem_id), self._number_of(place, record)
            yield number

    def _number_of(self, place: str, record: _AnyRecord) -> int:
        if there := self._asked.find(_key(place, record.task, record.problem_id)):
            return self._numbers[there[0]]
        anywhere = self._names.find(_key("", record.task, record.problem_id))
        return anywhere[-1] if anywhere else -1

    def _ask(self, file: int, records: Filed[Problem]) -> None:
        stem = records.path.stem
        place = TRAINED if stem in ("train", "refine") else stem
        for row, problem in enumerate(records):
            key = _key(place, problem.task, problem.id)
            if earlier := self._asked.find(key):
                self._last[2 * earlier[0]], self._last[2 * earlier[0] + 1] = file, row
            else:
                self._asked.add(key)
                self._last.extend((file, row))

    def _entry(self, entry: int) -> Problem:
        return self._files[self._last[2 * entry]][self._last[2 * entry + 1]]

    def _numbered(self, wanted: Callable[[Problem], bool]) -> array[int]:
        """Return the number of each asked problem, -1: none that is wanted asks the same."""
        questions, numbers = Lookup(), array("q")
        for entry in range(len(self._asked)):
            problem = self._entry(entry)
            numbers.append(self._number(entry, problem, questions) if wanted(problem) else -1)
        for entry, number in enumerate(numbers):
            if number < 0:
                numbers[entry] = _found(self._entry(entry), questions)
        return numbers

    def _number(self, entry: int, problem: Problem, questions: Lookup) -> int:
        """Give a problem a number, and return it; two that ask the same thing share one, and the later is shown."""
        if (number := _found(problem, questions)) >= 0:
            self._shown[number] = entry
            return number
        questions.add(_question(problem))
        self._names.add(_key("", problem.task, problem.id))
        self._shown.append(entry)
        return len(self._shown) - 1


def gather(folder: Path, wanted: Callable[[Problem], bool] = lambda problem: True) -> Gathered:
    """Gather what was said about the wanted problems, in the order of their files.

    Raises:
        DataError: a file of the run is damaged.
    """
    return Gathered(folder, wanted)


def in_order(model: Model) -> tuple[int, int, str]:
    """Return a model's place: in the order in which the method makes them, then the controls and the teacher."""
    kinds = ("base", "instructed", "instructed-again", "refined", "control", "teacher")
    return kinds.index(model.kind), model.round + 1000 * model.is_last, model.control


def _question(problem: Problem) -> str:
    """Return the key by which two problems count as the same, whichever files they are in."""
    return repr((problem.task, problem.id, problem.question, problem.choices))


def _found(problem: Problem, questions: Lookup) -> int:
    return next(iter(questions.find(_question(problem))), -1)


def _key(place: str, task: str, problem_id: str) -> str:
    return repr((place, task, problem_id))


def _round(path: Path) -> int:
    return int(path.parent.name.removeprefix("round-"))


def _by_model(path: Path) -> tuple[tuple[int, int, str], str]:
    return in_order(Model.named(path.parent.name)), path.name
