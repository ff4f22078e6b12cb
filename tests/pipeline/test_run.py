import json
import re
import shutil

import pytest
import torch
import yaml
from killed import contents, kill_within
from typer.testing import CliRunner

from srit import api
from srit.cli import app
from srit.errors import DataError
from srit.pipeline.engines.local import LocalEngine
from srit.pipeline.running import open_run, run_stages
from srit.recipe import check_recipe, read_recipe
from srit.run_directory import read_manifest
from srit.samplers.chunks import SamplingWork
from srit.stages import needed, part, stages
from srit.stages.anatomy.effect import read_effects
from srit.watching import Begun, Progressed

RECIPE = """\
name: tiny
student: {{model: "{student}", tuning: full}}
tasks:
  train: [{{task: sums, limit: 12}}, {{task: switches, limit: 12}}]
  dev: [{{task: sums, limit: 4}}]
  evaluate: [{{task: sums, limit: 6}}, {{task: doors, limit: 6}}]
instruct: {{epochs: 30, learning_rate: 1e-2, batch_size: 24, direct_target: answer}}
sample: {{direct: 2, cot: 2, max_new_tokens: 12}}
refine: {{loss: sigmoid, epochs: 1, batch_size: 8, nll_weight: 0.5}}
controls: [instruct]
evaluate: {{max_new_tokens: 8, teacher: true, noise_floor: true, pairs: true}}
rows: 16
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_student):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE.format(student=tiny_student))
    return path


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """A run that was left alone."""
    out = tmp_path_factory.mktemp("run") / "whole"
    srit("run", recipe, "--out", out)
    return out


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def srit(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


def planned(recipe, out, *overrides):
    lines = srit("plan", recipe, "--out", out, *overrides).stdout.splitlines()
    return {line.split()[1] for line in lines if line.startswith("run")}


def test_a_run_killed_again_and_again_gives_the_same_files_as_one_left_alone(tmp_path, recipe, whole, zygote):
    out = tmp_path / "killed"

    for stage in ("instructed", "round-1-refined", "predictions-refined-doors"):
        kill_within(stage, zygote, "run", recipe, out=out)
        assert stage not in {name.replace("/", "-") for name in read_manifest(out).stages}
    assert zygote.run("run", recipe, "--out", out) == 0, zygote.output

    assert contents(out) == contents(whole)


@pytest.mark.parametrize("stage", ["problems", "lengths"])
def test_what_changed_while_a_stage_was_made_of_it_is_not_recorded(stage, tiny_student, tmp_path):
    student, rows = shutil.copytree(tiny_student, tmp_path / "student"), tmp_path / "p.jsonl"
    rows.write_text('{"id": "a", "question": "1 + 1?", "answer": "2"}\n')
    file, what = {
        "problems": (rows, re.escape(f"jsonl:{rows} has")),
        "lengths": (student / "config.json", "the student's weights or tokenizer have"),
    }[stage]
    tree = {
        "name": "changed",
        "student": {"model": str(student), "dtype": "float32"},
        "tasks": {"train": [{"task": f"jsonl:{rows}"}], "evaluate": [{"task": "doors", "limit": 1}]},
    }

    def watch(event):
        if isinstance(event, Begun) and event.stage == stage:
            file.write_text(file.read_text() + " ")

    with pytest.raises(DataError, match=rf"^{stage}: {what} changed while it was made"):
        api.make(check_recipe(tree, source="test"), tmp_path / "run", "demonstrations", watch=watch)

    assert stage not in read_manifest(tmp_path / "run").stages


def test_results_have_every_model_on_every_task(whole):
    rows = json.loads((whole / "results.json").read_bytes())["rows"]

    models = {"base", "instructed", "instructed-again", "refined", "control-instruct", "teacher"}
    assert {row["model"] for row in rows} == models
    assert {(row["task"], row["domain"]) for row in rows} == {("sums", "in"), ("doors", "out")}
    assert {(row["prompt"], row["accuracy"]) for row in rows if row["model"] == "teacher"} == {("cot", 1.0)}
    assert [row["model"] for row in rows].count("instructed-again") == 4


def test_each_training_on_the_pairs_has_its_effect(whole):
    [refined, control] = read_effects(whole / "round-1/effect.json").trainings
    n_pairs = len((whole / "round-1/pairs.jsonl").read_text().splitlines())

    assert (str(refined.model), str(control.model)) == ("refined", "control-instruct")
    assert {effect.pairs for effect in (refined, control)} == {n_pairs}
    assert [sum(flip.problems for flip in effect.flips) for effect in (refined, control)] == [24, 24]
    # The same pairs before: once for both. Training on them raised chosen over rejected in most.
    assert [place.before for place in refined.places] == [place.before for place in control.places]
    assert refined.margins_grew > n_pairs / 2


def test_answers_that_were_cut_are_warned_of(whole):
    checks = read_manifest(whole).stages["results"].counts["invariants"]

    cut = [check["line"] for check in checks if "answers were cut at evaluate.max_new_tokens" in check["line"]]
    assert cut[0].startswith("base: ")  # random weights do not end their answers


def test_a_finished_run_has_nothing_left_to_do(recipe, whole):
    assert planned(recipe, whole) == set()


@pytest.mark.parametrize(
    ("override", "again", "stays"),
    [
        (
            "refine.beta=0.3",
            {"round-1/refined", "predictions/refined/sums", "results"},
            {"problems", "demonstrations", "instructed", "round-1/pairs", "predictions/base/sums"}
            | {"predictions/instructed/sums"},
        ),
        ("instruct.epochs=31", {"instructed", "round-1/completions", "round-1/refined"}, {"demonstrations"}),
    ],
)
def test_a_changed_field_makes_again_what_depends_on_it_and_nothing_else(recipe, whole, override, again, stays):
    made = planned(recipe, whole, override)

    assert made >= again and not made & stays


def test_what_accepts_a_round_makes_no_model_again(recipe, whole):
    assert planned(recipe, whole, "refine.accept=always") == {"round-1/accepted", "report"}


def test_a_damaged_file_is_made_again_from_what_is_still_there(recipe, copied):
    (copied / "round-1/pairs.jsonl").write_text("")

    made = planned(recipe, copied)

    assert "round-1/pairs" in made and "round-1/completions" not in made


def test_what_a_kill_left_of_a_finished_stage_is_removed(recipe, copied):
    left = copied / ".partial/round-1-accepted/0123456789abcdef"
    left.mkdir(parents=True)

    srit("run", recipe, "--out", copied)

    assert not left.exists()


def without(folder, *stages):
    """A run directory as a version of srit left it that did not have these stages."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest.pop("sum", None)
    for stage in stages:
        for output in manifest["stages"].pop(stage)["outputs"]:
            (folder / output).unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_finished_run_of_an_earlier_version_makes_its_page_and_nothing_else(recipe, copied):
    before = read_manifest(copied).stages
    without(copied, "lengths", "round-1/probe", "round-1/yield", "report")

    assert planned(recipe, copied) == {"report"}
    srit("run", recipe, "--out", copied)

    assert not (copied / "round-1/probe.jsonl").exists()
    assert read_manifest(copied).stages == {
        name: entry if name != "report" else read_manifest(copied).stages[name]
        for name, entry in before.items()
        if name not in ("lengths", "round-1/probe", "round-1/yield")
    }


def test_other_pairs_of_finished_completions_sample_nothing(recipe, copied):
    completions = read_manifest(copied).stages["round-1/completions"]

    assert not planned(recipe, copied, "pairs.heuristic=correctness") & {"round-1/probe", "round-1/completions"}
    srit("run", recipe, "--out", copied, "pairs.heuristic=correctness")

    assert read_manifest(copied).stages["round-1/completions"] == completions


def test_too_few_pairs_end_a_round_after_its_probe_and_other_pairs_go_on_from_there(recipe, copied):
    without(copied, "round-1/yield", "round-1/completions")
    none = ["pairs.fallback=skip", "pairs.rejected=direct", "pairs.heuristic=cot", "refine.nll_weight=0.0"]

    failed = CliRunner().invoke(app, ["run", str(recipe), "--out", str(copied), *none])
    sampled = read_manifest(copied).stages["round-1/probe"]
    srit("run", recipe, "--out", copied)

    assert failed.exit_code == 6 and "0 give pairs" in failed.output
    assert "round-1/completions" in read_manifest(copied).stages
    assert read_manifest(copied).stages["round-1/probe"] == sampled


def test_without_a_preference_every_round_learns_from_the_right_answers_of_the_model_before(recipe, copied):
    # Right answers of a tiny student are rare: where there are none, a round ends in the error that says so.
    alone = ["refine.loss=none", "refine.nll_weight=1.0", "refine.nll_on=right", "rounds=2", "controls=[]"]

    srit("run", recipe, "--out", copied, *alone)

    rows = json.loads((copied / "results.json").read_bytes())["rows"]
    assert {"refined-1", "refined"} < {row["model"] for row in rows}
    for number in (1, 2):
        history = json.loads((copied / f"round-{number}/refined.json").read_bytes())["history"]
        assert all(step["loss"] == step["nll"] and not step["preference_loss"] for step in history)
    assert "controls/instruct" not in (copied / "report.html").read_text()


class Stopping(LocalEngine):
    """Stops after so many chunks of answers."""

    def __init__(self, chunks):
        super().__init__()
        self.chunks = chunks
        self.sampled = 0

    def map(self, work, items):
        for key, item in items.items():
            if isinstance(work, SamplingWork) and self.sampled == self.chunks:
                raise KeyboardInterrupt
            self.sampled += isinstance(work, SamplingWork)
            yield from super().map(work, {key: item})


def test_the_probe_keeps_its_chunks_where_completions_always_had_them(recipe, whole, copied):
    """So a round that a version without the probe had begun to sample goes on."""
    kept = read_manifest(whole).stages["round-1/completions"].fingerprint[:16]
    without(copied, "round-1/probe", "round-1/yield", "round-1/completions")

    def sample(engine):
        declare, settings = part("completions"), read_recipe(str(recipe))
        with open_run(copied, settings, declare, watch=print, engine=engine) as opened:
            run_stages(opened)

    with pytest.raises(KeyboardInterrupt):
        sample(Stopping(1))
    chunks = list((copied / ".partial/round-1-completions" / kept / "probe").glob("chunk-00000-*.json"))
    sample(engine := Stopping(9))

    assert len(chunks) == 1 and engine.sampled == 1  # of two
    assert (copied / "round-1/completions.jsonl").read_bytes() == (whole / "round-1/completions.jsonl").read_bytes()
    assert not any((copied / ".partial").iterdir())


class Wide(LocalEngine):
    """Computes as if there were two workers, and keeps how many chunks came together."""

    size = 2

    def __init__(self):
        super().__init__()
        self.together = []

    def map(self, work, items):
        self.together += [len(items)] if items else []
        yield from super().map(work, items)


def test_chunks_of_any_size_count_as_new_for_the_speed_that_is_told(recipe, copied):
    shutil.rmtree(copied / "round-1/refined")
    events = []

    api.make(read_recipe(str(recipe)), copied, "refined", watch=events.append)

    assert {event.earlier for event in events if isinstance(event, Progressed) and event.unit == "groups"} == {0}


def test_where_several_workers_compute_the_tasks_of_a_model_come_together(recipe, whole, copied):
    predictions = [name for name in read_manifest(copied).stages if name.startswith("predictions/")]
    without(copied, *predictions)
    events = []

    with open_run(copied, read_recipe(str(recipe)), stages, watch=events.append, engine=Wide()) as opened:
        made = run_stages(opened)

    assert set(made) == set(predictions)
    # Base, instructed twice, refined and the control, two tasks each.
    assert opened.engine.together == [2] * 5
    assert None not in {event.earlier for event in events if isinstance(event, Progressed)}
    assert contents(copied) == contents(whole)


def test_a_new_adapter_depends_on_the_seed_and_not_on_what_the_process_drew_before(tmp_path, recipe):
    def adapter(name, drawn_before, *overrides):
        torch.manual_seed(drawn_before)
        out = tmp_path / name
        srit("instruct", recipe, "--out", out, "student.tuning=lora", "instruct.epochs=1", *overrides)
        return (out / "instructed/adapter_model.safetensors").read_bytes()

    first = adapter("first", 1)

    assert adapter("again", 2) == first
    assert adapter("other", 2, "seed=7") != first


ONE_STAGE = {
    "demonstrate": ["problems", "lengths", "demonstrations"],
    "instruct": ["instructed"],
    "sample": ["round-1/probe", "round-1/yield", "round-1/completions"],
    "pair": ["round-1/pairs"],
    "refine": ["round-1/refined"],
    "evaluate": [
        *(f"round-1/{product}" for product in ("anatomy", "accepted", "effect")),  # the page shows them
        *(f"predictions/{model}/sums" for model in ("base", "instructed", "refined")),
        "results",
        "report",
    ],
}


def test_the_command_of_one_stage_makes_that_stage_and_what_it_needs_and_nothing_else(tmp_path, recipe):
    out, so_far = tmp_path / "run", []
    out.mkdir()
    plain = ["controls=[]", "tasks.evaluate=[{task: sums, limit: 2}]", "evaluate.teacher=false"]
    settings = read_recipe(str(recipe), [*plain, "evaluate.noise_floor=false"])
    (out / "recipe.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    for command, made in ONE_STAGE.items():
        srit(command, out)
        so_far += made
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
    names = [str(stage.name) for stage in needed(read_recipe("studied", ["rounds=2", "controls=[instruct]"]), part)]

    assert names[-1] == last and names[0] == "problems"
    assert not any(name.startswith(absent) for name in names)
    assert ("controls/instruct" in names) == (part == "results")
    assert ("round-1/accepted" in names) == (part != "instructed")  # what a second round starts from
