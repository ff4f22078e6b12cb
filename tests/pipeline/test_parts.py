"""A round in parts: each is answered by the model of the part before, and all of them are one training."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import pytest
from killed import contents, kill_within
from made_up import srit

from srit import api
from srit.pipeline.begun import Shared
from srit.pipeline.running import open_run, run_stages
from srit.recipe import read_recipe
from srit.records import Completion, Pair
from srit.run_directory import read_manifest, read_records
from srit.stages import part, stages
from srit.study.outcomes import outcome
from srit.training.loop import _rate
from srit.watching import Made

RECIPE = """\
name: parts
student: {{model: "{student}", tuning: full}}
tasks:
  train: [{{task: sums, limit: 12}}, {{task: switches, limit: 12}}]
  evaluate: [{{task: sums, limit: 4}}]
instruct: {{epochs: 30, learning_rate: 1e-2, batch_size: 24, direct_target: answer}}
sample: {{direct: 1, cot: 2, max_new_tokens: 12}}
refine:
  {{loss: sigmoid, batch_size: 2, epochs: 1, learning_rate: 1e-3, nll_weight: 0.5, nll_on: right, parts: 2, passes: 2}}
evaluate: {{max_new_tokens: 8, prompts: [cot]}}
rows: 16
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_student):
    path = tmp_path_factory.mktemp("recipe") / "parts.yaml"
    path.write_text(RECIPE.format(student=tiny_student))
    return path


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """A run that was left alone."""
    out = tmp_path_factory.mktemp("run") / "whole"
    done = srit("run", recipe, "--out", out)
    assert done.exit_code == 0, done.output
    return out


def history(folder, stage):
    return json.loads((folder / f"{stage}.json").read_bytes())["history"]


def test_every_pass_asks_each_problem_again_and_the_round_has_all_answers(whole):
    found = [read_records(whole / f"round-1/part-{n}/completions.jsonl", Completion) for n in (1, 2, 3, 4)]
    asked = [{(c.task, c.problem_id) for c in of_part} for of_part in found]

    assert [Counter(task for task, _ in problems) for problems in asked] == [{"sums": 6, "switches": 6}] * 4
    assert asked[0] == asked[2] and asked[1] == asked[3] and not asked[0] & asked[1]
    together = read_records(whole / "round-1/completions.jsonl", Completion)
    assert together == [c for of_part in found for c in of_part]
    assert Counter((c.prompt, c.index) for c in together) == {
        (prompt, index): 24 for prompt, indices in (("direct", (0, 1)), ("cot", (0, 1, 2, 3))) for index in indices
    }
    assert len({(c.problem_id, c.prompt, c.index) for c in together}) == len(together)
    pairs = [p for n in (1, 2, 3, 4) for p in read_records(whole / f"round-1/part-{n}/pairs.jsonl", Pair)]
    assert pairs == read_records(whole / "round-1/pairs.jsonl", Pair)


def test_the_log_of_a_round_has_the_steps_of_all_parts_under_one_schedule(whole):
    parts = [history(whole, f"round-1/part-{n}/refined") for n in (1, 2, 3)]
    together, counts = history(whole, "round-1/refined"), read_manifest(whole).stages["round-1/refined"].counts
    lengths = [len(part) for part in parts]
    lengths.append(len(together) - sum(lengths))

    assert min(lengths) > 0 and [step["step"] for step in together] == list(range(sum(lengths)))
    rates = [step["learning_rate"] for step in together]
    assert rates == [1e-3 * _rate(part * n + i, 4 * n, 0.1) for part, n in enumerate(lengths) for i in range(n)]
    assert counts["steps"] == len(together) and counts["tokens"] == sum(step["tokens"] for step in together)


def test_a_study_sees_one_training(whole, recipe):
    found = outcome(whole, read_recipe(str(recipe)))

    assert [training.stage for training in found.trainings] == ["instructed", "round-1/refined"]
    assert set(found.counts) == {"demonstrations", "round-1/completions", "round-1/pairs", "round-1/accepted"}


def test_a_finished_round_in_parts_has_nothing_left_to_do_and_others_samples_stay(whole, recipe):
    def planned(*overrides):
        done = srit("plan", recipe, "--out", whole, *overrides)
        return {line.split()[1] for line in done.output.splitlines() if line.startswith("run")}

    assert planned() == set()
    other = planned("refine.learning_rate=2e-3")
    assert "round-1/part-1/refined" in other and "round-1/part-1/completions" not in other


def plain_stages(recipe):
    """The stages as earlier versions of srit declared them, which kept every optimizer."""
    return [replace(stage, spends=()) for stage in stages(recipe)]


@pytest.fixture(scope="module")
def earlier(recipe, tmp_path_factory):
    """A run of an earlier version of srit."""
    out = tmp_path_factory.mktemp("run") / "earlier"
    with open_run(out, read_recipe(str(recipe)), plain_stages, watch=lambda event: None) as opened:
        run_stages(opened)
    assert optimizers(out) == {1, 2, 3}
    return out


@pytest.fixture
def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copied")


def optimizers(folder):
    """The parts whose optimizers are there."""
    return {int(path.parent.name.removeprefix("part-")) for path in folder.rglob("part-*/optimizer.safetensors")}


def passed_on(folder):
    """The parts whose optimizers other runs can take."""
    works = {path.parent: json.loads(path.read_bytes())["work"] for path in folder.glob("pool/*/entry.json")}
    return {work for place, work in works.items() if work.endswith("/refined") and (place / "2").exists()}


def spent(folder):
    return {name for name, entry in read_manifest(folder).stages.items() if entry.spent}


def made(recipe, out, part=None, overrides=()):
    """Runs, and returns what was made."""
    events = []
    api.make(read_recipe(str(recipe), overrides), out, part, watch=events.append)
    return [event.stage for event in events if isinstance(event, Made)]


def made_beside(recipe, out, shared, declare=stages):
    """The same for a run that shares its work."""
    with open_run(out, read_recipe(str(recipe)), declare, watch=lambda event: None, shared=shared) as opened:
        return run_stages(opened)


def reasons(recipe, out):
    return {stage.name: stage.reason for stage in api.plan(read_recipe(str(recipe)), out).stages if stage.reason}


def trainings(*parts):
    return [f"round-1/part-{n}/refined" if n < 4 else "round-1/refined" for n in parts]


def damage(folder, n):
    model = folder / ("round-1/refined" if n == 4 else f"round-1/part-{n}/refined")
    (model / "model.safetensors").write_bytes(b"damaged")


def test_an_optimizer_is_removed_once_the_next_part_is_trained_and_nothing_needs_it_then(recipe, whole, copied):
    before = read_manifest(whole)

    assert not optimizers(whole) and spent(whole) == set(trainings(1, 2, 3))
    assert "round-1/part-2/optimizer.safetensors" in before.stages["round-1/part-2/refined"].outputs
    assert made(recipe, copied) == made(recipe, copied, "completions") == []
    assert (copied / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()


def test_a_run_of_an_earlier_version_is_continued_and_loses_its_optimizers(recipe, whole, earlier, tmp_path):
    out = shutil.copytree(earlier, tmp_path / "run")
    assert reasons(recipe, out) == {}
    damage(out, 4)

    assert made(recipe, out) == trainings(4)

    assert not optimizers(out) and contents(out) == contents(whole)


def test_an_optimizer_that_a_kill_left_is_removed(recipe, copied, whole, earlier):
    name = "round-1/part-2/optimizer.safetensors"
    shutil.copy(earlier / name, copied / name)

    assert made(recipe, copied) == []

    assert not optimizers(copied) and contents(copied) == contents(whole)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_a_damaged_model_of_a_part_is_trained_again_from_the_first_part_on(recipe, copied, whole, n):
    damage(copied, n)
    planned = reasons(recipe, copied)

    assert set(trainings(*range(1, n + 1))) <= set(planned)
    if n > 1:
        assert planned[trainings(1)[0]] == "a later stage needs a file that was removed after its use"
    assert made(recipe, copied) == trainings(*range(1, n + 1))

    assert not optimizers(copied) and contents(copied) == contents(whole)
    assert read_manifest(copied).stages.keys() == read_manifest(whole).stages.keys() and reasons(recipe, copied) == {}


def test_parts_that_are_trained_again_survive_a_kill(recipe, copied, whole, zygote):
    damage(copied, 4)

    kill_within("round-1-part-1-refined", zygote, "run", recipe, out=copied)
    assert not optimizers(copied) and not spent(copied)  # so that the next run goes on with this training
    kill_within("round-1-part-2-refined", zygote, "run", recipe, out=copied)

    assert optimizers(copied) == {1}
    assert made(recipe, copied) == trainings(2, 3, 4)
    assert not optimizers(copied) and contents(copied) == contents(whole)


def test_other_bytes_in_place_of_an_optimizer_are_never_trained_with(recipe, copied, whole):
    (copied / "round-1/part-3/optimizer.safetensors").write_bytes(b"of something else")
    damage(copied, 4)

    assert made(recipe, copied) == trainings(1, 2, 3, 4)

    assert not optimizers(copied) and contents(copied) == contents(whole)


def test_a_damaged_file_between_the_trainings_trains_nothing_again(recipe, copied, whole):
    (copied / "round-1/part-3/pairs.jsonl").unlink()

    assert made(recipe, copied) == ["round-1/part-3/pairs"]

    assert contents(copied) == contents(whole)


def test_a_variant_takes_parts_without_their_optimizers(recipe, copied, whole):
    overrides = ("name=variant", "evaluate.max_new_tokens=7")
    other = api.variant(read_recipe(str(recipe), overrides), copied)

    again = made(recipe, other, overrides=overrides)

    assert "predictions/refined/sums" in again and not {*trainings(1, 2, 3, 4)} & set(again)
    assert not optimizers(other) and not optimizers(copied) and not passed_on(copied)
    assert contents(other).keys() == contents(whole).keys() - {"teacher/answers.jsonl"} and spent(other) == spent(whole)
    assert made(recipe, other, overrides=overrides) == []


def test_a_variant_trains_again_what_its_run_has_not_kept(recipe, copied, whole):
    damage(copied, 3)
    other = api.variant(read_recipe(str(recipe), ["name=variant"]), copied)

    assert made(recipe, other, overrides=["name=variant"]) == [*trainings(1, 2, 3), "report"]

    assert not optimizers(other)
    found, expected = contents(other), contents(whole)
    others = {"recipe.yaml", "report.html", "teacher/answers.jsonl"}  # with its name, and the answers of the run
    assert {name for name in expected if found.get(name) != expected[name]} == others


def test_runs_that_share_their_parts_pass_on_an_optimizer_until_it_is_used(recipe, whole, tmp_path):
    shared = Shared(tmp_path, {})
    first, second = tmp_path / "runs/first", tmp_path / "runs/second"
    assert set(trainings(1, 2, 3)) <= set(made_beside(recipe, first, shared, part("completions")))
    assert optimizers(first) == {3} and passed_on(tmp_path) == set(trainings(3))

    assert not {*trainings(1, 2, 3)} & set(made_beside(recipe, second, shared))
    assert not optimizers(second) and not passed_on(tmp_path)
    assert not set(trainings(1, 2, 3, 4)) & set(made_beside(recipe, first, shared))

    assert not optimizers(first) and contents(first) == contents(second)
    found, expected = contents(first), contents(whole)
    assert {name for name in expected if found.get(name) != expected[name]} == {"teacher/answers.jsonl"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["kill before", "power loss"])
def test_a_strike_at_any_operation_on_an_optimizer_or_the_manifest_loses_nothing(
    tmp_path, recipe, whole, zygote, fault
):
    def damaged(name):
        folder = shutil.copytree(whole, tmp_path / name)
        damage(folder, 2)  # parts 1 and 2 are trained again, and the optimizers of both are removed
        return folder

    out = damaged("left alone")
    assert zygote.run("run", recipe, "--out", out, folder=out) == 0, zygote.output
    struck = [n for n, line in enumerate(zygote.operations, 1) if "optimizer.saf" in line or "manifest" in line]
    assert len([line for line in zygote.operations if "unlink" in line and "/optimizer.saf" in line]) == 2

    for at in struck:
        out = damaged(f"at {at}")
        assert zygote.run("run", recipe, "--out", out, folder=out, at=at, fault=fault) == -9, zygote.output
        assert zygote.run("run", recipe, "--out", out) == 0, zygote.output
        assert not optimizers(out) and contents(out).items() >= contents(whole).items()  # a power loss may leave more
        assert read_manifest(out).stages.keys() == read_manifest(whole).stages.keys() and spent(out) == spent(whole)
        shutil.rmtree(out)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [[], ["refine.reference=round", "student.dtype=bfloat16"], ["refine.loss=group"]])
def test_a_round_in_parts_that_is_killed_again_and_again_ends_in_the_same_files(tmp_path, recipe, zygote, overrides):
    command, whole, killed = ("run", recipe, *overrides), tmp_path / "whole", tmp_path / "killed"
    assert zygote.run(*command, "--out", whole) == 0, zygote.output

    for stage in ("round-1-part-2-completions", "round-1-part-2-refined", "round-1-part-3-refined", "round-1-refined"):
        kill_within(stage, zygote, *command, out=killed)
    assert zygote.run(*command, "--out", killed) == 0, zygote.output

    assert contents(killed) == contents(whole)
