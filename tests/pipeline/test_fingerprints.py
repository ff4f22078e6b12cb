"""All that goes into a stage is in its fingerprint: an edit of any input is seen, by its content alone."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_tiny_student, tiny_model
from typer.testing import CliRunner

from srit.cli import app
from srit.compute.plan import ComputePlan
from srit.errors import DataError
from srit.pipeline.fingerprints import basis, fingerprint
from srit.pipeline.planning import plan, versions_line
from srit.pipeline.running import open_run, run_stages
from srit.recipe import check_recipe
from srit.run_directory import write_json
from srit.stages import part, stages
from srit.watching import in_words


def rows(*answers):
    return "".join(json.dumps({"id": n, "question": f"Say {a}.", "answer": a}) + "\n" for n, a in enumerate(answers))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return save_tiny_student(tmp_path_factory.mktemp("own") / "student")


def recipe_of(student, folder, **fields):
    tree = {
        "name": "edited",
        "student": {"model": str(student), "tuning": "full", "dtype": "float32"},
        "tasks": {
            "train": [
                {"task": f"jsonl:{folder}/mine.jsonl"},
                {"task": f"jsonl:{folder}/both"},
                {"task": "svamp", "data": f"{folder}/A"},
            ],
            "evaluate": [{"task": f"jsonl:{folder}/both"}, {"task": "svamp", "data": f"{folder}/B"}],
            "allow_overlap": True,
        },
        "teacher": {"kind": "recording", "path": f"{folder}/teacher.jsonl"},
        "demonstrations": {"keep": "all"},
        **fields,
    }
    return check_recipe(tree, source="test")


def make(folder, recipe, product="demonstrations"):
    told = []
    with open_run(folder, recipe, part(product), watch=in_words(told.append, print)) as opened:
        made = [name for name in run_stages(opened) if name != "lengths"]
    return made, told


@pytest.fixture(scope="module")
def begun(tmp_path_factory, student):
    """A run whose demonstrations are made, and the folder of its inputs."""
    folder = tmp_path_factory.mktemp("inputs")
    write(folder / "mine.jsonl", rows("1", "2"))
    write(folder / "both/train.jsonl", rows("3").replace('"id": 0', '"id": "t"'))
    write(folder / "both/test.jsonl", rows("4"))
    write(folder / "A/svamp/train.jsonl", rows("5").replace('"id": 0', '"id": "a"'))
    write(folder / "B/svamp/test.jsonl", rows("6"))
    write(folder / "teacher.jsonl", '{"id": 0, "output": "The answer is 1."}\n')
    made, _ = make(folder / "run", recipe_of(student, folder))
    assert made == ["problems", "demonstrations"]
    return folder


def planned(folder, recipe):
    """Reasons by stage, of the stages that were made."""
    made = [p for p in plan(folder, recipe, stages) if p.reason not in ("", "not made yet")]
    return {str(p.stage.name): p.reason for p in made if not p.stage.auxiliary}


EDITS = {
    "a file of problems": ("mine.jsonl", {"problems", "demonstrations"}),
    "the training file of a folder": ("both/train.jsonl", {"problems", "demonstrations"}),
    "the test file of a folder": ("both/test.jsonl", {"problems"}),
    "the first of two data folders of one benchmark": ("A/svamp/train.jsonl", {"problems", "demonstrations"}),
    "the second of them": ("B/svamp/test.jsonl", {"problems"}),
    "a recording": ("teacher.jsonl", {"demonstrations"}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_input_makes_again_what_is_made_from_it_and_nothing_else(begun, student, edit):
    place, again = EDITS[edit]
    path, recipe = begun / place, recipe_of(student, begun)
    before, times = path.read_text(), path.stat()
    assert planned(begun / "run", recipe) == {}

    path.write_text(before.replace("Say", "Tell").replace("The answer", "My answer"))  # as long as before, or nearly
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    seen = planned(begun / "run", recipe)
    path.write_text(before)

    assert set(seen) == again
    assert any(place.split("/")[0] in reason and reason.endswith("has changed") for reason in seen.values())
    assert planned(begun / "run", recipe) == {}  # the content is what it was, whatever the times say


def test_a_file_beside_the_inputs_changes_nothing(begun, student):
    write(begun / "A/svamp/test.jsonl", rows("9"))
    write(begun / "B/svamp/train.jsonl", rows("9"))

    assert planned(begun / "run", recipe_of(student, begun)) == {}


def test_an_input_that_is_gone_is_told_of_and_nothing_is_lost(begun, student, tmp_path):
    shutil.copytree(begun, tmp_path / "inputs")
    recipe = recipe_of(student, begun)
    (begun / "mine.jsonl").rename(begun / "elsewhere.jsonl")
    try:
        reasons = planned(begun / "run", recipe)
        with pytest.raises(DataError, match=r"no file or folder '.*mine\.jsonl'"):
            make(begun / "run", recipe)
    finally:
        (begun / "elsewhere.jsonl").rename(begun / "mine.jsonl")

    assert reasons["problems"].endswith("mine.jsonl is not there")
    assert planned(begun / "run", recipe) == {}


def test_an_edit_is_followed_through_the_run(begun, student, tmp_path):
    folder = shutil.copytree(begun, tmp_path / "inputs")
    recipe = recipe_of(student, folder)
    make(folder / "run", recipe)
    write(folder / "mine.jsonl", rows("1", "7", "8"))

    made, _ = make(folder / "run", recipe)

    assert made == ["problems", "demonstrations"]
    assert len((folder / "run/problems/train.jsonl").read_text().splitlines()) == 5


def test_a_students_tokenizer_is_an_input(begun, student, tmp_path):
    other = shutil.copytree(student, tmp_path / "student")
    template = other / "chat_template.jinja"
    template.write_text(template.read_text().replace("{% for", " {% for"))

    reasons = planned(begun / "run", recipe_of(other, begun))

    assert reasons["problems"] in ("the student's weights or tokenizer have changed", "its settings changed: student")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, student):
    """A model that has learned to end its answers."""
    folder = tmp_path_factory.mktemp("teacher")
    tree = {
        "name": "teacher",
        "student": {"model": str(student), "tuning": "full", "dtype": "float32"},
        "tasks": {"train": [{"task": "sums", "limit": 24}], "evaluate": [{"task": "sums", "limit": 2}]},
        "instruct": {
            "epochs": 30,
            "learning_rate": 1e-2,
            "batch_size": 24,
            "direct_target": "answer",
            "cot_fraction": 0.0,
        },
    }
    make(folder / "run", check_recipe(tree, source="test"), "instructed")
    shutil.copytree(student, folder / "model")
    shutil.copy(folder / "run/instructed/model.safetensors", folder / "model/model.safetensors")
    return folder / "model"


def test_new_weights_of_a_local_teacher_are_asked_anew(tmp_path, student, teacher):
    teacher = shutil.copytree(teacher, tmp_path / "teacher")
    tree = {
        "name": "local",
        "student": {"model": str(student), "tuning": "full", "dtype": "float32"},
        "tasks": {"train": [{"task": "sums", "limit": 4}], "evaluate": [{"task": "sums", "limit": 2}]},
        "teacher": {"kind": "local", "model": str(teacher), "max_tokens": 100},
        "demonstrations": {"keep": "all"},
    }
    recipe = check_recipe(tree, source="test")
    make(tmp_path / "run", recipe)
    journal = tmp_path / "run/teacher/answers.jsonl"
    asked = len(journal.read_text().splitlines())
    assert planned(tmp_path / "run", recipe) == {}

    weights = load_file(teacher / "model.safetensors")
    weights["model.norm.weight"] *= 1.5
    save_file(weights, teacher / "model.safetensors", metadata={"format": "pt"})

    assert planned(tmp_path / "run", recipe) == {"demonstrations": f"the teacher {teacher} has changed"}
    assert make(tmp_path / "run", recipe)[0] == ["demonstrations"]
    assert len(journal.read_text().splitlines()) == 2 * asked > 0


def test_an_adapter_is_made_from_its_base_as_well(tmp_path, student):
    from srit.recipe import Student
    from srit.students.loading import identity

    base = shutil.copytree(student, tmp_path / "base")
    adapter = tmp_path / "adapter"
    write(adapter / "adapter_config.json", json.dumps({"base_model_name_or_path": str(base)}))
    before = identity(Student(model=str(adapter)))

    tiny_model(seed=5).save_pretrained(base)

    assert identity(Student(model=str(adapter))) != before


# ---------------------------------------------------------------------------------------- how it is computed

WAY = ComputePlan("float32", "shared", "slots", "measured today", "as proven", "all-linear")


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        ({"line": "measured again", "proof": "proven again"}, set()),
        (
            {"dtype": "bfloat16"},
            {"instructed", "probe", "completions", "refined", "accepted", "predictions", "options"},
        ),
        ({"decoding": "padded"}, {"probe", "completions", "accepted", "predictions"}),
        ({"rows": "separate"}, {"instructed", "refined", "options"}),
        ({"attention": "srit_products"}, {"instructed", "refined"}),
        ({"targets": ("q_proj",)}, {"instructed", "refined"}),
    ],
)
def test_the_way_of_computing_is_part_of_what_it_shapes(begun, student, other, changed):
    recipe = recipe_of(student, begun, evaluate={"options": True, "teacher": True})
    write(begun / "both/test.jsonl", '{"id": 0, "question": "?", "choices": ["x", "y"], "answer": "A"}\n')

    def marks(way):
        return {str(s.name): fingerprint(basis(s, dict.fromkeys(s.inputs, ""), "", way)) for s in stages(recipe)}

    before, after = marks(WAY), marks(WAY._replace(**other))
    write(begun / "both/test.jsonl", rows("4"))

    differ = {name for name in before if before[name] != after[name]}
    kinds = {
        "options" if name.endswith(".options") else name.split("/")[0 if "predictions" in name else -1]
        for name in differ
    }
    assert kinds == changed and not any(name.startswith("predictions/teacher") for name in differ)


def test_a_run_does_not_go_on_in_the_way_of_another_student(begun, tmp_path, student):
    begun_with = recipe_of(student, begun)
    write_json(
        tmp_path / "run/manifest.json", {"stages": {}, "way": WAY._replace(decoding="whole")._asdict(), "way of": []}
    )

    with open_run(tmp_path / "run", begun_with, stages, watch=lambda _: None) as opened:
        assert opened.plan.decoding != "whole"
        kept = opened.plan
    manifest = {"stages": {}, "way": kept._replace(line="kept")._asdict(), "way of": opened.run.manifest.way_of}
    write_json(tmp_path / "run/manifest.json", manifest)
    with open_run(tmp_path / "run", begun_with, stages, watch=lambda _: None) as opened:
        assert opened.plan.line == "kept"


def test_a_teachers_answers_are_made_without_the_students_weights(begun, student, tmp_path):
    bare = shutil.copytree(student, tmp_path / "student")
    (bare / "model.safetensors").unlink()

    made, told = make(tmp_path / "run", recipe_of(bare, begun))

    assert made == ["problems", "demonstrations"]
    assert not any("computes in" in line for line in told)


def test_other_versions_make_nothing_again_and_are_told_of(begun, student, tmp_path):
    folder, recipe = shutil.copytree(begun / "run", tmp_path / "run"), recipe_of(student, begun)
    make(folder, recipe, "instructed")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest.pop("sum")
    manifest["stages"]["instructed"]["environment"]["torch"] = "2.0.0"
    write_json(folder / "manifest.json", manifest)

    plans = [p for p in plan(folder, recipe, stages) if not p.stage.auxiliary]
    with open_run(folder, recipe, part("instructed"), watch=lambda _: None) as opened:
        assert run_stages(opened) == []

    assert [str(p.stage.name) for p in plans if not p.reason] == ["problems", "demonstrations", "instructed"]
    assert versions_line(folder, plans).startswith("torch 2.0.0, transformers ")
    assert "made instructed, and torch " in versions_line(folder, plans)
    assert versions_line(folder, [p for p in plans if not p.reason]) == ""


@pytest.mark.parametrize(("model", "field"), [("tiny/student", "revision"), ("./adapter", "base_revision")])
def test_a_run_stays_with_the_commit_of_a_hub_id_that_it_began_with(tmp_path, monkeypatch, model, field):
    cache = tmp_path / "hub/models--tiny--student"
    for seed, commit in enumerate(("a" * 40, "b" * 40)):
        save_tiny_student(cache / "snapshots" / commit)
        tiny_model(seed=seed).save_pretrained(cache / "snapshots" / commit)
    write(cache / "refs/main", "a" * 40)
    write(tmp_path / "adapter/adapter_config.json", json.dumps({"base_model_name_or_path": "tiny/student"}))
    save_file({"weight": torch.ones(1)}, tmp_path / "adapter/adapter_model.safetensors")
    use = "[{task: sums, limit: 4}]"
    student = f"{{model: {model}, tuning: full, dtype: float32}}"
    write(
        tmp_path / "hub.yaml",
        f"name: hub\nstudent: {student}\ntasks: {{train: {use}, evaluate: {use}, allow_overlap: true}}\n",
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)

    def srit(*arguments):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    shutil.copy(tmp_path / "hub.yaml", write(tmp_path / "run/recipe.yaml", ""))
    srit("demonstrate", "run")
    write(cache / "refs/main", "b" * 40)

    assert f" {field}: {'a' * 40}" in (tmp_path / "run/recipe.yaml").read_text()
    assert "done  problems" in srit("plan", "hub.yaml", "--out", "run")
    assert "run   problems" in srit("plan", "hub.yaml", "--out", "run", f"student.{field}={'b' * 40}")


# ----------------------------------------------------------------------------------- manifests of other times


def test_a_manifest_of_an_earlier_srit_is_read(begun, student, tmp_path):
    folder = shutil.copytree(begun / "run", tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for entry in manifest["stages"].values():
        for name in ("version", "work", "student", "way", "sources", "environment"):
            entry.pop(name)
        entry["fingerprint"] = "of another form"
    manifest.pop("revisions")
    manifest.pop("sum")
    write_json(folder / "manifest.json", {**manifest, "way": {"dtype": "float32", "shared": True, "line": "then"}})
    recipe = recipe_of(student, begun)

    assert planned(folder, recipe)["problems"] == "made by an earlier version of srit"
    assert versions_line(folder, plan(folder, recipe, stages)) == ""
    assert make(folder, recipe)[0] == ["problems", "demonstrations"]
