"""srit show, tasks, recipes, audit and doctor: commands that print what exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated

import typer

from srit.cli.ends import reported_errors
from srit.cli.options import RunFolder
from srit.errors import DataError, MachineError, RecipeError
from srit.printable import printable

if TYPE_CHECKING:
    from srit.cli.audit import Audit

TRACES = 3  # problems shown if none is named
SHOWN_IDS = 20


def show(
    folder: RunFolder,
    problem: Annotated[
        str | None, typer.Option(help="The id of a problem. Default: a few training problems, and one of evaluation.")
    ] = None,
) -> None:
    """Follow problems through a run: demonstration, answers, pairs, and each model's answer."""
    from srit.recipe.begun import begun_recipe
    from srit.stages.report.traces import traces, visible

    with reported_errors():
        trained = begun_recipe(folder).tasks.train
        found = list(traces(folder, TRACES, problem, of="train" if trained else "test"))
        if trained and problem is None:
            found += traces(folder, 1, of="test")
        if not found:
            raise RecipeError(
                f"{folder}: this run has no problem {problem!r}; the files in {folder}/problems/ list the ids"
            )
        for trace in found:
            asked = f"{trace.problem_id} ({trace.task})\n{visible(trace.question)}\nanswer: {trace.gold}\n"
            typer.echo(printable(asked))
            for name, text, verdict in trace.parts:
                typer.echo(printable(f"  {name}{f': {verdict}' if verdict else ''}"))
                typer.echo(printable(indent(visible(text), "    ")))
            typer.echo()


def tasks(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A task; shows its first problem.")] = None,
    split: Annotated[str, typer.Option(help="The problem's split: train, dev or test.")] = "train",
    data: Annotated[
        Path | None, typer.Option(envvar="SRIT_DATA", help="A folder of benchmarks. Default: the hub.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/tasks.md.")] = False,
) -> None:
    """List the tasks that a recipe can name, or show one of a task's problems as a model sees it."""
    from srit.tasks import find_task, task_names, task_page

    if markdown:
        typer.echo(task_page(), nl=False)
    elif name is not None:
        with reported_errors():
            typer.echo(_first_problem(name, split, data))
    else:
        from srit.cli.tables import aligned

        for line in aligned((name, find_task(name).about) for name in task_names()):
            typer.echo(line)


def _first_problem(name: str, split: str, data: Path | None) -> str:
    from typing import get_args

    from srit.records import Split
    from srit.stages.report.traces import visible
    from srit.students.prompts import prompt_text
    from srit.tasks import find_task
    from srit.teachers.gold import worked_solution

    task = find_task(name)
    wanted = next((one for one in get_args(Split) if one == split), None)
    if wanted is None:
        raise RecipeError(f"--split: {split!r} is not one of {', '.join(get_args(Split))}")
    problem = next(iter(task.load(wanted, data=data, limit=None, seed=0)), None)
    if problem is None:
        raise DataError(f"{name}: its {split} split has no problems: choose another --split")
    parts = [
        f"{task.name}: {task.about}",
        f"problem {problem.id}, with the CoT prompt (the direct prompt lacks its last line):",
        prompt_text(problem, "cot"),
        f"gold answer: {problem.answer}",
    ]
    solution = task.solve(problem) or worked_solution(problem)
    return visible("\n\n".join([*parts, *([f"solution: {solution}"] if solution else [])]))


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A recipe to print.")] = None,
    copy: Annotated[Path | None, typer.Option(help="Write the recipe to this file, which must not exist.")] = None,
    field: Annotated[
        str | None, typer.Option(help="Describe a field, or every field of a section: refine.beta, refine.")
    ] = None,
) -> None:
    """List the recipes that come with srit, print one, copy one to change it, or describe a field."""
    from srit.cli.tables import aligned
    from srit.recipe import SHIPPED, shipped
    from srit.settings import find_yaml

    if field is not None:
        with reported_errors():
            typer.echo("\n".join(_fields(field)))
        return
    if name is None and copy is None:
        for line in aligned((one, _about(SHIPPED / f"{one}.yaml")) for one in shipped()):
            typer.echo(line)
        return
    with reported_errors():
        if name is None:
            raise RecipeError("--copy: name the recipe to copy; `srit recipes` lists them")
        text = find_yaml(name, SHIPPED, "recipe").read_text(encoding="utf-8")
        if copy is None:
            typer.echo(text, nl=False)
        else:
            write_new(copy, text)
            typer.echo(f"{copy}: next, srit plan {copy}")


def _about(recipe: Path) -> str:
    """Return the first sentence about a recipe; its first line is the command."""
    comments = [line[1:].strip() for line in recipe.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return re.split(r"\. |: ", " ".join(comments[1:]))[0].rstrip(".")


def _fields(name: str) -> list[str]:
    from srit.recipe.fields import fields_named

    if not (found := fields_named(name)):
        raise RecipeError(
            f"--field: a recipe has no {name!r}; docs/recipe.md lists every field, --field refine those of a section"
        )
    return found


def write_new(path: Path, text: str) -> None:
    """Write a file that does not exist yet.

    Raises:
        RecipeError: it exists.
        MachineError: it cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(f"{path}: this file already exists: choose another name") from None
    except OSError as error:
        raise MachineError(f"{path}: cannot be written: {error.strerror}") from None


def audit(
    task: Annotated[str, typer.Argument(help="The task whose reader and judge to use; `srit tasks` lists them.")],
    recording: Annotated[Path, typer.Argument(help="A .jsonl or .jsonl.gz file whose rows have id and output.")],
    problems: Annotated[Path | None, typer.Option(help="A file of problems. Default: the task's own data.")] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="SRIT_DATA", help="A folder of benchmarks. Default: the hub.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Judge recorded answers again, to see how well they are read."""
    from dataclasses import asdict

    from srit.cli.audit import audit as judge_recording
    from srit.tasks import find_task

    with reported_errors():
        found = judge_recording(find_task(task), recording, problems, data=data)
        typer.echo(json.dumps(asdict(found)) if as_json else printable(audit_text(found)))


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
    """Show what this machine has, and which parts of srit work on it."""
    from srit.cli.doctor import diagnose
    from srit.cli.tables import aligned

    with reported_errors():
        for line in aligned(("ok" if ok else "no", what, found) for ok, what, found in diagnose(Path())):
            typer.echo(line)
