"""srit export: a trained model for other software."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srit.cli.display import display
from srit.cli.ends import reported_errors
from srit.watching import Line

Place = Annotated[
    str,
    typer.Argument(metavar="RUN_OR_MODEL", help="A run directory, a folder with a model, or the name of a student."),
]
OfRun = Annotated[
    str | None,
    typer.Option("--model", help="A model of the run: base, instructed, refined, … Default: refined."),
]


def export(
    place: Place,
    to: Annotated[str, typer.Option(help="The format: merged, adapter, gguf, ollama, datasets or lm-eval.")],
    out: Annotated[Path, typer.Option(help="The folder to write, which must not exist.")],
    model: OfRun = None,
    questions: Annotated[int, typer.Option(min=1, help="How many problems the check asks.")] = 20,
    converter: Annotated[
        Path | None, typer.Option(help="llama.cpp's convert_hf_to_gguf.py. Default: srit's own, or the one in PATH.")
    ] = None,
    push: Annotated[
        str | None, typer.Option(metavar="USER/NAME", help="Also upload it to the hub, as a private repository.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: make the repository public.")] = False,
) -> None:
    """Write a trained model for other software, and check that it answers as before."""
    from srit.exports import DATA
    from srit.exports import export as write
    from srit.exports.hub import push as upload
    from srit.exports.hub import require_push
    from srit.exports.sources import find_source

    with reported_errors():
        with display("lively") as watch:
            source = find_source(place, model)
            if push is not None:
                require_push(push)
            write(source, to, out, report=lambda line: watch(Line(line)), questions=questions, converter=converter)
        typer.echo(f"{to}: {out}")
        if push is not None:
            address = upload(out, push, "dataset" if to in DATA else "model", public=public)
            typer.echo(f"pushed: {address}")
