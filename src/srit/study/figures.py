"""study.json → figures: accuracies over seeds, and models compared on the same problems."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from srit.errors import DataError
from srit.intervals import pass_at_k, wilson
from srit.scores import Interval
from srit.study.statistics import Paired, Sample, hierarchical_interval, mean_of, minus, paired

FORMAT = 1
STUDY_FIELDS = ("recipe", "seeds", "problems_by_seed", "axes")
CELL_FIELDS = ("labels", "changes", "tuned_on", "instructed_on", "refined_on", "rounds", "student")
CLAIM_FIELDS = ("a", "b", "domain", "prompt", "where", "against", "same")
BY_LENGTH = " by length"  # ends what was scored, where the likeliest a character is taken


class Key(NamedTuple):
    """Whose answers, to what."""

    cell: str
    model: str
    task: str
    prompt: str


class Figure(NamedTuple):
    """A mean over seeds and problems with its 95 % interval."""

    mean: float
    ci95: Interval
    n_seeds: int
    by_seed: tuple[float, ...]  # of the seeds that all parts have, in their order


class Results(NamedTuple):
    """A study's outcome, as study.json has it."""

    name: str
    about: str
    study: dict[str, Any]
    cells: list[dict[str, Any]]
    answers: dict[Key, dict[int, dict[str, Any]]]  # rows by seed, of the runs that are done
    options: dict[Key, dict[int, dict[str, Any]]]  # likewise; a key's prompt also says what was scored


def read_results(path: Path) -> Results:
    """
    Raises:
        DataError: there is no such study.json, or it is of another form.
    """
    try:
        return results_of(json.loads(path.read_bytes()))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}: give a study folder or its study.json") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: not a study.json of format {FORMAT} ({type(error).__name__}: {error})") from None


def results_of(record: Mapping[str, Any]) -> Results:
    """A study.json as read.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    if record["format"] != FORMAT:
        raise ValueError(f"format {record['format']}")
    answers: dict[Key, dict[int, dict[str, Any]]] = {}
    options: dict[Key, dict[int, dict[str, Any]]] = {}
    for cell in record["cells"]:
        for run in cell["runs"]:
            for row in run.get("answers", ()):
                key = Key(cell["cell"], row["model"], row["task"], row["prompt"])
                answers.setdefault(key, {})[run["seed"]] = row
            for row in run.get("options", ()):
                key = Key(cell["cell"], row["model"], row["task"], f"{row['prompt']}, {row['scored']}")
                options.setdefault(key, {})[run["seed"]] = row
                if row["scored"] != "letter":  # letters are all of one length
                    by_length = key._replace(prompt=key.prompt + BY_LENGTH)
                    options.setdefault(by_length, {})[run["seed"]] = {**row, "right": row["right_norm"]}
    study = record["study"]
    _check(study, record["cells"], [row for rows in (*answers.values(), *options.values()) for row in rows.values()])
    return Results(study["name"], study["about"], study, record["cells"], answers, options)


def _check(study: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """What everything below takes for granted of a study.json, which a person may have edited."""
    for fields, there in ((STUDY_FIELDS, [study]), (CELL_FIELDS, cells), (CLAIM_FIELDS, study["claims"])):
        for one in there:
            if lacks := [field for field in fields if field not in one]:
                raise ValueError(f"{', '.join(lacks)} missing")
    for cell in cells:
        if wrong := {run["status"] for run in cell["runs"]} - {"done", "failed", "waiting"}:
            raise ValueError(f"cell {cell['cell']!r}: status {wrong.pop()!r}")
        if wrong := {run["seed"] for run in cell["runs"]} - set(study["seeds"]):
            raise ValueError(f"cell {cell['cell']!r}: seed {wrong.pop()} is none of the study's")
    for row in rows:
        if not row["right"] or set(row["right"]) - set("01"):
            raise ValueError(f"{row['model']} on {row['task']}: right is {row['right'][:20]!r}")


def models_of(results: Results, cell: str) -> list[str]:
    """In the order of the runs."""
    return list(dict.fromkeys(key.model for key in results.answers if key.cell == cell))


def tasks_of(results: Results, cell: str | None = None) -> list[str]:
    """Evaluated tasks, of one cell or of all."""
    return list(dict.fromkeys(key.task for key in results.answers if cell in (None, key.cell)))


def prompts_of(results: Results) -> list[str]:
    """CoT before direct: the first is the study's main prompt."""
    return sorted({key.prompt for key in results.answers})


def domain_tasks(results: Results, cell: Mapping[str, Any], domain: str) -> list[str]:
    """Evaluated tasks that a cell was tuned on ("in"), the others ("out"), or all ("any")."""
    tuned = set(cell["tuned_on"])
    wanted = {"in": (True,), "out": (False,), "any": (True, False)}[domain]
    return [task for task in tasks_of(results, cell["cell"]) if (task in tuned) in wanted]


def figure(results: Results, keys: Iterable[Key]) -> Figure | None:
    """The mean of several tasks' or cells' accuracies, each alike; None where there are no answers."""
    samples = [sample for group in _by_model(keys) for sample in _accuracies(results, group)]
    found = _figure(samples)
    if found is None or 0 < found.mean < 1:
        return found
    # Where all answers are right, or all wrong, every draw of them is alike: the interval of as many problems.
    n = sum({sample.problems[0]: len(sample.rows[0]) for sample in samples}.values())
    return found._replace(ci95=wilson(round(found.mean * n), n))


def at_k(results: Results, k: int) -> Results:
    """Only what samples were drawn of, and each problem's pass@k in place of whether its greedy answer was right."""
    drawn = {
        key: {seed: {**row, "right": _pass_at(row, k)} for seed, row in rows.items() if k in row.get("pass_at", ())}
        for key, rows in results.answers.items()
    }
    return results._replace(answers={key: rows for key, rows in drawn.items() if rows})


def difference(results: Results, pairs: Iterable[tuple[Key, Key]]) -> Figure | None:
    """The mean difference a - b over several pairs of answers to the same problems; None where there are none."""
    by_models: dict[tuple[str, ...], list[tuple[Key, Key]]] = {}
    for a, b in pairs:
        by_models.setdefault((a.cell, a.model, b.cell, b.model), []).append((a, b))
    return _figure([sample for group in by_models.values() for sample in _differences(results, group)])


def compare_answers(results: Results, a: Key, b: Key) -> Paired | None:
    """Model against model over the seeds in which both answered the same problems; None where there are none."""
    seeds = common_seeds(results, [(a, b)])
    return paired(*(_sample(results, key, seeds) for key in (a, b))) if seeds else None


def common_seeds(results: Results, pairs: Sequence[tuple[Key, Key]]) -> list[int]:
    """Seeds in which both sides of all pairs answered the same problems."""
    seeds: set[int] | None = None
    for a, b in pairs:
        rows_a, rows_b = results.answers.get(a, {}), results.answers.get(b, {})
        both = {seed for seed in rows_a if seed in rows_b and _problems(rows_a[seed]) == _problems(rows_b[seed])}
        seeds = both if seeds is None else seeds & both
    return sorted(seeds or ())


def _figure(samples: Sequence[Sample]) -> Figure | None:
    if not samples:
        return None
    means = [dict(zip(sample.seeds, map(fmean, sample.rows), strict=True)) for sample in samples]
    seeds = sorted(set.intersection(*map(set, means)))
    by_seed = tuple(fmean([of_sample[seed] for of_sample in means]) for seed in seeds)
    n_seeds = min(len(sample.seeds) for sample in samples)
    return Figure(mean_of(samples), hierarchical_interval(samples), n_seeds, by_seed)


def _by_model(keys: Iterable[Key]) -> list[list[Key]]:
    groups: dict[tuple[str, str], list[Key]] = {}
    for key in keys:
        groups.setdefault((key.cell, key.model), []).append(key)
    return list(groups.values())


def _accuracies(results: Results, keys: Sequence[Key]) -> list[Sample]:
    """One model's, over the seeds that all its tasks have."""
    there = [key for key in keys if key in results.answers]
    seeds = sorted(set.intersection(*(set(results.answers[key]) for key in there))) if there else []
    return [_sample(results, key, seeds) for key in there] if seeds else []


def _differences(results: Results, pairs: Sequence[tuple[Key, Key]]) -> list[Sample]:
    """Problem by problem, of two models, over the seeds that all their tasks have."""
    there = [pair for pair in pairs if common_seeds(results, [pair])]
    seeds = common_seeds(results, there)
    return [minus(*(_sample(results, key, seeds) for key in pair)) for pair in there] if seeds else []


def _sample(results: Results, key: Key, seeds: Sequence[int]) -> Sample:
    rows = [results.answers[key][seed] for seed in seeds]
    return Sample(tuple(seeds), tuple(map(_problems, rows)), [_right(row) for row in rows])


def _problems(row: Mapping[str, Any]) -> str:
    return str(row["problems"])


def _pass_at(row: Mapping[str, Any], k: int) -> tuple[float, ...]:
    return tuple(pass_at_k(row["samples"], n_right, k) for n_right in row["drawn_right"])


def _right(row: Mapping[str, Any]) -> tuple[float, ...]:
    """By problem: 1 or 0, or a chance."""
    return _digits(row["right"]) if isinstance(row["right"], str) else tuple(row["right"])


@cache
def _digits(text: str) -> tuple[int, ...]:
    return tuple(map(int, text))
