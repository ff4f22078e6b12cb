"""A round in parts: each is answered by the model of the part before, and all of them are one training."""

import json
from collections import Counter

import pytest
from killed import contents, kill_within
from made_up import srit

from srit.recipe import read_recipe
from srit.records import Completion, Pair
from srit.run_directory import read_manifest, read_records
from srit.study.outcomes import outcome
from srit.training.loop import _rate

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


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [[], ["refine.reference=round", "student.dtype=bfloat16"], ["refine.loss=group"]])
def test_a_round_in_parts_that_is_killed_again_and_again_ends_in_the_same_files(tmp_path, recipe, zygote, overrides):
    command, whole, killed = ("run", recipe, *overrides), tmp_path / "whole", tmp_path / "killed"
    assert zygote.run(*command, "--out", whole) == 0, zygote.output

    for stage in ("round-1-part-2-completions", "round-1-part-2-refined", "round-1-part-3-refined", "round-1-refined"):
        kill_within(stage, zygote, *command, out=killed)
    assert zygote.run(*command, "--out", killed) == 0, zygote.output

    assert contents(killed) == contents(whole)
