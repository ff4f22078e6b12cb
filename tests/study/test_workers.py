"""Cells side by side."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from machines import actors


def made(out):
    """The stages that were made; a cell that waits for another's answers looks at their yield itself."""
    runs = json.loads((out / "timings.json").read_bytes())["runs"]
    stages = [stage for stages in runs.values() for stage, entry in stages.items() if not entry["shared"]]
    return sorted(stage for stage in stages if not stage.endswith("/yield"))


def training(out):
    """The processes that are in the middle of a training of stage 2."""
    folders = [path.parents[2] for path in (out / "runs").glob("*/*/.partial/round-1-refined/*")]
    locks = [(folder / ".lock").read_text() for folder in folders]
    return [int(found[1]) for lock in locks if (found := re.match(r"process (\d+) on", lock))]


@pytest.mark.slow
@pytest.mark.parametrize("kills", [0, 1])
def test_cells_side_by_side_give_the_same_study_json(tmp_path, tiny_study, finished, kills):
    out = tmp_path / "study"
    command = [sys.executable, "-m", "srit", "study", str(tiny_study), "--out", str(out), "--workers", "2"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=log, stdout=log)
    for _ in range(kills):
        while not (found := training(out)):
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.005)
        os.kill(found[0], signal.SIGKILL)

    assert process.wait() == 0, (tmp_path / "log").read_text()

    said = (tmp_path / "log").read_text()
    assert said.count("is computed again") == kills
    assert (out / "study.json").read_bytes() == (finished / "study.json").read_bytes()
    assert made(out) == made(finished)  # nothing twice
    assert not (out / "locks").exists()


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["nothing", "a worker", "a machine"])
def test_cells_over_a_cluster_give_the_same_study_json(tmp_path, tiny_study, finished, cluster, lost):
    out = tmp_path / "study"
    command = [sys.executable, "-m", "srit", "study", str(tiny_study), "--out", str(out), "--on", "ray"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_ADDRESS": cluster.address}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--workers", "2"], env=environment, stderr=log, stdout=log)
    while lost != "nothing" and not training(out):
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.005)
    if lost == "a worker":
        os.kill(actors()[0], signal.SIGKILL)
    if lost == "a machine":
        cluster.lose(lost_one := cluster.busy())
        cluster.nodes[cluster.nodes.index(lost_one)] = cluster.add()

    assert process.wait() == 0, (tmp_path / "log").read_text()

    said = (tmp_path / "log").read_text()
    assert ("died" in said) == (lost != "nothing"), said
    assert (out / "study.json").read_bytes() == (finished / "study.json").read_bytes()
    assert made(out) == made(finished)  # nothing twice
    assert not (out / "locks").exists()


def test_a_teacher_that_fails_fails_the_cell_before_any_worker_starts(tmp_path, tiny_study):
    from made_up import srit

    teacher = "teacher={kind: recording, path: nowhere/recorded.jsonl}"
    done = srit("study", tiny_study, "--out", tmp_path / "study", "--workers", 2, "seeds=[0]", teacher)

    assert done.exit_code == 3 and done.output.count("failed: ") == 3
    cells = json.loads((tmp_path / "study/study.json").read_bytes())["cells"]
    assert {cell["runs"][0]["status"] for cell in cells} == {"failed"}
