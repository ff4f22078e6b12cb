"""Two machines that share nothing but a cable: network namespaces with homes and caches of their own."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_runs import RECIPE, chunks, command, sums
from tiny import save_tiny_student

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.getuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))), reason="needs root, iproute2 and util-linux"
    ),
]

HEAD, OTHER, PORT = "10.77.0.1", "10.77.0.2", 6390
RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    # A machine that is cut off is given up within seconds instead of a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


@pytest.fixture
def cable():
    """Namespaces srit-a and srit-b, joined by a pair of virtual devices."""
    for name in ("srit-a", "srit-b"):
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
        run("ip", "netns", "add", name)
    run("ip", "link", "add", "srit-a", "netns", "srit-a", "type", "veth", "peer", "name", "srit-b", "netns", "srit-b")
    for name, address in (("srit-a", HEAD), ("srit-b", OTHER)):
        run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", name)
        run("ip", "-n", name, "link", "set", name, "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
    yield lambda: run("ip", "-n", "srit-b", "link", "set", "srit-b", "down")
    for name in ("srit-a", "srit-b"):
        run("ip", "netns", "del", name)


def on(machine, folder, hidden, words, **options):
    """Start a command on a machine.

    Args:
        folder: with the machine's home and cache.
        hidden: places that are empty there.
    """
    for part in ("home", "cache"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    places = {"HOME": str(folder / "home"), "SRIT_CACHE": str(folder / "cache")}
    mounts = "".join(f"mount -t tmpfs none {place}; " for place in hidden)
    shell = ["ip", "netns", "exec", machine, "unshare", "-m", "sh", "-c", f'{mounts}exec "$@"', "sh", *words]
    environment = {**os.environ, **RAY, **places, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(shell, env=environment, start_new_session=True, **options)


def ray_start(machine, folder, hidden, *options):
    Path("/tmp/ray").mkdir(exist_ok=True)
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", *options]
    words += ["--object-store-memory=100000000", "--disable-usage-stats"]
    return on(machine, folder, hidden, words, stdout=subprocess.DEVNULL)


def stop(process):
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(fact, process, seconds=900):
    deadline = time.monotonic() + seconds
    while not fact():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def n_machines():
    """How many machines the cluster has, as its head sees it."""
    words = [sys.executable, "-m", "ray.scripts.scripts", "status", f"--address={HEAD}:{PORT}"]
    found = subprocess.run(["ip", "netns", "exec", "srit-a", *words], capture_output=True, text=True).stdout
    return found.count(" node_")


def test_a_machine_without_a_shared_file_helps_until_it_is_cut_off(cable, tmp_path):
    student = save_tiny_student(tmp_path / "student")
    recipe, out, alone = tmp_path / "tiny.yaml", tmp_path / "run", tmp_path / "alone"
    # Chunks that take a second: the machine is cut off in the middle of one.
    recipe.write_text(RECIPE.format(student=student).replace("max_new_tokens: 12", "max_new_tokens: 200"))
    subprocess.run(command(recipe, alone), check=True, capture_output=True)
    head = ray_start("srit-a", tmp_path / "a", [], "--head", f"--node-ip-address={HEAD}", f"--port={PORT}")
    other = ray_start(
        "srit-b",
        tmp_path / "b",
        [student, "/tmp/ray", "/dev/shm"],
        f"--address={HEAD}:{PORT}",
        f"--node-ip-address={OTHER}",
    )
    try:
        wait_for(lambda: n_machines() == 2, head)
        words = ["env", f"RAY_ADDRESS={HEAD}:{PORT}", *command(recipe, out, "--on", "ray", "--workers", "2")]
        driver = on("srit-a", tmp_path / "a", [], words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        received = tmp_path / "b/cache/received"
        wait_for(lambda: received.exists() and len(chunks(out, "round-1-completions")) >= 8, driver)
        cable()
        said, _ = driver.communicate(timeout=1800)
    finally:
        stop(other)
        stop(head)

    assert driver.returncode == 0, said
    assert f"({OTHER}) died" in said, said
    # The student and the instructed model came over the cable.
    assert len([path for path in received.iterdir() if path.is_dir()]) == 2
    assert sums(out) == sums(alone)
