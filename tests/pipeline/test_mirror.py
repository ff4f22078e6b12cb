"""A whole run that goes from machine to machine by its mirror."""

import json
import os
import subprocess
import time

import pytest

pytest.importorskip("obstore")
pytest.importorskip("moto")

from small_runs import RECIPE, chunks, command, sums
from storage_server import StorageServer
from teacher_server import Reply, TeacherServer, answer
from typer.testing import CliRunner

from srit.cli import app
from srit.errors import MachineError
from srit.recipe import read_recipe
from srit.run_directory import Run
from srit.run_directory.mirror import mirror_of
from srit.students.prompts import prompt_text
from srit.tasks import find_task

URL = "s3://bucket/runs/tiny"
LEASE = 20  # seconds


@pytest.fixture
def storage():
    server = StorageServer()
    server.bucket("bucket")
    yield server
    server.close()


@pytest.fixture
def teacher():
    """Knows the worked solutions, and is slow enough to be killed over."""
    task, seed = find_task("sums"), read_recipe("quickstart").tasks.seed
    solutions = {prompt_text(p, "cot"): task.solve(p) for p in task.load("train", data=None, limit=60, seed=seed)}

    def solved(body):
        time.sleep(0.1)
        return Reply(answer(solutions[body["messages"][0]["content"]]))

    server = TeacherServer()
    server.default = solved
    yield server
    server.close()


def prompts(teacher):
    return [body["messages"][0]["content"] for _, _, body in teacher.requests]


def wait_until(process, fact):
    while not fact():
        assert process.poll() is None, process.args
        time.sleep(0.005)


def of_results(out):
    """Sums of all but the teacher's files, whose order is that in which its answers came."""
    return {name: found for name, found in sums(out).items() if not name.startswith("teacher/")}


@pytest.mark.slow
def test_a_run_goes_from_machine_to_machine_and_comes_out_the_same(storage, teacher, tiny_student, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        RECIPE.format(student=tiny_student)
        + f"teacher: {{kind: openai, base_url: {teacher.url}, model: m, max_tokens: 64, concurrency: 4}}\n"
    )
    variables = {**os.environ, **storage.variables, "SRIT_LEASE_SECONDS": str(LEASE)}

    def begun(name):
        with (tmp_path / f"{name}.log").open("wb") as log:
            options = ("--mirror", URL)
            return subprocess.Popen(command(recipe, tmp_path / name, *options), env=variables, stderr=log)

    def said(name):
        return (tmp_path / f"{name}.log").read_text()

    first = begun("a")
    wait_until(first, lambda: len(teacher.requests) > 30)
    first.kill()
    first.wait()
    killed = time.monotonic()
    kept = (tmp_path / "a/teacher/answers.jsonl").read_bytes().splitlines()[:-1]  # the last may be on its way
    assert len(kept) >= 20
    with pytest.MonkeyPatch.context() as patch, pytest.raises(MachineError, match="is working on this run"):
        for name, value in variables.items():
            patch.setenv(name, value)
        Run(tmp_path / "x", mirror_of(tmp_path / "x", URL, print))

    time.sleep(max(0.0, killed + LEASE + 2 - time.monotonic()))
    second = begun("b")
    wait_until(second, lambda: len(chunks(tmp_path / "b", "round-1-completions")) > 2)
    second.terminate()  # as a cluster does before it takes a machine away: the lease ends at once
    second.wait()
    again = [prompt for prompt in prompts(teacher) if prompts(teacher).count(prompt) > 1]
    assert len(set(again)) <= 4 + 1 and len(prompts(teacher)) <= 60 + 4 + 1

    n_asked = len(teacher.requests)
    third = begun("c")
    assert third.wait() == 0, said("c")
    assert "continuing from s3://bucket/runs/tiny" in said("c") and "resuming from" in said("c")
    assert len(teacher.requests) == n_asked

    alone = tmp_path / "alone"
    subprocess.run(command(recipe, alone), check=True, capture_output=True)
    assert of_results(tmp_path / "c") == of_results(alone)
    rows = [json.loads(line)["key"] for line in (tmp_path / "c/teacher/answers.jsonl").read_bytes().splitlines()]
    assert {json.loads(line)["key"] for line in kept} <= set(rows) and len(rows) == 60


@pytest.mark.slow
def test_a_variant_goes_on_from_a_copy_of_its_own_beside_that_of_its_run(storage, teacher, tiny_student, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    asked = f"teacher: {{kind: openai, base_url: {teacher.url}, model: m, max_tokens: 64}}\n"
    recipe.write_text(RECIPE.format(student=tiny_student) + asked + "demonstrations: {limit: 20}\nrounds: 0\n")
    variant = ("demonstrations.limit=24", "--as", "more", "--mirror", "s3://bucket/runs/more")

    def ran(machine, *options):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in storage.variables.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(app, ["run", str(recipe), "--out", str(tmp_path / machine / "tiny"), *options])
        assert done.exit_code == 0, done.output
        return done.output

    ran("a", "--mirror", URL)
    ran("a", *variant)
    n_asked = len(teacher.requests)

    ran("b", "--mirror", URL)
    said = ran("b", *variant)

    assert n_asked == len(teacher.requests) == 24
    assert "instructed …" not in said
    assert sums(tmp_path / "b/more") == sums(tmp_path / "a/more")
    assert (tmp_path / "b/more/results.json").read_bytes() == (tmp_path / "a/more/results.json").read_bytes()
