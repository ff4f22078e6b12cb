"""What figures depend on besides the recipe."""

from __future__ import annotations

import platform
from importlib.metadata import version

from srit.compute.mapping import Engine
from srit.pipeline.stage import TRAINS, Stage


def environment() -> dict[str, str]:
    """Return what figures depend on besides the recipe."""
    packages = ("srit", "torch", "transformers", "peft")
    return {"python": platform.python_version(), "machine": platform.machine(), **{p: version(p) for p in packages}}


def environment_of(stage: Stage, engine: Engine) -> dict[str, str]:
    """Return what the figures of a stage depend on: how many threads compute it is part of that."""
    if not stage.computes:
        return environment()
    import torch

    trains = {"threads": str(torch.get_num_threads())} if stage.computes == TRAINS else {}
    return environment() | trains | dict(engine.kind)
