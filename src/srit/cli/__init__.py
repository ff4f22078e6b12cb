"""The command line: it parses, calls one function and prints. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

from typing import Annotated

import typer

from srit.cli import bench, chat, export, init, models, run, shown, study

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Self-Refine Instruction-Tuning: teach a small language model to reason, first from a teacher's answers, "
    "then from its own.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"srit {version('srit')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command()(init.init)
app.command()(run.run)
app.command()(run.plan)
for _name, (_part, _summary) in run.STAGES.items():
    app.command(_name)(run.stage_command(_part, _summary))
app.command()(models.evaluate)
app.command()(models.compare)
app.command()(run.report)
app.command()(run.watch)
app.command()(chat.chat)
app.command()(export.export)
app.command()(shown.show)
app.command()(shown.audit)
app.command()(shown.tasks)
app.command()(shown.recipes)
app.command()(shown.doctor)
app.command()(bench.bench)
app.add_typer(study.app, name="study")
