"""Processes: no orphans, memory, threads, and a run that is the same with them."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from works import Prefix, Words, begun

from srit.api import sample
from srit.errors import RecipeError
from srit.pipeline.engines import Machines, engine_of
from srit.pipeline.engines.processes import Processes
from srit.pipeline.engines.room import workers_that_fit
from srit.pipeline.engines.sharing import SharingEngine
from srit.recipe import read_recipe
from srit.run_directory import read_manifest
from srit.shortages import free_memory
from srit.threads import threads_of

# A driver whose four chunks take a second each, as a command runs one.
DRIVER = """
from pathlib import Path
import typer
from works import Prefix, Words
from srit.cli.ends import reported_errors
from srit.pipeline.engines.processes import Processes
from srit.pipeline.engines.sharing import SharingEngine


def main(place: Path):
    with reported_errors():
        engine = SharingEngine(Processes(2, threads=1), print)
        for key, data in engine.map(Words(Prefix("", place), seconds=1.0), {n: str(n) for n in range(4)}):
            print(key)

typer.run(main)
"""


def wait_until(fact, seconds=60):
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_no_worker_outlives_its_driver(number, tmp_path):
    paths = os.pathsep.join(path for path in sys.path if path)
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path)], env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE
    )
    wait_until(lambda: len({process for _, process in begun(tmp_path)}) == 2)
    workers = {process for _, process in begun(tmp_path)}
    assert all(map(is_alive, workers))

    driver.send_signal(number)
    _, said = driver.communicate(timeout=30)

    wait_until(lambda: not any(map(is_alive, workers)), seconds=0.9)  # a chunk would take longer
    assert driver.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert said == (b"" if number == signal.SIGKILL else b"srit: interrupted; rerun the same command to continue\n")


def test_a_worker_that_is_killed_loses_its_own_chunk_alone(tmp_path, capsys):
    engine = SharingEngine(Processes(2, threads=1), print)
    work, found = Words(Prefix("x-", tmp_path), seconds=1.0), {}
    for key, data in engine.map(work, {n: str(n) for n in range(4)}):
        if not found:
            [other] = {process for word, process in begun(tmp_path) if word in "01" and word != str(key)}
            os.kill(other, signal.SIGKILL)
        found[key] = data
    engine.release()

    assert found == {n: f"x-{n}".encode() for n in range(4)}
    assert len(begun(tmp_path)) <= 5  # four if it was killed between two chunks
    assert "was killed by SIGKILL" in capsys.readouterr().out


def test_workers_share_the_cores_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8))
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [threads_of(n) for n in (1, 2, 3, 9)] == [8, 4, 2, 1]

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads_of(2) == 1


def test_no_more_workers_than_fit_into_memory(tiny_student, tmp_path):
    said = []
    large, small = (recipe(tmp_path, model) for model in ("org/large-900b", tiny_student))

    assert workers_that_fit(small, 2, said.append) == 2 and said == []
    assert workers_that_fit(large, 4, said.append) == 1
    free = re.search(r"and ([\d.]+) GiB are free: starting only 1$", said[0])
    assert float(free[1]) == pytest.approx(free_memory() / 2**30, abs=4)  # which other processes change meanwhile


@pytest.mark.parametrize("machines", [Machines(workers=0), Machines(on="nowhere")])
def test_engines_that_are_not_there_are_refused(machines, tiny_student, tmp_path):
    with pytest.raises(RecipeError, match=r"--workers 0: at least 1|--on nowhere: choose one of local, ray"):
        engine_of(machines, recipe(tmp_path, tiny_student), print)


RECIPE = """\
name: tiny
student: {{model: "{student}", tuning: full, dtype: float32}}
tasks: {{train: [{{task: sums, limit: 24}}], evaluate: [{{task: sums, limit: 4}}]}}
instruct: {{epochs: 4, learning_rate: 1e-2, direct_target: answer}}
sample: {{direct: 2, cot: 2, max_new_tokens: 12}}
refine: {{loss: sigmoid, epochs: 1, nll_weight: 0.5, nll_on: right}}
rows: 4
"""


def recipe(folder, student):
    (folder / "tiny.yaml").write_text(RECIPE.format(student=student))
    return read_recipe(str(folder / "tiny.yaml"))


def test_answers_are_the_same_bytes_with_any_number_of_workers(tmp_path, tiny_student):
    settings = recipe(tmp_path, tiny_student)
    sums = {}
    for workers in (1, 2):
        out = tmp_path / str(workers)
        sample(settings, out, machines=Machines(workers=workers))
        sums[workers] = hashlib.sha256((out / "round-1/completions.jsonl").read_bytes()).hexdigest()
        environment = read_manifest(out).stages["round-1/completions"].environment
        assert environment["threads of a chunk"] == "1"

    assert sums[1] == sums[2]
