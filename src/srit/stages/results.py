"""predictions/ → results.json: accuracies with intervals, and models compared on the same problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from srit.compared import TEACHER, answered, options_file, predictions_file, rounds_of, scored, tuned_on
from srit.intervals import compare, pass_at_k, wilson
from srit.pipeline.environment import environment
from srit.pipeline.job import Job, Stage
from srit.recipe import Recipe
from srit.records import OptionScores, Prediction
from srit.run_directory import Json, read_records, write_json

MOST_CUT = 0.05  # of a model's answers


def results_stage(recipe: Recipe) -> Stage:
    """All predictions → results.json."""
    settings: dict[str, Json] = {"train": sorted(tuned_on(recipe)), "rounds": recipe.rounds, "seed": recipe.seed}
    # Only where it is set: results of recipes that do without stay what they are.
    settings |= {"options": True} if recipe.evaluate.options else {}
    names = [predictions_file(model, task) for model, task in answered(recipe)]
    names += [options_file(model, task) for model, task in scored(recipe)]
    outputs = ("results.json",)
    return Stage("results", 2, settings, tuple(names), outputs, _make_results, uses_student=False)


def _make_results(job: Job, partial: Path) -> Mapping[str, Json]:
    recipe = job.recipe
    predictions = {
        (model, task.label): read_records(job.run.path(predictions_file(model, task)), Prediction)
        for model, task in answered(recipe)
    }
    rounds = {f"refined-{n}" if n < recipe.rounds else "refined": n for n in rounds_of(recipe)}
    results = make_results(predictions, tuned_on(recipe), rounds, pass_at=recipe.evaluate.pass_at, seed=recipe.seed)
    if recipe.evaluate.options:
        results["options"] = option_rows(
            (model, [replace(scores, task=task.label) for scores in read_records(job.run.path(place), OptionScores)])
            for model, task in scored(recipe)
            for place in [options_file(model, task)]
        )
    for row in results["comparisons"]:
        if (row["a"], row["b"], row["task"]) == ("instructed", "base", "all in-domain") and row["ci95"][1] < 0:
            line = f"instructed is worse than base in-domain ({row['prompt']} prompt): look at the demonstrations"
            job.invariant("stage 1 helped", False, line)
    lines = _cut(results["rows"], recipe)
    checks = [job.invariant("answers end by themselves", False, line) for line in lines]
    results["timings"] = {name: entry.seconds for name, entry in job.run.manifest.stages.items()}
    results["environment"] = environment()
    write_json(job.run.path("results.json"), results)
    return {"rows": len(results["rows"]), "invariants": checks}


def _cut(rows: Sequence[Mapping[str, Any]], recipe: Recipe) -> Iterator[str]:
    """Models whose accuracy says little, since their answers are longer than they may be."""
    for model in dict.fromkeys(row["model"] for row in rows):
        cut, n = (sum(row[what] for row in rows if row["model"] == model) for what in ("truncated", "n"))
        limit = f"evaluate.max_new_tokens ({recipe.evaluate.max_new_tokens})"
        if model == TEACHER:
            limit = f"teacher.max_tokens ({recipe.teacher.max_tokens})"
        if cut > MOST_CUT * n:
            yield f"{model}: {cut} of {n} answers were cut at {limit}: let them be longer"


Predictions = Mapping[tuple[str, str], Sequence[Prediction]]  # by model and task

BASELINES = ("base", "instructed")
DOMAINS = {"in": "in-domain", "out": "out-of-domain", "any": "on all tasks"}  # in words


def make_results(
    predictions: Predictions,
    trained: set[str],
    rounds: Mapping[str, int],
    *,
    pass_at: Sequence[int] = (),
    seed: int,
) -> Any:
    """Accuracies of the greedy answers, models compared, and pass@k of the sampled ones.

    Args:
        predictions: index 0 is greedy, the others sampled; those of one task in the same order for every model.
        trained: tasks that the student was trained on: "in", the others "out".
        rounds: which round of stage 2 a model came from; 0 for those not named.

    Returns:
        {"rows", "pooled", "comparisons", "pass_at_k"}; "pooled" puts the tasks of a domain together, each problem once.
    """
    models = list(dict.fromkeys(model for model, _ in predictions))
    tasks = list(dict.fromkeys(task for _, task in predictions))
    kinds = list(dict.fromkeys(p.prompt for found in predictions.values() for p in found))
    domains = {task: "in" if task in trained else "out" for task in tasks}
    rows, pooled, comparisons = [], [], []
    for kind in kinds:
        answers = {key: [p for p in found if p.prompt == kind and p.index == 0] for key, found in predictions.items()}
        for model in models:
            place = {"model": model, "round": rounds.get(model, 0), "prompt": kind}
            # A teacher answers the CoT prompt alone.
            for task in tasks:
                if answered := answers[model, task]:
                    rows.append({**place, "task": task, "domain": domains[task], **_scores(answered)})
            for domain in sorted(set(domains.values())):
                if together := _together(answers, model, domains, domain):
                    pooled.append({**place, "domain": domain, **_scores(together)})
        # Students that were not asked in this way have nothing to be compared by.
        for a, b in _compared(models) if any(answers[model, tasks[0]] for model in BASELINES) else ():
            for task in tasks:
                place = {"a": a, "b": b, "task": task, "domain": domains[task], "prompt": kind}
                comparisons.append({**place, **_difference(answers[a, task], answers[b, task], seed)})
            for domain in sorted(set(domains.values())):
                place = {"a": a, "b": b, "task": f"all {DOMAINS[domain]}", "domain": domain, "prompt": kind}
                side_a, side_b = (_together(answers, model, domains, domain) for model in (a, b))
                comparisons.append({**place, **_difference(side_a, side_b, seed)})
    passes = _passes(predictions, pass_at) if pass_at else []
    return {"rows": rows, "pooled": pooled, "comparisons": comparisons, "pass_at_k": passes}


def option_rows(scores: Iterable[tuple[str, Sequence[OptionScores]]]) -> list[dict[str, Any]]:
    """How often the likeliest option is the right one, a row for each model, task, prompt and what was scored.

    Args:
        scores: by model, each of one task.

    Returns:
        Shares in 0 to 1, "margin" in nats; all but the counts are means over problems.
    """
    rows = []
    for model, of_task in scores:
        for key in dict.fromkeys((s.task, s.prompt, s.scored) for s in of_task):
            alike = [s for s in of_task if (s.task, s.prompt, s.scored) == key]
            place = dict(zip(("task", "prompt", "scored"), key, strict=True))
            rows.append({"model": model, **place, **_option_scores(alike)})
    return rows


def _option_scores(scores: Sequence[OptionScores]) -> dict[str, Any]:
    n, correct, correct_norm = len(scores), sum(s.right for s in scores), sum(s.right_norm for s in scores)
    return {
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "ci95": list(wilson(correct, n)),
        "correct_norm": correct_norm,
        "accuracy_norm": correct_norm / n,
        "ci95_norm": list(wilson(correct_norm, n)),
        "probability": sum(s.probability for s in scores) / n,
        "confidence": sum(s.confidence for s in scores) / n,
        "margin": sum(s.margin for s in scores) / n,
    }


def _passes(predictions: Predictions, pass_at: Sequence[int]) -> list[dict[str, Any]]:
    rows = []
    for (model, task), found in predictions.items():
        drawn: dict[tuple[str, str], list[bool]] = {}
        for p in found:
            if p.index > 0:
                drawn.setdefault((p.prompt, p.problem_id), []).append(p.verdict == "right")
        for kind in dict.fromkeys(kind for kind, _ in drawn):
            of_kind = [right for (prompt, _), right in drawn.items() if prompt == kind]
            for k in pass_at:
                share = sum(pass_at_k(len(right), sum(right), k) for right in of_kind) / len(of_kind)
                place = {"model": model, "task": task, "prompt": kind, "k": k}
                rows.append({**place, "n": len(of_kind), "samples": len(of_kind[0]), "pass_at_k": share})
    return rows


def _together(answers: Predictions, model: str, domains: Mapping[str, str], domain: str) -> list[Prediction]:
    return [p for task in domains if domains[task] == domain for p in answers[model, task]]


def _compared(models: Sequence[str]) -> list[tuple[str, str]]:
    """Each trained model against instructed, instructed against base, refined against each control."""
    later = [model for model in models if model not in (*BASELINES, TEACHER)]
    controls = [model for model in later if model.startswith("control-")]
    return [
        *((model, "instructed") for model in later),
        ("instructed", "base"),
        *(("refined", control) for control in controls),
    ]


def _scores(answers: Sequence[Prediction]) -> dict[str, Any]:
    verdicts = Counter(p.verdict for p in answers)
    n, correct = len(answers), verdicts["right"]
    return {
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "ci95": list(wilson(correct, n)),
        "unread": verdicts["unread"],
        "errors": verdicts["error"],
        "truncated": sum(p.truncated for p in answers),
        "mean_tokens": sum(p.n_tokens for p in answers) / n,
    }


def _difference(a: Sequence[Prediction], b: Sequence[Prediction], seed: int) -> dict[str, Any]:
    """Two models on the problems that both answered: base may have answered fewer (`evaluate.base_limit`)."""
    right_a, right_b = ({(p.task, p.problem_id): p.verdict == "right" for p in side} for side in (a, b))
    both = [key for key in right_a if key in right_b]
    result = compare([right_a[key] for key in both], [right_b[key] for key in both], seed=seed)
    return {"n": len(both), **result._asdict(), "ci95": list(result.ci95)}
