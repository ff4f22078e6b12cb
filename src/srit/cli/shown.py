"""srit show, tasks, recipes, audit and doctor: what there is, printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srit.cli.ends import reported_errors
from srit.cli.options import RunFolder
from srit.errors import RecipeError
from srit.printable import printable

if TYPE_CHECKING:
    from srit.cli.audit import Audit

TRACES = 3  # problems shown where none is named
SHOWN_IDS = 20


def show(
    folder: RunFolder,
    problem: Annotated[str | None, typer.Option(help="A problem's id. Default: a few problems are shown.")] = None,
) -> None:
    """Follow problems through a run: demonstration, answers, pairs, and each model's answer."""
    from srit.api import recipe_of
    from srit.stages.report.traces import traces, visible

    with reported_errors():
        recipe_of(folder)
        found = list(traces(folder, TRACES, problem))
        if not found:
            raise RecipeError(
                f"{folder}: there is no problem {problem!r}; the files in {folder}/problems/ have the ids"
            )
        for trace in found:
            asked = f"{trace.problem_id} ({trace.task})\n{visible(trace.question)}\nanswer: {trace.gold}\n"
            typer.echo(printable(asked))
            for name, text, verdict in trace.parts:
                typer.echo(printable(f"  {name}{f': {verdict}' if verdict else ''}\n    {visible(text)}"))


def tasks(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/tasks.md.")] = False,
) -> None:
    """List the tasks that a recipe can name."""
    from srit.tasks import find_task, task_names, task_page

    if markdown:
        typer.echo(task_page(), nl=False)
        return
    for name in task_names():
        typer.echo(f"{name:12} {find_task(name).about}")


def recipes() -> None:
    """List the recipes that come with srit."""
    from srit.recipe import shipped

    typer.echo("\n".join(shipped()))


def audit(
    task: Annotated[str, typer.Argument(help="The task whose reader and judge to use. `srit tasks` lists them.")],
    recording: Annotated[Path, typer.Argument(help="A .jsonl or .jsonl.gz file whose rows have id and output.")],
    problems: Annotated[Path | None, typer.Option(help="A file of problems. Default: the task's own data.")] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="SRIT_DATA", help="A folder of benchmarks. Default: the hub.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge every recorded answer again, to see how well answers are read."""
    from dataclasses import asdict

    from srit.cli.audit import audit as judge_recording
    from srit.tasks import find_task

    with reported_errors():
        found = judge_recording(find_task(task), recording, problems, data=data)
        typer.echo(json.dumps(asdict(found)) if as_json else audit_text(found))


def audit_text(found: Audit) -> str:
    """Return the counts of an audit, and the ids of the rows to look at."""
    lines = [
        f"{found.n} answers, {found.read} read, {found.correct} right ({found.accuracy:.1%})",
        f"{found.errors} could not be judged; {len(found.disagreements)} differ from the recording's verdict",
    ]
    for name, ids in (("unread", found.unread), ("differ", found.disagreements)):
        listed = f"{' '.join(ids[:SHOWN_IDS])}{' …' if len(ids) > SHOWN_IDS else ''}"
        lines.append(f"{name}: {listed or 'none'}")
    return "\n".join(lines)


def doctor() -> None:
    """Check this machine, and which parts of srit work on it."""
    from srit.cli.doctor import diagnose

    with reported_errors():
        for ok, what, found in diagnose(Path()):
            typer.echo(f"{'ok  ' if ok else 'no  '} {what:55} {found}")
