"""A whole run with a tiny model, of many chunks, and its results."""

import hashlib
import json
import sys

RECIPE = """\
name: tiny
student: {{model: "{student}", tuning: full, dtype: float32}}
tasks:
  train: [{{task: sums, limit: 60}}]
  evaluate: [{{task: sums, limit: 20}}, {{task: doors, limit: 20}}]
instruct: {{epochs: 1, learning_rate: 1e-2, direct_target: answer}}
sample: {{direct: 2, cot: 2, max_new_tokens: 12}}
refine: {{loss: sigmoid, epochs: 1, nll_weight: 0.5, nll_on: right}}
evaluate: {{max_new_tokens: 8}}
rows: 4
"""


def command(recipe, out, *options):
    return [sys.executable, "-m", "srit", "run", str(recipe), "--out", str(out), *options]


def sums(out):
    """Of every result that is not about time."""
    found = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and (path.suffix in (".jsonl", ".safetensors") or path.name.endswith("-logps.json"))
    }
    return {**found, "results.json": results(out)}


def results(out):
    of_time = ("timings", "finished")
    return {name: part for name, part in json.loads((out / "results.json").read_bytes()).items() if name not in of_time}


def chunks(out, stage):
    return list((out / ".partial" / stage).glob("*/*/chunk-*.json"))
