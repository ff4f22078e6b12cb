"""A run directory → report.html: one page that stands by itself, also of a run that is not finished."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from srit.compared import OPTIONS
from srit.records import Completion, Demonstration, Pair, Prediction, Problem
from srit.run_directory import Manifest, StageEntry, read_records
from srit.stages.results import DOMAINS

STORIES = 12  # problems shown at full length
_SHOWN_CHARACTERS = 4000  # of one answer


_Key = tuple[str, str, str]  # where a problem is asked, its task and id
_TRAINED = "train"


class Part(NamedTuple):
    """What one stage has to say of a problem."""

    name: str
    text: str
    verdict: str  # "" where there is none


class Story(NamedTuple):
    """A problem followed through the stages."""

    problem_id: str
    task: str
    question: str
    gold: str
    parts: list[Part]


def make_report(folder: Path, manifest: Manifest, recipe: Any) -> str:
    """The page's HTML. Answers are foreign text: escaped, and their invisible characters shown."""
    from jinja2 import Environment, PackageLoader

    pages = Environment(loader=PackageLoader("srit.stages", "."), autoescape=True, trim_blocks=True)
    pages.filters["visible"] = visible
    results = _json(folder / "results.json") or {"rows": [], "pooled": [], "comparisons": []}
    stages = manifest.stages
    trainings = {name: _json(folder / f"{name}.json") for name in stages if (folder / f"{name}.json").exists()}
    return pages.get_template("report.html.jinja").render(
        name=recipe.name,
        seed=recipe.seed,
        headline=headline(results),
        findings=findings(results),
        missing=[]
        if results["rows"]
        else ["This run is not finished: there are no results yet. Run it again to go on."],
        charts=_charts(results),
        comparisons=results["comparisons"],
        passes=results.get("pass_at_k", []),
        options=results.get("options", []),
        curves=[curve for name, kept in trainings.items() if "history" in kept for curve in _curves(name, kept)],
        invariants=_invariants(stages, trainings),
        counts={name: _numbers(entry.counts) for name, entry in stages.items() if "predictions" not in name},
        stories=list(stories(folder, STORIES)),
        environment=results.get("environment", {}),
    )


def headline(results: Mapping[str, Any]) -> str:
    """What came out, by rule, in a sentence."""
    change = _pooled(results, "refined", "instructed", "in")
    if change is None:
        return "Self-refinement: not finished"
    low, high = change["ci95"]
    points = f"{100 * change['delta']:+z.1f} points"
    if low > 0:
        return f"Refined beats instructed in-domain by {points}"
    if high < 0:
        return f"Refined is worse than instructed in-domain by {points}"
    return f"No evidence of a difference between refined and instructed in-domain ({points})"


def findings(results: Mapping[str, Any]) -> list[str]:
    """One sentence for each domain, CoT prompt."""
    lines = []
    for domain in ("in", "out"):
        change = _pooled(results, "refined", "instructed", domain)
        scores = {row["model"]: row for row in results["pooled"] if row["domain"] == domain and row["prompt"] == "cot"}
        if change is not None and {"base", "instructed", "refined"} <= set(scores):
            shares = " → ".join(f"{100 * scores[m]['accuracy']:.1f}" for m in ("base", "instructed", "refined"))
            low, high = (100 * end for end in change["ci95"])
            lines.append(
                f"{DOMAINS[domain].capitalize()}, CoT prompt: base → instructed → refined {shares} %; "
                f"refined − instructed {100 * change['delta']:+z.1f} points ({low:+z.1f} to {high:+z.1f}) "
                f"on {change['n']} problems."
            )
    return lines


def stories(folder: Path, limit: int, problem_id: str | None = None) -> Iterator[Story]:
    """Problems followed through what there is of a run: training problems, or all of an id."""
    asked = _asked(folder)
    problems = {_question(problem): problem for problem in asked.values()}.values()
    trained = [problem for problem in problems if problem.split == "train"]
    spread = trained[:: max(1, len(trained) // limit)][:limit]
    wanted = spread if problem_id is None else [problem for problem in problems if problem.id == problem_id]
    parts = _parts(folder, wanted, asked) if wanted else {}
    for problem in wanted:
        yield Story(problem.id, problem.task, problem.question, problem.answer, parts[_question(problem)])


def _asked(folder: Path) -> dict[_Key, Problem]:
    """A run's problems by where they are asked: an id is unique among those trained on, and in each evaluated task."""
    return {
        (_TRAINED if path.stem in ("train", "refine") else path.stem, problem.task, problem.id): problem
        for path in sorted((folder / "problems").glob("*.jsonl"))
        for problem in read_records(path, Problem)
    }


def _question(problem: Problem) -> tuple[object, ...]:
    """What makes two problems one, whichever files they are in."""
    return problem.task, problem.id, problem.question, problem.choices


def visible(text: str) -> str:
    """A text whose control and direction characters are shown instead of obeyed."""
    shown = "".join(
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else f"⟨U+{ord(c):04X}⟩" for c in text
    )
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]} … ({len(shown):,} characters)"


def _parts(
    folder: Path, wanted: Sequence[Problem], asked: Mapping[_Key, Problem]
) -> dict[tuple[object, ...], list[Part]]:
    parts: dict[tuple[object, ...], list[Part]] = {_question(problem): [] for problem in wanted}
    ids = {problem.id for problem in wanted}

    def add(place: str, record: Any, part: Part) -> None:
        named = [problem for problem in wanted if (problem.task, problem.id) == (record.task, record.problem_id)]
        for problem in named:
            if _question(asked.get((place, problem.task, problem.id), problem)) == _question(problem):
                parts[_question(problem)].append(part)

    for d in _records(folder / "demonstrations.jsonl", Demonstration, ids):
        add(_TRAINED, d, Part(f"demonstration by {d.teacher}", d.text or f"({d.reason})", d.verdict))
    for path in sorted(folder.glob("round-*/completions.jsonl")):
        for c in _records(path, Completion, ids):
            add(_TRAINED, c, Part(f"{path.parent.name}: {c.prompt} answer {c.index}", c.text, c.verdict))
        for p in _records(path.with_name("pairs.jsonl"), Pair, ids):
            text = f"chosen ({p.chosen_from}): {p.chosen}\nrejected ({p.rejected_from}): {p.rejected}"
            add(_TRAINED, p, Part(f"{path.parent.name}: pair under the {p.prompt} prompt", text, ""))
    answered = sorted(set(folder.glob("predictions/*/*.jsonl")) - set(folder.glob(f"predictions/*/*{OPTIONS}.jsonl")))
    for path in answered:
        for answer in _records(path, Prediction, ids):
            said = answer.text or f"({answer.reason})"
            part = Part(f"{path.parent.name}, {answer.prompt}", said, answer.verdict)
            add(f"evaluate-{path.stem}", answer, part)
    return parts


def _records(path: Path, kind: type[Any], wanted: set[str]) -> list[Any]:
    return [record for record in read_records(path, kind) if record.problem_id in wanted] if path.exists() else []


def _pooled(results: Mapping[str, Any], a: str, b: str, domain: str) -> Any:
    found = (c for c in results["comparisons"] if (c["a"], c["b"], c["domain"], c["prompt"]) == (a, b, domain, "cot"))
    return next((c for c in found if c["task"].startswith("all ")), None)


def _charts(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    charts: dict[tuple[str, str, str], list[Any]] = {}
    for row in sorted(results["rows"], key=lambda row: (row["prompt"], row["domain"])):
        bar = {
            "model": row["model"],
            "kind": row["model"].split("-")[0],
            "percent": 100 * row["accuracy"],
            "low": 100 * row["ci95"][0],
            "high": 100 * row["ci95"][1],
            "n": row["n"],
        }
        charts.setdefault((row["task"], row["domain"], row["prompt"]), []).append(bar)
    return [
        {
            "title": f"{task} ({DOMAINS[domain]})",
            "prompt": "CoT" if prompt == "cot" else prompt,
            "bars": b,
            "n": max(bar["n"] for bar in b),
        }
        for (task, domain, prompt), b in charts.items()
    ]


def _curves(name: str, kept: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    history = kept["history"]
    drawn: list[tuple[str, tuple[str, ...]]] = [("loss", ("loss",))]
    if any(step.get("preference_loss") for step in history):  # a control may have no preferences
        drawn += [
            ("log-probability of chosen (blue) and rejected (orange)", ("chosen_logps", "rejected_logps")),
            ("reward margin", ("margins",)),
            ("share of pairs with a positive margin", ("accuracies",)),
        ]
    for title, fields in drawn:
        values = [[step[field] for step in history] for field in fields]
        low, high = min(map(min, values)), max(map(max, values))
        lines = [
            {"style": style, "points": _points(line, low, high)}
            for style, line in zip(("one", "two"), values, strict=False)
        ]
        yield {"title": f"{name}: {title}", "lines": lines, "low": low, "high": high, "steps": len(history)}


def _points(values: Sequence[float], low: float, high: float) -> str:
    across, up = max(1, len(values) - 1), (high - low) or 1.0
    return " ".join(f"{300 * i / across:.1f},{105 - 85 * (v - low) / up:.1f}" for i, v in enumerate(values))


def _invariants(stages: Mapping[str, StageEntry], trainings: Mapping[str, Any]) -> list[Any]:
    return [
        check
        for name, entry in stages.items()
        for check in (*entry.counts.get("invariants", []), *trainings.get(name, {}).get("invariants", []))
    ]


def _numbers(counts: Mapping[str, Any]) -> dict[str, Any]:
    shown = {what: n for what, n in counts.items() if isinstance(n, (int, float, str))}
    return {what: f"{n:.4g}" if isinstance(n, float) and n < 1000 else n for what, n in shown.items()}


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes()) if path.exists() else None
