"""A run directory → report.html: one page that needs no other file, even for an unfinished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from srit.page.document import render
from srit.page.islands import island
from srit.pipeline.context import Context
from srit.pipeline.declared import Inputs, Outputs
from srit.pipeline.stage import Stage, StageName
from srit.recipe import Recipe
from srit.recipe.compared import OPTIONS
from srit.records import Check, Model, TrainingLog
from srit.records.scores import Results
from srit.run_directory import (
    Json,
    Manifest,
    StageEntry,
    read_manifest,
    recorded_sum,
    sha256_of,
    write_bytes,
)
from srit.signed import points
from srit.stages.anatomy.overlaps import by_chance, in_common
from srit.stages.anatomy.verdict import verdict_of
from srit.stages.report import accuracy, anatomy, provenance
from srit.stages.report.curves import curves
from srit.stages.report.headline import findings, headline, main_prompt
from srit.stages.report.logs import read_logs
from srit.stages.results import read_results
from srit.watching import worded

_SCRIPTS = ("data.js", "curves.js", "problem.js", "browse.js")


class News(NamedTuple):
    """How far a running run has come."""

    version: str  # changes whenever the page would change
    line: str  # what the run is doing


def report_stage(recipe: Recipe, others: Sequence[Stage]) -> Stage:
    """Declare report.html, which shows everything that a run made.

    Args:
        others: the other stages of the run, whose files and counts it shows.
    """
    shown = [stage for stage in others if not stage.auxiliary and not stage.name.part]
    files = [name for stage in shown for name in stage.outputs if name.endswith((".json", ".jsonl"))]
    return Stage(
        name=StageName("report"),
        version=4,
        settings=recipe.model_dump(mode="json"),
        reads=tuple(Recipe.model_fields),
        inputs=tuple(name for name in files if not name.endswith(f"{OPTIONS}.jsonl")),
        outputs=("report.html",),
        make=_make_report,
        uses_student=False,
        shows=tuple(stage.name for stage in shown if stage.name.model in (None, Model("teacher"))),
    )


def _make_report(inputs: Inputs, out: Outputs, context: Context) -> Mapping[str, Json]:
    with inputs.gathered(context.partial / "files") as folder:
        page = make_report(folder, _in_order(inputs.entries), inputs.recipe)
    write_bytes(out.path("report.html"), page.encode())
    return {}


def write_report(folder: Path, stage: Stage, recipe: Recipe) -> Path:
    """Write report.html from what a run has made so far, whatever else is in its folder.

    Args:
        stage: the run's, as `report_stage` declares it.

    Raises:
        DataError: the manifest is damaged. Other damaged files are left out, and the page says so.
    """
    write_bytes(folder / "report.html", report_so_far(folder, stage, recipe).encode())
    return folder / "report.html"


def report_so_far(folder: Path, stage: Stage, recipe: Recipe, *, live: News | None = None) -> str:
    """Return the page of what a run has made so far; arguments and errors as in `write_report` and `make_report`."""
    entries, shown = read_manifest(folder).stages, set(map(str, stage.shows))
    left_out = (
        [] if live else [name for name in stage.inputs if _is_damaged(folder / name, recorded_sum(entries, name))]
    )
    sums = {name: recorded_sum(entries, name) for name in stage.inputs if name not in left_out}
    there = {name: sum for name, sum in sums.items() if (folder / name).exists()}
    inputs = Inputs("report", folder, there, recipe, {})
    with TemporaryDirectory() as place, inputs.gathered(Path(place) / "files") as files:
        kept = _in_order({name: entry for name, entry in entries.items() if name in shown})
        return make_report(files, kept, recipe, live=live, left_out=left_out)


def _is_damaged(path: Path, made: str) -> bool:
    """Return whether a file is not what the run made; `made` is its checksum, "" if it is not made yet."""
    return bool(made) and (not path.exists() or sha256_of(path) != made)


def _in_order(entries: Mapping[str, StageEntry]) -> Manifest:
    """Return the entries as a manifest sorts them on disk, whether they were read or just made."""
    counts = {name: dict(sorted(entry.counts.items())) for name, entry in entries.items()}
    return Manifest(
        stages={name: entries[name].model_copy(update={"counts": counts[name]}) for name in sorted(entries)}
    )


def make_report(
    folder: Path, manifest: Manifest, recipe: Recipe, *, live: News | None = None, left_out: Sequence[str] = ()
) -> str:
    """Return the page's HTML. Answers are untrusted text, which the page only ever shows as text.

    Args:
        live: for a page that is updated while the run goes on; None: the page is final.
        left_out: files of the run that are missing or damaged, which the page lists.

    Raises:
        DataError: a file of the run is damaged.
    """
    # They need numpy, which a run that already has its page does without.
    from srit.stages.report.browse import browser
    from srit.stages.report.said import gather

    path = folder / "results.json"
    results = read_results(path) if path.exists() else Results((), (), (), ())
    stages = manifest.stages
    logs = read_logs(folder, stages)
    drawn = curves(logs)
    seconds = results.timings or {name: entry.seconds for name, entry in stages.items()}
    values = {
        **_outcome(results),
        "name": recipe.name,
        "seed": recipe.seed,
        "live": live,
        "left_out": left_out,
        "curves_drawn": bool(drawn),
        "curves": island([one._asdict() | {"lines": [line._asdict() for line in one.lines]} for one in drawn]),
        "rounds": anatomy.rounds(folder),
        "verdict": verdict_of(results, anatomy.of_first_round(folder)),
        "shares": anatomy.shares,
        "differences": anatomy.differences,
        "checks": _checks(stages, logs),
        "counts": {name: worded(entry.counts) for name, entry in stages.items() if "predictions" not in name},
        "browser": browser(gather(folder), main_prompt(results), recipe.prompt),
        "spent": provenance.spent(seconds, stages, recipe),
        "duration": provenance.duration,
        "fields": provenance.fields(recipe),
    }
    scripts = [(__name__, f"script/{name}") for name in (*_SCRIPTS, *(["live.js"] if live else []))]
    return render(__name__, "report.html.jinja", values, scripts, live=live is not None)


def _outcome(results: Results) -> dict[str, Any]:
    """Return what the page shows of the results."""
    return {
        "headline": headline(results),
        "findings": findings(results),
        "results": results,
        "in_common": in_common,
        "by_chance": by_chance,
        "groups": accuracy.groups(results),
        "style_of": accuracy.style_of,
        "turned": accuracy.turned(results),
        "points": points,
    }


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
