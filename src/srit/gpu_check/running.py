"""Runs the parts of the check, each in its own process and within its time, and writes what they found."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from srit.run_directory import write_json

Lines = Iterator[tuple[str, dict[str, Any]]]


class Part(NamedTuple):
    """A part of the check."""

    seconds: float  # that it may take at most
    run: Callable[[bool], Lines]  # with tiny shapes or not


def _correctness(tiny: bool) -> Lines:
    from srit.gpu_check.correctness import correctness

    return correctness(("tiny",) if tiny else ("tiny", "135M"))


def _same_again(tiny: bool) -> Lines:
    from srit.gpu_check.correctness import same_again

    return same_again()


def _sampling(size: str) -> Callable[[bool], Lines]:
    def run(tiny: bool) -> Lines:
        from srit.gpu_check.sampling import sampling

        return sampling("tiny" if tiny else size)

    return run


def _training(size: str) -> Callable[[bool], Lines]:
    def run(tiny: bool) -> Lines:
        from srit.gpu_check.training import training

        return training("tiny" if tiny else size)

    return run


def _attention(tiny: bool) -> Lines:
    from srit.gpu_check.attention import LENGTHS, attention

    return attention((32,) if tiny else LENGTHS)


def _looked_at(tiny: bool) -> Lines:
    from srit.gpu_check.looking import looked_at

    return looked_at("tiny" if tiny else "1B")


def _lacking_memory(tiny: bool) -> Lines:
    from srit.gpu_check.looking import lacking_memory

    return lacking_memory("tiny" if tiny else "1B")


# By importance: the last ones may find no time left.
PARTS: Mapping[str, Part] = {
    "correctness": Part(120, _correctness),
    "same-again": Part(60, _same_again),
    "sampling-1B": Part(75, _sampling("1B")),
    "training-1B": Part(75, _training("1B")),
    "training-3B": Part(75, _training("3B")),
    "sampling-3B": Part(75, _sampling("3B")),
    "profile": Part(40, _looked_at),
    "memory": Part(40, _lacking_memory),
    "attention": Part(60, _attention),
    "sampling-8B": Part(75, _sampling("8B")),
    "training-8B": Part(75, _training("8B")),
    "sampling-135M": Part(60, _sampling("135M")),
    "training-135M": Part(40, _training("135M")),
}
TWICE = "same-again"  # computed by two processes, whose sums must be equal


class Found(NamedTuple):
    """What the parts found."""

    lines: Mapping[str, Mapping[str, Any]]  # by part and by line
    failed: list[str]  # checks that did not pass, and parts that did not end well


def part_lines(name: str, *, tiny: bool) -> Iterator[str]:
    """Compute a part in this process, and yield each of its lines in JSON as soon as it is known."""
    for key, values in PARTS[name].run(tiny):
        yield json.dumps({"line": key, **values})


def check(names: Sequence[str], *, seconds: float, out: Path, tiny: bool = False) -> Found:
    """Run parts one after another, and write what is known after each.

    Args:
        seconds: for all of them together.
        out: the file to write; what it has of other parts on the same machine stays.
        tiny: whether to use tiny shapes; without a GPU they are always tiny.
    """
    here = described()
    tiny = tiny or here["gpu"] is None
    known = json.loads(out.read_bytes()) if out.exists() else {}
    results = known if known.get("machine") == here else {"machine": here, "parts": {}, "seconds": {}}
    failed: list[str] = []
    end = time.monotonic() + seconds
    for name in names:
        left = end - time.monotonic()
        if left < 5:
            failed.append(f"{name}: no time was left")
            continue
        started = time.monotonic()
        limit = left if tiny else min(PARTS[name].seconds, left)
        lines, fault = _in_process(name, limit, tiny)
        if name == TWICE and not fault:
            again, fault = _in_process(name, min(limit, max(5.0, end - time.monotonic())), tiny)
            lines = {key: {**line, "passes": line == again.get(key)} for key, line in lines.items()}
        results["parts"][name] = lines | ({"fault": {"said": fault}} if fault else {})
        results["seconds"][name] = round(time.monotonic() - started, 1)
        failed += [f"{name}: {fault}"] if fault else []
        failed += [f"{name}: {key}" for key, line in lines.items() if line.get("passes") is False]
        _say(name, lines, results["seconds"][name], fault)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, results)
    for fault in failed:
        print(f"FAIL {fault}", flush=True)
    print(f"{len(failed)} failed; {out}", flush=True)
    return Found(results["parts"], failed)


def _in_process(name: str, seconds: float, tiny: bool) -> tuple[dict[str, dict[str, Any]], str]:
    """Return a part's lines by name, and what went wrong or ""; lines from before a failure count."""
    command = [sys.executable, "-m", "srit.gpu_check", "--part", name, *(["--tiny"] if tiny else [])]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=said, stderr=errors, env=_environment())
        try:
            code = process.wait(timeout=seconds)
            fault = "" if code == 0 else f"it ended with status {code}:  "
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code, fault = 0, f"it was stopped after {seconds:.0f} s"
        said.seek(0)
        errors.seek(0)
        lines = [json.loads(line) for line in said if line.startswith("{") and line.endswith("}\n")]
        fault += errors.read()[-1500:] if code else ""
    return {str(line.pop("line")): line for line in lines}, fault


def _environment() -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


def _say(name: str, lines: Mapping[str, Mapping[str, Any]], seconds: float, fault: str) -> None:
    print(f"{name} ({seconds:.0f} s)", flush=True)
    for key, line in lines.items():
        print(f"  {key}: {json.dumps(line)}", flush=True)
    if fault:
        print(f"  {fault}", flush=True)


def described() -> dict[str, Any]:
    """Return what the results depend on."""
    import torch

    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "gpu": gpu and gpu.name,
        "multiprocessors": gpu and gpu.multi_processor_count,
        "memory GiB": gpu and round(gpu.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers", "peft")},
    }
