import json
import os
import shutil
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from srit.cli import app
from srit.compute.plan import ComputePlan
from srit.errors import RecipeError
from srit.intervals import Interval, mcnemar_exact, paired_bootstrap, wilson
from srit.pipeline.begun import Shared
from srit.pipeline.running import open_run, run_stages
from srit.recipe import check_recipe, read_recipe
from srit.records import Completion, Prediction
from srit.run_directory import read_records, write_bytes, write_json
from srit.stages import part, stages
from srit.study.claims import outcome_of, points, verdicts
from srit.study.figures import Figure, Key, compare_answers, figure, results_of
from srit.study.grid import Claim, Study, read_study, shipped_studies
from srit.study.joined import joined
from srit.study.outcomes import answers_row, step_means, study_bytes
from srit.study.page import html, latex, markdown
from srit.study.plan import plan_study, symbols
from srit.study.sidebyside import independent, side_by_side
from srit.study.statistics import Sample, cohen_h, hierarchical_interval, holm, sign_flip_test, t_test
from srit.study.tables import Entry, Table, make_curves, make_tables

STUDY = """\
name: tiny
recipe:
  name: tiny
  student: {{model: "{student}", tuning: full, dtype: float32}}
  tasks:
    train: [{{task: sums, limit: 8}}]
    evaluate: [{{task: sums, limit: 6}}, {{task: doors, limit: 6}}]
  demonstrations: {{limit: 4}}
  instruct: {{epochs: 30, learning_rate: 1e-2, batch_size: 4, direct_target: answer}}
  sample: {{direct: 3, cot: 2, max_new_tokens: 24}}
  refine: {{epochs: 1, batch_size: 8, nll_weight: 0.5, nll_on: right}}
  evaluate: {{prompts: [cot], max_new_tokens: 8, teacher: true}}
  rows: 32
seeds: [0, 1]
cells:
  cot: {{}}
  correctness: {{pairs.heuristic: correctness}}
  elsewhere: {{tasks.refine: [{{task: sums, limit: 8}}, {{task: compare, limit: 3}}]}}
claims:
  - {{}}
  - {{domain: out}}
  - {{b: refined, where: {{arm: cot}}, against: {{arm: correctness}}}}
"""

GOOD = """\
name: small
recipe: quickstart
seeds: [0, 1]
axes:
  refine.beta: [0.1, 0.5]
  trained on:
    sums: {label.teacher_family: llama}
    trade: {tasks.train: [{task: trade, limit: 10}], label.teacher_family: mistral}
labels: {student_family: llama}
"""

BAD = {
    "an unknown field, with the nearest": (
        GOOD + "seed: [1]\n",
        "study.yaml:10: there is no field seed; did you mean seeds?",
    ),
    "a recipe's field that does not exist": (
        GOOD.replace("refine.beta", "refine.betta"),
        "study.yaml:5: there is no field refine.betta; did you mean beta?",
    ),
    "a value that the recipe refuses": (
        GOOD.replace("0.5", "-1"),
        "study.yaml:5: refine.beta is -1: input should be greater than 0",
    ),
    "a task that does not exist": (GOOD.replace("task: trade", "task: trad"), "trad"),
    "a base recipe that does not exist": (GOOD.replace("quickstart", "quikstart"), "did you mean 'quickstart'?"),
    "an axis without values": (GOOD.replace("[0.1, 0.5]", "0.1"), "study.yaml:5: an axis is a list of values"),
    "an option that is no mapping": (GOOD.replace("{label.teacher_family: llama}", "x"), "study.yaml:7: sums is 'x'"),
    "a claim on a label that no cell has": (
        GOOD + "claims: [{where: {famly: in}}]\n",
        "study.yaml:10: no cell has the label 'famly'; did you mean family?",
    ),
    "a claim on a model that no cell has": (GOOD + "claims: [{a: refind}]\n", "did you mean refined?"),
    "a seed twice": (GOOD.replace("[0, 1]", "[1, 1]"), "study.yaml:3: seed 1 stands here twice"),
    "a claim whose sides share no other labels": (
        GOOD + "claims: [{where: {trained on: sums}, against: {trained on: trade}}]\n",
        "study.yaml:10: no two cells have these labels and share all others: name in same",
    ),
    "labels to share with no other side": (GOOD + "claims: [{same: [family]}]\n", "name the other side's in against"),
    "a seed as a field": (GOOD.replace("refine.beta: [0.1, 0.5]", "seed: [7, 8]"), "study.yaml:5: seed: a study sets"),
    "a label that an axis gives": (
        GOOD.replace("label.teacher_family: llama", "label.refine.beta: few"),
        "study.yaml:7: label.refine.beta: the axis of that name gives this label",
    ),
    "two cells in one folder": (GOOD + "cells: {a b: {}, a-b: {}}\n", "would share a folder"),
}


def written(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return str(path)


def srit(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    # Several threads wait for each other at every operation of so small a model: 1 s becomes 12 on a busy machine.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny_study(tmp_path_factory, tiny_student):
    path = tmp_path_factory.mktemp("study") / "tiny.yaml"
    path.write_text(STUDY.format(student=tiny_student))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_study):
    out = tmp_path_factory.mktemp("finished") / "tiny"
    done = srit("study", tiny_study, "--out", out)
    assert done.exit_code == 0, done.output
    return out


def test_a_grid_is_the_product_of_its_axes_with_checked_recipes(tmp_path):
    grid = read_study(written(tmp_path, GOOD), ["refine.epochs=3", "seeds=[4, 5, 6]"])

    names = ["beta=0.1 · sums", "beta=0.1 · trade", "beta=0.5 · sums", "beta=0.5 · trade"]
    assert [cell.name for cell in grid.cells] == names
    last = grid.cells[-1]
    assert [(r.seed, r.refine.beta, r.refine.epochs, r.tasks.train[0].task) for r in last.recipes] == [
        (seed, 0.5, 3, "trade") for seed in (4, 5, 6)
    ]
    assert last.labels["family"] == "out" and grid.cells[0].labels["family"] == "in"


def test_an_override_reaches_into_what_a_cell_sets_and_is_refused_where_the_cell_sets_it(tmp_path):
    grid = read_study(written(tmp_path, GOOD), ["tasks.train.0.limit=3"])

    assert [cell.recipes[0].tasks.train[0].limit for cell in grid.cells] == [3, 3, 3, 3]
    with pytest.raises(RecipeError, match=r"refine.beta=0.3: .*study.yaml:\d+ sets it for a cell"):
        read_study(written(tmp_path, GOOD), ["refine.beta=0.3"])


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_study_is_refused_with_its_place(tmp_path, fault):
    text, message = BAD[fault]

    with pytest.raises(RecipeError) as caught:
        read_study(written(tmp_path, text))

    assert message in str(caught.value)


def test_all_faults_of_all_cells_are_told_at_once_and_each_once(tmp_path):
    text = GOOD.replace("0.5", "-1").replace("limit: 10}]", "limit: 10}], rounds: 0")

    with pytest.raises(RecipeError) as caught:
        read_study(written(tmp_path, text))

    assert sorted(line.split(": ")[0].split(":")[-1] for line in str(caught.value).splitlines()) == ["5", "8"]


def test_no_work_is_done_twice(finished):
    timings = json.loads((finished / "timings.json").read_bytes())
    made = [stage for stages in timings["runs"].values() for stage, entry in stages.items() if not entry["shared"]]

    assert made.count("demonstrations") == 1
    assert made.count("instructed") == 2  # a seed each
    assert made.count("predictions/base/sums") == made.count("predictions/teacher/sums") == 1
    assert made.count("predictions/instructed/sums") == 2
    assert made.count("round-1/completions") == 4  # cot and correctness have theirs in common
    assert len(made) == timings["stages made"] < 0.6 * sum(map(len, timings["runs"].values()))


def test_a_study_killed_again_and_again_gives_the_same_study_json(tmp_path, tiny_study, finished):
    command = [sys.executable, "-m", "srit", "study", str(tiny_study), "--out", str(tmp_path / "killed")]
    for n_stages in (3, 12):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **quiet, env=os.environ | {"OMP_NUM_THREADS": "1"})
        while len(list((tmp_path / "killed/pool").glob("*"))) < n_stages and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert srit("study", tiny_study, "--out", tmp_path / "killed").exit_code == 0

    assert (tmp_path / "killed/study.json").read_bytes() == (finished / "study.json").read_bytes()


def test_a_finished_study_has_nothing_left_to_do(tiny_study, finished):
    planned = plan_study(read_study(str(tiny_study)), finished)

    assert [p.run for p in planned] == [[]] * 6
    changed = plan_study(read_study(str(tiny_study), ["refine.beta=0.3"]), finished)
    assert "round-1/refined" in changed[0].run and "instructed" not in changed[0].run


def test_stage_2_works_on_the_problems_of_another_task(finished):
    elsewhere = read_records(finished / "runs/elsewhere/seed-0/round-1/completions.jsonl", Completion)

    assert {c.task for c in elsewhere} == {"sums", "compare"} and len({c.problem_id for c in elsewhere}) == 11
    cells = {cell["cell"]: cell for cell in json.loads((finished / "study.json").read_bytes())["cells"]}
    assert cells["elsewhere"]["tuned_on"] == ["compare", "sums"] and cells["cot"]["refined_on"] == ["sums"]
    assert (finished / "tables/cross-refined-on.md").exists()


def test_a_damaged_output_of_a_cell_is_taken_from_the_pool_only_if_that_is_whole(tmp_path, tiny_study, finished):
    out = tmp_path / "study"
    shutil.copytree(finished, out)
    damaged = out / "runs/cot/seed-0/round-1/pairs.jsonl"
    damaged.write_text("")

    assert srit("study", tiny_study, "--out", out).exit_code == 0

    assert damaged.read_bytes() == (finished / "runs/cot/seed-0/round-1/pairs.jsonl").read_bytes()
    assert (out / "study.json").read_bytes() == (finished / "study.json").read_bytes()


def test_a_failing_cell_is_told_with_its_reason_and_the_rest_goes_on(tmp_path, tiny_study, finished):
    out, recording = tmp_path / "study", tmp_path / "recorded.jsonl"
    shutil.copytree(finished, out)
    taught = f"  taught: {{teacher: {{kind: recording, path: {recording}}}}}\n"
    study = written(tmp_path, tiny_study.read_text().replace("  elsewhere:", f"{taught}  elsewhere:"))

    failed = srit("study", study, "--out", out, "seeds=[0]")

    assert failed.exit_code == 3
    cells = {cell["cell"]: cell["runs"][0] for cell in json.loads((out / "study.json").read_bytes())["cells"]}
    assert [run["status"] for run in cells.values()] == ["done", "done", "failed", "done"]
    assert (cells["taught"]["kind"], cells["taught"]["exit_code"]) == ("DataError", 3)
    assert "there is no file" in cells["taught"]["reason"]
    assert "there is no file" in (out / "tables/unfinished.md").read_text()

    shutil.copy(finished / "runs/cot/seed-0/demonstrations.jsonl", recording)
    again = srit("study", study, "--out", out, "seeds=[0]")

    assert again.exit_code == 0
    assert not (out / "tables/unfinished.md").exists()
    assert {cell["runs"][0]["status"] for cell in json.loads((out / "study.json").read_bytes())["cells"]} == {"done"}


def test_what_fails_for_one_cell_is_not_tried_again_by_another_that_shares_it(tmp_path, tiny_study):
    teacher = "teacher={kind: recording, path: nowhere/recorded.jsonl}"
    done = srit("study", tiny_study, "--out", tmp_path / "study", "seeds=[0]", teacher)

    assert done.exit_code == 3
    assert done.output.count("failed: ") == 3
    assert done.output.count("demonstrations …") == 1


def test_every_page_is_made_again_from_study_json_alone(tmp_path, finished):
    shutil.copy(finished / "study.json", tmp_path)
    write_bytes(tmp_path / "pages/tables/pass-at-k.md", b"of an earlier state")

    done = srit("study", "report", tmp_path / "study.json", "--out", tmp_path / "pages")

    assert done.exit_code == 0
    names = [str(path.relative_to(finished)) for path in finished.glob("tables/*")] + ["claims.md", "study.html"]
    assert len(names) > 10
    assert [n for n in names if (tmp_path / "pages" / n).read_bytes() != (finished / n).read_bytes()] == []
    assert str(finished) not in (finished / "study.json").read_text()
    assert not (tmp_path / "pages/tables/pass-at-k.md").exists()


DAMAGED = {
    "no label": lambda study: study["cells"][0].pop("labels"),
    "no claims": lambda study: study["study"].pop("claims"),
    "part of a claim": lambda study: study["study"]["claims"][0].pop("where"),
    "a status": lambda study: study["cells"][0]["runs"][0].update(status="finished"),
    "a seed": lambda study: study["cells"][0]["runs"][0].update(seed=7),
    "no run": lambda study: study["cells"][0].update(runs=[1]),
    "no digits": lambda study: study["cells"][0]["runs"][0]["answers"][0].update(right="012"),
    "no answer": lambda study: study["cells"][0]["runs"][0]["answers"][0].update(right=""),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_study_json_is_told(tmp_path, finished, damage):
    study = json.loads((finished / "study.json").read_bytes())
    DAMAGED[damage](study)
    write_json(tmp_path / "study.json", study)

    for command in (["report", tmp_path], ["join", tmp_path, "--out", tmp_path / "whole"]):
        done = srit("study", *command)
        assert done.exit_code == 3 and "not a study.json" in done.output and not (tmp_path / "whole").exists()


def test_a_kept_study_is_not_written_over(tmp_path, tiny_study, finished):
    shutil.copy(finished / "study.json", tmp_path)

    run = srit("study", tiny_study, "--out", tmp_path)
    joined_to_a_run = srit("study", "join", tmp_path, "--out", finished)

    assert run.exit_code == joined_to_a_run.exit_code == 2
    assert "is kept here: choose another --out" in run.output and "a study is run there" in joined_to_a_run.output
    assert (tmp_path / "study.json").read_bytes() == (finished / "study.json").read_bytes()


def test_two_studies_stand_side_by_side(finished):
    done = srit("study", "compare", finished, finished / "study.json")

    assert done.exit_code == 0
    assert "A: no evidence" in done.stdout and "B: no evidence" in done.stdout and "| +0.0 (" in done.stdout


def parts_of(finished, folder):
    """A finished study as if its seeds had been run apart, and one cell of the second had failed."""
    whole = json.loads((finished / "study.json").read_bytes())
    for seed in whole["study"]["seeds"]:
        cells = [cell | {"runs": [run for run in cell["runs"] if run["seed"] == seed]} for cell in whole["cells"]]
        part = whole | {"study": whole["study"] | {"seeds": [seed]}, "cells": cells}
        write_bytes(folder / f"{seed}/study.json", study_bytes(part))
    cells[0]["runs"] = [{"seed": seed, "status": "failed", "kind": "DataError", "exit_code": 3, "reason": "none"}]
    write_bytes(folder / "failed/study.json", study_bytes(part))
    return folder / "0", folder / "failed", folder / "1"


def test_parts_that_were_run_apart_make_the_whole_study(tmp_path, tiny_study, finished):
    assert srit("study", tiny_study, "--out", tmp_path / "one", "seeds=[1]").exit_code == 0

    done = srit("study", "join", *parts_of(finished, tmp_path)[:2], tmp_path / "one", "--out", tmp_path / "whole")

    assert done.exit_code == 0, done.output
    names = [str(path.relative_to(finished)) for path in finished.glob("tables/*")]
    for name in ["study.json", "claims.md", "study.html", *names]:
        assert (tmp_path / "whole" / name).read_bytes() == (finished / name).read_bytes(), name


def test_what_is_no_part_of_the_study_is_refused(tmp_path, finished):
    first, _, second = parts_of(finished, tmp_path)
    whole = json.loads((finished / "study.json").read_bytes())

    def refused(change, *others):
        part = json.loads((second / "study.json").read_bytes())
        change(part)
        write_json(tmp_path / "changed/study.json", part)
        done = srit("study", "join", first, tmp_path / "changed", *others, "--out", tmp_path / "whole")
        assert done.exit_code == 3 and not (tmp_path / "whole/study.json").exists()
        return done.output

    def more_epochs(part):
        part["study"]["recipe"]["refine"]["epochs"] = 2

    def otherwise(part):
        part["cells"][0]["runs"][0]["answers"][0]["tokens"] += 1

    def other_problems(part):
        part["cells"][0]["runs"][0]["answers"][0]["problems"] = "others"

    assert "another recipe.refine" in refused(more_epochs)
    assert "another choice of axes" in refused(lambda part: part["study"].update(axes={"refine.beta": [0.1]}))
    assert "two cells are called 'cot'" in refused(lambda part: part["cells"][0].update(rounds=2))
    assert "'cot' with seed 1 came out differently" in refused(otherwise, second)
    assert "base of 'cot' had other problems of sums" in refused(other_problems)

    write_json(tmp_path / "other/study.json", whole)
    done = srit("study", "join", first, second, "--out", tmp_path / "other")
    assert done.exit_code == 2 and "none of the parts" in done.output
    assert json.loads((tmp_path / "other/study.json").read_bytes()) == whole


def test_parts_of_a_grid_have_the_cells_of_both(tmp_path):
    studies = [study_of({"refined": 0.5}, cells={name: {"labels": {"β": name}}}) for name in ("0.1", "0.5")]
    for study, name in zip(studies, ("0.1", "0.5"), strict=True):
        study["study"] |= {"recipe": {}, "axes": {"β": [name]}, "claims": [IN_DOMAIN, IN_DOMAIN | {"a": name}]}

    whole = joined([(f"part {number}", results_of(study)) for number, study in enumerate(studies)])

    assert whole["study"]["axes"] == {"β": ["0.1", "0.5"]}
    assert [cell["cell"] for cell in whole["cells"]] == ["0.1", "0.5"]
    assert [claim["a"] for claim in whole["study"]["claims"]] == ["refined", "0.1", "0.5"]


def test_a_claim_can_be_tested_afterwards(finished):
    done = srit("study", "claim", finished, "{}", "{domain: out, b: base}")

    assert done.exit_code == 0
    first, second = done.output.splitlines()
    assert first in (finished / "claims.md").read_text().replace("\\", "")
    assert "refined against base out-of-domain" in second
    for claim, told in (("{domian: out}", "domain"), ("{a: refind}", "refined"), ("{where: {arm: co}}", "cot")):
        wrong = srit("study", "claim", finished, claim)
        assert wrong.exit_code == 2 and f"did you mean {told}?" in wrong.output


@pytest.mark.parametrize("command", [["report"], ["compare", "x"], ["claim", "{}"], ["join", "--out", "x"]])
def test_a_study_that_is_not_there_is_told(tmp_path, command):
    done = srit("study", command[0], tmp_path, *command[1:])

    assert done.exit_code == 3 and "study.json" in done.output


# Made-up studies


def made_up(shares, **options):
    """The results of `study_of`."""
    return results_of(study_of(shares, **options))


def study_of(shares, *, tasks=("sums", "trade"), n=200, seeds=(0, 1, 2), cells=None, study=None):
    """A study.json whose models have these shares of problems right, each the same problems for all models."""
    plain = Study(name="made-up", recipe="quickstart", seeds=seeds).model_dump(mode="json", exclude={"cells"})
    record = {"format": 1, "study": plain | (study or {}), "cells": []}
    for name, more in (cells or {"cell": {}}).items():
        runs = []
        for seed in seeds:
            answers = [
                {
                    "model": model,
                    "task": task,
                    "prompt": "cot",
                    "problems": task,
                    "right": "".join("1" if i < share * n else "0" for i in range(n)),
                    "tokens": 10.0,
                    "truncated": 0,
                    "unread": 0,
                    "errors": 0,
                }
                for task in tasks
                for model, share in (shares(name, task, seed) if callable(shares) else shares).items()
            ]
            runs.append({"seed": seed, "status": "done", "answers": answers, "trainings": [], "counts": {}})
        described = {"cell": name, "labels": {}, "changes": {}, "rounds": 1, "student": "s", "tuned_on": list(tasks)}
        described |= {"instructed_on": list(tasks), "refined_on": list(tasks), "runs": runs}
        record["cells"].append(described | more)
    return record


IN_DOMAIN = Claim().model_dump(mode="json")


def sentence(shares, **options):
    [verdict] = verdicts(made_up(shares, study={"claims": [IN_DOMAIN]}, **options))
    return verdict.sentence


def test_a_claim_that_held_says_on_how_many_tasks_and_by_how_much():
    # 8 points on 3 * 200 answers: 48 problems that refined alone has right, p = 2 * 0.5^48 in both
    assert sentence({"instructed": 0.4, "refined": 0.48}).startswith(
        "holds: refined beats instructed in-domain: ahead on 2 of 2 tasks (Holm p < 0.05 on 2), behind on 0; "
        "pooled +8.0 points (+"
    )


def test_a_claim_that_is_the_other_way_round_is_worse():
    said = sentence({"instructed": 0.5, "refined": 0.4})

    assert said.startswith("worse: refined is below instructed in-domain: behind on 2 of 2 tasks (Holm p < 0.05 on 2)")
    assert ", ahead on 0; pooled −10.0 points (−" in said


def test_no_difference_is_no_evidence_either_way():
    assert sentence({"instructed": 0.5, "refined": 0.5}).startswith("no evidence either way: ")
    assert points(-1e-17) == "+0.0"  # what is left of a sum of floats


def test_tasks_that_contradict_each_other_are_mixed():
    def shares(cell, task, seed):
        return {"instructed": 0.5, "refined": 0.6 if task == "sums" else 0.42}

    assert sentence(shares).startswith("mixed: ")


def test_a_claim_without_its_models_is_not_tested():
    assert sentence({"instructed": 0.5}).startswith("not tested: refined against instructed in-domain")


def test_fewer_than_three_seeds_are_provisional():
    said = sentence({"instructed": 0.4, "refined": 0.6}, seeds=(0, 1))

    assert said.startswith("holds: ") and said.endswith("2 of the 3 seeds a claim needs: provisional")


@pytest.mark.parametrize(
    ("compared", "ci95", "p_seeds", "outcome"),
    [
        ([(0.1, 0.01)], (0.02, 0.2), 0.01, "holds"),
        ([(0.1, 0.4)], (0.02, 0.2), None, "holds"),
        ([(0.1, 0.01)], (0.02, 0.2), 0.13, "no evidence either way"),
        ([(0.1, 0.01), (-0.1, 0.01)], (0.02, 0.2), 0.01, "mixed"),
        ([(-0.1, 0.01)], (-0.2, -0.02), 0.01, "worse"),
        ([(-0.1, 0.01)], (-0.2, -0.02), 0.06, "no evidence either way"),
        ([(-0.1, 0.01), (0.1, 0.01)], (-0.2, -0.02), 0.01, "mixed"),
        ([(0.1, 0.01)], (-0.02, 0.2), 0.01, "no evidence either way"),
        ([(0.1, 0.01), (-0.1, 0.01)], (-0.2, 0.2), 0.4, "mixed"),
        ([(0.1, 0.3)], (0.0, 0.2), 0.01, "no evidence either way"),
    ],
)
def test_an_outcome_follows_from_the_interval_the_seeds_and_the_significant_comparisons(
    compared, ci95, p_seeds, outcome
):
    assert outcome_of(compared, Interval(*ci95), p_seeds) == outcome


def test_seeds_that_disagree_are_no_evidence_although_all_of_them_gain():
    gains = {0: 0.016, 1: 0.004, 2: 0.024}
    said = sentence(lambda cell, task, seed: {"instructed": 0.5, "refined": 0.5 + gains[seed]}, n=1000)

    assert said.startswith("no evidence either way: refined against instructed in-domain: ahead on 2 of 2 tasks")
    assert "pooled +1.5 points (+0.4 to " in said and "by seed +1.6, +0.4, +2.4 (t test p = 0.13)" in said


def test_equal_models_are_one_comparison_of_the_family_wherever_they_are_claimed():
    cells = {name: {"labels": {"arm": name}, "tuned_on": ["sums"]} for name in ("cot", "correctness")}
    claims = [IN_DOMAIN | {"where": {"arm": name}} for name in cells]
    study = study_of({"instructed": 0.4, "refined": 0.43}, tasks=("sums",), cells=cells, study={"claims": claims})
    study["cells"][1]["runs"][2] = {"seed": 2, "status": "waiting"}  # what there is of it is the same

    first, second = verdicts(results_of(study))

    assert [len(verdict.compared) for verdict in (first, second)] == [1, 1]
    assert first.compared[0].p_holm == first.compared[0].result.p
    [both] = verdicts(results_of(study | {"study": study["study"] | {"claims": [IN_DOMAIN]}}))
    assert len(both.compared) == 1 and both.compared[0].n_seeds == 3


def test_a_cell_is_not_set_against_itself():
    cells = {name: {"labels": {"arm": name}, "tuned_on": ["sums"]} for name in ("cot", "correctness")}
    claim = IN_DOMAIN | {"b": "refined", "against": {"arm": "cot"}}

    def shares(cell, task, seed):
        return {"refined": 0.4 if cell == "cot" else 0.5}

    [verdict] = verdicts(made_up(shares, tasks=("sums",), cells=cells, study={"claims": [claim]}))

    assert verdict.pooled.mean == pytest.approx(0.1) and [c.a.cell for c in verdict.compared] == ["correctness"]


def test_answers_to_other_problems_are_not_compared_and_the_sentence_says_so():
    results = made_up({"instructed": 0.4, "refined": 0.5}, tasks=("sums",), study={"claims": [IN_DOMAIN]})
    for row in results.answers[Key("cell", "refined", "sums", "cot")].values():
        row["problems"] = "others"

    [verdict] = verdicts(results)

    assert verdict.sentence.endswith("the two never answered the same problems")


def test_cells_are_set_against_each_other_by_their_labels():
    cells = {
        f"{teacher} {task}": {
            "labels": {"family": family, "task": task, "teacher": teacher},
            "tuned_on": [task],
            "instructed_on": [task],
        }
        for teacher, family in (("llama", "in"), ("gpt", "out"))
        for task in ("sums", "trade")
    }
    kin = {"where": {"family": "in"}, "against": {"family": "out"}, "same": ["task"]}

    def shares(cell, task, seed):
        return {"instructed": 0.3, "refined": 0.6 if cell.startswith("llama") else 0.5}

    results = made_up(shares, cells=cells, study={"claims": [IN_DOMAIN | {"b": "refined"} | kin]})
    [verdict] = verdicts(results)

    assert [(c.a.cell, c.b.cell, c.a.task) for c in verdict.compared] == [
        ("llama sums", "gpt sums", "sums"),
        ("llama trade", "gpt trade", "trade"),
    ]
    assert verdict.outcome == "holds" and verdict.pooled.mean == pytest.approx(0.1)
    families = next(table for table in make_tables(results, []) if table.name == "families")
    assert [row[4].text[:5] for row in families.rows] == ["+10.0", "+10.0"]


def test_only_tables_that_the_grid_supports_are_made():
    in_one_place = made_up({"base": 0.1, "instructed": 0.4, "refined": 0.5})
    names = {table.name for table in make_tables(in_one_place, verdicts(in_one_place))}

    assert names == {"in-domain", "answers", "comparisons"}
    assert make_curves(in_one_place) == []


def test_the_papers_table_has_a_row_for_each_teacher_and_model_and_a_column_for_each_task():
    cells = {
        f"{teacher} {task}": {"labels": {"teacher": teacher}, "tuned_on": [task]}
        for teacher in ("gpt", "llama")
        for task in ("sums", "trade")
    }

    def shares(cell, task, seed):
        return {"base": 0.1, "refined": (0.5 if cell.startswith("gpt") else 0.7) + (0.1 if task == "trade" else 0.0)}

    results = made_up(shares, cells=cells)
    table = next(table for table in make_tables(results, []) if table.name == "by-teacher")

    assert table.columns == ("student", "teacher", "model", "sums", "trade")
    assert [(row[1].text, row[2].text, row[3].text[:4], row[4].text[:4]) for row in table.rows] == [
        ("gpt", "base", "10.0", "10.0"),
        ("gpt", "refined", "50.0", "60.0"),
        ("llama", "base", "10.0", "10.0"),
        ("llama", "refined", "70.0", "80.0"),
    ]


def test_options_by_likelihood_have_a_table_of_their_own():
    record = study_of({"base": 0.1, "instructed": 0.4, "refined": 0.5}, tasks=("csqa",), seeds=(0, 1))
    for run in record["cells"][0]["runs"]:
        run["options"] = [
            {"model": model, "task": "csqa", "prompt": "cot", "scored": what, "problems": "csqa"}
            | {"right": right, "right_norm": right[::-1], "probability": 0.2, "confidence": 0.5, "margin": -1.0}
            for model, right in (("instructed", "1100"), ("refined", "1110"))
            for what in ("text", "letter")
        ]

    tables = {table.name: table for table in make_tables(results_of(record), [])}
    table = tables["options"]

    assert table.columns[3:6] == ("instructed", "refined", "refined − instructed")
    assert [[entry.text.split(" ")[0] for entry in row[2:]] for row in table.rows] == [
        ["cot,", "50.0", "75.0", "+25.0", "0.200", "0.200"],
        ["cot,", "50.0", "75.0", "+25.0", "0.200", "0.200"],
        ["cot,", "50.0", "75.0", "+25.0", "0.200", "0.200"],
    ]
    assert [row[2].text for row in table.rows] == ["cot, text", "cot, text by length", "cot, letter"]
    # by hand: half sure and half right, half sure and three quarters right
    assert [entry.text for entry in tables["calibration"].rows[0][3:]] == ["+0.0", "−25.0", "−1.00", "−1.00"]


def test_a_curve_is_drawn_over_an_axis_of_numbers():
    cells = {f"limit={n}": {"labels": {"demonstrations.limit": str(n)}} for n in (10, 40)}

    def shares(cell, task, seed):
        return {"instructed": 0.2 if "10" in cell else 0.4, "refined": 0.5}

    results = made_up(shares, cells=cells, study={"axes": {"demonstrations.limit": [10, 40]}})
    [curve] = make_curves(results)

    drawn = [(line.label, [(x, round(mean)) for x, mean, _, _ in line.points]) for line in curve.lines]
    assert drawn == [("instructed", [(10, 20), (40, 40)]), ("refined", [(10, 50), (40, 50)])]
    assert "<polyline" in html(results, [], [], [curve])


def test_arms_and_other_axes_are_not_averaged_away():
    cells = {
        f"{beta} {arm}": {
            "labels": {"refine.beta": beta, "arm": arm, "teacher": "gpt"},
            "tuned_on": ["sums"],
            "changes": changes,
        }
        for beta in ("0.1", "0.5")
        for arm, changes in (("cot", {}), ("correctness", {"pairs.heuristic": "correctness"}))
    }

    def shares(cell, task, seed):
        return {"instructed": 0.2, "refined": (0.8 if "correctness" in cell else 0.5) - (0.1 if "0.5" in cell else 0.0)}

    results = made_up(shares, cells=cells, tasks=("sums",), study={"axes": {"refine.beta": [0.1, 0.5]}})
    [curve] = make_curves(results)
    papers = next(table for table in make_tables(results, []) if table.name == "by-teacher")

    refined = {
        line.label: [round(mean) for _, mean, *_ in line.points] for line in curve.lines if "refined" in line.label
    }
    assert refined == {"cot · refined": [50, 40], "correctness · refined": [80, 70]}
    assert {(row[0].text, row[3].text[:2]) for row in papers.rows if row[2].text == "refined"} == {
        ("s · 0.1", "50"),
        ("s · 0.1 · correctness", "80"),
        ("s · 0.5", "40"),
        ("s · 0.5 · correctness", "70"),
    }


def test_a_sentence_tells_of_runs_that_are_not_finished():
    record = study_of({"instructed": 0.4, "refined": 0.5}, study={"claims": [IN_DOMAIN]})
    record["cells"][0]["runs"][2] = {"seed": 2, "status": "failed", "reason": "diverged"}

    [verdict] = verdicts(results_of(record))

    assert verdict.sentence.endswith("; 1 of 3 runs not finished; 2 of the 3 seeds a claim needs: provisional")


def test_the_difference_of_two_independent_shares_has_the_published_interval():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 is 0.0524 to 0.3339 by Wilson's intervals
    of_56, of_48 = (Figure(k / n, wilson(k, n), 1, (k / n,)) for k, n in ((56, 70), (48, 80)))

    assert independent(of_48, of_56) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_studies_of_the_same_problems_are_compared_problem_by_problem():
    a, b = made_up({"refined": 0.4}, tasks=("sums",)), made_up({"refined": 0.5}, tasks=("sums",))
    others = made_up({"refined": 0.5}, tasks=("sums",), n=100)
    for rows in others.answers.values():
        for row in rows.values():
            row["problems"] = "others"

    assert "| cell | refined | sums | cot | 40.0 | 50.0 | **+10.0 (+" in side_by_side(a, b)
    assert " i |" not in side_by_side(a, b) and " i |" in side_by_side(a, others)


def test_studies_are_compared_over_the_seeds_that_both_have():
    def shares(cell, task, seed):
        return {"refined": 0.8 if seed == 0 else 0.35}

    page = side_by_side(made_up(shares, tasks=("sums",)), made_up({"refined": 0.6}, tasks=("sums",), seeds=(0,)))

    assert "| 80.0 | 60.0 | **−20.0 (" in page


def test_studies_without_a_common_cell_are_told_apart():
    a, b = made_up({"refined": 0.4}, tasks=("sums",)), made_up({"refined": 0.5}, tasks=("trade",))

    assert side_by_side(a, b).endswith("of one of the other. A: cell. B: cell.")


def test_right_samples_are_kept_by_problem_and_give_pass_at_k():
    verdicts_of = {"p1": ("wrong", "right", "right"), "p2": ("right", "wrong", "unread")}  # greedy, then two samples
    predictions = [
        Prediction(problem, "sums", "cot", index, "text", 4 + index, False, None, None, "", verdict)
        for problem, found in verdicts_of.items()
        for index, verdict in enumerate(found)
    ]

    row = answers_row(predictions, [1, 2])

    assert (row["right"], row["tokens"], row["drawn_right"], row["samples"]) == ("01", 4.0, [2, 0], 2)
    results = made_up({"instructed": 0.5, "refined": 0.5}, tasks=("sums",), seeds=(0,))
    results.answers[Key("cell", "refined", "sums", "cot")][0] |= row
    results.answers[Key("cell", "instructed", "sums", "cot")][0] |= row | {"drawn_right": [1, 0]}
    tables = {table.name: [[entry.text for entry in row] for row in table.rows] for table in make_tables(results, [])}
    # of two samples, one right: pass@1 is a half, pass@2 is 1
    assert tables["pass-at-k"][0][4:] == ["25.0 (0.0–50.0)", "50.0 (0.0–100.0)"]
    assert tables["pass-at-k"][1][4:] == ["50.0 (0.0–100.0)"] * 2
    change = ["+25.0 (+0.0 to +50.0)", "+0.0 (+0.0 to +0.0)"]
    results.answers[Key("cell", "refined", "sums", "cot")][0]["pass_at"] = [1]  # as another cell of a study may
    [_, [*_, first, second]] = next(t for t in make_tables(results, []) if t.name == "pass-at-k").rows
    assert (first.text, second.text) == ("50.0 (0.0–100.0)", "")
    assert tables["pass-at-k-change"] == [["cell", "sums", "cot", *change], ["cell", "all in-domain", "cot", *change]]


HOSTILE = "</td><script>alert(1)</script> {{ 7 * 7 }} \\input{x} a|b_c & 5 %"


def test_foreign_text_stays_text_in_all_three_forms():
    table = Table("t", HOSTILE, (HOSTILE,), [(Entry(HOSTILE, 0.5),)], HOSTILE)
    results = made_up({"instructed": 0.4, "refined": 0.5}, cells={HOSTILE: {}})

    page = html(results, verdicts(results), [table, *make_tables(results, verdicts(results))], [])

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag not in ("script", "img", "iframe", "link", "object")
            assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attributes)

    Tags().feed(page)
    assert "{{ 7 * 7 }}" in page
    assert "\\textbackslash{}input\\{x\\}" in latex(table) and "a|b\\_c \\& 5 \\%" in latex(table)
    assert "\\<script\\>" in markdown(table) and "a\\|b\\_c" in markdown(table)


# Statistics


def sample(rows, name="problems", *, crossed=True):
    """Seed by seed the same problems, or others for each."""
    seeds = tuple(range(len(rows)))
    return Sample(seeds, tuple(name if crossed else f"{name} {seed}" for seed in seeds), rows)


def test_with_one_seed_the_interval_is_the_paired_bootstrap():
    draw = np.random.default_rng(0)
    a, b = draw.random(200) < 0.6, draw.random(200) < 0.5
    rows = [[int(x) - int(y) for x, y in zip(a, b, strict=True)]]

    assert hierarchical_interval([sample(rows)]) == pytest.approx(paired_bootstrap(a, b), abs=0.012)


@pytest.mark.parametrize("crossed", [True, False])
def test_the_interval_is_that_of_drawing_seeds_and_then_problems_one_by_one(crossed):
    draw = np.random.default_rng(1)
    tasks = [draw.integers(-1, 2, (3, 40)) + 0 for _ in range(2)]
    tasks[0][0] = 1  # a seed unlike the others
    means = []
    for _ in range(4000):
        seeds = draw.integers(0, 3, 3)
        of_tasks = []
        for rows in tasks:
            together = draw.integers(0, 40, 40)
            picks = [together if crossed else draw.integers(0, 40, 40) for _ in seeds]
            of_tasks.append(np.mean([rows[s][pick].mean() for s, pick in zip(seeds, picks, strict=True)]))
        means.append(np.mean(of_tasks))
    expected = np.quantile(means, [0.025, 0.975])

    samples = [sample(rows.tolist(), f"task {n}", crossed=crossed) for n, rows in enumerate(tasks)]

    assert hierarchical_interval(samples) == pytest.approx(expected, abs=0.025)


def test_seeds_that_disagree_widen_the_interval():
    agree, differ = [[1] * 20 + [0] * 20] * 3, [[1] * 40, [0] * 40, [1] * 20 + [0] * 20]
    widths = [high - low for low, high in (hierarchical_interval([sample(rows)]) for rows in (agree, differ))]

    assert widths[1] > 2 * widths[0]


def test_cells_on_the_same_problems_do_not_narrow_the_interval():
    rows = [[1] * 20 + [0] * 20] * 3

    once = hierarchical_interval([sample(rows)])
    both = hierarchical_interval([sample(rows), sample(rows, "other problems")])

    assert hierarchical_interval([sample(rows)] * 9) == pytest.approx(once)
    assert both[1] - both[0] < 0.8 * (once[1] - once[0])


def test_where_all_are_right_the_interval_is_that_of_as_many_problems():
    found = figure(made_up({"refined": 1.0}, n=10, tasks=("sums",)), [Key("cell", "refined", "sums", "cot")])

    assert found.ci95 == wilson(10, 10)


def test_problems_that_cells_share_count_once_where_all_are_right():
    results = made_up({"refined": 1.0}, tasks=("sums",), n=100, cells={str(n): {} for n in range(9)})

    shared = figure(results, [Key(str(n), "refined", "sums", "cot") for n in range(9)])

    assert shared.ci95 == wilson(100, 100)


@pytest.mark.parametrize(("seeds", "quantile"), [(2, 12.706), (3, 4.303), (4, 3.182), (5, 2.776), (11, 2.228)])
def test_the_t_test_has_the_published_quantiles(seeds, quantile):
    around = np.array([(-1.0) ** n for n in range(seeds)])
    around = (around - around.mean()) / around.std(ddof=1)

    assert t_test(list(around + quantile / np.sqrt(seeds))) == pytest.approx(0.05, abs=1e-4)
    assert t_test([0.02] * seeds) == 0.0 and t_test([0.0] * seeds) == 1.0


def test_flipping_signs_is_mcnemars_test_where_each_problem_comes_once():
    for only_a, only_b in ((0, 0), (5, 0), (7, 3), (4, 4), (30, 12)):
        differences = [1] * only_a + [-1] * only_b + [0] * 10
        assert sign_flip_test(differences) == pytest.approx(mcnemar_exact(only_a, only_b))


def test_a_problem_under_three_seeds_is_one_problem():
    # by hand: of the eight ways to sign 3, 3 and 2, two come to ±8 and two more to ±4
    assert sign_flip_test([3, 3, 2]) == pytest.approx(2 / 8)
    assert sign_flip_test([3, 3, -2]) == pytest.approx(4 / 8)


def test_holm_multiplies_by_how_many_are_left_and_never_falls():
    # by hand: 3 * 0.01, 2 * 0.02, then 0.03 raised to the one before
    assert holm([0.02, 0.03, 0.01]) == pytest.approx([0.04, 0.04, 0.03])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_effect_sizes_are_the_published_ones():
    # Cohen 1988, table 6.2.2: phi of .50 is 1.571, of .40 is 1.369
    assert cohen_h(0.5, 0.4) == pytest.approx(1.571 - 1.369, abs=1e-3)
    assert cohen_h(0.3, 0.3) == 0


def test_seeds_are_compared_only_where_both_sides_had_the_same_problems():
    results = made_up({"instructed": 0.4, "refined": 0.5})
    key = Key("cell", "refined", "sums", "cot")
    results.answers[key][1]["problems"] = "others"

    compared = compare_answers(results, key, key._replace(model="instructed"))

    assert (compared.n, compared.only_a, compared.only_b) == (400, 40, 0)


# Sharing and plans


def test_steps_without_pairs_say_nothing_of_pairs():
    paired = {"nll": 1.0, "chosen_logps": -10.0, "accuracies": 0.5, "tokens": 9.0}
    without = {"nll": 2.0, "chosen_logps": 0.0, "accuracies": 0.0, "tokens": 9.0}

    assert step_means([paired, without]) == {"nll": 1.5, "chosen_logps": -10.0, "accuracies": 0.5}
    assert step_means([without]) == {"nll": 2.0}


def test_students_share_demonstrations_and_nothing_that_they_write():
    recipe = read_recipe("quickstart", ["evaluate.teacher=true"])
    other = recipe.model_copy(update={"student": recipe.student.model_copy(update={"model": "org/other-1b"})})
    marks = [{str(stage.name): mark for stage, mark in symbols(r)} for r in (recipe, other)]

    shared = {name for name in marks[0] if marks[0][name] == marks[1][name]}

    assert {name for name in shared if not name.startswith("predictions/teacher")} == {"demonstrations"}
    assert "predictions/teacher/sums" in shared


def test_the_teacher_is_asked_once_over_runs_that_share_a_folder(tmp_path, tiny_study):
    for limit in (3, 5):
        [cell, *_] = read_study(str(tiny_study), [f"demonstrations.limit={limit}"]).cells
        told = []
        folder = tmp_path / str(limit)
        wanted, shared = part("demonstrations"), Shared(tmp_path, {})
        with open_run(folder, cell.recipes[0], wanted, progress=print, report=told.append, shared=shared) as opened:
            run_stages(opened)
        assert len((folder / "demonstrations.jsonl").read_text().splitlines()) == limit

    assert len((tmp_path / "teacher/answers.jsonl").read_text().splitlines()) == 5
    assert any(line.startswith("problems taken") for line in told)


def test_runs_that_share_a_folder_compute_a_student_in_one_way(tmp_path, tiny_study):
    [cell, *_] = read_study(str(tiny_study), ["student.dtype=auto"]).cells
    student = cell.recipes[0].student
    way = ComputePlan("float32", "separate", "padded", "as another run began", "as proven", "")
    write_json(tmp_path / "ways.json", {f"{student.model} None full auto": way._asdict()})

    shared = Shared(tmp_path, {})
    with open_run(tmp_path / "run", cell.recipes[0], stages, progress=print, report=print, shared=shared) as opened:
        assert opened.plan == way


def test_a_round_is_evaluated_once_for_runs_of_one_and_of_two_rounds():
    one, two = (read_recipe("quickstart", [f"rounds={n}"]) for n in (1, 2))
    marks = [{str(stage.name): mark for stage, mark in symbols(recipe)} for recipe in (one, two)]

    assert marks[0]["predictions/refined/sums"] == marks[1]["predictions/refined-1/sums"]
    assert marks[0]["predictions/refined/sums"] != marks[1]["predictions/refined/sums"]


def test_a_question_to_the_teacher_is_counted_once_over_the_study(tmp_path):
    text = "name: calls\nrecipe: openai-compatible\nseeds: [0, 1]\naxes: {demonstrations.limit: [50, 100]}\n"
    planned = plan_study(read_study(written(tmp_path, text), ["teacher.max_calls=null"]), tmp_path / "out")

    # two tasks, 50 then 50 more of each; the evaluation problems of both tasks once
    assert [p.work.calls for p in planned] == [100 + 200, 100, 0, 0]


@pytest.mark.parametrize("name", shipped_studies())
def test_every_shipped_study_is_a_plan(name, tmp_path):
    grid = read_study(name)
    planned = plan_study(grid, tmp_path)

    assert grid.study.name == name and len(planned) == len(grid.cells) * len(grid.study.seeds)
    assert all(p.run for p in planned[: len(grid.cells)]) and planned[0].seconds is not None


def test_shipped_studies_cover_the_methods_list():
    listed = ["in-domain", "out-of-domain", "families", "cross", "less-data", "heuristics", "controls"]

    assert shipped_studies() == sorted([*listed, "losses", "paper", "settings", "smoke"])


def test_stage_2_alone_reads_the_problems_of_tasks_refine():
    recipe = {
        "name": "x",
        "student": {"model": "x"},
        "tasks": {"train": [{"task": "sums"}], "refine": [{"task": "trade"}], "evaluate": [{"task": "sums"}]},
    }
    made = dict(symbols_by_name(check_recipe(recipe, source="test")))

    assert "problems/refine.jsonl" in made["round-1/completions"].inputs
    assert "problems/refine.jsonl" not in made["instructed"].inputs


def symbols_by_name(recipe):
    return [(str(stage.name), stage) for stage, _ in symbols(recipe)]


def test_the_documented_studies_are_those_that_are_shipped():
    page = (Path(__file__).parent.parent / "docs/studies.md").read_text()

    assert [name for name in shipped_studies() if f"`{name}`" not in page] == []
