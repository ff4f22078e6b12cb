"""Measure how each step of a run grows with its rows: python bench/scale.py [N …]

Each step runs in a process of its own, on made-up rows, with a recording as the teacher and made-up answers in place of
sampled ones. Prints seconds, and the peak of its memory beside what its imports take; writes bench/scale.json.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

from srit.recipe import Pairs, Recipe, TaskUse, check_recipe
from srit.records import Completion, Model, Pair, Prediction, Problem
from srit.run_directory import each_record, read_records, write_json, write_records

RESULTS = Path(__file__).with_name("scale.json")
TESTS = Path(__file__).parents[1] / "tests"
ANSWERS = 4  # completions of each problem
MODELS = ("base", "instructed", "refined")


def main(sizes: list[int]) -> None:
    place = Path(mkdtemp(prefix="srit-scale-"))
    student = _student(place / "student")
    found = {}
    for n in sizes:
        folder = place / str(n)
        write_rows(folder, n)
        found[str(n)] = {name: measured(step) for name, step in _steps(folder, student, n).items()}
        for name, (seconds, megabytes) in found[str(n)].items():
            print(f"{n:>9,} {name:45} {seconds:8.1f} s {megabytes:8.0f} MB", flush=True)
        shutil.rmtree(folder)
    write_json(RESULTS, found)


def _steps(folder: Path, student: Path, n: int) -> dict[str, Callable[[], object]]:
    recipe = recipe_of(folder, student)
    return {
        "plan": lambda: _plan(recipe, folder),
        "problems, lengths, recorded demonstrations": lambda: _demonstrate(recipe, folder),
        "write completions": lambda: write_records(folder / "completions.jsonl", completions(n)),
        "read completions": lambda: sum(1 for _ in each_record(folder / "completions.jsonl", Completion)),
        "pairs": lambda: _pairs(folder, n),
        "preferences": lambda: _preferences(folder, student, n),
        "predictions and results": lambda: _results(folder, n),
    }


def measured(step: Callable[[], object]) -> tuple[float, float]:
    """Run a step in a process of its own; return seconds and the megabytes that it adds to its peak."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_measure, args=(step, theirs))
    process.start()
    process.join()
    return ours.recv() if ours.poll() else (float("inf"), float("inf"))


def _measure(step: Callable[[], object], pipe: multiprocessing.connection.Connection) -> None:
    import torch
    import transformers

    from srit.students.loading import load_prompts

    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    step()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pipe.send((round(time.monotonic() - began, 2), round(grown / 1000)))
    assert torch, transformers and load_prompts


def write_rows(folder: Path, n: int) -> None:
    """Write problems and a teacher's recording of them."""
    folder.mkdir()
    with (folder / "train.jsonl").open("w") as rows, (folder / "teacher.jsonl").open("w") as answers:
        for number in range(n):
            question = (
                f"Ann has {number} apples, buys {number % 97} more and gives {number % 7} away. How many has she?"
            )
            gold = number + number % 97 - number % 7
            row = {"id": f"p{number}", "question": question, "answer": str(gold)}
            said = f"{number} + {number % 97} - {number % 7} = {gold}. The answer is {gold}."
            rows.write(json.dumps(row) + "\n")
            answers.write(json.dumps({"id": row["id"], "output": said}) + "\n")


def recipe_of(folder: Path, student: Path) -> Recipe:
    tree = {
        "name": "scale",
        "student": {"model": str(student), "tuning": "full", "dtype": "float32"},
        "tasks": {
            "train": [{"task": f"jsonl:{folder / 'train.jsonl'}"}],
            "evaluate": [TaskUse(task="doors", limit=10).model_dump()],
        },
        "teacher": {"kind": "recording", "path": str(folder / "teacher.jsonl")},
    }
    return check_recipe(tree, source="scale")


def _student(folder: Path) -> Path:
    sys.path.insert(0, str(TESTS))
    from tiny import save_tiny_student

    return Path(save_tiny_student(folder))


def _plan(recipe: Recipe, folder: Path) -> None:
    from srit import plan

    plan(recipe, folder / "run")


def _demonstrate(recipe: Recipe, folder: Path) -> None:
    from srit import demonstrate

    demonstrate(recipe, folder / "run", log=lambda line: print(f"          {line}", flush=True))


def problems(n: int) -> Iterator[Problem]:
    return (Problem(f"p{i}", "sums", "train", f"{i} + 1?", str(i + 1)) for i in range(n))


def completions(n: int) -> Iterator[Completion]:
    """Made-up answers; every other one is right."""
    for i in range(n):
        for index in range(ANSWERS):
            right, text = (
                index % 2 == 0,
                f"{i} and 1 are {i + 1 + index % 2}, way {index}. The answer is {i + 1 + index % 2}.",
            )
            ids = tuple(50 + (i + place + index) % 200 for place in range(20))
            kind = "direct" if index < ANSWERS // 2 else "cot"
            verdict = "right" if right else "wrong"
            yield Completion(f"p{i}", "sums", kind, index, text, ids, -9.5, False, str(i), verdict, float(right))


def _pairs(folder: Path, n: int) -> None:
    from srit.stages.pairs import make_pairs

    made = read_records(folder / "completions.jsonl", Completion)
    pairs, _ = make_pairs(list(problems(n)), made, [], Pairs(), lambda text: (1,))
    write_records(folder / "pairs.jsonl", pairs)


def _preferences(folder: Path, student: Path, n: int) -> None:
    from srit.stages.refined import make_preferences
    from srit.students.loading import load_prompts

    recipe = recipe_of(folder, student)
    made = read_records(folder / "completions.jsonl", Completion)
    pairs = read_records(folder / "pairs.jsonl", Pair)
    make_preferences(list(problems(n)), pairs, made, load_prompts(recipe.student), recipe.pairs, recipe.refine)


def _results(folder: Path, n: int) -> None:
    from srit.stages.results import make_results

    for model in MODELS:
        write_records(folder / f"{model}.jsonl", predictions(n, len(model)))
    found = {(Model.named(model), "sums"): read_records(folder / f"{model}.jsonl", Prediction) for model in MODELS}
    make_results(found, {"sums"}, seed=0)


def predictions(n: int, shift: int) -> Iterator[Prediction]:
    for i in range(n):
        verdict = "right" if (i * 7919 + shift) % 10 < 5 + shift % 3 else "wrong"
        yield Prediction(f"p{i}", "sums", "cot", 0, f"The answer is {i}.", 9, False, str(i), (14, 15), "said", verdict)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
