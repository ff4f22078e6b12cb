"""How threads wait for each other: decided when srit is imported, by what else runs then."""

import os
import subprocess
import sys

import pytest

from srit.threads import SLEEPS, SPINS, waiting


@pytest.mark.parametrize(
    ("looks", "threads", "cores", "decided"),
    [
        ([0], 2, 2, SPINS),
        ([1, 1], 2, 2, SLEEPS),
        ([1, 0], 2, 2, SPINS),
        ([1], 1, 2, SPINS),
        ([6], 2, 8, SPINS),
        ([7], 2, 8, SLEEPS),
        ([], 2, 8, SLEEPS),
    ],
)
def test_threads_spin_if_each_of_them_once_finds_an_idle_core(looks, threads, cores, decided):
    assert waiting(looks, threads, cores) == decided


def _decided(**stated):
    """Return what a new process decides with these variables."""
    code = f"import os, srit; print({{name: os.environ[name] for name in {[*SPINS, *SLEEPS]} if name in os.environ}})"
    environment = {name: value for name, value in os.environ.items() if name not in {*SPINS, *SLEEPS}} | stated
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("stated", [{"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_what_the_environment_decides_is_left_as_it_is(stated):
    assert _decided(**stated) == f"{stated}\n"


def test_they_sleep_beside_processes_that_occupy_every_core():
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    try:
        assert _decided() == f"{SLEEPS}\n"
    finally:
        for process in busy:
            process.kill()
            process.wait()
