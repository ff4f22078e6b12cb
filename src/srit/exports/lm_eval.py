"""A run's evaluation tasks for lm-evaluation-harness: the same problems and prompts, judged by srit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import TypeAdapter

from srit.errors import DataError, RecipeError
from srit.exports.sources import FromRun, Source
from srit.exports.trials import Trial
from srit.recipe.compared import Evaluated, evaluated, predictions_file, problems_file
from srit.records import Check, Model, Prediction, Problem, PromptKind
from srit.run_directory import Json, each_record, write_bytes
from srit.students.prompts import Prompts
from srit.tasks import find_task, judge

if TYPE_CHECKING:
    from datasets import Dataset

MODULE = "srit_tasks.py"
_CODE = '''"""Loads the problems beside this file and judges answers as srit does (pip install srit)."""

from pathlib import Path

from srit.exports.lm_eval import judged, rows_of


def rows(file, **more):
    return rows_of(Path(__file__).with_name(file))
'''


def make_lm_eval(source: Source, folder: Path, trial: Trial) -> list[Check]:
    """Write a task for each evaluation task and prompt, and a group of all tasks.

    Raises:
        RecipeError: the model does not belong to a run.
        DataError: the run has no problems yet.
    """
    if source.run is None:
        raise RecipeError("--to lm-eval: only a run has evaluation tasks: name a run directory")
    recipe = source.run.recipe
    names = []
    for task in evaluated(recipe):
        for kind in recipe.evaluate.prompts:
            names.append(_write_task(source.run, task, kind, folder, trial.prompts))
    write_bytes(folder / MODULE, _CODE.encode())
    group = f"srit_{recipe.name}"
    write_bytes(folder / f"{group}.yaml", yaml.safe_dump({"group": group, "task": names}, sort_keys=False).encode())
    return list(_checks(source.run))


def _write_task(run: FromRun, task: Evaluated, kind: PromptKind, folder: Path, prompts: Prompts) -> str:
    path = run.folder / problems_file(task)
    if not path.exists():
        raise DataError(f"{path}: not made yet: run srit run {run.folder / 'recipe.yaml'} --out {run.folder}")
    name, adapter = f"srit_{task.place}_{kind}", TypeAdapter(Problem)
    rows = (
        {
            "prompt": prompts.problem_text(problem, kind),
            "answer": problem.answer,
            "problem": adapter.dump_json(problem).decode(),
        }
        for problem in each_record(path, Problem)
    )
    write_bytes(folder / f"{name}.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    write_bytes(folder / f"{name}.yaml", _config(name, run, prompts).encode())
    return name


def _config(name: str, run: FromRun, prompts: Prompts) -> str:
    evaluate = run.recipe.evaluate
    module = MODULE.removesuffix(".py")
    stated = {
        "task": name,
        "dataset_kwargs": {"file": f"{name}.jsonl"},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        "num_fewshot": 0,
        "generation_kwargs": {
            "until": [*prompts.ends, *evaluate.stop],
            "do_sample": False,
            "max_gen_toks": evaluate.max_new_tokens,
        },
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    functions = f"custom_dataset: !function {module}.rows\nprocess_results: !function {module}.judged\n"
    return yaml.safe_dump(stated, sort_keys=False, allow_unicode=True) + functions


def rows_of(path: Path) -> dict[str, Dataset]:
    """Return an export's problems in lm-eval's form."""
    from datasets import Dataset

    return {"test": Dataset.from_list([json.loads(line) for line in path.read_text("utf-8").splitlines()])}


def judged(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Return 1 if srit reads the right answer from a model's text."""
    problem = TypeAdapter(Problem).validate_json(doc["problem"])
    return {"acc": float(judge(find_task(problem.task), problem, results[0]).verdict == "right")}


def _checks(run: FromRun) -> Iterator[Check]:
    """Judge the answers of the run's last model as lm-eval would."""
    model = Model("refined" if run.recipe.rounds else "instructed")
    for task in evaluated(run.recipe):
        path = run.folder / predictions_file(model, task)
        if not path.exists():
            continue
        problems = {problem.id: problem for problem in each_record(run.folder / problems_file(task), Problem)}
        rows = [row for row in each_record(path, Prediction) if row.index == 0]
        n = sum(judged(_doc(problems[row.problem_id]), [row.text])["acc"] == (row.verdict == "right") for row in rows)
        line = f"{task.label}: {n} of {len(rows)} answers of {model} are judged as in the run"
        yield Check(f"verdicts of {task.label}", n == len(rows), line)


def _doc(problem: Problem) -> Json:
    return {"problem": TypeAdapter(Problem).dump_json(problem).decode()}
