"""A run of n problems, stage by stage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from steps import TASKS
from tiny import save_tiny_student
from written import STEPS

HERE = Path(__file__).parent


def write_rows(folder: Path, n: int) -> None:
    """Write n problems to train on, as many to evaluate, and a teacher's recording."""
    for number, file in enumerate(TASKS.values()):
        with (folder / file).open("w") as rows:
            for i in range(number * n, (number + 1) * n):
                rows.write(json.dumps({"id": f"p{i}", "question": f"What is {i} + 1?", "answer": str(i + 1)}) + "\n")
    with (folder / "teacher.jsonl").open("w") as answers:
        for i in range(n):
            answers.write(json.dumps({"id": f"p{i}", "output": f"It is {i} + 1. The answer is {i + 1}."}) + "\n")


def install(folder: Path) -> None:
    """Bring the engine as a package does, by an entry point."""
    metadata = folder / "made_up-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[srit.samplers]\nmade_up = made_up:SAMPLER\n")


def grown(folder: Path, n: int) -> Iterator[Mapping[str, Any]]:
    """Do every step, and yield what it took: seconds, those of the processor, and megabytes beside the imports."""
    begin(folder, n)
    yield from map(json.loads, lines_of(folder, "steps.py"))


def grown_from_written(folder: Path, n: int) -> Iterator[Mapping[str, Any]]:
    """As `grown`, for the steps that follow sampling and evaluation, whose files are written directly."""
    begin(folder, n)
    assert not list(lines_of(folder, "written.py", str(n)))
    yield from map(json.loads, lines_of(folder, "steps.py", *STEPS))


def begin(folder: Path, n: int) -> None:
    """Write what a run reads from outside."""
    write_rows(folder, n)
    save_tiny_student(folder / "student")
    install(folder)


def lines_of(folder: Path, script: str, *arguments: str) -> Iterator[str]:
    """Run a script of this folder, which finds the engine, and yield what it prints."""
    command = [sys.executable, str(HERE / script), str(folder), *arguments]
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield from process.stdout or ()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
