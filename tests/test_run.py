import hashlib
import json
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from typer.testing import CliRunner

from srit.cli import app
from srit.recipe import read_recipe
from srit.run_directory import read_manifest
from srit.stages import needed

RECIPE = """\
name: tiny
student: {{model: "{student}", tuning: full}}
tasks:
  train: [{{task: sums, limit: 12}}, {{task: switches, limit: 12}}]
  dev: [{{task: sums, limit: 4}}]
  evaluate: [{{task: sums, limit: 6}}, {{task: doors, limit: 6}}]
instruct: {{epochs: 30, learning_rate: 1e-2, batch_size: 24, direct_target: answer}}
sample: {{direct: 2, cot: 2, max_new_tokens: 12}}
refine: {{epochs: 1, batch_size: 8, nll_weight: 0.5}}
controls: [instruct]
evaluate: {{max_new_tokens: 8, teacher: true, noise_floor: true}}
rows: 16
"""


@pytest.fixture
def recipe(tmp_path, tiny_student):
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.format(student=tiny_student))
    return path


def srit(*arguments, check=True, **options):
    command = [sys.executable, "-m", "srit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert not check or done.returncode == 0, done.stderr
    return done


def contents(folder):
    """Sums of all results; timings and where the run was differ between runs that are alike."""
    sums = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (".lock", "manifest.json")):
        data = path.read_bytes()
        if path.name == "results.json":
            data = json.dumps({k: v for k, v in json.loads(data).items() if k != "timings"}).encode()
        sums[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return sums


def planned(recipe, out, *overrides):
    lines = srit("plan", recipe, "--out", out, *overrides).stdout.splitlines()
    return {line.split()[1] for line in lines if line.startswith("run")}


def test_a_run_killed_again_and_again_gives_the_same_files_as_one_left_alone(tmp_path, recipe):
    srit("run", recipe, "--out", tmp_path / "whole")
    command = [sys.executable, "-m", "srit", "run", str(recipe), "--out", str(tmp_path / "killed")]
    for seconds in (4, 5, 6):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()

    srit("run", recipe, "--out", tmp_path / "killed")

    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")

    rows = json.loads((tmp_path / "whole/results.json").read_bytes())["rows"]
    assert {(row["prompt"], row["accuracy"]) for row in rows if row["model"] == "teacher"} == {("cot", 1.0)}
    assert [row["model"] for row in rows].count("instructed-again") == 4
    checks = json.loads((tmp_path / "whole/manifest.json").read_bytes())["stages"]["results"]["counts"]["invariants"]
    cut = [check["line"] for check in checks if "answers were cut at evaluate.max_new_tokens" in check["line"]]
    assert cut[0].startswith("base: ")  # random weights do not end their answers

    # nothing is left to do, and each field redoes what depends on it
    out = tmp_path / "whole"
    assert planned(recipe, out) == set()
    beta = planned(recipe, out, "refine.beta=0.3")
    assert "round-1/refined" in beta and "predictions/refined/sums" in beta and "results" in beta
    assert not beta & {"problems", "demonstrations", "instructed", "round-1/pairs", "predictions/base/sums"}
    assert "predictions/instructed/sums" not in beta
    assert planned(recipe, out, "instruct.epochs=31") >= {"instructed", "round-1/completions", "round-1/refined"}
    assert planned(recipe, out, "refine.accept=always") == {"round-1/accepted"}
    (out / "round-1/pairs.jsonl").write_text("")
    assert "round-1/pairs" in planned(recipe, out) and "round-1/completions" not in planned(recipe, out)

    results = json.loads((tmp_path / "killed" / "results.json").read_bytes())
    models = {"base", "instructed", "instructed-again", "refined", "control-instruct", "teacher"}
    assert {row["model"] for row in results["rows"]} == models
    assert {(row["task"], row["domain"]) for row in results["rows"]} == {("sums", "in"), ("doors", "out")}


def test_a_new_adapter_depends_on_the_seed_and_not_on_what_the_process_drew_before(tmp_path, recipe):
    def adapter(name, luck, *overrides):
        torch.manual_seed(luck)
        short = ["student.tuning=lora", "instruct.epochs=1", "controls=[]", "tasks.evaluate=[{task: sums, limit: 2}]"]
        out = tmp_path / name
        done = CliRunner().invoke(app, ["run", str(recipe), "--out", str(out), *short, *overrides])
        assert done.exit_code == 0, done.output
        return (out / "instructed/adapter_model.safetensors").read_bytes()

    first = adapter("first", 1)

    assert adapter("again", 2) == first
    assert adapter("other", 2, "seed=7") != first


def test_what_a_kill_left_behind_a_finished_stage_is_removed(tmp_path, recipe):
    out = tmp_path / "run"
    srit("run", recipe, "--out", out)
    left = out / ".partial/round-1-accepted/0123456789abcdef"
    left.mkdir(parents=True)

    srit("run", recipe, "--out", out)

    assert not left.exists()


ONE_STAGE = {
    "demonstrate": ["problems", "demonstrations"],
    "instruct": ["instructed"],
    "sample": ["round-1/completions"],
    "pair": ["round-1/pairs"],
    "refine": ["round-1/refined"],
    "evaluate": ["predictions/base/sums", "predictions/instructed/sums", "predictions/refined/sums", "results"],
}


def test_the_command_of_one_stage_makes_that_stage_and_what_it_needs_and_nothing_else(tmp_path, recipe):
    out, so_far = tmp_path / "run", []
    out.mkdir()
    plain = ["controls=[]", "tasks.evaluate=[{task: sums, limit: 2}]", "evaluate.teacher=false"]
    settings = read_recipe(str(recipe), [*plain, "evaluate.noise_floor=false"])
    (out / "recipe.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    for command, made in ONE_STAGE.items():
        done = CliRunner().invoke(app, [command, str(out)])
        so_far += made
        assert done.exit_code == 0, done.output
        assert sorted(read_manifest(out).stages) == sorted(so_far), command
        assert (out / "predictions").exists() == (command == "evaluate")


@pytest.mark.parametrize(
    ("part", "last", "absent"),
    [
        ("instructed", "instructed", "round-1/"),
        ("completions", "round-2/completions", "round-2/pairs"),
        ("pairs", "round-2/pairs", "round-2/refined"),
        ("refined", "round-2/refined", "predictions/"),
        ("results", "results", "round-2/accepted"),
    ],
)
def test_the_parts_of_a_run_of_two_rounds_end_with_the_second(part, last, absent):
    names = [stage.name for stage in needed(read_recipe("quickstart", ["rounds=2", "controls=[instruct]"]), part)]

    assert names[-1] == last and names[0] == "problems"
    assert not any(name.startswith(absent) for name in names)
    assert ("controls/instruct" in names) == (part == "results")
    assert ("round-1/accepted" in names) == (part != "instructed")  # what a second round starts from
