"""The command line: parses, calls one function, prints. Results on stdout, progress on stderr."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from srit.errors import MachineError, RecipeError, SritError

if TYPE_CHECKING:
    from rich.table import Table

    from srit.recipe import Recipe
    from srit.records import Model
    from srit.scores import Comparison, OptionAccuracy, Results, Score

LINE_SECONDS = 60.0  # between lines of progress where there is no terminal
WIDE = 118  # columns of a terminal that show the table of three models with its intervals

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="a run directory")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")]


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="a .yaml file, or the name of a shipped recipe")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="run directory; default runs/NAME")] = None,
) -> None:
    """Run a recipe, or go on with it."""
    from srit.recipe import read_recipe

    with _told():
        settings = read_recipe(recipe, overrides or [])
        _run(out or Path("runs") / settings.name, settings, None)


@app.command()
def plan(
    recipe: Annotated[str, typer.Argument(help="a .yaml file, or the name of a shipped recipe")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="run directory; default runs/NAME")] = None,
) -> None:
    """What would run, and why; spends nothing."""
    from srit.machine.precision import known_rates
    from srit.pipeline.estimate import told_in_all, work_of
    from srit.pipeline.running import plan as make_plan
    from srit.pipeline.running import versions_line
    from srit.recipe import read_recipe

    with _told():
        settings = read_recipe(recipe, overrides or [])
        folder = out or Path("runs") / settings.name
        planned = make_plan(folder, settings)
        works = {p.stage.name: work_of(p.stage.name, settings) for p in planned if p.reason}
        for stage, reason in planned:
            work = works[stage.name].told() if reason else ""
            typer.echo(f"{'run ' if reason else 'done'}  {stage.name:32} {work:40} {reason}".rstrip())
        if line := versions_line(folder, planned):
            typer.echo(f"WARN {line}")
        if works:
            typer.echo(told_in_all(list(works.values()), settings, known_rates(settings.student)))


def _stage_command(name: str, last: str, summary: str) -> None:
    def command(folder: Folder) -> None:
        with _told():
            _run(folder, _recipe_of(folder), last)

    command.__doc__ = summary
    app.command(name)(command)


_stage_command("demonstrate", "demonstrations", "Make a run's demonstrations, and what they need.")
_stage_command("instruct", "instructed", "Train a run's instructed model, and what it needs.")
_stage_command("sample", "completions", "Sample a run's completions, and what they need.")
_stage_command("pair", "pairs", "Make a run's pairs, and what they need.")
_stage_command("refine", "refined", "Train a run's refined model, and what it needs.")
_stage_command("evaluate", "results", "Evaluate a run's models, and make what they need.")


@app.command()
def report(folder: Folder) -> None:
    """Write a run's report.html from what there is of it."""
    with _told():
        typer.echo(_write_report(folder))


@app.command()
def show(
    folder: Folder,
    problem: Annotated[str | None, typer.Option(help="id of a problem; without it some are shown")] = None,
) -> None:
    """Problems all the way through a run: demonstration, answers, pairs, each model's answer."""
    from srit.stages.report import traces, visible

    with _told():
        _recipe_of(folder)
        found = list(traces(folder, 3, problem))
        if not found:
            raise RecipeError(f"{folder}: there is no problem {problem!r}; ids stand in {folder}/problems/")
        for trace in found:
            typer.echo(f"{trace.problem_id} ({trace.task})\n{visible(trace.question)}\nanswer: {trace.gold}\n")
            for name, text, verdict in trace.parts:
                typer.echo(f"  {name}{f': {verdict}' if verdict else ''}\n    {visible(text)}")


@app.command()
def audit(
    task: Annotated[str, typer.Argument(help="whose reader and judge; `srit tasks` lists them")],
    recording: Annotated[Path, typer.Argument(help=".jsonl or .jsonl.gz with rows of id and output")],
    problems: Annotated[Path | None, typer.Option(help="file of problems; default: the task's own data")] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="SRIT_DATA", help="folder of benchmarks; default: the hub")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """How well answers are read: judges every recorded answer."""
    from dataclasses import asdict

    from srit.cli.audit import audit as judge_recording
    from srit.tasks import find_task

    with _told():
        found = judge_recording(find_task(task), recording, problems, data=data)
        if as_json:
            typer.echo(json.dumps(asdict(found)))
            return
        typer.echo(f"{found.n} answers, {found.read} read, {found.correct} right ({found.accuracy:.1%})")
        typer.echo(
            f"{found.errors} could not be judged; {len(found.disagreements)} differ from the recording's verdict"
        )
        for name, ids in (("unread", found.unread), ("differ", found.disagreements)):
            typer.echo(f"{name}: {' '.join(ids[:20])}{' …' if len(ids) > 20 else ''}" if ids else f"{name}: none")


@app.command()
def tasks(
    markdown: Annotated[bool, typer.Option("--markdown", help="print docs/tasks.md")] = False,
) -> None:
    """The tasks that a recipe can name."""
    from srit.tasks import find_task, task_names, task_page

    if markdown:
        typer.echo(task_page(), nl=False)
        return
    for name in task_names():
        typer.echo(f"{name:12} {find_task(name).about}")


@app.command()
def doctor() -> None:
    """What this machine has, and which parts of srit work on it."""
    from srit.cli.doctor import diagnose

    with _told():
        for ok, what, found in diagnose(Path()):
            typer.echo(f"{'ok  ' if ok else 'no  '} {what:55} {found}")


class _OrRun(TyperGroup):
    """`srit study X` is `srit study run X`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


study = typer.Typer(
    cls=_OrRun,
    no_args_is_help=True,
    help="Run a study, a grid of recipes: `srit study STUDY` is `srit study run STUDY`.",
)
app.add_typer(study, name="study")


@study.command("run")
def study_run(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="a .yaml file, or the name of a shipped study")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="study folder; default runs/studies/NAME")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="what it would take; spends nothing")] = False,
) -> None:
    """Run a study, or go on with it; the exit code is that of the first cell that failed.

    A KEY of the study (seeds, axes, …) changes the study; any other is a field of every cell's recipe.
    """
    from srit.study.grid import read_study

    with _told():
        grid = read_study(name, overrides or [])
        folder = out or Path("runs/studies") / grid.study.name
        if dry_run:
            from srit.study.plan import plan_study, told

            typer.echo("\n".join(told(plan_study(grid, folder))))
            return
        from srit.study.cells import run_study

        with _progress() as (progress, tell):
            exit_code = run_study(grid, folder, attempt=_attempt, progress=progress, tell=tell)
        _write_study(folder / "study.json", folder)
        if exit_code:
            raise typer.Exit(exit_code)


@study.command("report")
def study_report(
    place: Annotated[Path, typer.Argument(metavar="DIR_OR_STUDY.JSON", help="a study folder, or its study.json")],
    out: Annotated[Path | None, typer.Option(help="folder for the pages; default: beside study.json")] = None,
) -> None:
    """Write a study's page and tables from its study.json alone."""
    with _told():
        path = _study_json(place)
        _write_study(path, out or path.parent)


@study.command("compare")
def study_compare(
    a: Annotated[Path, typer.Argument(help="a study folder, or its study.json")],
    b: Annotated[Path, typer.Argument(help="the other")],
) -> None:
    """Two studies side by side: their claims, and every figure that both have."""
    from srit.study.figures import read_results
    from srit.study.sidebyside import side_by_side

    with _told():
        both = [read_results(_study_json(place)) for place in (a, b)]
        typer.echo(side_by_side(*both))


@study.command("join")
def study_join(
    parts: Annotated[list[Path], typer.Argument(help="study folders, or their study.json")],
    out: Annotated[Path, typer.Option(help="folder for the whole study; not one that is run in")],
) -> None:
    """Parts of one study, such as a seed or a student on each machine, as one study: study.json, page and tables."""
    from srit.run_directory import write_bytes
    from srit.study.figures import read_results
    from srit.study.joined import joined
    from srit.study.outcomes import study_bytes

    with _told():
        paths, whole = [_study_json(part) for part in parts], out / "study.json"
        if (out / "runs").exists() or out.is_file():
            raise RecipeError(f"--out {out}: a study is run there, or it is a file: give a folder for the whole")
        if whole.exists() and not any(path.samefile(whole) for path in paths if path.exists()):
            raise RecipeError(f"{whole}: there is a study, and it is none of the parts: choose another --out")
        write_bytes(whole, study_bytes(joined([(str(path), read_results(path)) for path in paths])))
        _write_study(whole, out)


@study.command("claim")
def study_claim(
    place: Annotated[Path, typer.Argument(metavar="DIR_OR_STUDY.JSON", help="a study folder, or its study.json")],
    claims: Annotated[list[str], typer.Argument(metavar="CLAIM", help="as in STUDY.yaml, such as '{domain: out}'")],
) -> None:
    """Test other claims on what a study has; Holm's correction is over these claims alone. Writes nothing."""
    from srit.study.claims import verdicts
    from srit.study.figures import read_results
    from srit.study.grid import read_claim

    with _told():
        results = read_results(_study_json(place))
        labels, models = [cell["labels"] for cell in results.cells], {key.model for key in results.answers}
        asked = [read_claim(claim, labels, models) for claim in claims]
        results = results._replace(study={**results.study, "claims": asked})
        typer.echo("\n".join(verdict.sentence for verdict in verdicts(results)))


def _study_json(place: Path) -> Path:
    """Of a study folder, or the file itself."""
    return place / "study.json" if place.is_dir() else place


def _write_study(path: Path, out: Path) -> None:
    """The page and tables; prints the claims' sentences and where the page is."""
    from srit.study.figures import read_results
    from srit.study.page import write_pages

    for line in write_pages(read_results(path), out):
        typer.echo(line)


@app.command()
def recipes() -> None:
    """The recipes that come with srit."""
    from srit.recipe import shipped

    typer.echo("\n".join(shipped()))


def _recipe_of(folder: Path) -> Recipe:
    from srit.recipe import read_recipe

    path = folder / "recipe.yaml"
    if not path.is_file():
        raise RecipeError(f"{folder}: no run has begun here: srit run RECIPE --out {folder}")
    return read_recipe(str(path))


def _run(folder: Path, recipe: Recipe, only: str | None) -> None:
    from srit.pipeline.running import open_run, run_stages

    with _progress() as (progress, tell), open_run(folder, recipe, progress=progress, tell=tell, only=only) as job:
        run_stages(job, only)
    if only is None or only == "results":
        _print_results(folder)
        typer.echo(_write_report(folder))
    else:
        typer.echo(f"{folder}")


def _write_report(folder: Path) -> str:
    from srit.run_directory import read_manifest, write_bytes
    from srit.stages.report import make_report

    path = folder / "report.html"
    write_bytes(path, make_report(folder, read_manifest(folder), _recipe_of(folder)).encode(errors="replace"))
    return f"report: {path}"


def _print_results(folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from srit.records import Model
    from srit.stages.results import read_results

    results = read_results(folder / "results.json")
    models = list(dict.fromkeys(row.model for row in results.rows))
    console = Console()
    wide = console.width >= WIDE + 13 * max(0, len(models) - 3)
    table = Table(title="accuracy, % (95 % interval)" if wide else "accuracy, %")
    for column in ("", "task", "prompt", "n", *map(str, models), "refined - instructed"):
        table.add_column(column)
    changes = [c for c in results.comparisons if (c.a, c.b) == (Model("refined"), Model("instructed"))]
    for c in sorted(changes, key=lambda c: (c.domain, c.task.startswith("all "), c.domain, c.task, c.prompt)):
        scores = {row.model: row for row in _rows_of(results, c)}
        n = scores[Model("instructed")].n
        cells = [_cell(scores[model], n, wide) if model in scores else "" for model in models]
        low, high = (100 * end for end in c.ci95)
        difference = f"{100 * c.delta:+z.1f} ({low:+z.1f} to {high:+z.1f})"
        if wide:
            difference += f", p {c.p:.3f}"
        table.add_row(c.domain, c.task, c.prompt, str(n), *cells, difference)
    console.print(table)
    if results.options:
        console.print(_options_table(results.options, models))


def _options_table(options: Sequence[OptionAccuracy], models: Sequence[Model]) -> Table:
    """Multiple choice by likelihood: the likeliest option, and the likeliest a character."""
    from rich.table import Table

    scored = [model for model in models if any(row.model == model for row in options)]
    table = Table(title="right by likelihood of the options, % (a character)")
    for column in ("task", "prompt", "scored", "n", *map(str, scored)):
        table.add_column(column)
    for place in dict.fromkeys((row.task, row.prompt, row.scored, row.n) for row in options):
        found = {row.model: row for row in options if (row.task, row.prompt, row.scored) == place[:3]}
        shares = [f"{100 * found[m].accuracy:.1f} ({100 * found[m].accuracy_norm:.1f})" for m in scored]
        table.add_row(*map(str, place), *shares)
    return table


def _rows_of(results: Results, c: Comparison) -> list[Score]:
    """The scores of one line of the table."""
    if c.task.startswith("all "):
        return [row for row in results.pooled if (row.domain, row.prompt) == (c.domain, c.prompt)]
    return [row for row in results.rows if (row.task, row.prompt) == (c.task, c.prompt)]


def _cell(score: Score, n: int, wide: bool) -> str:
    low, high = (100 * end for end in score.ci95)
    of = "" if score.n == n else f" of {score.n}"
    return f"{100 * score.accuracy:.1f}{of}" + (f" ({low:.0f}-{high:.0f})" if wide else "")


@contextmanager
def _progress() -> Iterator[tuple[Any, Any]]:
    """A bar with the time left on a terminal; a line a minute elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, markup=False, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        shown: dict[str, Any] = {}
        told = time.monotonic()

        def progress(what: str, done: int, total: int) -> None:
            nonlocal told
            if not console.is_terminal:
                if time.monotonic() - told > LINE_SECONDS:
                    told = time.monotonic()
                    console.print(f"     {what} {done}/{total}")
                return
            if what not in shown:
                for bar in shown.values():
                    bars.update(bar, visible=False)
                shown[what] = bars.add_task(what, total=total)
            bars.update(shown[what], completed=done, total=total)

        yield progress, lambda line: console.print(line, soft_wrap=True)


def _terminate(number: int, frame: object) -> None:
    signal.signal(number, lambda number, frame: os._exit(128 + number))  # told twice: without any more ado
    raise typer.Exit(128 + number)


@contextmanager
def _told() -> Iterator[None]:
    """Errors meant for a person become a message and an exit code."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # It tells of a faster kernel that it did not find, on every import by peft.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # transformers and peft warn each other's users of renamed arguments; nothing a reader could act on
    warnings.filterwarnings("ignore", category=FutureWarning)
    signal.signal(signal.SIGTERM, _terminate)
    # Where a shell starts a job in the background it has it ignore this; one that is sent is still meant.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        typer.echo("srit: interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    except Exception as error:
        message, exit_code = _explained(error)
        typer.echo(f"srit: {message}", err=True)
        raise typer.Exit(exit_code) from None


def _explained(error: Exception) -> tuple[str, int]:
    """A message for a person, and the exit code."""
    if isinstance(error, SritError):
        return str(error), error.exit_code
    if isinstance(error, (OSError, MemoryError)):
        return f"{error}; mend that and run the same command again", MachineError.exit_code
    told = "".join(traceback.format_exception(error))
    try:
        Path("srit.log").write_text(told)
        where = "(the traceback is in srit.log)"
    except OSError:
        where = f"\n{told}"
    return f"a bug of srit's: {type(error).__name__}: {error} {where}", SritError.exit_code


def _attempt(work: Callable[[], Any]) -> Any:
    """What a cell's work gives, or the Failure that it ended in: the study's other cells go on."""
    from srit.study.cells import Failure

    try:
        return work()
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        reason, exit_code = _explained(error)
        return Failure(type(error).__name__, exit_code, reason)


if __name__ == "__main__":
    app()
