"""Runs over a Ray cluster: the same bytes as without, whatever is killed."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest
from machines import actors
from small_runs import RECIPE, chunks, command, sums
from works import Prefix

from srit.pipeline.engines.ray import _shape
from srit.run_directory import read_manifest


@pytest.mark.parametrize(
    ("nodes", "workers", "shape"),
    [
        ([{"CPU": 16.0}, {"CPU": 8.0}], None, (2, 8, 0)),
        ([{"CPU": 16.0}, {"CPU": 8.0}], 6, (6, 4, 0)),
        ([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 64.0, "GPU": 8.0}], None, (16, 8, 1)),
        ([], None, (1, 1, 0)),  # machines may still come
    ],
)
def test_workers_share_the_cluster(nodes, workers, shape, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert _shape(nodes, workers) == shape

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert _shape(nodes, workers)[1] == 2


@dataclass(frozen=True)
class ByMachine:
    """Its chunks differ between machines, as those of unlike processors do."""

    source: Prefix

    def chunk(self, prefix, word):
        import ray

        time.sleep(0.5)  # so that the first machine does not do everything before the second is there
        return ray.get_runtime_context().get_node_id().encode()


@pytest.mark.slow
def test_machines_that_compute_other_bytes_are_named_and_left_out(cluster, tmp_path, capsys):
    engine = cluster.engine(2)
    work, items = ByMachine(Prefix("x-", tmp_path)), {n: str(n) for n in range(20)}

    found = dict(engine.map(work, items))
    engine.release()

    assert set(found) == set(items) and len(set(found.values())) == 1
    assert "is a different kind of machine: it computes different bytes from" in capsys.readouterr().out
    mixed = cluster.engine(2, mixed=True)
    assert set(dict(mixed.map(work, items))) == set(items)
    mixed.release()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_student):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE.format(student=tiny_student))
    return path


@pytest.fixture(scope="module")
def alone(recipe, tmp_path_factory):
    """A run of one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    subprocess.run(command(recipe, out), check=True, capture_output=True)
    return sums(out)


def over_ray(cluster, recipe, out, workers):
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    return subprocess.Popen(
        command(recipe, out, "--on", "ray", "--workers", str(workers)),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process):
    said, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_run_over_ray_is_the_run_of_one_process(workers, cluster, recipe, alone, tmp_path):
    ended(over_ray(cluster, recipe, tmp_path / "run", workers))

    assert sums(tmp_path / "run") == alone


def wait_for(fact, process):
    while not fact():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)


@pytest.mark.slow
def test_a_run_whose_workers_node_and_driver_are_killed_ends_in_the_same_bytes(cluster, recipe, alone, tmp_path):
    out = tmp_path / "run"
    process = over_ray(cluster, recipe, out, 2)
    wait_for(lambda: len(chunks(out, "round-1-completions")) >= 1, process)
    os.kill(actors()[0], signal.SIGKILL)
    wait_for(lambda: len(chunks(out, "round-1-completions")) >= 4, process)
    process.kill()
    process.communicate()
    kept = len(chunks(out, "round-1-completions"))
    deadline = time.monotonic() + 60
    while actors():
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.1)

    process = over_ray(cluster, recipe, out, 2)
    wait_for(
        lambda: "predictions/base/sums" in read_manifest(out).stages or chunks(out, "predictions-base-sums"), process
    )
    cluster.lose(cluster.nodes.pop())  # its raylet is killed, and with it its workers
    cluster.nodes.append(cluster.add())
    ended(process)

    assert kept >= 4
    assert sums(out) == alone
