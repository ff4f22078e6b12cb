"""Texts that are longer than a model can be, or was made to be, are told of and not trained on."""

import json

import pytest
import torch
import yaml
from tiny import save_tiny_student
from transformers import (
    AutoConfig,
    BloomConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPTJConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    OPTConfig,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM
from typer.testing import CliRunner

from srit.cli import app
from srit.errors import DataError
from srit.students.lengths import Bound, Fitting, Room, bound_of, room_of

ROPE = {"factor": 4.0, "rope_theta": 1e4}


@pytest.mark.parametrize(
    ("config", "room"),
    [
        (GPT2Config(n_positions=256), Room(256, True)),
        (OPTConfig(max_position_embeddings=512), Room(512, True)),
        (GPTJConfig(n_positions=256), Room(256, True)),  # rotary, by a table
        (MptConfig(max_seq_len=256), Room(256, True)),  # ALiBi, by a table
        (LlamaConfig(max_position_embeddings=256), Room(256, False)),
        (
            LlamaConfig(
                max_position_embeddings=1024,
                rope_parameters={
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 256,
                    "rope_theta": 1e4,
                },
            ),
            Room(1024, False),
        ),
        (LlamaConfig(max_position_embeddings=256, rope_parameters=ROPE | {"rope_type": "yarn"}), Room(1024, False)),
        (LlamaConfig(max_position_embeddings=256, rope_parameters=ROPE | {"rope_type": "linear"}), Room(1024, False)),
        (LlamaConfig(max_position_embeddings=256, rope_parameters=ROPE | {"rope_type": "dynamic"}), Room(1024, False)),
        (
            LlamaConfig(
                max_position_embeddings=512,
                rope_parameters=ROPE
                | {
                    "rope_type": "llama3",
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 256,
                },
            ),
            Room(512, False),
        ),
        (MistralConfig(max_position_embeddings=1024, sliding_window=16), Room(1024, False)),
        (Gemma2Config(max_position_embeddings=1024, sliding_window=16), Room(1024, False)),
        (FalconConfig(alibi=True), Room(2048, False)),
        (BloomConfig(seq_length=2048), Room(2048, False)),
        (BloomConfig(), None),
        (MambaConfig(), None),
        (AutoConfig.for_model("gemma3", text_config={"max_position_embeddings": 256}), Room(256, False)),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_a_config_says_how_long_texts_may_be(config, room):
    assert room_of(config) == room


@pytest.mark.parametrize(
    ("room", "max_length", "bound"),
    [
        (None, None, None),  # Mamba
        (None, 100, Bound(100, "refine.max_length (100 tokens)", "raise refine.max_length")),
        (Room(256, True), 512, Bound(256, "the student's 256 positions", "use another student")),
        (Room(256, True), 100, Bound(100, "refine.max_length (100 tokens)", "raise refine.max_length")),
        (
            Room(256, False),
            None,
            Bound(256, "the student's 256 positions", "set refine.max_length to train the student beyond them"),
        ),
        (Room(256, False), 512, Bound(512, "refine.max_length (512 tokens)", "raise refine.max_length")),
    ],
)
def test_what_is_trained_on_may_be_as_long_as_the_positions_or_the_recipe_allow(room, max_length, bound):
    assert bound_of(room, max_length, "refine") == bound


def test_texts_that_are_too_long_are_counted_and_the_longest_is_named_up_to_a_fifth_of_all():
    fitting, lengths = Fitting(Bound(100, "the bound", "raise it")), [100, 101, 10_000_000, *range(7)]

    assert [n for n in lengths if not fitting.fits(n, f"p{n}")] == [101, 10_000_000]
    assert fitting.told("answers") == (
        "2 of 10 answers with their prompts are longer than the bound (problem p10000000: 10000000 tokens): they are "
        "left out. To train on them, raise it"
    )
    fitting.fits(102, "another")
    with pytest.raises(DataError, match=r"3 of 11 .*, which is more than 20%: .* Use shorter ones, or raise it"):
        fitting.told("answers")


LONG = {"id": "lengthy", "question": "3 pens and 4 pens are how many pens? " * 9, "answer": "7"}
SHORT = {"id": "brief", "question": "How many are 3 and 4?", "answer": "7"}
TOLD = "3 + 4 = 7. The answer is 7."


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shape = {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
    rotary = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    configs = {
        "gpt2": GPT2Config(**shape, n_positions=256, bos_token_id=257, eos_token_id=258),
        "llama": LlamaConfig(vocab_size=300, **rotary, max_position_embeddings=256),
    }

    def done(kind, problems, *overrides, **solutions):
        save_tiny_student("student")
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(configs[kind]).save_pretrained("student")
        told = {"brief": TOLD, "lengthy": TOLD} | solutions
        evaluated = [SHORT | {"question": "What are 5 + 2?"}]
        outputs = [{"id": identity, "output": text} for identity, text in told.items()]
        for name, lines in (("problems", problems), ("evaluated", evaluated), ("teacher", outputs)):
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        recipe = {
            "name": "long",
            "student": {"model": "student", "dtype": "float32", "tuning": "full"},
            "tasks": {
                "train": [{"task": "jsonl:problems.jsonl"}],
                "evaluate": [{"task": "jsonl:evaluated.jsonl"}],
            },
            "teacher": {"kind": "recording", "path": "teacher.jsonl"},
            "instruct": {"epochs": 1, "batch_size": 8},
            "sample": {"direct": 1, "cot": 1, "max_new_tokens": 8},
            "evaluate": {"max_new_tokens": 8},
        }
        (tmp_path / "long.yaml").write_text(yaml.safe_dump(recipe))
        return CliRunner().invoke(app, ["run", "long.yaml", "--out", "run", *overrides])

    return done


@pytest.mark.parametrize(
    ("problems", "overrides", "named"),
    [
        ([SHORT, LONG], [], "lengthy"),
        ([SHORT], ["sample.max_new_tokens=240"], "brief"),
        ([SHORT], ["evaluate.max_new_tokens=240"], "brief"),
        ([SHORT], ["tasks.evaluate.0.task=jsonl:problems.jsonl", "tasks.train.0.task=sums", "tasks.train.0.limit=2",
                   "teacher={kind: solver}", "evaluate.max_new_tokens=240"], "brief"),
        ([SHORT, LONG], ["tasks.refine=[{task: sums, limit: 2}]"], "lengthy"),
    ],
)  # fmt: skip
def test_a_prompt_that_the_student_has_no_positions_for_is_told_before_the_teacher_is_asked(
    run, tmp_path, problems, overrides, named
):
    done = run("gpt2", problems, *overrides)

    assert done.exit_code == 3, done.output
    assert f"problem {named}:" in done.output and "positions for 256" in done.output
    assert not (tmp_path / "run/demonstrations.jsonl").exists()


def test_a_limit_that_was_raised_after_stage_1_is_told_before_anything_is_sampled(run):
    run("gpt2", [SHORT])

    done = run("gpt2", [SHORT], "sample.max_new_tokens=240")

    assert done.exit_code == 3 and "positions for 256" in done.output


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_demonstration_that_is_too_long_is_left_out_and_told(run, tmp_path, kind):
    long = {**SHORT, "id": "told_at_length", "question": "How many are 3 plus 4?"}

    others = [{**SHORT, "id": f"b{n}", "question": f"How many are {n} plus 4?"} for n in (5, 6, 7)]
    told = {other["id"]: TOLD for other in others}

    done = run(kind, [SHORT, *others, long], told_at_length="Let me add. " * 25 + TOLD, **told)

    assert "1 of 5 demonstrations with their prompts are longer than the student's 256 positions" in done.output
    assert "(problem told_at_length: " in done.output
    counts = json.loads((tmp_path / "run/manifest.json").read_bytes())["stages"]["instructed"]["counts"]
    assert (counts["examples"], counts["left out: too long"]) == (4, 1)


def test_where_many_demonstrations_do_not_fit_the_run_says_so(run):
    done = run("gpt2", [SHORT, LONG | {"question": "How many are 3 plus 4?"}], lengthy="So. " * 90 + TOLD)

    assert done.exit_code == 3 and "1 of 2 demonstrations" in done.output and "more than 20%" in done.output


def test_where_the_prompts_leave_no_room_for_demonstrations_the_teacher_is_not_asked(run, tmp_path):
    done = run("llama", [SHORT, LONG])

    assert done.exit_code == 3 and "1 of 2 demonstrations, were each a single token," in done.output
    assert "set instruct.max_length to train the student beyond them" in done.output
    assert not (tmp_path / "run/demonstrations.jsonl").exists()


def test_a_model_with_relative_positions_is_trained_beyond_them_where_the_recipe_says_so(run, tmp_path):
    told, longer = {"brief": "So. " * 60 + TOLD}, ("instruct.max_length=1024", "refine.max_length=1024")

    refused = run("llama", [SHORT, LONG], **told)
    done = run("llama", [SHORT, LONG], *longer, **told)

    assert "WARN the student was made for 256 tokens" in refused.output and "problem lengthy" in refused.output
    assert refused.exit_code == 3 and "set instruct.max_length to train the student beyond them" in refused.output
    assert json.loads((tmp_path / "run/manifest.json").read_bytes())["stages"]["instructed"]["counts"]["examples"] == 2
    assert done.exit_code in (0, 6), done.output  # 6: random weights give no right answers
