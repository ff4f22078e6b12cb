"""A run stage by stage, beside it a variant, and models on other tasks: what is equal is made once."""

import contextlib
import json
from pathlib import Path

import pytest
import yaml
from small_runs import sums
from teacher_server import KEY, Reply, TeacherServer, answer
from typer.testing import CliRunner

from srit.cli import app
from srit.recipe import read_recipe

RECIPE = {
    "name": "small",
    "tasks": {"train": [{"task": "sums", "limit": 24}], "evaluate": [{"task": "sums", "limit": 6}]},
    "instruct": {"epochs": 1, "learning_rate": 1e-2, "direct_target": "answer"},
    "sample": {"direct": 1, "cot": 1, "max_new_tokens": 8},
    "evaluate": {"max_new_tokens": 8},
    "rows": 8,
}


def srit(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_student):
    folder = tmp_path_factory.mktemp("runs")
    student = {"model": str(tiny_student), "dtype": "float32"}
    (folder / "small.yaml").write_text(yaml.safe_dump({**RECIPE, "student": student}))
    srit("demonstrate", folder / "small.yaml", "refine.beta=0.2", "--out", folder / "small")
    assert not (folder / "small/instructed").exists()
    srit("refine", folder / "small")
    assert not (folder / "small/results.json").exists()
    srit("evaluate", folder / "small")
    return folder / "small"


def recipe_of(folder):
    return yaml.safe_load((folder / "recipe.yaml").read_text())


def test_a_run_that_was_begun_by_a_stage_keeps_its_overrides_and_takes_others(run):
    assert recipe_of(run)["refine"]["beta"] == 0.2
    assert "a run cannot change its folder" in srit("sample", run, "--out", run.parent / "other", code=2)
    assert "neither a recipe nor a run directory" in srit("sample", run / "nothing", code=2)
    assert "start a run with srit run RECIPE" in srit("sample", run.parent, code=2)


def test_a_variant_makes_only_what_differs_and_leaves_the_run_as_it_is(run):
    before, recipe = own_sums(run), run.parent / "small.yaml"
    command = ("run", recipe, "refine.beta=0.9", "--as", "strong", "--out", run)

    said = srit(*command)

    taken = {line.split()[0] for line in said.splitlines() if "taken from a run" in line}
    made = {line.split()[0] for line in said.splitlines() if " done in " in line}
    strong = run.parent / "strong"
    assert {"demonstrations", "instructed", "round-1/completions", "predictions/instructed/sums"} <= taken
    assert {"round-1/refined", "report"} <= made and not made & taken
    assert recipe_of(strong)["refine"]["beta"] == 0.9 and own_sums(run) == before
    assert " done in " not in srit(*command)


def own_sums(folder):
    return {name: total for name, total in sums(folder).items() if not name.startswith("pool/")}


def test_a_variant_pays_for_no_answer_that_its_run_or_another_variant_has(run, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = TeacherServer()
    server.default = lambda body: Reply(answer(f"{body['messages'][-1]['content']} The answer is 2."))
    fields = {"kind": "openai", "model": "m", "base_url": server.url, "prices": [1.0, 1.0]}
    recipe = yaml.safe_load((run.parent / "small.yaml").read_text()) | {"teacher": fields, "rounds": 0}
    recipe["prompt"] = {"system": "Be brief."}
    (tmp_path / "paid.yaml").write_text(yaml.safe_dump(recipe | {"demonstrations": {"keep": "all", "limit": 4}}))
    command = ("run", tmp_path / "paid.yaml", "--out", tmp_path / "paid")
    with contextlib.closing(server):
        asked = []
        for more in ((), ("demonstrations.limit=6", "--as", "six")):
            srit(*command, *more)
            asked.append(len(server.requests))
        srit("demonstrate", tmp_path / "six", "demonstrations.limit=7")  # a variant stays one

    assert asked == [4, 6] and len(server.requests) == 7
    assert {body["messages"][0]["content"] for _, _, body in server.requests} == {"Be brief."}
    assert all([turn["role"] for turn in body["messages"]] == ["system", "user"] for _, _, body in server.requests)


def test_a_variant_of_nothing_or_in_place_of_another_run_is_refused(run, tmp_path):
    recipe = run.parent / "small.yaml"
    assert "run the recipe without --as first" in srit("run", recipe, "--as", "x", "--out", tmp_path / "y", code=2)
    assert "this folder has another run" in srit("run", recipe, "--as", "small", "--out", run, code=2)


def test_two_runs_are_compared_on_the_problems_of_both(run, tmp_path):
    other = tmp_path / "other"
    for path in ("manifest.json", "recipe.yaml", "problems/evaluate-sums.jsonl", "predictions/refined/sums.jsonl"):
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        (other / path).write_bytes((run / path).read_bytes())
    answers = [json.loads(line) for line in (run / "predictions/refined/sums.jsonl").read_text().splitlines()]
    changed = [{**a, "verdict": "right" if a["verdict"] != "right" else "wrong"} for a in answers]
    (other / "predictions/refined/sums.jsonl").write_text("".join(f"{json.dumps(a)}\n" for a in changed[2:]))
    (other / "recipe.yaml").write_text((run / "recipe.yaml").read_text().replace("beta: 0.2", "beta: 0.7"))

    found = json.loads(srit("compare", run, other, "--json"))

    assert found["changed"] == [{"field": "refine.beta", "a": 0.2, "b": 0.7}]
    by_prompt = {one["prompt"]: one for one in found["differences"]}
    of_cot = [a for a in answers[2:] if a["prompt"] == "cot"]
    right = sum(a["verdict"] == "right" for a in of_cot)
    one = by_prompt["cot"]
    assert (one["n"], one["right_a"], one["right_b"]) == (len(of_cot), right, len(of_cot) - right)
    assert one["found"]["delta"] == pytest.approx((len(of_cot) - 2 * right) / len(of_cot))
    assert one["gained"] == [a["problem_id"] for a in of_cot if a["verdict"] != "right"]
    assert f"gained {len(one['gained'])} (" in srit("compare", run, other)


def test_a_run_is_compared_with_an_evaluation_under_another_prompt(run, tmp_path):
    for path in ("manifest.json", "problems/evaluate-sums.jsonl", "predictions/base/sums.jsonl"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes((run / path).read_bytes())
    alone = ["tasks.train=[]", "tasks.dev=[]", "controls=[]", "refine.beta=0.7", "prompt.trigger=Go."]
    recipe = read_recipe(run / "recipe.yaml", alone).model_dump(mode="json")
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))

    changed = json.loads(srit("compare", run, tmp_path, "--json"))["changed"]

    assert [one["field"] for one in changed] == ["prompt.trigger"]


def test_a_run_is_compared_with_itself_and_with_nothing(run, tmp_path):
    assert "the recipes are equal" in srit("compare", run, run) and "no problem changed" in srit("compare", run, run)
    assert "not a run directory" in srit("compare", run, tmp_path, code=2)
    assert "--model" in srit("compare", run, run, "--other", "base", code=2)


def test_a_few_problems_are_followed_through_a_run_to_the_answers_of_its_models(run):
    said = srit("show", run)

    assert all(name in said for name in ("demonstration by", "round-1: cot answer 0", "refined, cot"))


@pytest.mark.parametrize("model", ["instructed", "round-1/refined"])
def test_any_model_is_evaluated_on_any_task_as_it_was_in_its_run(run, tmp_path, model):
    own = tmp_path / "own.jsonl"
    own.write_text('{"id": 1, "question": "What is 2 + 2?", "answer": "4"}\n')
    tasks, fields = f"sums,jsonl:{own}", ["evaluate.max_new_tokens=8", "rows=8"]

    said = srit("evaluate", run / model, *fields, "--tasks", tasks, "--limit", 6, "--out", tmp_path / "out")

    assert f"jsonl:{own}" in said and "accuracy, % (95 % interval)" in said
    name = "refined" if model != "instructed" else model
    in_run = (run / f"predictions/{name}/sums.jsonl").read_bytes()
    assert (tmp_path / "out/predictions/base/sums.jsonl").read_bytes() == in_run
    assert "base, cot" in srit("show", tmp_path / "out")


def test_a_list_of_tasks_may_hold_commas_of_its_own():
    from srit.recipe.evaluation import names_in_list

    text = "sums,jsonl:q.jsonl?question=stem&choices=a,b,c&answer=key,doors"
    assert names_in_list(text) == ["sums", "jsonl:q.jsonl?question=stem&choices=a,b,c&answer=key", "doors"]
    assert names_in_list("sums,dors") == ["sums", "dors"]  # a misspelled name stays a name


def test_pairs_of_a_file_refine_the_student_as_it_is(run, tmp_path):
    problems = [json.loads(line) for line in (run / "problems/train.jsonl").read_text().splitlines()]
    rows = [{"prompt": p["question"], "chosen": f"It is {p['answer']}.", "rejected": "No."} for p in problems]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    fields = ["instruct.epochs=0", "demonstrations.limit=0", f"pairs.path={tmp_path / 'pairs.jsonl'}"]

    learned = ("refine.loss=sigmoid", "refine.nll_on=chosen")
    srit("refine", run.parent / "small.yaml", *fields, *learned, "--out", tmp_path / "out")

    log = json.loads((tmp_path / "out/round-1/refined.json").read_text())
    assert log["history"][0]["preference_loss"] == pytest.approx(0.6931, abs=1e-3)
    assert log["history"][-1]["margins"] > 0
    assert Path(tmp_path / "out/round-1/completions.jsonl").read_text() == ""


def test_answers_of_a_file_are_scored_by_the_model_that_learns_from_them(run, tmp_path):
    said = [json.loads(line) for line in (run / "round-1/completions.jsonl").read_text().splitlines()]
    rows = [{"id": c["problem_id"], "prompt": c["prompt"], "output": c["text"]} for c in said if not c["truncated"]]
    rows = rows or [{"id": said[0]["problem_id"], "output": "The answer is 4."}]
    (tmp_path / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    fields = ["refine.beta=0.2", f"sample.path={tmp_path / 'answers.jsonl'}"]

    srit("sample", run.parent / "small.yaml", *fields, "--out", tmp_path / "out")

    own = [json.loads(line) for line in (tmp_path / "out/round-1/completions.jsonl").read_text().splitlines()]
    sampled = {(c["problem_id"], c["prompt"], tuple(c["token_ids"])): c["logp"] for c in said}
    known = [(c["logp"], sampled[key]) for c in own if (key := _key(c)) in sampled]
    assert len(own) == len(rows) and all(c["logp"] < 0 for c in own)
    assert all(a == pytest.approx(b, abs=1e-3) for a, b in known)


def _key(completion):
    return completion["problem_id"], completion["prompt"], tuple(completion["token_ids"])


def test_a_run_without_stage_2_ends_with_the_instructed_model(run, tmp_path):
    said = srit("run", run.parent / "small.yaml", "rounds=0", "--out", tmp_path / "out")

    assert "│ instructed" in said and "refined" not in said
    assert not (tmp_path / "out/round-1").exists() and (tmp_path / "out/report.html").exists()
    assert "this recipe makes no refined" in srit("refine", tmp_path / "out", code=2)
