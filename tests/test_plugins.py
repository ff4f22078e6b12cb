"""A teacher, an engine, a loss, a tracker and a task family of another package: `tests/plugin` as pip installs it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from srit.errors import RecipeError
from srit.recipe import read_recipe
from srit.tasks import find_task

PLUGIN = Path(__file__).parent / "plugin"
RECIPE = """\
name: foreign
student: {{model: "{student}", tuning: full, dtype: float32}}
tasks:
  train: [{{task: parity, limit: 8}}]
  dev: [{{task: parity, limit: 2}}]
  evaluate: [{{task: parity, limit: 4}}]
teacher: {{kind: parrot, says: even}}
instruct: {{epochs: 20, learning_rate: 1e-2, direct_target: answer}}
sample: {{direct: 3, cot: 3, max_new_tokens: 12}}
sampler: {{kind: plain, longest: 12}}
pairs: {{pairs_per_problem: 4, prompt: direct}}
refine: {{loss: hinge, margin: 2.0, epochs: 1, batch_size: 4, nll_weight: 0.0, nll_on: chosen}}
evaluate: {{max_new_tokens: 8, teacher: true}}
report_to: diary
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package and its metadata, which its own build backend makes of its pyproject.toml."""
    folder = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("installed") / "plugin")
    program = "from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel('.')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def srit(zygote, installed):
    """What a command says, in a process that has the package."""

    def said(*arguments, exit_codes=(0,)):
        assert zygote.run(*arguments, path=[installed]) in exit_codes, zygote.output
        return zygote.output

    return said


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_student, srit):
    """A recipe of plug-ins alone, and the folder of its run."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "foreign.yaml").write_text(RECIPE.format(student=tiny_student))
    srit("run", folder / "foreign.yaml", "--out", folder / "run")
    return folder / "foreign.yaml", folder / "run"


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_recipe_of_plug_ins_alone_is_run(run):
    _, out = run

    assert {(one["teacher"], one["text"]) for one in rows(out / "demonstrations.jsonl")} == {("parrot", "even")}
    drawn = rows(out / "round-1/completions.jsonl")
    assert {one["verdict"] for one in drawn} == {"right", "wrong"} and max(len(one["token_ids"]) for one in drawn) <= 12
    first = json.loads((out / "round-1/refined.json").read_text())["history"][0]
    hinge_of_means = 2 - first["chosen_logps"] + first["rejected_logps"]
    # A mean of hinges is at least the hinge of the means. Where no margin is reached the two are equal, up to the
    # rounding of their float32 sums.
    assert first["preference_loss"] >= hinge_of_means * (1 - 1e-6) > 0
    assert json.loads((out / "results.json").read_text())["rows"]


def test_a_plug_in_tracker_is_told_each_step_and_the_results(run):
    _, out = run

    *told, results, end = rows(out / "diary.jsonl")
    stages = ("instructed", "round-1/refined")
    logs = [json.loads((out / f"{stage}.json").read_text())["history"] for stage in stages]
    steps = [[stage, step.pop("step"), step] for stage, log in zip(stages, logs, strict=True) for step in log]
    assert told == steps and end == ["end", True]
    [row] = [row for row in json.loads((out / "results.json").read_text())["rows"] if row["model"] == "refined"][:1]
    assert results[1][f"accuracy/refined/parity/{row['prompt']}"] == row["accuracy"]


def test_what_a_plug_in_is_told_shapes_its_stages_and_nothing_before(run, srit):
    recipe, out = run

    def first_to_run(*changes):
        lines = srit("plan", recipe, *changes, "--out", out).splitlines()
        return [line for line in lines if line.startswith("run")][:1]

    assert first_to_run() == []
    [asked] = first_to_run("teacher.says=odd")
    assert asked.split()[1] == "demonstrations" and "8 teacher calls" in asked
    assert first_to_run("sampler.longest=9")[0].split()[1] == "round-1/probe"
    assert first_to_run("refine.margin=3.0")[0].split()[1] == "round-1/refined"


def test_a_local_teacher_uses_any_engine(tmp_path, tiny_student, run, srit):
    recipe, _ = run
    teacher = f"teacher={{kind: local, model: {tiny_student}, sampler: {{kind: plain, longest: 5}}}}"

    srit("run", recipe, teacher, "--out", tmp_path / "whole", exit_codes=(0, 3, 6))

    asked = (tmp_path / "whole/teacher/answers.jsonl").read_text().splitlines()
    assert {len(json.loads(line)["answer"]["raw"]) <= 5 for line in asked} == {True}  # tokens are single bytes


def test_the_doctor_and_the_list_of_tasks_show_plug_ins(srit):
    lines, tasks = srit("doctor").splitlines(), srit("tasks")

    for what in ("teacher parrot", "sampler plain", "loss hinge", "task family parity"):
        [line] = [line for line in lines if f"{what}, a plug-in" in line]
        assert line.startswith("ok") and line.endswith("the package srit-example 0.1")
    said = srit("recipes", "--field", "refine.margin")
    assert said.strip() == "refine.margin (refine.loss: hinge): number; default 1.0; nats"
    assert any("sampler: plain" in line and line.endswith("slow anywhere") for line in lines)
    [line] = [line for line in tasks.splitlines() if line.startswith("parity ")]
    assert line.split(maxsplit=1) == ["parity", "texts with an even number of letters; generated"]


FAULTS = {
    "an unknown kind, plug-ins listed": (
        "teacher.kind=parot",
        "did you mean 'parrot'? choose one of gold, local, openai, ",
    ),
    "its package named": ("teacher.kind=parot", "parrot (from the package srit-example 0.1)"),
    "a field that it does not have": ("refine.marge=1.0", "there is no field refine.marge; did you mean margin?"),
    "a field that another has": ("teacher.path=x", "a teacher of kind parrot does not use it (only recording)"),
    "a field that it needs": ("teacher={kind: parrot}", "teacher.says: a teacher of kind parrot needs it"),
    "a field of the wrong type": ("refine.margin=wide", "refine.margin is 'wide'"),
    "a package that cannot be imported": (
        "teacher={kind: broken}",
        "a teacher of kind broken cannot be imported from the package srit-broken 2.0 (ModuleNotFoundError: "
        "No module named 'nowhere'): update that package, or uninstall it",
    ),
    "settings of another name": (
        "refine={loss: slic}",
        'the loss slic from the package srit-broken 2.0: its settings must declare loss: Literal["slic"]',
    ),
}


@pytest.fixture
def both(tmp_path, installed, monkeypatch):
    """The package on the path of this process, beside one that cannot be imported."""
    broken = tmp_path / "both/srit_broken-2.0.dist-info"
    broken.mkdir(parents=True)
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: srit-broken\nVersion: 2.0\n")
    (broken / "entry_points.txt").write_text(
        "[srit.teachers]\nbroken = nowhere:TEACHER\n[srit.tasks]\nbroken = nowhere:FAMILY\n"
        "[srit.losses]\nslic = srit_example.hinge:LOSS\n"
    )
    monkeypatch.syspath_prepend(installed)
    monkeypatch.syspath_prepend(tmp_path / "both")


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_plug_in_cannot_do_is_refused(tmp_path, both, fault):
    override, message = FAULTS[fault]
    recipe = tmp_path / "foreign.yaml"
    recipe.write_text(RECIPE.format(student="x"))

    with pytest.raises(RecipeError) as caught:
        read_recipe(str(recipe), [override])

    assert message in str(caught.value)


def test_a_task_is_found_beside_a_broken_package_and_one_that_is_not_names_it(both):
    assert find_task("parity").name == "parity"
    with pytest.raises(RecipeError, match=r"no task 'paritee': did you mean 'parity'.* package srit-broken 2.0"):
        find_task("paritee")
