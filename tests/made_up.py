"""Studies whose answers are made up, and the command line in this process."""

import json

from pydantic import TypeAdapter
from typer.testing import CliRunner

from srit.cli import app
from srit.records import Model
from srit.run_directory import checked
from srit.study.estimates import Key, Marks, results_of
from srit.study.grid import ClaimSettings, Study
from srit.study.records import StudyRecord

IN_DOMAIN = ClaimSettings().model_dump(mode="json")


def study_of(shares, *, tasks=("sums", "trade"), n=200, seeds=(0, 1, 2), cells=None, study=None):
    """A study.json, as JSON, whose models have these shares right of the same problems."""
    plain = Study(name="made-up", recipe="quickstart", seeds=seeds).model_dump(mode="json", exclude={"cells"})
    record = {"format": 1, "study": plain | (study or {}), "cells": []}
    for name, more in (cells or {"cell": {}}).items():
        runs = []
        for seed in seeds:
            answers = [
                {
                    "model": model,
                    "task": task,
                    "prompt": "cot",
                    "problems": task,
                    "right": "".join("1" if i < share * n else "0" for i in range(n)),
                    "tokens": 10.0,
                    "truncated": 0,
                    "unread": 0,
                    "errors": 0,
                }
                for task in tasks
                for model, share in (shares(name, task, seed) if callable(shares) else shares).items()
            ]
            runs.append({"seed": seed, "status": "done", "answers": answers, "trainings": [], "counts": {}})
        described = {"cell": name, "labels": {}, "changes": {}, "rounds": 1, "student": "s", "tuned_on": list(tasks)}
        described |= {"instructed_on": list(tasks), "refined_on": list(tasks), "runs": runs}
        record["cells"].append(described | more)
    return record


def made_up(shares, **options):
    """The results of `study_of`."""
    return results_of(as_record(study_of(shares, **options)))


def as_record(study):
    """A study.json as it is read."""
    return checked(json.dumps(study).encode(), TypeAdapter(StudyRecord))


def key(model, task="sums", cell="cell"):
    return Key(cell, Model.named(model), task, "cot")


def with_other_problems(results, model, seed=None):
    """The results as if a model had answered other problems: with one seed, or with all."""
    for of, marks in results.marks.items():
        if of.model == Model.named(model):
            marks |= {s: Marks("others", one.right) for s, one in marks.items() if seed in (None, s)}
    return results


def table_of(tables, name):
    return next(table for table in tables if table.name == name)


def srit(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])
