"""A finished run directory → its part of study.json: what every table is made from, and nothing that differs
between two machines of the same numbers (no dates, no durations, no folder of this machine)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from srit.compared import answered, options_file, predictions_file, scored, slug
from srit.recipe import Recipe
from srit.records import Model, OptionScores, Prediction
from srit.run_directory import Json, read_manifest, read_records
from srit.stages import measured

ENDS = 10  # the first and the last tenth of a training's steps stand for its ends
OF_PAIRS = {"preference_loss", "chosen_logps", "rejected_logps", "margins", "accuracies"}  # 0 in a step without any
DIGITS = 6  # of a float; the seventh differs between processors


def outcome(folder: Path, recipe: Recipe) -> Json:
    """Answers, trainings and counts of a run."""
    done, wanted = read_manifest(folder).stages, {str(stage.name): stage.name for stage in measured(recipe)}
    # A folder keeps what an earlier form of its recipe had made.
    counts = {name: entry.counts for name, entry in done.items() if name in wanted}
    trainings = [name for name in counts if (folder / f"{name}.json").exists() and "steps" in counts[name]]
    # Only where they were asked for: a study without them stays the same bytes.
    options = {"options": list(_options(folder, recipe))} if recipe.evaluate.options else {}
    return {
        "answers": list(_answers(folder, recipe)),
        **options,
        "trainings": [_training(name, counts[name], folder) for name in trainings],
        "counts": {
            name: _numbers(counts[name])
            for name in counts
            if wanted[name].product in ("demonstrations", "completions", "pairs", "accepted")
            or wanted[name].model == Model("teacher")
        },
    }


def _answers(folder: Path, recipe: Recipe) -> Iterator[Json]:
    """A row for each model, task and prompt."""
    for model, task in answered(recipe):
        found = read_records(folder / predictions_file(model, task), Prediction)
        for prompt in dict.fromkeys(p.prompt for p in found):
            of_prompt = [p for p in found if p.prompt == prompt]
            row = {"model": str(model), "task": task.label, "prompt": prompt}
            # Only where the label does not give it: a study of plain names stays the same bytes.
            row |= {} if task.place == slug(task.label) else {"place": task.place}
            yield row | answers_row(of_prompt, recipe.evaluate.pass_at)


def _options(folder: Path, recipe: Recipe) -> Iterator[Json]:
    """A row for each model, task, prompt and what was scored: a digit a problem, as in `answers_row`."""
    for model, task in scored(recipe):
        found = read_records(folder / options_file(model, task), OptionScores)
        for prompt, what in dict.fromkeys((s.prompt, s.scored) for s in found):
            alike = [s for s in found if (s.prompt, s.scored) == (prompt, what)]
            yield {
                "model": str(model),
                "task": task.label,
                "prompt": prompt,
                "scored": what,
                "problems": _hash(s.problem_id for s in alike),
                "right": "".join("1" if s.right else "0" for s in alike),
                "right_norm": "".join("1" if s.right_norm else "0" for s in alike),
                **{
                    mean: _short(sum(getattr(s, mean) for s in alike) / len(alike))
                    for mean in ("probability", "confidence", "margin")
                },
            }


def _hash(problem_ids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(problem_ids).encode()).hexdigest()[:16]


def answers_row(predictions: Sequence[Prediction], pass_at: Sequence[int] = ()) -> Json:
    """One model's answers to one task under one prompt.

    Returns:
        "problems": hash of the problems' ids; "right": 1 or 0 for each, in that order; "tokens": mean of an answer, 0
        where its source does not count them; where samples were drawn, how many of "samples" were right for each
        problem.
    """
    greedy = [p for p in predictions if p.index == 0]
    row: dict[str, Json] = {
        "problems": _hash(p.problem_id for p in greedy),
        "right": "".join("1" if p.verdict == "right" else "0" for p in greedy),
        "tokens": _short(sum(p.n_tokens for p in greedy) / len(greedy)),
        "truncated": sum(p.truncated for p in greedy),
        "unread": sum(p.verdict == "unread" for p in greedy),
        "errors": sum(p.verdict == "error" for p in greedy),
    }
    drawn: dict[str, list[bool]] = {p.problem_id: [] for p in greedy}
    for p in predictions:
        if p.index > 0:
            drawn[p.problem_id].append(p.verdict == "right")
    if pass_at and any(drawn.values()):
        row |= {"pass_at": list(pass_at), "samples": max(map(len, drawn.values()))}
        row["drawn_right"] = [sum(right) for right in drawn.values()]
    return row


def _training(name: str, counts: Mapping[str, Json], folder: Path) -> Json:
    history = json.loads((folder / f"{name}.json").read_bytes())["history"]
    tenth = max(1, len(history) // ENDS)
    ends = {"first": step_means(history[:tenth]), "last": step_means(history[-tenth:])} if history else {}
    return {"stage": name, **_numbers(counts), **ends}


def step_means(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each step alike; what is said of pairs over the steps that have any, and not at all where none has."""
    means = {}
    for field in steps[0]:
        there = [step[field] for step in steps if field not in OF_PAIRS or step["chosen_logps"]]
        if there and field != "tokens":
            means[field] = _short(sum(there) / len(there))
    return means


def _numbers(counts: Mapping[str, Json]) -> dict[str, Json]:
    """Without the calls that a retry or another run's journal changes."""
    kept = {name: n for name, n in counts.items() if isinstance(n, (int, float)) and not name.startswith("n_")}
    return {name: _short(n) if isinstance(n, float) else n for name, n in kept.items()}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def study_bytes(value: Json) -> bytes:
    """JSON with a line for each row: compact, and readable in a diff."""
    return (_lines(value, "") + "\n").encode()


def _lines(value: Json, indent: str) -> str:
    if not _holds_rows(value):
        return json.dumps(value, allow_nan=False)
    inner = indent + " "
    if isinstance(value, Mapping):
        parts = [f"{json.dumps(key)}: {_lines(part, inner)}" for key, part in value.items()]
        return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + _lines(part, inner) for part in value) + f"\n{indent}]"


def _holds_rows(value: Json) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_rows, value.values()))
    return isinstance(value, list) and any(isinstance(row, Mapping) for row in value)
