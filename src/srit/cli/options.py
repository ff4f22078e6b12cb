"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A .yaml file, or the name of a shipped recipe.")]
Begun = Annotated[
    str, typer.Argument(metavar="RECIPE|DIR", help="A recipe to begin a run of, or the directory of one to go on with.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]
StudyPlace = Annotated[Path, typer.Argument(metavar="DIR_OR_STUDY.JSON", help="A study directory, or its study.json.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Fields to override, such as refine.beta=0.2.")
]
Out = Annotated[Path | None, typer.Option(help="The run directory. Default: runs/NAME.")]
On = Annotated[
    str, typer.Option(metavar="ENGINE", help="Where answers are computed: local, or ray for the machines of a cluster.")
]
Workers = Annotated[
    int | None, typer.Option(help="Processes or actors that compute answers, each with a model of its own.")
]
Mixed = Annotated[bool, typer.Option("--mixed", help="With --on ray, use machines whose results differ in rounding.")]
MirrorUrl = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        metavar="URL",
        help="Copy the run directory to object storage, such as s3://bucket/run, and go on from what is there.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show warnings and the result alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print events as JSON, one a line, in place of all else.")]
TrainWorkers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that train together, to the same bytes as one of as many threads. Default: 1."),
]
Shard = Annotated[
    bool,
    typer.Option(
        "--shard", help="Share out the weights of a model among the processes that train it: it need not fit into one."
    ),
]
