"""Parts of one study, each run apart, such as a seed or a student on each machine → one study.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srit.errors import DataError
from srit.run_directory import Json
from srit.study.figures import FORMAT, Key, Results

_RANK = {"waiting": 0, "failed": 1, "done": 2}


def joined(parts: Sequence[tuple[str, Results]]) -> Json:
    """A study.json of all cells and seeds that any part has, in the order of the parts, with the first's name.

    Args:
        parts: where each stands, and what it holds; at least one.

    Raises:
        DataError: they are not parts of one study, or two say different things of one cell and seed.
    """
    (first, whole), *others = parts
    for place, part in others:
        if fields := _differing(whole.study, part.study):
            raise DataError(f"{place}: not of the same study as {first}: another {', '.join(fields)}")
    _check_problems(parts)
    studies = [part.study for _, part in parts]
    seeds = _union([study["seeds"] for study in studies])
    cells, runs = _cells(parts), _runs(parts)
    return {
        "format": FORMAT,
        "study": {
            **whole.study,
            "seeds": seeds,
            "axes": {axis: _union([study["axes"][axis] for study in studies]) for axis in whole.study["axes"]},
            "claims": _union([study["claims"] for study in studies]),
        },
        "cells": [
            {**cell, "runs": [runs.get((name, seed), {"seed": seed, "status": "waiting"}) for seed in seeds]}
            for name, cell in cells.items()
        ],
    }


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Fields of two studies that would have to be alike."""
    of_a, of_b = ({f"recipe.{field}": value for field, value in study["recipe"].items()} for study in (a, b))
    for of_study, study in ((of_a, a), (of_b, b)):
        of_study |= {"problems_by_seed": study["problems_by_seed"], "choice of axes": list(study["axes"])}
    return [field for field in of_a | of_b if of_a.get(field) != of_b.get(field)]


def _check_problems(parts: Sequence[tuple[str, Results]]) -> None:
    """That the seeds of a model's answers to a task have the same problems, unless each seed draws its own."""
    there: dict[Key, tuple[str, str]] = {}
    for place, part in () if parts[0][1].study["problems_by_seed"] else parts:
        for key, row in ((key, row) for key, rows in part.answers.items() for row in rows.values()):
            first, problems = there.setdefault(key, (place, row["problems"]))
            if problems != row["problems"]:
                raise DataError(f"{first} and {place}: {key.model} of {key.cell!r} had other problems of {key.task}")


def _cells(parts: Sequence[tuple[str, Results]]) -> dict[str, dict[str, Any]]:
    """Each by its name, without its runs."""
    cells: dict[str, tuple[str, dict[str, Any]]] = {}
    for place, part in parts:
        for cell in part.cells:
            described = {field: value for field, value in cell.items() if field != "runs"}
            there, known = cells.setdefault(cell["cell"], (place, described))
            if known != described:
                raise DataError(f"{there} and {place}: two cells are called {cell['cell']!r}: rename one, and run it")
    return {name: cell for name, (_, cell) in cells.items()}


def _runs(parts: Sequence[tuple[str, Results]]) -> dict[tuple[str, int], Json]:
    """Each by its cell and seed; one that is done before one that failed or waits."""
    runs: dict[tuple[str, int], tuple[str, Json]] = {}
    of_parts = [(place, cell["cell"], run) for place, part in parts for cell in part.cells for run in cell["runs"]]
    for place, name, run in of_parts:
        there, known = runs.setdefault((name, run["seed"]), (place, run))
        if known["status"] == run["status"] == "done" and known != run:
            told = f"{there} and {place}: cell {name!r} with seed {run['seed']} came out differently in the two"
            raise DataError(f"{told}: `srit study compare` shows both; leave one out")
        if _RANK[run["status"]] > _RANK[known["status"]]:
            runs[name, run["seed"]] = (place, run)
    return {key: run for key, (_, run) in runs.items()}


def _union(several: Sequence[Any]) -> Any:
    """Of lists, or of mappings: what any has, in the order in which it first comes."""
    if isinstance(several[0], Mapping):
        return {key: value for part in several for key, value in part.items()}
    found: list[Any] = []
    for part in several:
        found += [value for value in part if value not in found]
    return found
