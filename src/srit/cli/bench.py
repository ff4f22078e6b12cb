"""srit bench: how fast and how correct this machine's GPU is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srit.cli.ends import reported_errors
from srit.errors import RecipeError


def bench(
    gpu: Annotated[bool, typer.Option("--gpu", help="Check and measure the GPU.")] = False,
    seconds: Annotated[float, typer.Option(help="The time limit for all parts together.")] = 460.0,
    out: Annotated[Path, typer.Option(help="The file to write the results to.")] = Path("gpu-check.json"),
) -> None:
    """Check and measure this machine's GPU, compared with transformers' generate and plain training steps."""
    with reported_errors():
        if not gpu:
            raise RecipeError("run `srit bench --gpu`; to measure a CPU, run `make bench` in a checkout")
        from srit.gpu_check.running import PARTS, check

        if check(list(PARTS), seconds=seconds, out=out).failed:
            raise typer.Exit(1)
