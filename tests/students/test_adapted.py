"""An adapter as a student: training goes on with it."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from hub_server import COMMIT, HubServer
from peft import PeftModel
from safetensors.torch import load_file
from tiny import SHAPE
from transformers import AutoModelForCausalLM, LlamaConfig

import srit
from srit.errors import DataError
from srit.recipe import Student
from srit.students.adapted import base_of, base_student
from srit.students.loading import identity, load_model, load_prompts, trainable

RECIPE = """\
name: on
student: {{model: "{student}", dtype: float32}}
tasks: {{train: [{{task: sums, limit: 8}}], evaluate: [{{task: sums, limit: 8}}]}}
instruct: {{epochs: {epochs}, learning_rate: 1e-2, direct_target: answer}}
rounds: 0
evaluate: {{max_new_tokens: 8}}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_student):
    """A run, and one whose student is what the first has trained."""
    folder = tmp_path_factory.mktemp("adapted")
    found = []
    for name, student, epochs in (("first", tiny_student, 10), ("second", folder / "first/instructed", 1)):
        (folder / f"{name}.yaml").write_text(RECIPE.format(student=student, epochs=epochs))
        found.append(srit.run(srit.read_recipe(str(folder / f"{name}.yaml")), folder / name))
    return found


def texts(run, model):
    lines = (run / f"predictions/{model}/sums.jsonl").read_text().splitlines()
    return [(row["problem_id"], row["prompt"], row["text"]) for row in map(json.loads, lines)]


def test_the_base_of_the_second_run_is_the_instructed_model_of_the_first(runs):
    first, second = runs

    assert texts(second, "base") == texts(first, "instructed") != texts(first, "base")


def test_the_adapter_goes_on_and_names_the_same_base(runs, tiny_student):
    first, second = (run / "instructed" for run in runs)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (first, second))

    assert before.keys() == after.keys()
    moved = max(float((before[name] - after[name]).abs().max()) for name in before)
    assert 0 < moved < 0.2 < max(float(weight.abs().max()) for weight in before.values())
    assert json.loads((second / "adapter_config.json").read_text())["base_model_name_or_path"] == str(tiny_student)
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_student), second)
    merged = load_model(Student(model=str(second), dtype="float32"))
    ids = torch.arange(3, 20)[None]
    torch.testing.assert_close(merged(ids).logits, loaded.eval()(ids).logits, rtol=0, atol=1e-4)


def test_training_starts_from_what_the_adapter_computes(runs):
    student = Student(model=str(runs[0] / "instructed"), dtype="float32")
    ids = torch.arange(3, 20)[None]

    started, merged = trainable(student, None), load_model(student)

    torch.testing.assert_close(started(input_ids=ids).logits, merged(input_ids=ids).logits, rtol=0, atol=1e-4)
    assert any(weight.requires_grad for weight in started.parameters())
    whole = trainable(student.model_copy(update={"tuning": "full"}), None)
    assert all(weight.requires_grad for weight in whole.parameters())


@pytest.mark.parametrize("change", [{"num_hidden_layers": 1}, {"num_hidden_layers": 3}, {"intermediate_size": 48}])
def test_an_adapter_of_a_model_of_another_shape_is_refused(runs, tiny_student, tmp_path, change):
    base, adapter = shutil.copytree(tiny_student, tmp_path / "base"), tmp_path / "adapter"
    AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE | change, tie_word_embeddings=True)).save_pretrained(base)
    shutil.copytree(runs[0] / "instructed", adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    modules = sorted({name.split(".")[-1] for name in config["target_modules"]})  # of any layer, as others save them
    config |= {"base_model_name_or_path": str(base), "target_modules": modules}
    (adapter / "adapter_config.json").write_text(json.dumps(config))

    with pytest.raises(DataError, match=r"adapter: this adapter was trained on a model of another shape"):
        load_model(Student(model=str(adapter), dtype="float32"))


def test_a_pickled_adapter_is_refused(runs, tmp_path):
    adapter = shutil.copytree(runs[0] / "instructed", tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")

    with pytest.raises(DataError, match="does not read pickled weights"):
        load_model(Student(model=str(adapter), dtype="float32"))


def test_the_identity_of_an_adapter_has_that_of_its_base(runs, tiny_student):
    student = Student(model=str(runs[0] / "instructed"))

    assert base_student(student).model == str(tiny_student) == base_of(runs[0] / "instructed").model
    other = Student(model=str(runs[1] / "instructed"))
    assert len({identity(one) for one in (student, base_student(student), other)}) == 3


def test_an_adapter_alone_has_the_prompts_and_ends_of_its_base(runs, tiny_student, tmp_path):
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes((runs[0] / "instructed" / name).read_bytes())

    bare, base = (load_prompts(Student(model=str(place))) for place in (tmp_path, tiny_student))

    assert bare.stop_ids == base.stop_ids and bare.lines == base.lines


@pytest.mark.slow
def test_an_adapter_of_the_hub_is_fetched_and_goes_on_over_its_base(runs, tiny_student, tmp_path):
    """As another trainer leaves it, without a tokenizer of its own."""
    adapter, recipe, out = tmp_path / "adapter", runs[1].parent / "second.yaml", tmp_path / "run"
    shutil.copytree(
        runs[0] / "instructed", adapter, ignore=shutil.ignore_patterns("*token*", "gen*", "*.jinja", "*.md")
    )
    stated = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**stated, "base_model_name_or_path": "me/base"}))
    command = [sys.executable, "-m", "srit", "run", str(recipe), "student.model=me/adapter", "--out", str(out)]

    with HubServer(holds={"me/adapter": adapter, "me/base": tiny_student}) as server:
        place = {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(command, env={**os.environ, **place}, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert texts(out, "base") == texts(runs[0], "instructed")
    student = srit.read_recipe(str(out / "recipe.yaml")).student
    assert (student.revision, student.base_revision) == (COMMIT, COMMIT)
    stated = json.loads((out / "instructed/adapter_config.json").read_text())
    assert (stated["base_model_name_or_path"], stated["revision"]) == ("me/base", COMMIT)


def test_the_plan_says_that_an_adapter_goes_on(runs, tmp_path):
    recipe = srit.read_recipe(str(runs[1].parent / "second.yaml"))

    found = {what: line for _, what, line in srit.plan(recipe, tmp_path / "new").looked.findings}

    assert "it is trained further; student.lora is not used" in found[f"adapter {runs[0] / 'instructed'}"]
