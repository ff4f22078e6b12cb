"""Settings of stage 2 tried on one run's instructed model: python studies/try_refinements.py RUN SETTINGS.jsonl

A line of SETTINGS holds fields of `refine`, such as {"learning_rate": 1e-4, "nll_weight": 4.0}, or "only_right": true
for fine-tuning on own right answers. Each is trained in bfloat16 from RUN/instructed on RUN's answers and judged on
fresh problems of the tasks' dev splits, 200 a task in-domain and 100 out-of-domain. Prints one JSON line each.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from srit.recipe import Recipe, TaskUse, read_recipe
from srit.records import Completion, Demonstration, Problem
from srit.run_directory import read_records
from srit.samplers import SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler
from srit.stages.pairs import make_pairs
from srit.stages.predictions import make_predictions, make_requests
from srit.stages.problems import load
from srit.students.loading import load_model, load_tokenizer, trainable
from srit.students.prompts import Prompts
from srit.training.preference import make_preferences, reference_logps, refine

SEED = 100  # of the dev problems: others than the recipe's own


def main(folder: Path, settings: Path) -> None:
    recipe = read_recipe(str(folder / "recipe.yaml"), ["student.dtype=bfloat16"])
    prompts = Prompts(load_tokenizer(recipe.student), recipe.student.chat_template)
    print(json.dumps({"setting": "instructed", "dev": on_dev(recipe, prompts, folder / "instructed")}), flush=True)
    for line in filter(str.strip, settings.read_text().splitlines()):
        with tempfile.TemporaryDirectory() as scratch:
            refined = refined_by(recipe, prompts, folder, json.loads(line), Path(scratch))
            print(json.dumps({"setting": json.loads(line), "dev": on_dev(recipe, prompts, refined)}), flush=True)


def refined_by(recipe: Recipe, prompts: Prompts, folder: Path, setting: dict[str, Any], scratch: Path) -> Path:
    only_right = setting.pop("only_right", False)
    recipe = recipe.model_copy(update={"refine": recipe.refine.model_copy(update=setting)})
    problems = read_records(folder / "problems/train.jsonl", Problem)
    completions = read_records(folder / "round-1/completions.jsonl", Completion)
    demonstrations = read_records(folder / "demonstrations.jsonl", Demonstration)
    pairs, _ = make_pairs(problems, completions, demonstrations, recipe.pairs, prompts.completion_ids)
    preferences = make_preferences(problems, pairs, completions, prompts, recipe, only_right=only_right)
    model = trainable(recipe.student, folder / "instructed")
    refine(
        model,
        preferences,
        reference_logps(model, preferences, recipe.refine.row_tokens),
        recipe.refine,
        preference_weight=0.0 if only_right else 1.0,
        seed="0",
        checkpoints=scratch / "checkpoints",
        progress=lambda done, total: None,
    )
    model.save_pretrained(scratch / "refined")
    return scratch / "refined"


def on_dev(recipe: Recipe, prompts: Prompts, adapter: Path) -> dict[str, float]:
    """Percent right by task, and over the tasks of each domain."""
    sampler = TransformersSampler(load_model(recipe.student, adapter), rows=recipe.rows, pad_id=0)
    greedy = SamplingSettings(0.0, recipe.evaluate.max_new_tokens, prompts.stop_ids)
    trained = {use.task for use in recipe.tasks.train}
    right: dict[str, list[bool]] = defaultdict(list)
    for use in recipe.tasks.evaluate:
        domain, n = ("in", 200) if use.task in trained else ("out", 100)
        problems = load([TaskUse(task=use.task, limit=n)], "dev", seed=SEED)
        requests = make_requests(problems, ("cot",), prompts, range(1), "")
        for answer in make_predictions(problems, ("cot",), range(1), list(sampler.sample(requests, greedy)), prompts):
            for name in (domain, use.task):
                right[name].append(answer.verdict == "right")
    return {name: round(100 * sum(found) / len(found), 1) for name, found in right.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
