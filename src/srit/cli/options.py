"""Arguments and options that several commands share, and whether there is somebody to ask for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A .yaml file, or the name of a shipped recipe.")]
Begun = Annotated[
    str, typer.Argument(metavar="RECIPE|DIR", help="A recipe to start a run from, or a run directory to continue.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]
StudyPlace = Annotated[Path, typer.Argument(metavar="DIR_OR_STUDY.JSON", help="A study directory, or its study.json.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Fields to override, such as refine.beta=0.2.")
]
Out = Annotated[Path | None, typer.Option(help="The run directory. Default: runs/NAME.")]
On = Annotated[
    str, typer.Option(metavar="ENGINE", help="Where answers are computed: local, or ray for a cluster's machines.")
]
Workers = Annotated[
    int | None, typer.Option(help="Processes or actors that compute answers, each with its own copy of the model.")
]
Mixed = Annotated[
    bool, typer.Option("--mixed", help="With --on ray: also use machines whose results round differently.")
]
MirrorUrl = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        help="Copy the run directory to object storage, such as s3://bucket/run, and resume from the copy.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show only warnings and the result.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print only events, as one JSON object a line.")]
TrainWorkers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that train together; the result has the same bytes as from one. Default: 1."),
]
Shard = Annotated[
    bool,
    typer.Option(
        "--shard", help="Divide a model's weights among the processes that train it, so it need not fit into one."
    ),
]


def can_ask() -> bool:
    """Return whether standard input is a terminal; it is nothing if it was closed before srit began."""
    return sys.stdin is not None and sys.stdin.isatty()
