"""What this machine has, and which parts of srit work on it."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from srit.installing import extra_install
from srit.kinds import FAMILIES, LOSSES, SAMPLERS, TEACHERS, TRACKERS, Finding, Kinds, extra
from srit.samplers import SamplerKind
from srit.students.embedded import EMBEDDED
from srit.sums import cache
from srit.tasks import Family
from srit.teachers import TeacherKind
from srit.trackers import TrackerKind
from srit.training.losses import LossKind

_KINDS: Mapping[Kinds, type[TeacherKind[Any] | SamplerKind[Any] | LossKind[Any] | TrackerKind | Family]] = {
    SAMPLERS: SamplerKind,
    TEACHERS: TeacherKind,
    LOSSES: LossKind,
    TRACKERS: TrackerKind,
    FAMILIES: Family,
}
RAY = ((2, 60), (2, 64))  # versions, as in pyproject.toml: its arguments change in 2.64
_LEAST_DISK = 5e9  # bytes; a run of the embedded student with its converted weights takes about 1


def diagnose(folder: Path) -> list[Finding]:
    """Find what a run in `folder` can use. Takes a second, for a matrix product."""
    import torch

    disk = shutil.disk_usage(folder).free
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    findings = [
        Finding(True, "python", platform.python_version()),
        Finding(True, "torch, transformers, peft", ", ".join(map(version, ("torch", "transformers", "peft")))),
        Finding(True, "processor", f"{os.cpu_count()} cores, {memory / 2**30:.0f} GiB, {_products()}"),
        Finding(disk > _LEAST_DISK, "disk", f"{disk / 1e9:.0f} GB free at {folder.resolve()}"),
        Finding(os.access(_existing(cache()), os.W_OK), "cache", f"{cache()} (SRIT_CACHE sets another)"),
    ]
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    findings.append(Finding(True, "GPU", ", ".join(gpus) or "none: models run on the CPU"))
    for name, embedded in EMBEDDED.items():
        findings.append(_installed(f"student {name}", embedded.package, embedded.install))
    findings.append(extra("qlora", "bitsandbytes", "adapters over a 4-bit base"))
    findings.append(extra("gguf", "xllamacpp", "llama.cpp, to check exported GGUF files"))
    findings.append(extra("figures", "matplotlib", "publication figures of a run"))
    findings.append(extra("s3", "obstore", "--mirror, a copy of a run on object storage"))
    findings.append(_ray())
    for kinds, kind in _KINDS.items():
        findings += [finding for _, found in kinds.all(kind) for finding in found.doctor()]
        findings += kinds.findings(kind)
    return list(dict.fromkeys(findings))  # several kinds of tasks may need one extra


def _ray() -> Finding:
    """Say whether runs can use a cluster, and what to install where."""
    what = "ray: --on ray, the machines of a cluster"
    ours = ", ".join(f"{package}=={version(package)}" for package in ("srit", "torch", "transformers", "peft"))
    try:
        found = version("ray")
    except PackageNotFoundError:
        return Finding(False, what, f"{extra_install('ray')} on every machine of the cluster, with {ours}")
    fits = RAY[0] <= tuple(map(int, found.split(".")[:2])) < RAY[1]
    asked = f"every machine of the cluster needs ray=={found}, {ours}"
    return Finding(fits, what, asked if fits else f"{found} is outside the tested range: {extra_install('ray')}")


def _installed(what: str, package: str, remedy: str) -> Finding:
    try:
        return Finding(True, what, f"{package} {version(package)}")
    except PackageNotFoundError:
        return Finding(False, what, remedy)


def _products() -> str:
    """Say how fast matrices are multiplied in each precision, which bounds training and prefilling."""
    import torch

    speeds = []
    for kind in ("float32", "bfloat16"):
        matrix = torch.ones(1024, 1024, dtype=getattr(torch, kind))
        matrix @ matrix
        started, n = time.perf_counter(), 0
        while time.perf_counter() - started < 0.3:
            matrix @ matrix
            n += 1
        speeds.append(f"{kind} {2 * 1024**3 * n / (time.perf_counter() - started) / 1e9:.0f}")
    return " and ".join(speeds) + " GFLOP/s"


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
