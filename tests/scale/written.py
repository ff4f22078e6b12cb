"""What sampling and evaluation leave in a run of n made-up problems, written directly: `python written.py FOLDER N`.

Answers to practice problems are those of `made_up.py`. Each model is wrong about a share of the evaluation problems of
its own, so that models differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, cast

from steps import recipe_of

from srit.recipe.compared import evaluated, predictions_file, problems_file
from srit.records import Completion, Demonstration, Model, Prediction, Problem, PromptKind, Split, Verdict
from srit.run_directory import write_records
from srit.students.loading import load_prompts
from srit.students.prompts import Prompts

STEPS = ("lengths", "results", "round-1/pairs", "round-1/anatomy", "preferences", "report")  # that can follow
SAMPLES: tuple[tuple[PromptKind, int], ...] = (("direct", 0), ("cot", 0), ("cot", 1), ("cot", 2))
WRONG_OF = {"base": 2, "instructed": 3, "refined": 5}  # one of so many
TEXT = "So the answer is {}."


class Numbers(NamedTuple):
    """The problems with these numbers, as a task has them."""

    task: str
    split: Split
    numbers: range

    def problems(self) -> Iterator[Problem]:
        for i in self.numbers:
            yield Problem(f"p{i}", self.task, self.split, f"What is {i} + 1?", str(i + 1))

    def demonstrations(self, teacher: str) -> Iterator[Demonstration]:
        for i in self.numbers:
            text = f"It is {i} + 1. The answer is {i + 1}."
            yield Demonstration(f"p{i}", self.task, teacher, text, str(i + 1), "right", True, "right")

    def completions(self, prompts: Prompts) -> Iterator[Completion]:
        for i in self.numbers:
            for prompt, index in SAMPLES:
                said, verdict = _said(i, (index + i) % 2 > 0)
                ids = tuple(prompts.completion_ids(TEXT.format(said)))
                about = (f"p{i}", self.task, prompt, index, TEXT.format(said))
                yield Completion(*about, ids, -0.5 * len(ids), False, said, verdict, float(verdict == "right"))

    def predictions(self, wrong_of: int) -> Iterator[Prediction]:
        start = TEXT.index("{")
        for i in self.numbers:
            said, verdict = _said(i, i % wrong_of == wrong_of - 1)
            text, span = TEXT.format(said), (start, start + len(said))
            yield Prediction(f"p{i}", self.task, "cot", 0, text, len(text) + 1, False, said, span, "announced", verdict)


def _said(i: int, is_wrong: bool) -> tuple[str, Verdict]:
    return str(i + 1 + is_wrong), cast(Verdict, "wrong" if is_wrong else "right")


def write_answers(folder: Path, n: int) -> None:
    """Write problems, demonstrations, completions and predictions."""
    recipe, run = recipe_of(folder), folder / "run"
    [task] = evaluated(recipe)
    train = Numbers(recipe.tasks.train[0].task, "train", range(n))
    test = Numbers(task.use.task, "test", range(n, 2 * n))
    files = {
        "problems/train.jsonl": train.problems(),
        "problems/dev.jsonl": iter(()),
        problems_file(task): test.problems(),
        "demonstrations.jsonl": train.demonstrations(folder.name),
        "round-1/completions.jsonl": train.completions(load_prompts(recipe.student)),
        **{predictions_file(Model.named(name), task): test.predictions(wrong) for name, wrong in WRONG_OF.items()},
    }
    for name, records in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        write_records(run / name, records)


if __name__ == "__main__":
    write_answers(Path(sys.argv[1]), int(sys.argv[2]))
