"""Every bad input ends with the exit code of its kind and a message that says what to do."""

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from srit.cli import app

GOOD = {
    "name": "bad",
    "student": {"model": "STUDENT", "tuning": "full"},
    "tasks": {"train": [{"task": "sums", "limit": 6}], "evaluate": [{"task": "doors", "limit": 4}]},
    "instruct": {"epochs": 1, "batch_size": 8},
    "sample": {"direct": 1, "cot": 1, "max_new_tokens": 4},
}


@pytest.fixture
def student(tmp_path, tiny_student):
    return shutil.copytree(tiny_student, tmp_path / "student")


def run(tmp_path, recipe, *arguments, out=None):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return CliRunner().invoke(app, ["run", str(path), "--out", str(out or tmp_path / "run"), *arguments])


def recording(tmp_path, *lines):
    path = tmp_path / "teacher.jsonl"
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return str(path)


def of_recording(lines):
    return lambda tmp_path, student: {"teacher": {"kind": "recording", "path": recording(tmp_path, *lines)}}


def with_student(change):
    def changed(tmp_path, student):
        change(student)
        return {}

    return changed


def with_weights(change):
    def changed(student):
        weights = load_file(student / "model.safetensors")
        change(weights)
        save_file(weights, student / "model.safetensors", metadata={"format": "pt"})

    return with_student(changed)


def without_template(student):
    (student / "chat_template.jinja").unlink()


def pickled(student):
    torch.save(load_file(student / "model.safetensors"), student / "pytorch_model.bin")
    (student / "model.safetensors").unlink()


def changed_file(name, **fields):
    def change(student):
        written = json.loads((student / name).read_text())
        (student / name).write_text(json.dumps(written | fields))

    return with_student(change)


def as_integers(weights):
    name = "model.layers.0.mlp.up_proj.weight"
    weights[name] = weights[name].to(torch.int8)


BAD = {
    "an unknown task": (2, "did you mean 'sums'", lambda *_: {"tasks": {**GOOD["tasks"], "train": [{"task": "sum"}]}}),
    "an unknown field": (2, "refine.betta; did you mean beta", lambda *_: {"refine": {"betta": 1}}),
    "a number that is text": (2, "refine.beta is 'much'", lambda *_: {"refine": {"beta": "much"}}),
    "no task at all": (2, "tasks.evaluate", lambda *_: {"tasks": {**GOOD["tasks"], "evaluate": []}}),
    "more problems than there are": (
        3,
        "no question of its train split is left",
        lambda *_: {"tasks": {**GOOD["tasks"], "train": [{"task": "switches", "limit": 10_000_000}]}},
    ),
    "a student that is not there": (3, "no folder", lambda *_: {"student": {"model": "./nowhere"}}),
    "a student without tokenizer": (3, "no tokenizer", with_student(lambda s: (s / "tokenizer.json").unlink())),
    "a student without chat template": (3, "student.chat_template", with_student(without_template)),
    "a student with pickled weights only": (3, "use_safetensors=False).save_pretrained", with_student(pickled)),
    "weights that are cut": (
        3,
        "is damaged or cut off",
        with_student(lambda s: (s / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")),
    ),
    "a weight that is missing": (3, "lacks the weights", with_weights(lambda w: w.pop("model.norm.weight"))),
    "a weight that is not finite": (3, "not finite", with_weights(lambda w: w["model.norm.weight"].fill_(torch.nan))),
    "more tokens than embeddings": (3, "the tokenizer has", changed_file("config.json", vocab_size=50)),
    "weights that are integers": (3, "mlp.up_proj.weight has integers", with_weights(as_integers)),
    "a tokenizer's length that is text": (
        3,
        "the tokenizer of",
        changed_file("tokenizer_config.json", model_max_length="long"),
    ),
    "generation settings that are a list": (
        3,
        "generation_config.json cannot be used",
        with_student(lambda s: (s / "generation_config.json").write_text("[]")),
    ),
    "LoRA on modules that do not exist": (
        3,
        "student.lora.target_modules",
        lambda _, student: {"student": {"model": str(student), "lora": {"target_modules": ["nope"]}}},
    ),
    "a recording that is not there": (
        3,
        "teacher.path: there is no file",
        lambda *_: {"teacher": {"kind": "recording", "path": "nowhere.jsonl"}},
    ),
    "a recording that is no JSON": (3, "teacher.jsonl:1", of_recording(["{no\n"])),
    "a recording with other fields": (3, "teacher.jsonl:1", of_recording([{"id": "x"}])),
    "a recording of other problems": (
        3,
        "not in the recording (6 times)",
        of_recording([{"id": "x", "output": "The answer is 1."}]),
    ),
    "a teacher that has nothing right": (
        3,
        "refused: wrong",
        of_recording([{"id": f"sums-train-{n:05d}-s0", "output": "The answer is 999."} for n in range(6)]),
    ),
    "answers without contrast": (6, "give pairs", lambda *_: {"refine": {"loss": "sigmoid", "nll_on": "chosen"}}),
    "groups without contrast": (6, "0 give right and wrong answers", lambda *_: {"refine": {"loss": "group"}}),
    "training that diverges": (6, "lower learning_rate", lambda *_: {"instruct": {"epochs": 9, "learning_rate": 1e30}}),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_input_ends_with_the_code_of_its_kind(tmp_path, student, fault):
    code, message, change = BAD[fault]
    recipe = {**GOOD, "student": {**GOOD["student"], "model": str(student)}}
    recipe |= change(tmp_path, student)

    result = run(tmp_path, recipe)

    assert (result.exit_code, message in result.output) == (code, True), result.output
    assert "Traceback" not in result.output


def test_a_recipe_that_is_not_there_is_told_apart_from_a_misspelled_name(tmp_path):
    missing = CliRunner().invoke(app, ["run", str(tmp_path / "none.yaml")])
    misspelled = CliRunner().invoke(app, ["run", "quickstrat"])

    assert missing.exit_code == misspelled.exit_code == 2
    assert "this file does not exist" in missing.output and "did you mean 'quickstart'" in misspelled.output


def test_a_place_that_cannot_be_written_is_found_before_anything_is_spent(tmp_path, student):
    (tmp_path / "file").write_text("")

    result = run(tmp_path, {**GOOD, "student": {"model": str(student)}}, out=tmp_path / "file" / "run")

    assert result.exit_code == 5 and "choose another with --out" in result.output


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("run-\udcff", r"run-\udcff: this name is not UTF-8, or this shell's locale has none"),
        ("s3://bucket/run", "--out s3://bucket/run: a run works in a folder on this machine"),
    ],
)
def test_a_folder_that_a_run_cannot_use_is_refused(tmp_path, student, out, says):
    found = run(tmp_path, GOOD | {"student": {"model": str(student)}}, out=out)

    assert found.exit_code == 2 and says in found.stderr


def test_a_stage_of_a_folder_that_is_no_run_says_how_to_begin(tmp_path):
    result = CliRunner().invoke(app, ["sample", str(tmp_path)])

    assert result.exit_code == 2 and "srit run RECIPE --out" in result.output
