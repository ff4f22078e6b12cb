"""What results depend on besides the recipe, and where they came from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path

from srit.compute.mapping import Engine
from srit.pipeline.stage import TRAINS, Stage
from srit.training.distributed.trainers import Trainers


def environment() -> dict[str, str]:
    """Return what results depend on besides the recipe."""
    packages = ("srit", "torch", "transformers", "peft")
    return {"python": platform.python_version(), "machine": platform.machine(), **{p: _version(p) for p in packages}}


_version = cache(version)  # reads files, and is asked again at every stage


def environment_of(stage: Stage, engine: Engine, trainers: Trainers) -> dict[str, str]:
    """Return what a stage's results depend on, including the number of threads that compute it."""
    if not stage.computes:
        return environment()
    trains = {"threads": str(trainers.threads)} if stage.computes == TRAINS else {}
    return environment() | trains | dict(engine.kind)


def origin() -> dict[str, str]:
    """Return srit's commit and this machine's processors, as far as they can be found."""
    found = {"commit": _commit(), "processor": _processor(), "gpu": _gpus()}
    return {name: value for name, value in found.items() if value}


def _commit() -> str:
    """Return the commit that srit was installed from, or of the checkout that it runs from."""
    url = json.loads(distribution("srit").read_text("direct_url.json") or "{}")
    if commit := url.get("vcs_info", {}).get("commit_id"):
        return str(commit)[:12]
    package = Path(__file__).parents[1]
    if not (package.parents[1] / ".git").exists():  # another project's repository may hold an installed srit
        return ""
    head = _git(package, "rev-parse", "--short=12", "HEAD")
    changed = _git(package, "status", "--porcelain", "--", str(package))
    return f"{head} with changes" if head and changed else head


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    """Return the processor's name and its number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _gpus() -> str:
    """Return the names of NVIDIA's GPUs as their driver lists them: asking torch would load it."""
    listed = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [line.partition(":")[2].strip() for path in listed for line in path.read_text().splitlines()[:1]]
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names))
