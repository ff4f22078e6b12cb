"""study.json → estimates: accuracies over seeds, and models compared on the same problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from srit.intervals import pass_at_k, wilson
from srit.records import Model, PromptKind
from srit.records.scores import Interval
from srit.study.records import AnswerRow, CellRecord, OptionRow, StudyRecord, read_study_record
from srit.study.statistics import (
    Observations,
    Paired,
    difference_interval,
    hierarchical_interval,
    mean_of,
    minus,
    n_problems,
    paired,
    t_test,
)


class Key(NamedTuple):
    """Whose answers, to what."""

    cell: str
    model: Model
    task: str
    prompt: PromptKind
    scored: str = ""  # of options by likelihood: "text", "text by length" or "letter"


class Marks(NamedTuple):
    """The problems of a task that a model has right with one seed."""

    problems: str  # hash of their ids
    right: tuple[float, ...]  # by problem: 1 or 0, or a chance


Marked = Mapping[Key, Mapping[int, Marks]]  # by seed, of the runs that are done


class Estimate(NamedTuple):
    """A mean over seeds and problems with its 95 % interval."""

    mean: float
    ci95: Interval
    n_seeds: int
    by_seed: tuple[float, ...]  # of the seeds that all parts have, in their order

    @property
    def p_seeds(self) -> float | None:
        """The p value of the seeds' own means by Student's t test; None if there is one seed."""
        return t_test(self.by_seed) if len(self.by_seed) > 1 else None


@dataclass(frozen=True, slots=True)
class StudyResults:
    """A study.json, and its answers by model, task and prompt."""

    record: StudyRecord
    answers: dict[Key, dict[int, AnswerRow]]  # by seed, of the runs that are done
    options: dict[Key, dict[int, OptionRow]]
    marks: dict[Key, dict[int, Marks]]  # of the greedy answers
    option_marks: dict[Key, dict[int, Marks]]

    @property
    def cells(self) -> tuple[CellRecord, ...]:
        """The study's cells."""
        return self.record.cells


def read_study_results(path: Path) -> StudyResults:
    """Read a study.json.

    Raises:
        DataError: there is none, or it is damaged or of another format; names the field at fault.
    """
    return results_of(read_study_record(path))


def results_of(record: StudyRecord) -> StudyResults:
    """Sort a study's results by model, task and prompt."""
    answers: dict[Key, dict[int, AnswerRow]] = {}
    options: dict[Key, dict[int, OptionRow]] = {}
    for name, run in ((cell.cell, run) for cell in record.cells for run in cell.done()):
        for row in run.answers:
            answers.setdefault(Key(name, row.model, row.task, row.prompt), {})[run.seed] = row
        for option in run.options or ():
            key = Key(name, option.model, option.task, option.prompt, option.scored)
            options.setdefault(key, {})[run.seed] = option
    marks = {
        key: {seed: Marks(row.problems, _digits(row.right)) for seed, row in rows.items()}
        for key, rows in answers.items()
    }
    return StudyResults(record, answers, options, marks, _option_marks(options))


def _option_marks(options: Mapping[Key, Mapping[int, OptionRow]]) -> dict[Key, dict[int, Marks]]:
    """Mark the likeliest options, and then the likeliest per character; letters all have one length."""
    marks = {}
    for key, rows in options.items():
        marks[key] = {seed: Marks(row.problems, _digits(row.right)) for seed, row in rows.items()}
        if key.scored != "letter":
            by_length = key._replace(scored=f"{key.scored} by length")
            marks[by_length] = {seed: Marks(row.problems, _digits(row.right_norm)) for seed, row in rows.items()}
    return marks


def models_of(results: StudyResults, cell: str) -> list[Model]:
    """Return the models of a cell, in the order of the runs."""
    return list(dict.fromkeys(key.model for key in results.answers if key.cell == cell))


def tasks_of(results: StudyResults, cell: str | None = None) -> list[str]:
    """Return the evaluated tasks of one cell, or of all."""
    return list(dict.fromkeys(key.task for key in results.answers if cell in (None, key.cell)))


def prompts_of(results: StudyResults) -> list[PromptKind]:
    """Return the prompts, CoT before direct: the first is the study's main prompt."""
    return sorted({key.prompt for key in results.answers})


def main_prompt(results: StudyResults) -> PromptKind:
    """Return the prompt that most tables are about."""
    return (prompts_of(results) or ["cot"])[0]


def domain_tasks(results: StudyResults, cell: CellRecord, domain: str) -> list[str]:
    """Return the evaluated tasks that a cell was tuned on ("in"), the others ("out"), or all ("any")."""
    wanted = {"in": (True,), "out": (False,), "any": (True, False)}[domain]
    return [task for task in tasks_of(results, cell.cell) if (task in cell.tuned_on) in wanted]


def accuracy(marks: Marked, keys: Iterable[Key]) -> Estimate | None:
    """Estimate the mean accuracy over tasks or cells, each counting equally; None if there are no answers."""
    observed = [one for group in _by_model(keys) for one in _accuracies(marks, group)]
    found = _estimate(observed, hierarchical_interval)
    if found is None or 0 < found.mean < 1:
        return found
    # If all answers are right, or all wrong, every draw is the same, so this is the interval of as many problems.
    n = n_problems(observed)
    return found._replace(ci95=wilson(round(found.mean * n), n))


def at_k(results: StudyResults, k: int) -> Marked:
    """Return each problem's pass@k instead of whether its greedy answer is right, if samples were drawn."""
    drawn = {
        key: {seed: _pass_at(row, k) for seed, row in rows.items() if k in (row.pass_at or ())}
        for key, rows in results.answers.items()
    }
    return {key: rows for key, rows in drawn.items() if rows}


def difference(marks: Marked, pairs: Iterable[tuple[Key, Key]]) -> Estimate | None:
    """Estimate the mean difference a - b over pairs of answers to the same problems; None if there are none."""
    by_models: dict[tuple[str, Model, str, Model], list[tuple[Key, Key]]] = {}
    for a, b in pairs:
        by_models.setdefault((a.cell, a.model, b.cell, b.model), []).append((a, b))
    observed = [one for group in by_models.values() for one in _differences(marks, group)]
    return _estimate(observed, difference_interval)


def compare_answers(marks: Marked, a: Key, b: Key) -> Paired | None:
    """Compare two models over the seeds in which both answered the same problems; None if there are none."""
    seeds = common_seeds(marks, [(a, b)])
    return paired(*(_observed(marks, key, seeds) for key in (a, b))) if seeds else None


def common_seeds(marks: Marked, pairs: Sequence[tuple[Key, Key]]) -> list[int]:
    """Return the seeds in which both sides of all pairs answered the same problems."""
    seeds: set[int] | None = None
    for a, b in pairs:
        rows_a, rows_b = marks.get(a, {}), marks.get(b, {})
        both = {seed for seed in rows_a if seed in rows_b and _are_same(rows_a[seed], rows_b[seed])}
        seeds = both if seeds is None else seeds & both
    return sorted(seeds or ())


def _are_same(a: Marks, b: Marks) -> bool:
    """Return whether two rows answer the same problems."""
    return a.problems == b.problems and len(a.right) == len(b.right)


def _estimate(
    observed: Sequence[Observations], interval: Callable[[Sequence[Observations]], Interval]
) -> Estimate | None:
    if not observed:
        return None
    means = [dict(zip(one.seeds, map(fmean, one.rows), strict=True)) for one in observed]
    seeds = sorted(set.intersection(*map(set, means)))
    by_seed = tuple(fmean([of_one[seed] for of_one in means]) for seed in seeds)
    n_seeds = min(len(one.seeds) for one in observed)
    return Estimate(mean_of(observed), interval(observed), n_seeds, by_seed)


def _by_model(keys: Iterable[Key]) -> list[list[Key]]:
    groups: dict[tuple[str, Model], list[Key]] = {}
    for key in keys:
        groups.setdefault((key.cell, key.model), []).append(key)
    return list(groups.values())


def _accuracies(marks: Marked, keys: Sequence[Key]) -> list[Observations]:
    """Observe one model over the seeds that all its tasks have."""
    there = [key for key in keys if key in marks]
    seeds = sorted(set.intersection(*(set(marks[key]) for key in there))) if there else []
    return [_observed(marks, key, seeds) for key in there] if seeds else []


def _differences(marks: Marked, pairs: Sequence[tuple[Key, Key]]) -> list[Observations]:
    """Observe two models problem by problem, over the seeds that all their tasks have."""
    there = [pair for pair in pairs if common_seeds(marks, [pair])]
    seeds = common_seeds(marks, there)
    return [minus(*(_observed(marks, key, seeds) for key in pair)) for pair in there] if seeds else []


def _observed(marks: Marked, key: Key, seeds: Sequence[int]) -> Observations:
    rows = [marks[key][seed] for seed in seeds]
    return Observations(tuple(seeds), tuple(row.problems for row in rows), [row.right for row in rows])


def _pass_at(row: AnswerRow, k: int) -> Marks:
    n_right = row.drawn_right or ()
    return Marks(row.problems, tuple(pass_at_k(row.samples or 0, n, k) for n in n_right))


@cache
def _digits(text: str) -> tuple[int, ...]:
    return tuple(map(int, text))
