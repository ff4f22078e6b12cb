"""A small run in all its parts, and a place to run it in: two rounds, a control, a teacher, a study of two cells."""

import hashlib
import json
import re

import yaml

RECIPE = """\
name: small
student: {{model: "{student}", tuning: full, dtype: float32}}
tasks:
  train: [{{task: sums, limit: 8}}, {{task: switches, limit: 8}}]
  dev: [{{task: sums, limit: 2}}]
  evaluate: [{{task: sums, limit: 3}}, {{task: doors, limit: 3}}]
teacher: {teacher}
instruct: {{epochs: 12, learning_rate: 1e-2, batch_size: 16, direct_target: answer}}
sample: {{direct: 2, cot: 2, max_new_tokens: 8}}
refine: {{loss: sigmoid, epochs: 1, batch_size: 8, nll_weight: 0.5, accept: always}}
rounds: 2
controls: [instruct]
evaluate: {{max_new_tokens: 6, teacher: true}}
rows: 16
"""


def study_of(recipe):
    """The recipe as a study of two cells, whose practice comes in parts: a part's optimizer goes after the next."""
    tree = yaml.safe_load(recipe) | {"rounds": 1, "controls": []}
    tree["refine"] |= {"parts": 2, "passes": 2}
    return yaml.safe_dump({"name": "pair", "recipe": tree, "seeds": [0], "axes": {"refine.beta": [0.1, 0.3]}})


WHEN = ("timings", "finished")  # in results.json, which report.html shows


def _as_if_alone(entry):
    """A stage's entry without when it was made, by which run, and the sums of what says when."""
    kept = {name: value for name, value in entry.items() if name not in ("seconds", "shared", "made by", "fingerprint")}
    dated = ("results.json", "report.html")
    return {**kept, **{of: {n: s for n, s in entry[of].items() if n not in dated} for of in ("inputs", "outputs")}}


def contents(folder):
    """Sums of all that a run made. When, in which order and by which commit may differ between runs that are alike."""
    results = folder / "results.json"
    commit = json.loads(results.read_bytes())["environment"].get("commit", "") if results.exists() else ""
    sums = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        # Answers are kept in order of arrival; the pool of a study has the files of its runs again.
        if path.name.endswith(".lock") or path.relative_to(folder).parts[0] in ("teacher", "pool", "timings.json"):
            continue
        data = path.read_bytes()
        if path.name == "results.json":
            data = json.dumps({k: v for k, v in json.loads(data).items() if k not in WHEN}).encode()
        if path.name == "report.html":
            data = re.sub(rb'<(p|table) class="when.*?</\1>', b"", data, flags=re.DOTALL)
        if path.name == "manifest.json":
            stages = json.loads(data)["stages"]
            data = json.dumps({name: _as_if_alone(entry) for name, entry in stages.items()}).encode()
        if commit and path.name in ("results.json", "report.html"):
            data = data.replace(commit.encode(), b"")
        sums[name] = hashlib.sha256(data).hexdigest()
    return sums
