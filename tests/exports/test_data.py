"""A run's data in TRL's trainers and in lm-evaluation-harness."""

import json

import pytest
import torch
from typer.testing import CliRunner

from srit.cli import app
from srit.records import Model

datasets = pytest.importorskip("datasets", reason="datasets is in srit[hub]")


@pytest.fixture(scope="module")
def data(tiny_run, tmp_path_factory):
    """The exported rows, as `load_dataset` reads them, and the student that they were made with."""
    from srit.exports.sources import find_source
    from srit.students.loading import load_model, load_prompts

    folder = tmp_path_factory.mktemp("data") / "out"
    done = CliRunner().invoke(app, ["export", str(tiny_run), "--to", "datasets", "--out", str(folder)])
    assert done.exit_code == 0, done.output
    source = find_source(str(tiny_run), "instructed")
    load_model(source.student, source.trained).save_pretrained(folder / "student")
    load_prompts(source.student).save(folder / "student")
    return folder


def rows(folder, name):
    return datasets.load_dataset("json", data_files=str(folder / name), split="train", cache_dir=str(folder / "cache"))


def trained(trainer):
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    return any(not torch.equal(before[name], weight) for name, weight in trainer.model.named_parameters())


@pytest.mark.filterwarnings("ignore")  # of TRL's own
@pytest.mark.parametrize("kind", ["SFT", "DPO"])
def test_trl_trains_a_step_on_what_was_exported(data, tiny_run, tmp_path, kind):
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = {"SFT": "demonstrations.jsonl", "DPO": "preferences.jsonl"}[kind]
    found = rows(data, name)
    settings = getattr(trl, f"{kind}Config")(
        output_dir=str(tmp_path), max_steps=1, per_device_train_batch_size=2, report_to=[], use_cpu=True, bf16=False
    )

    trainer = getattr(trl, f"{kind}Trainer")(
        model=AutoModelForCausalLM.from_pretrained(data / "student"),
        args=settings,
        train_dataset=found,
        processing_class=AutoTokenizer.from_pretrained(data / "student"),
    )

    assert trained(trainer)
    source = tiny_run / {"SFT": "demonstrations.jsonl", "DPO": "round-1/pairs.jsonl"}[kind]
    kept = [row for line in source.read_text().splitlines() if (row := json.loads(line)).get("kept", True)]
    assert sorted(found["problem_id"]) == sorted(row["problem_id"] for row in kept)


def test_a_model_of_no_run_has_no_data(student, tmp_path):
    for kind in ("datasets", "lm-eval"):
        done = CliRunner().invoke(app, ["export", str(student), "--to", kind, "--out", str(tmp_path / kind)])
        assert done.exit_code == 2 and "name a run directory" in done.output


@pytest.mark.filterwarnings("ignore")  # of lm-eval's own
def test_lm_eval_loads_the_tasks_and_judges_as_the_run_did(tiny_run, tmp_path):
    done = CliRunner().invoke(app, ["export", str(tiny_run), "--to", "lm-eval", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and "sums: 8 of 8 answers of refined are judged as in the run" in done.output
    lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is in srit[lm-eval]")
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    answers = {}
    for line in (tiny_run / f"predictions/{Model('refined')}/doors.jsonl").read_text().splitlines():
        row = json.loads(line)
        answers[row["problem_id"], row["prompt"]] = row

    class Replay(LM):
        def generate_until(self, requests, disable_tqdm=False):
            return [said(request) for request in requests]

        def loglikelihood(self, requests, disable_tqdm=False):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    def said(request):
        kind = "cot" if request.args[0].endswith("Let's think step by step.") else "direct"
        return answers[json.loads(request.doc["problem"])["id"], kind]["text"]

    tasks = ["srit_doors_cot", "srit_doors_direct"]
    manager = TaskManager(include_path=str(tmp_path / "out"), include_defaults=False)
    found = lm_eval.simple_evaluate(model=Replay(), tasks=tasks, task_manager=manager, bootstrap_iters=0)

    for kind in ("cot", "direct"):
        right = [row["verdict"] == "right" for (_, prompt), row in answers.items() if prompt == kind]
        assert found["results"][f"srit_doors_{kind}"]["acc,none"] == sum(right) / len(right)
    assert {"srit_tiny", *tasks} <= {*manager.all_tasks}
