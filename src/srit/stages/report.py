"""A run directory → report.html: one page that needs no other file, also of a run that is not finished."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter

from srit.compared import OPTIONS
from srit.errors import DataError
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.recipe import Recipe
from srit.records import Check, Completion, Demonstration, Domain, Model, Pair, Prediction, Problem, TrainingLog
from srit.run_directory import (
    Json,
    Manifest,
    StageEntry,
    checked,
    fault_of,
    read_manifest,
    read_records,
    recorded_sum,
    write_bytes,
)
from srit.scores import Comparison, Results
from srit.stages.results import BASE, DOMAINS, INSTRUCTED, REFINED, over_domain, read_results

TRACES = 12  # problems shown at full length
_SHOWN_CHARACTERS = 4000  # of one answer


_Key = tuple[str, str, str]  # where a problem is asked, its task and id
_TRAINED = "train"
_Answer = TypeVar("_Answer", Demonstration, Completion, Pair, Prediction)


class Part(NamedTuple):
    """What one stage shows about a problem."""

    name: str
    text: str
    verdict: str  # "" where there is none


class Trace(NamedTuple):
    """A problem followed through the stages."""

    problem_id: str
    task: str
    question: str
    gold: str
    parts: list[Part]


class Bar(NamedTuple):
    """One model's accuracy, in percent."""

    model: Model
    style: str
    percent: float
    low: float  # of the 95 % interval
    high: float
    n: int


class Chart(NamedTuple):
    """The accuracies of all models on one task."""

    title: str
    prompt: str
    bars: list[Bar]
    n: int


class Polyline(NamedTuple):
    """One line of a training curve, in the coordinates of its drawing."""

    style: str
    points: str


class TrainingCurve(NamedTuple):
    """Figures of a training over its steps."""

    title: str
    lines: list[Polyline]
    low: float
    high: float
    steps: int


def report_stage(recipe: Recipe, others: Sequence[Stage]) -> Stage:
    """Declare report.html, which shows all that a run made.

    Args:
        others: the other stages of the run, whose files and counts it shows.
    """
    shown = [stage for stage in others if not stage.auxiliary and not stage.name.part]
    files = [name for stage in shown for name in stage.outputs if name.endswith((".json", ".jsonl"))]
    return Stage(
        name=StageName("report"),
        version=1,
        settings=recipe.model_dump(mode="json", include={"name", "seed"}),
        reads=("name", "seed"),
        inputs=tuple(name for name in files if not name.endswith(f"{OPTIONS}.jsonl")),
        outputs=("report.html",),
        make=_make_report,
        uses_student=False,
        shows=tuple(stage.name for stage in shown if stage.name.model is None),
    )


def _make_report(inputs: Inputs, out: Outputs, context: Context) -> Mapping[str, Json]:
    with inputs.gathered(context.partial / "files") as folder:
        page = make_report(folder, _in_order(inputs.entries), inputs.recipe)
    write_bytes(out.path("report.html"), page.encode(errors="replace"))
    return {}


def write_report(folder: Path, stage: Stage, recipe: Recipe) -> Path:
    """Write report.html from what a run has made so far, whatever else is in its folder.

    Args:
        stage: the run's, as `report_stage` declares it.

    Raises:
        DataError: a file of the run is damaged.
    """
    entries, shown = read_manifest(folder).stages, set(map(str, stage.shows))
    there = {name: recorded_sum(entries, name) for name in stage.inputs if (folder / name).exists()}
    inputs = Inputs("report", folder, there, recipe, {})
    with TemporaryDirectory() as place, inputs.gathered(Path(place) / "files") as files:
        page = make_report(files, _in_order({n: entry for n, entry in entries.items() if n in shown}), recipe)
    write_bytes(folder / "report.html", page.encode(errors="replace"))
    return folder / "report.html"


def _in_order(entries: Mapping[str, StageEntry]) -> Manifest:
    """Return the entries as a manifest sorts them on disk, whether they were read or just made."""
    counts = {name: dict(sorted(entry.counts.items())) for name, entry in entries.items()}
    return Manifest(
        stages={name: entries[name].model_copy(update={"counts": counts[name]}) for name in sorted(entries)}
    )


def make_report(folder: Path, manifest: Manifest, recipe: Recipe) -> str:
    """Return the page's HTML. Answers are untrusted text: they are escaped, and their invisible characters are shown.

    Raises:
        DataError: a file of the run is damaged.
    """
    from jinja2 import Environment, PackageLoader

    pages = Environment(loader=PackageLoader("srit.stages", "."), autoescape=True, trim_blocks=True)
    pages.filters["visible"] = visible
    path = folder / "results.json"
    results = read_results(path) if path.exists() else Results((), (), (), ())
    stages = manifest.stages
    logs = {name: read_log(folder / f"{name}.json") for name in stages if (folder / f"{name}.json").exists()}
    return pages.get_template("report.html.jinja").render(
        name=recipe.name,
        seed=recipe.seed,
        headline=headline(results),
        findings=findings(results),
        missing=[] if results.rows else ["This run is not finished: there are no results yet. Run it again to go on."],
        charts=_charts(results),
        comparisons=results.comparisons,
        passes=results.pass_at_k,
        options=results.options,
        curves=[curve for name, log in logs.items() if log.history for curve in _curves(name, log)],
        invariants=_checks(stages, logs),
        counts={name: _numbers(entry.counts) for name, entry in stages.items() if "predictions" not in name},
        traces=list(traces(folder, TRACES)),
        environment=results.environment,
    )


def read_log(path: Path) -> TrainingLog:
    """Read what a training kept next to its weights; other JSON files give an empty log.

    Raises:
        DataError: it is damaged; names the field at fault.
    """
    try:
        return checked(path.read_bytes(), TypeAdapter(TrainingLog))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({fault_of(error)}): put back a copy, or run it again") from None


def headline(results: Results) -> str:
    """Say what came out in one sentence, by a rule."""
    change = _pooled(results, "in")
    if change is None:
        return "Self-refinement: not finished"
    points = f"{100 * change.delta:+z.1f} points"
    if change.ci95.low > 0:
        return f"Refined beats instructed in-domain by {points}"
    if change.ci95.high < 0:
        return f"Refined is worse than instructed in-domain by {points}"
    return f"No evidence of a difference between refined and instructed in-domain ({points})"


def findings(results: Results) -> list[str]:
    """Write one sentence for each domain, about the CoT prompt."""
    domains: tuple[Domain, ...] = ("in", "out")
    return [line for domain in domains for line in _finding(results, domain)]


def _finding(results: Results, domain: Domain) -> Iterator[str]:
    change = _pooled(results, domain)
    scores = {row.model: row for row in results.pooled if row.domain == domain and row.prompt == "cot"}
    if change is not None and {BASE, INSTRUCTED, REFINED} <= set(scores):
        shares = " → ".join(f"{100 * scores[m].accuracy:.1f}" for m in (BASE, INSTRUCTED, REFINED))
        yield (
            f"{DOMAINS[domain].capitalize()}, CoT prompt: base → instructed → refined {shares} %; "
            f"refined − instructed {100 * change.delta:+z.1f} points "
            f"({100 * change.ci95.low:+z.1f} to {100 * change.ci95.high:+z.1f}) on {change.n} problems."
        )


def traces(folder: Path, limit: int, problem_id: str | None = None) -> Iterator[Trace]:
    """Follow problems through what there is of a run: some training problems, or all with an id."""
    asked = _asked(folder)
    problems = {_question(problem): problem for problem in asked.values()}.values()
    trained = [problem for problem in problems if problem.split == "train"]
    spread = trained[:: max(1, len(trained) // limit)][:limit]
    wanted = spread if problem_id is None else [problem for problem in problems if problem.id == problem_id]
    parts = _parts(folder, wanted, asked) if wanted else {}
    for problem in wanted:
        yield Trace(problem.id, problem.task, problem.question, problem.answer, parts[_question(problem)])


def _asked(folder: Path) -> dict[_Key, Problem]:
    """Map a run's problems by where they are asked: an id is unique in training, and in each evaluated task."""
    return {
        (_TRAINED if path.stem in ("train", "refine") else path.stem, problem.task, problem.id): problem
        for path in sorted((folder / "problems").glob("*.jsonl"))
        for problem in read_records(path, Problem)
    }


def _question(problem: Problem) -> tuple[object, ...]:
    """Return what makes two problems one, whichever files they are in."""
    return problem.task, problem.id, problem.question, problem.choices


def visible(text: str) -> str:
    """Return a text whose control and direction characters are shown instead of obeyed."""
    shown = "".join(
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else f"⟨U+{ord(c):04X}⟩" for c in text
    )
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]} … ({len(shown):,} characters)"


def _parts(
    folder: Path, wanted: Sequence[Problem], asked: Mapping[_Key, Problem]
) -> dict[tuple[object, ...], list[Part]]:
    parts: dict[tuple[object, ...], list[Part]] = {_question(problem): [] for problem in wanted}
    ids = {problem.id for problem in wanted}
    for place, task, problem_id, part in _said(folder, ids):
        for problem in wanted:
            there = asked.get((place, problem.task, problem.id), problem)
            if (problem.task, problem.id) == (task, problem_id) and _question(there) == _question(problem):
                parts[_question(problem)].append(part)
    return parts


def _said(folder: Path, ids: set[str]) -> Iterator[tuple[str, str, str, Part]]:
    """Yield where it was said, the task, the problem's id, and the part."""
    for d in _records(folder / "demonstrations.jsonl", Demonstration, ids):
        part = Part(f"demonstration by {d.teacher}", d.text or f"({d.reason})", d.verdict)
        yield _TRAINED, d.task, d.problem_id, part
    for path in sorted(folder.glob("round-*/completions.jsonl")):
        for c in _records(path, Completion, ids):
            part = Part(f"{path.parent.name}: {c.prompt} answer {c.index}", c.text, c.verdict)
            yield _TRAINED, c.task, c.problem_id, part
        for p in _records(path.with_name("pairs.jsonl"), Pair, ids):
            text = f"chosen ({p.chosen_from}): {p.chosen}\nrejected ({p.rejected_from}): {p.rejected}"
            part = Part(f"{path.parent.name}: pair under the {p.prompt} prompt", text, "")
            yield _TRAINED, p.task, p.problem_id, part
    answered = sorted(set(folder.glob("predictions/*/*.jsonl")) - set(folder.glob(f"predictions/*/*{OPTIONS}.jsonl")))
    for path in answered:
        for a in _records(path, Prediction, ids):
            part = Part(f"{path.parent.name}, {a.prompt}", a.text or f"({a.reason})", a.verdict)
            yield f"evaluate-{path.stem}", a.task, a.problem_id, part


def _records(path: Path, kind: type[_Answer], wanted: set[str]) -> list[_Answer]:
    return [record for record in read_records(path, kind) if record.problem_id in wanted] if path.exists() else []


def _pooled(results: Results, domain: Domain) -> Comparison | None:
    """Find refined against instructed over a domain, under the CoT prompt."""
    wanted = (REFINED, INSTRUCTED, over_domain(domain), "cot")
    return next((c for c in results.comparisons if (c.a, c.b, c.task, c.prompt) == wanted), None)


def _charts(results: Results) -> list[Chart]:
    bars: dict[tuple[str, str, str], list[Bar]] = {}
    for row in sorted(results.rows, key=lambda row: (row.prompt, row.domain)):
        style = row.model.kind.removesuffix("-again")
        bar = Bar(row.model, style, 100 * row.accuracy, 100 * row.ci95.low, 100 * row.ci95.high, row.n)
        bars.setdefault((row.task or "", row.domain, row.prompt), []).append(bar)
    return [
        Chart(f"{task} ({DOMAINS[domain]})", "CoT" if prompt == "cot" else prompt, found, max(bar.n for bar in found))
        for (task, domain, prompt), found in bars.items()
    ]


def _curves(name: str, log: TrainingLog) -> Iterator[TrainingCurve]:
    drawn: list[tuple[str, tuple[str, ...]]] = [("loss", ("loss",))]
    if any(step.get("preference_loss") for step in log.history):  # a control may have no preferences
        drawn += [
            ("log-probability of chosen (blue) and rejected (orange)", ("chosen_logps", "rejected_logps")),
            ("reward margin", ("margins",)),
            ("share of pairs with a positive margin", ("accuracies",)),
        ]
    for title, fields in drawn:
        values = [[step[field] for step in log.history] for field in fields]
        low, high = min(map(min, values)), max(map(max, values))
        lines = [Polyline(style, _points(line, low, high)) for style, line in zip(("one", "two"), values, strict=False)]
        yield TrainingCurve(f"{name}: {title}", lines, low, high, len(log.history))


def _points(values: Sequence[float], low: float, high: float) -> str:
    across, up = max(1, len(values) - 1), (high - low) or 1.0
    return " ".join(f"{300 * i / across:.1f},{105 - 85 * (v - low) / up:.1f}" for i, v in enumerate(values))


def _checks(stages: Mapping[str, StageEntry], logs: Mapping[str, TrainingLog]) -> list[Check]:
    """Collect the checks of all stages: those of the manifest, then those of the training."""
    return [
        check
        for name, entry in stages.items()
        for check in (
            *(Check(**counted) for counted in entry.counts.get("invariants", [])),
            *(logs[name].invariants if name in logs else ()),
        )
    ]


def _numbers(counts: Mapping[str, Any]) -> dict[str, Any]:
    shown = {what: n for what, n in counts.items() if isinstance(n, (int, float, str))}
    return {what: f"{n:.4g}" if isinstance(n, float) and n < 1000 else n for what, n in shown.items()}
