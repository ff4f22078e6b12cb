"""srit run, plan, report and watch, and a command for each stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srit.cli.display import Display, display, kind_of_display, print_object
from srit.cli.ends import reported_errors
from srit.cli.options import (
    AsJson,
    Begun,
    MirrorUrl,
    Mixed,
    On,
    Out,
    Overrides,
    Quiet,
    RecipeName,
    RunFolder,
    Shard,
    TrainWorkers,
    Workers,
)
from srit.errors import MachineError, RecipeError, SritError
from srit.printable import printable

if TYPE_CHECKING:
    from srit.pipeline.engines import Machines
    from srit.recipe import Recipe

# For each command: the part of a run that it makes (`stages.PARTS`), and its help.
STAGES = {
    "demonstrate": ("demonstrations", "Make a run's demonstrations, and first what they need."),
    "instruct": ("instructed", "Train a run's instructed model, and first make what it needs."),
    "sample": ("completions", "Sample a run's completions, and first make what they need."),
    "pair": ("pairs", "Make a run's preference pairs, and first what they need."),
    "refine": ("refined", "Train a run's refined model, and first make what it needs."),
}


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    on: On = "local",
    workers: Workers = None,
    mixed: Mixed = False,
    train_workers: TrainWorkers = None,
    shard: Shard = False,
    mirror: MirrorUrl = None,
    variant: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Keep the run as it is, and make this variant beside it.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run a recipe, or resume it."""
    from srit.pipeline.engines import Machines
    from srit.recipe import read_recipe

    with reported_errors(as_json=as_json):
        settings = read_recipe(recipe, overrides or [])
        if variant is not None:
            settings, out = _as_variant(recipe, overrides or [], variant, out, mirror)
        machines = Machines(on, workers, mixed, train_workers, shard)
        make_part(settings, out, None, machines, kind_of_display(quiet, as_json), mirror)


def _as_variant(
    recipe: str, overrides: Sequence[str], name: str, out: Path | None, mirror: str | None
) -> tuple[Recipe, Path]:
    """Return the recipe of a variant, and its run directory beside that of the recipe."""
    from srit.api import run_folder
    from srit.api import variant as begin
    from srit.recipe import read_recipe

    settings = read_recipe(recipe, [*overrides, f"name={name}"])
    return settings, begin(settings, run_folder(read_recipe(recipe), out), mirror)


def plan(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    workers: Workers = None,
    hardware: Annotated[
        str | None,
        typer.Option(metavar="NAME_OR_FILE", help="Plan for other GPUs: h100, or a RESULT.json from `make gpu-check`."),
    ] = None,
    dollars: Annotated[
        float | None, typer.Option("--dollars-per-hour", min=0.0, help="With --hardware: the price of one GPU.")
    ] = None,
    shard: Annotated[
        bool, typer.Option("--shard", help="With --hardware: divide the weights among the workers in training.")
    ] = False,
) -> None:
    """Show what would run, why, and at what cost, and check that everything it needs is there. Spends nothing."""
    from srit.recipe import read_recipe

    with reported_errors():
        settings = read_recipe(recipe, overrides or [])
        from srit.api import plan as plan_run
        from srit.cli.tables import aligned, plan_rows

        with display("lively"):
            planned = plan_run(settings, out)
        for line in aligned(plan_rows(planned.stages)):
            typer.echo(line)
        if planned.warning:
            typer.echo(f"WARN {planned.warning}")
        for ok, what, found in planned.looked.findings:
            typer.echo(printable(f"{'ok  ' if ok else 'WARN'} {what}: {found}"))
        if hardware is not None:
            from srit.pipeline.hardware import Planned, hardware_of, lines_of

            stages = [Planned(stage.name, stage.work) for stage in planned.stages if stage.reason]
            lines = lines_of(stages, settings, hardware_of(hardware), workers or 1, dollars, shard=shard)
            typer.echo("\n".join(lines))
        elif planned.summary:
            typer.echo(planned.summary)
        if workers is not None and hardware is None:
            from srit.pipeline.engines.room import sharing_line

            typer.echo(sharing_line(settings, workers))
        if planned.looked.faults:
            raise _together(planned.looked.faults)


def _together(faults: Sequence[SritError]) -> SritError:
    """Return all faults as one error of the first one's kind, which may be a special case of that kind."""
    kind = next(kind for kind in type(faults[0]).__mro__ if kind.__base__ is SritError)
    error: SritError = kind("\n".join(map(str, faults)))
    return error


def stage_command(part: str, summary: str) -> Callable[..., None]:
    """Return the command that makes one part of a run.

    Args:
        part: as in `STAGES`.
        summary: the command's help.
    """

    def command(
        target: Begun,
        overrides: Overrides = None,
        out: Out = None,
        on: On = "local",
        workers: Workers = None,
        mixed: Mixed = False,
        train_workers: TrainWorkers = None,
        shard: Shard = False,
        quiet: Quiet = False,
        as_json: AsJson = False,
    ) -> None:
        from srit.pipeline.engines import Machines

        with reported_errors(as_json=as_json):
            machines = Machines(on, workers, mixed, train_workers, shard)
            make_part(*settings_of(target, overrides or [], out), part, machines, kind_of_display(quiet, as_json))

    command.__doc__ = summary
    return command


def settings_of(target: str, overrides: Sequence[str], out: Path | None) -> tuple[Recipe, Path | None]:
    """Return the recipe that a name or a run directory stands for, and the run directory; None: runs/NAME.

    Raises:
        RecipeError: it is neither, or --out names a folder other than the run's.
    """
    from srit.recipe import SHIPPED, read_recipe
    from srit.recipe.begun import begun_recipe, is_begun
    from srit.settings import names_in

    folder = Path(target)
    if folder.suffix in (".yaml", ".yml") or (target in names_in(SHIPPED) and not is_begun(folder)):
        return read_recipe(target, overrides), out
    if not folder.is_dir():
        raise RecipeError(
            f"{target}: this is neither a recipe nor a run directory; `srit recipes` lists the shipped recipes"
        )
    begun = begun_recipe(folder, overrides)
    if out is not None and out != folder:
        raise RecipeError(f"--out {out}: a run cannot change its folder, which is {folder}: leave out --out")
    return begun, folder


def report(
    folder: RunFolder,
    figures: Annotated[
        Path | None, typer.Option(help="Also write publication figures into this folder, as SVG and PDF.")
    ] = None,
) -> None:
    """Write a run's report.html from what it has made so far."""
    from srit.finished import figures as write_figures
    from srit.finished import report as write_report

    with reported_errors():
        typer.echo(f"report: {write_report(folder)}")
        for path in [] if figures is None else write_figures(folder, figures):
            typer.echo(f"figure: {path}")


def watch(
    folder: RunFolder, port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0: any free one.")] = 0
) -> None:
    """Serve a run's report to browsers on this machine, and update it while the run goes on. Ctrl-C stops it."""
    from srit.cli.watch import HOST, server_of

    with reported_errors():
        try:
            server = server_of(folder, port)
        except OSError as error:
            raise MachineError(f"--port {port}: {error.strerror}: choose another port") from None
        typer.echo(f"http://{HOST}:{server.server_port}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped watching; the run itself is not affected", err=True)
        finally:
            server.server_close()


def make_part(
    recipe: Recipe, out: Path | None, part: str | None, machines: Machines, kind: Display, mirror: str | None = None
) -> None:
    """Make one part of a run, or all of it (None), and print where the result is."""
    from srit.api import make
    from srit.cli.tables import print_results
    from srit.finished import load_results, load_verdict
    from srit.training.distributed.choice import followed

    if followed():
        return
    with display(kind) as watch:
        folder = make(recipe, out, part, watch=watch, machines=machines, mirror=mirror)
    if kind == "json":
        print_object({"event": "finished", "folder": str(folder)})
    elif part in (None, "report"):
        print_results(load_results(folder))
        if (verdict := load_verdict(folder)) is not None:
            typer.echo(verdict.sentence)
        typer.echo(f"report: {folder / 'report.html'}")
    else:
        typer.echo(f"{folder}")
