"""A run's demonstrations and pairs as TRL's trainers read them: conversations in JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from srit.errors import RecipeError
from srit.exports.sources import FromRun, Source
from srit.exports.trials import SAME, Trial
from srit.recipe.compared import refine_problems
from srit.recipe.rounds import rounds_of
from srit.records import Check, Demonstration, Pair, Problem
from srit.run_directory import Json, each_record, write_bytes
from srit.stages.instructed import taught
from srit.students.prompts import Prompts

DEMONSTRATIONS, PREFERENCES = "demonstrations.jsonl", "preferences.jsonl"


def make_datasets(source: Source, folder: Path, trial: Trial) -> list[Check]:
    """Write the existing demonstrations (prompt, completion) and pairs (prompt, chosen, rejected).

    Raises:
        RecipeError: the model does not belong to a run, or the run has neither yet.
    """
    if source.run is None:
        raise RecipeError("--to datasets: only a run has demonstrations and pairs: name a run directory")
    rows = {
        DEMONSTRATIONS: list(_demonstrations(source.run, trial.prompts)),
        PREFERENCES: list(_preferences(source.run, trial.prompts)),
    }
    if not any(rows.values()):
        raise RecipeError(f"--to datasets: {source.run.folder} has no demonstrations yet: run it first with srit run")
    checks = []
    for name, found in rows.items():
        if found:
            write_bytes(folder / name, b"".join(json.dumps(row).encode() + b"\n" for row in found))
            checks.append(_check(name, found, trial.prompts))
    return checks


def _demonstrations(run: FromRun, prompts: Prompts) -> Iterator[Json]:
    """Yield the demonstrations trained on, each with the prompt that it was trained with."""
    path = run.folder / "demonstrations.jsonl"
    if path.exists():
        problems = _by_id(run.folder / "problems/train.jsonl")
        demonstrations = list(each_record(path, Demonstration))
        for one in taught(demonstrations, lambda d: problems[d.problem_id], run.recipe.instruct, run.recipe.seed):
            yield _row(
                one.problem,
                {"prompt": _user(prompts.problem_text(one.problem, one.kind)), "completion": _said(one.target)},
            )


def _preferences(run: FromRun, prompts: Prompts) -> Iterator[Json]:
    """Yield the pairs of all rounds, each with its round."""
    for number in rounds_of(run.recipe):
        path = run.folder / f"round-{number}/pairs.jsonl"
        if path.exists():
            problems = _by_id(run.folder / refine_problems(run.recipe))
            for pair in each_record(path, Pair):
                problem = problems[pair.problem_id]
                sides = {"chosen": _said(pair.chosen), "rejected": _said(pair.rejected)}
                yield _row(
                    problem, {"prompt": _user(prompts.problem_text(problem, pair.prompt)), **sides, "round": number}
                )


def _by_id(path: Path) -> dict[str, Problem]:
    return {problem.id: problem for problem in each_record(path, Problem)}


def _row(problem: Problem, texts: dict[str, Json]) -> Json:
    return {**texts, "problem_id": problem.id, "task": problem.task}


def _user(text: str) -> Json:
    return [{"role": "user", "content": text}]


def _said(text: str) -> Json:
    return [{"role": "assistant", "content": text}]


def _check(name: str, rows: Iterable[Json], prompts: Prompts) -> Check:
    """Count the rows that a chat template turns into the tokens that srit trains on."""
    texts = [(row["prompt"][0]["content"], row.get("completion", row.get("chosen"))[0]["content"]) for row in rows]
    n = sum(_trained(asked, said, prompts) for asked, said in texts)
    line = f"{name}: {n} of {len(texts)} rows are the tokens that srit trains on, by the model's chat template"
    return Check(name, n >= SAME * len(texts), line)


def _trained(asked: str, said: str, prompts: Prompts) -> bool:
    ids = (*prompts.prompt_ids(asked, where=asked), *prompts.completion_ids(said))
    return prompts.ids_of(prompts.written(asked, said, opens=False))[: len(ids)] == ids
