"""The model card of an export: what it is, its license, its accuracy, and how to use it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import yaml

from srit.exports.sources import FromRun, Source
from srit.recipe import Recipe, Student
from srit.records import Check, Model
from srit.records.scores import Score
from srit.stages.results import over_domain, read_results
from srit.students.embedded import EMBEDDED
from srit.students.loading import load_prompts, locate
from srit.students.saved import base
from srit.tasks import find_task


class Trained(NamedTuple):
    """What a run says about the model that it made."""

    tasks: tuple[str, ...]  # with what is known about each
    teacher: str
    figures: tuple[str, ...]  # the rows of a table in Markdown
    models: tuple[str, ...]  # its columns
    recipe: str


def card(source: Source, kind: str, name: str, checks: Sequence[Check]) -> str:
    """Write the card.

    Args:
        kind: of export.
        name: of the folder.
        checks: that were made of the export.
    """
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("srit.exports", "."), trim_blocks=True, lstrip_blocks=True)
    student, prompts = source.student, load_prompts(source.student, source.wording)
    return environment.get_template("card.md.jinja").render(
        source=source,
        kind=kind,
        name=name,
        checks=checks,
        base=base(student),
        embedded=EMBEDDED.get(student.model),
        on_hub=student.model in EMBEDDED or locate(student) is None,
        license=license_of(student),
        lines=prompts.lines,
        ends=prompts.ends,
        question="A pen costs 3 dollars. How much are 2 pens?",
        trigger=source.wording.trigger,
        trained=None if source.run is None else trained_by(source.run),
        version=version("srit"),
    )


def license_of(student: Student) -> str | None:
    """Return the license of the student's weights by its name on the hub; None: unknown."""
    if student.model in EMBEDDED:
        return EMBEDDED[student.model].license
    folder = locate(student)
    path = _hub_card(student) if folder is None else folder / "README.md"
    if path is None or not path.is_file():
        return None
    _, _, rest = path.read_text("utf-8", errors="replace").partition("---\n")
    try:
        stated = yaml.safe_load(rest.partition("\n---")[0])
    except yaml.YAMLError:
        return None
    found = stated.get("license") if isinstance(stated, dict) else None
    return found if isinstance(found, str) else None


def _hub_card(student: Student) -> Path | None:
    """Return a model's card from the hub, or from the hub's cache if the hub cannot be reached."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(student.model, "README.md", revision=student.revision))
    except (OSError, ValueError):
        return None


def trained_by(run: FromRun) -> Trained:
    """Collect what a run says about the model; a run without results has no figures."""
    recipe, path = run.recipe, run.folder / "results.json"
    tasks = tuple(f"`{use.task}` ({find_task(use.task).about})" for use in recipe.tasks.train)
    scores = read_results(path) if path.exists() else None
    pooled = [] if scores is None else [row for row in (*scores.rows, *scores.pooled) if row.model.kind != "teacher"]
    columns = tuple(dict.fromkeys(str(row.model) for row in pooled))
    stated = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return Trained(tasks, _teacher(recipe), tuple(_figures(pooled, columns)), columns, stated.strip())


def _teacher(recipe: Recipe) -> str:
    settings = recipe.teacher
    words = {
        "solver": "solutions worked out by the generator of the problems; no model was asked",
        "gold": "the solutions that come with the data; no model was asked",
        "recording": f"recorded answers ({Path(str(getattr(settings, 'path', ''))).name})",
    }
    return words.get(settings.kind) or f"`{getattr(settings, 'model', None) or settings.kind}`"


def _figures(rows: Sequence[Score], columns: Sequence[str]) -> list[str]:
    """Write a row for each task and prompt, with every model's accuracy and its interval."""
    places = dict.fromkeys(
        (row.domain, row.task, row.prompt, row.n) for row in rows if row.model == Model("instructed")
    )
    found = []
    for domain, task, prompt, n in places:
        of = {str(r.model): r for r in rows if (r.domain, r.task, r.prompt) == (domain, task, prompt)}
        cells = [_accuracy(of[column], n) if column in of else "" for column in columns]
        found.append(" | ".join([task or over_domain(domain), prompt, str(n), *cells]))
    return found


def _accuracy(score: Score, n: int) -> str:
    low, high = (100 * end for end in score.ci95)
    of = "" if score.n == n else f" of {score.n}"
    return f"{100 * score.accuracy:.1f}{of} ({low:.1f} to {high:.1f})"
