"""srit study: a grid of recipes run as one, and its pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from srit.cli.display import display, kind_of_display, print_object
from srit.cli.ends import attempt, reported_errors
from srit.cli.options import AsJson, MirrorUrl, Mixed, On, Overrides, Quiet, StudyPlace, Workers
from srit.errors import RecipeError
from srit.printable import printable

if TYPE_CHECKING:
    from typer._click.core import Context


class _RunByDefault(TyperGroup):
    """`srit study X` is `srit study run X`."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Run a study, which is a grid of recipes; `srit study STUDY` means `srit study run STUDY`.",
)


@app.command()
def run(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="A .yaml file, or the name of a shipped study.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The study directory. Default: runs/studies/NAME.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would take. Spends nothing.")] = False,
    on: On = "local",
    workers: Workers = None,
    mixed: Mixed = False,
    mirror: MirrorUrl = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run or resume a study. The exit code is that of the first cell that failed.

    A KEY of the study (seeds, axes, …) changes the study; any other is a field of every cell's recipe.
    """
    from srit.study.grid import read_study

    with reported_errors(as_json=as_json):
        grid = read_study(name, overrides or [])
        folder = out or Path("runs/studies") / grid.study.name
        if dry_run:
            from srit.study.plan import plan_study, summary

            typer.echo("\n".join(summary(plan_study(grid, folder))))
            return
        from srit.pipeline.engines import Machines
        from srit.study.running import run_study

        machines = Machines(on, workers, mixed)
        with display(kind_of_display(quiet, as_json)) as watch:
            exit_code = run_study(grid, folder, attempt=attempt, watch=watch, machines=machines, mirror=mirror)
        _write_pages(folder / "study.json", folder, say=(lambda line: None) if as_json else typer.echo)
        if as_json:
            print_object({"event": "finished", "folder": str(folder)})
        if exit_code:
            raise typer.Exit(exit_code)


@app.command()
def report(
    place: StudyPlace,
    out: Annotated[Path | None, typer.Option(help="A folder for the pages. Default: that of study.json.")] = None,
) -> None:
    """Write a study's page and tables again from its study.json."""
    with reported_errors():
        path = _study_json(place)
        _write_pages(path, out or path.parent)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A study directory, or its study.json.")],
    b: Annotated[Path, typer.Argument(help="The other one.")],
) -> None:
    """Compare two studies: their claims, and every figure that both have."""
    from srit.study.compare import side_by_side
    from srit.study.estimates import read_study_results

    with reported_errors():
        both = [read_study_results(_study_json(place)) for place in (a, b)]
        typer.echo(printable(side_by_side(*both)))


@app.command()
def join(
    parts: Annotated[list[Path], typer.Argument(help="Study directories, or their study.json.")],
    out: Annotated[Path, typer.Option(help="A folder for the whole study, in which no study is run.")],
) -> None:
    """Join parts of a study, such as one seed or student per machine, into one study.json, page and tables."""
    from srit.run_directory import write_bytes
    from srit.study.estimates import read_study_results
    from srit.study.join import joined
    from srit.study.records import study_bytes

    with reported_errors():
        paths, whole = [_study_json(part) for part in parts], out / "study.json"
        _refuse_to_overwrite(whole, paths)
        write_bytes(whole, study_bytes(joined([(str(path), read_study_results(path)) for path in paths])))
        _write_pages(whole, out)


@app.command()
def claim(
    place: StudyPlace,
    claims: Annotated[list[str], typer.Argument(metavar="CLAIM", help="As in STUDY.yaml, such as '{domain: out}'.")],
) -> None:
    """Test other claims on a study's results. Holm's correction covers only these claims. Writes nothing."""
    from srit.study.claims import findings
    from srit.study.estimates import read_study_results
    from srit.study.grid import read_claim

    with reported_errors():
        results = read_study_results(_study_json(place))
        labels, models = [cell.labels for cell in results.cells], {key.model for key in results.answers}
        asked = [read_claim(claim, labels, models) for claim in claims]
        typer.echo(printable("\n".join(finding.sentence for finding in findings(results, asked))))


def _refuse_to_overwrite(whole: Path, parts: list[Path]) -> None:
    """
    Raises:
        RecipeError: a study is run in the folder, or another study than the parts is kept there.
    """
    out = whole.parent
    if (out / "runs").exists() or out.is_file():
        raise RecipeError(f"--out {out}: this is a file, or a folder in which a study is run: choose another folder")
    if whole.exists() and not any(path.samefile(whole) for path in parts if path.exists()):
        raise RecipeError(f"{whole}: another study is kept here, which is not one of the parts: choose another --out")


def _study_json(place: Path) -> Path:
    """Return the study.json of a study directory, or the file itself."""
    return place / "study.json" if place.is_dir() else place


def _write_pages(path: Path, out: Path, say: Callable[[str], None] = typer.echo) -> None:
    """Write the page and tables; print the claims' sentences and where the page is."""
    from srit.study.estimates import read_study_results
    from srit.study.page import write_pages

    for line in write_pages(read_study_results(path), out):
        say(printable(line))
