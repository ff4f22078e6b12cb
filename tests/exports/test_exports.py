"""Exports of a model, as other software loads them."""

import json
import re
import shutil

import pytest
import torch
from peft import PeftModel
from tiny import tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from srit.cli import app
from srit.exports.gguf import compare
from srit.exports.gguf.writing import unwritable, words_of, write_gguf
from srit.exports.sources import find_source
from srit.exports.trials import NEAR, greedy, near_ties, same, trial_of
from srit.students.loading import load_model

QUESTION = [{"role": "user", "content": "Hi"}]


def export(place, kind, out, *more):
    return CliRunner().invoke(app, ["export", str(place), "--to", kind, "--out", str(out), "--questions", "8", *more])


def logits(model, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        return model.eval()(**ids).logits


def test_a_merged_folder_loads_alone_and_gives_the_logits_of_adapter_and_base(tiny_run, student, tmp_path):
    done = export(tiny_run, "merged", tmp_path / "out")
    again = export(tmp_path / "out", "merged", tmp_path / "again")

    assert done.exit_code == again.exit_code == 0, done.output + again.output
    assert "8 of 8 greedy answers are the same" in done.output and not (tmp_path / "out/adapter_config.json").exists()
    base = AutoModelForCausalLM.from_pretrained(student)
    expected = logits(base, tmp_path / "out")
    refined = logits(PeftModel.from_pretrained(base, tiny_run / "round-1/refined"), tmp_path / "out")
    assert (expected - refined).abs().max() > 0.1  # the adapter does something
    for folder in ("out", "again"):
        merged = logits(AutoModelForCausalLM.from_pretrained(tmp_path / folder), tmp_path / folder)
        torch.testing.assert_close(merged, refined, rtol=0, atol=1e-4)


def test_a_model_that_is_not_as_it_was_trained_is_not_exported(tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run, tmp_path / "run")
    weights = folder / "round-1/refined/adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)

    done = export(folder, "merged", tmp_path / "merged")

    assert done.exit_code == 3 and "round-1/refined: not as it was trained" in done.output
    assert not (tmp_path / "merged").exists()


def test_an_adapter_is_exported_with_all_that_peft_needs(tiny_run, student, tmp_path):
    done = export(tiny_run, "adapter", tmp_path / "out", "--model", "instructed")

    assert done.exit_code == 0, done.output
    base = AutoModelForCausalLM.from_pretrained(student)
    copied = logits(PeftModel.from_pretrained(base, tmp_path / "out"), tmp_path / "out")
    base = AutoModelForCausalLM.from_pretrained(student)
    torch.testing.assert_close(
        copied, logits(PeftModel.from_pretrained(base, tiny_run / "instructed"), tiny_run / "instructed")
    )


@pytest.mark.parametrize("kind", ["gguf", "ollama"])
def test_llama_cpp_answers_a_gguf_file_as_transformers_does(tiny_run, tmp_path, kind):
    pytest.importorskip("xllamacpp", reason="llama.cpp is in srit[gguf]")
    done = export(tiny_run, kind, tmp_path / "out")

    assert done.exit_code == 0, done.output
    assert "8 of 8 prompts are those trained with, by its chat template" in done.output
    assert "8 of 8 greedy answers are the same" in done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"model.gguf", "README.md"}
    if kind == "ollama":
        assert "8 of 8 prompts are those trained with, by Ollama's template" in done.output


def test_a_gguf_file_of_another_model_is_told_from_it(tiny_run, tmp_path):
    pytest.importorskip("xllamacpp", reason="llama.cpp is in srit[gguf]")
    source = find_source(str(tiny_run), None)
    trial = trial_of(source, 8)
    write_gguf(tmp_path / "model.gguf", load_model(source.student, source.trained), trial.prompts, name="refined")

    checks = compare(tmp_path / "model.gguf", trial, load_model(source.student), None)

    assert [check.ok for check in checks] == [True, False]


def test_an_answer_differs_only_by_a_near_tie_if_the_model_says_so(tiny_run):
    source = find_source(str(tiny_run), None)
    trial, model = trial_of(source, 4), load_model(source.student, source.trained)
    answers = greedy(model, trial)
    logits = [
        model(torch.tensor([[*q.ids, *a[:2]]])).logits[0, -1] for q, a in zip(trial.questions, answers, strict=True)
    ]
    second = [(*a[:2], int(found.topk(2).indices[1])) for a, found in zip(answers, logits, strict=True)]
    gaps = [float(torch.sub(*found.topk(2).values)) for found in logits]

    assert near_ties(model, trial, answers, answers) == 0
    assert near_ties(model, trial, answers, second) == sum(gap <= NEAR for gap in gaps)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1e-4)  # now all tokens are about as probable
    assert near_ties(model, trial, answers, second) == 4
    assert same(answers, second, 4) == (
        True,
        "0 of 4 greedy answers are the same, token by token, and 4 more up to a near tie",
    )


def test_without_llama_cpp_the_file_is_written_and_said_not_to_be_checked(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr("srit.exports.gguf.llama_cpp.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")

    done = export(tiny_run, "gguf", tmp_path / "out")

    assert done.exit_code == 0 and "WARN not checked in llama.cpp: pip install 'srit[gguf]'" in done.output
    assert "not checked in llama.cpp" in (tmp_path / "out/README.md").read_text()


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
DIGITS = {"type": "Digits", "individual_digits": True}


@pytest.mark.parametrize(
    ("cutting", "name"),
    [
        (BYTES, "gpt-2"),
        ({"type": "Sequence", "pretokenizers": [BYTES]}, "gpt-2"),
        ({"type": "Sequence", "pretokenizers": [DIGITS, BYTES]}, "smollm"),
        ({"type": "Sequence", "pretokenizers": [DIGITS | {"individual_digits": False}, BYTES]}, None),
        (BYTES | {"use_regex": False}, None),
        (BYTES | {"add_prefix_space": True}, None),
        (DIGITS, None),
        (None, None),
    ],
)
def test_only_a_tokenizer_that_llama_cpp_has_a_name_for_is_written(cutting, name):
    for model, known in (
        ({"type": "BPE", "merges": [["a", "b"]]}, name),
        ({"type": "BPE"}, None),
        ({"type": "Unigram"}, None),
    ):
        assert words_of({"pre_tokenizer": cutting, "model": model}) == known


def test_a_model_that_srit_cannot_write_needs_llama_cpp_s_converter(tiny_run, tmp_path, monkeypatch):
    trial = trial_of(find_source(str(tiny_run), None), 1)
    folder = tmp_path / "qwen"
    tiny_model("qwen").save_pretrained(folder)
    trial.prompts.save(folder)
    monkeypatch.setenv("PATH", "")

    missing = export(folder, "gguf", tmp_path / "out")
    nowhere = export(folder, "gguf", tmp_path / "out", "--converter", str(tmp_path / "none.py"))
    (tmp_path / "convert.py").write_text("raise SystemExit('this is no converter')")
    broken = export(folder, "gguf", tmp_path / "out", "--converter", str(tmp_path / "convert.py"))
    (tmp_path / "bare.py").write_text("import no_such_package")
    bare = export(folder, "gguf", tmp_path / "out", "--converter", str(tmp_path / "bare.py"))

    assert unwritable(tiny_model("llama"), trial.prompts) == ""
    assert missing.exit_code == 5 and "not qwen2, and llama.cpp's convert_hf_to_gguf.py is not" in missing.output
    assert nowhere.exit_code == 5 and "there is no file" in nowhere.output
    assert broken.exit_code == 3 and "failed: this is no converter" in broken.output
    assert bare.exit_code == 5 and "pip install no_such_package" in bare.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        (["{run}", "--to", "onnx"], 2, "there is no export 'onnx': choose one of merged, adapter, gguf"),
        (["{run}", "--to", "merged", "--model", "refind"], 2, "no model 'refind'; it has: base, instructed, refined"),
        (["{run}", "--to", "adapter", "--model", "base"], 2, "base has no adapter, only weights: use --to merged"),
        (["{run}/instructed", "--to", "merged", "--model", "base"], 2, "is not a run directory"),
        (["{run}/predictions", "--to", "merged"], 3, "predictions"),
        (["{run}", "--to", "merged", "--out", "{run}"], 2, "already exists"),
    ],
)
def test_what_cannot_be_exported_is_said(tiny_run, tmp_path, said, code, message):
    out = [] if "--out" in said else ["--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["export", *(word.format(run=tiny_run) for word in said), *out])

    assert done.exit_code == code and message in done.output, done.output
    assert not (tmp_path / "out").exists()


def test_the_card_s_code_works_and_its_figures_are_those_of_the_run(tiny_run, tmp_path, monkeypatch):
    codes = []
    for kind in ("merged", "adapter"):
        export(tiny_run, kind, tmp_path / kind)
        card = (tmp_path / kind / "README.md").read_text()
        [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        codes.append(code.replace("max_new_tokens=200", "max_new_tokens=4"))

    monkeypatch.chdir(tmp_path)
    for code in codes:
        exec(code, {})
    rows = json.loads((tiny_run / "results.json").read_text())["rows"]
    row = next(r for r in rows if (r["model"], r["task"], r["prompt"]) == ("refined", "doors", "cot"))
    low, high = row["ci95"]
    assert f"{100 * row['accuracy']:.1f} ({100 * low:.1f} to {100 * high:.1f})" in card
    assert "| doors | cot | 4 | " in card and "name: tiny" in card
