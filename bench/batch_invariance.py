"""Count the greedy answers that depend on the batch size: python bench/batch_invariance.py RUN [N]

Answers N evaluation problems of a finished run with its instructed model, one at a time and 32 at a time, and counts
the answers whose tokens, and whose verdicts, differ.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from srit.recipe import read_recipe
from srit.records import Problem
from srit.run_directory import read_records
from srit.samplers import SamplingSettings
from srit.samplers.asked import asked, make_requests
from srit.samplers.transformers.engine import TransformersSampler
from srit.stages.predictions import make_predictions
from srit.students.loading import load_model, load_tokenizer
from srit.students.prompts import Prompts


def main(folder: Path, n: int) -> None:
    recipe = read_recipe(str(folder / "recipe.yaml"))
    problems = [p for path in sorted(folder.glob("problems/evaluate-*.jsonl")) for p in read_records(path, Problem)][:n]
    prompts = Prompts(load_tokenizer(recipe.student), recipe.student.chat_template)
    greedy = SamplingSettings(0.0, recipe.evaluate.max_new_tokens, prompts.stop_ids)
    model = load_model(recipe.student, folder / "instructed")
    wanted = asked(problems, [("cot", range(1))])
    requests = list(make_requests(wanted, prompts, "0"))
    found = []
    for rows in (1, 32):
        started = time.monotonic()
        sampled = list(TransformersSampler(model, rows=rows, pad_id=0).sample(requests, greedy))
        print(f"{rows} at a time: {len(sampled)} answers in {time.monotonic() - started:.0f} s")
        found.append((sampled, list(make_predictions(wanted, sampled, prompts))))
    (alone, judged_alone), (together, judged_together) = found
    tokens = sum(a.token_ids != b.token_ids for a, b in zip(alone, together, strict=True))
    verdicts = sum(a.verdict != b.verdict for a, b in zip(judged_alone, judged_together, strict=True))
    print(f"{tokens} of {len(problems)} answers differ in a token, {verdicts} in their verdict")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 500)
