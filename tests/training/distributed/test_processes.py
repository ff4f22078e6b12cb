"""Whole runs whose trainings several real processes share, killed at any time."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srit.run_directory import write_bytes
from srit.training import CHECKPOINTS

pytestmark = pytest.mark.slow

# The byte-level tokenizer makes some 300 tokens of each example: several batches a step, and a smaller one at the end.
RECIPE = """\
name: tiny
student: {{model: "{student}", tuning: full, dtype: float32}}
tasks:
  train: [{{task: sums, limit: 36}}]
  evaluate: [{{task: sums, limit: 2}}]
instruct: {{epochs: 20, learning_rate: 1e-2, batch_size: 23, direct_target: answer}}
sample: {{direct: 2, cot: 2, max_new_tokens: 12}}
pairs: {{heuristic: teacher, prompt: both}}
refine: {{loss: sigmoid, epochs: 10, batch_size: 23, nll_weight: 0.5}}
rows: 16
"""


@pytest.fixture(scope="module")
def recipe(tiny_student):
    return RECIPE.format(student=tiny_student)


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "whole"
    assert run(recipe, out).returncode == 0
    return out


def command(recipe, out, *options):
    """Make both models, and what they need."""
    write_bytes(out / "recipe.yaml", recipe.encode())
    return [sys.executable, "-m", "srit", "refine", str(out), *options]


def run(recipe, out, *options):
    return subprocess.run(command(recipe, out, *options), capture_output=True, text=True)


def trained(folder):
    """Sums of what both stages trained, with the metrics of every step."""
    paths = [p for name in ("instructed", "round-1/refined") for p in sorted((folder / name).rglob("*"))]
    paths += [folder / "instructed.json", folder / "round-1/refined.json"]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths if p.is_file()}


def followers(parent):
    """The processes that a run has started for a training."""
    listed = subprocess.run(["ps", "-ewwo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [int(pid) for pid, ppid, args in rows if "distributed.follower" in args and int(ppid) == parent]


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def followers_of(process, out, stage, moment):
    """Wait until several processes start to train a stage, or until it has its first checkpoint."""
    began = {"start": lambda folder: folder.exists(), "checkpoint": lambda folder: any(folder.rglob(CHECKPOINTS))}
    while not (began[moment](out / ".partial" / stage) and followers(process.pid)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return followers(process.pid)


@pytest.mark.parametrize("options", [["2"], ["4"], ["3", "--shard"]])
def test_several_processes_make_the_same_files_as_one(tmp_path, recipe, whole, options):
    done = run(recipe, tmp_path / "run", "--train-workers", *options)

    assert done.returncode == 0, done.stderr
    assert trained(tmp_path / "run") == trained(whole)


@pytest.mark.parametrize("options", [[], ["--shard"]])
@pytest.mark.parametrize("stage", ["instructed", "round-1-refined"])
@pytest.mark.parametrize("moment", ["start", "checkpoint"])
def test_a_process_that_is_killed_is_replaced(tmp_path, recipe, whole, stage, moment, options):
    process = subprocess.Popen(
        command(recipe, tmp_path / "run", "--train-workers", "2", *options), stderr=subprocess.PIPE, text=True
    )

    [victim] = followers_of(process, tmp_path / "run", stage, moment)
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate()

    assert process.returncode == 0, errors
    assert "process 1 of the training was ended by signal 9: attempt 1 of 3" in errors
    assert trained(tmp_path / "run") == trained(whole)


def test_a_process_that_is_killed_each_time_ends_the_run_and_another_number_finishes_it(tmp_path, recipe, whole):
    process = subprocess.Popen(
        command(recipe, tmp_path / "run", "--train-workers", "2"), stderr=subprocess.PIPE, text=True
    )
    killed = set()
    while process.poll() is None:
        for victim in set(followers(process.pid)) - killed:
            os.kill(victim, signal.SIGKILL)
            killed.add(victim)
        time.sleep(0.01)
    _, errors = process.communicate()

    assert process.returncode == 5 and len(killed) == 3
    assert "process 1 of the training was ended by signal 9: 3 attempts" in errors
    assert run(recipe, tmp_path / "run", "--train-workers", "3").returncode == 0
    assert trained(tmp_path / "run") == trained(whole)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_processes_of_a_run_that_is_stopped_end_with_it(tmp_path, recipe, whole, number):
    process = subprocess.Popen(
        command(recipe, tmp_path / "run", "--train-workers", "3"), stderr=subprocess.PIPE, text=True
    )

    both = followers_of(process, tmp_path / "run", "instructed", "checkpoint")
    process.send_signal(number)
    process.communicate()
    time.sleep(1.0)

    assert len(both) == 2
    assert [pid for pid in both if lives(pid)] == []
    assert run(recipe, tmp_path / "run").returncode == 0
    assert trained(tmp_path / "run") == trained(whole)


def test_processes_that_something_else_started_make_one_run(tmp_path, recipe, whole):
    given = {**os.environ, "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517"}
    each = [
        subprocess.Popen(
            command(recipe, tmp_path / "run"), env={**given, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True
        )
        for rank in range(3)
    ]

    errors = [process.communicate()[1] for process in each]

    assert [process.returncode for process in each] == [0, 0, 0], errors
    assert trained(tmp_path / "run") == trained(whole)


def test_torchrun_starts_all_again_if_one_is_killed(tmp_path, recipe, whole):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"]
    process = subprocess.Popen([*torchrun, "-m", *command(recipe, tmp_path / "run")[2:]], stderr=subprocess.DEVNULL)
    while not any((tmp_path / "run/.partial/instructed").rglob(CHECKPOINTS)):
        assert process.poll() is None
        time.sleep(0.01)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    os.kill(int(children.stdout.split()[1]), signal.SIGKILL)

    assert process.wait() == 0
    assert trained(tmp_path / "run") == trained(whole)
