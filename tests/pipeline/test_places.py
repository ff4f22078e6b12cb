"""Every evaluation task has a place and a label of its own, whatever its name."""

import json

import pytest
from typer.testing import CliRunner

from srit.cli import app
from srit.errors import DataError, RecipeError
from srit.recipe import check_recipe
from srit.recipe.compared import LONGEST_PLACE, evaluated, in_results, tuned_on
from srit.stages import stages
from srit.stages.problems import refuse_partly_trained
from srit.stages.report.traces import traces


def recipe_of(*uses, train=("sums",), **fields):
    tasks = {
        "train": [{"task": name, "limit": 4} for name in train],
        "evaluate": [u if isinstance(u, dict) else {"task": u} for u in uses],
    }
    return check_recipe({"name": "x", "student": {"model": "x"}, "tasks": tasks, **fields}, source="x")


def places(*uses):
    return [task.place for task in evaluated(recipe_of(*uses))]


def test_a_recipe_says_which_domain_a_task_is_of():
    uses = [{"task": "sums", "domain": "out"}, {"task": "jsonl:held-out.jsonl", "domain": "in"}, "sums4"]

    assert tuned_on(recipe_of("sums", "sums4")) == {"sums"}
    assert tuned_on(recipe_of(*uses)) == {"jsonl:held-out.jsonl"}


def test_a_task_that_is_not_evaluated_has_no_domain():
    with pytest.raises(RecipeError, match=r"tasks.domain: only the tasks of evaluate have one"):
        recipe_of("sums", tasks={"train": [{"task": "sums", "domain": "in"}], "evaluate": [{"task": "sums"}]})


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("sums", "sums"),
        ("gsm8k", "gsm8k"),
        ("gym:leg_counting", "gym-leg_counting"),
        ("jsonl:mine.jsonl", "jsonl-mine.jsonl"),
        ("jsonl:data/My Problems.jsonl", "jsonl-data-my-problems.jsonl"),
        ("jsonl:春.jsonl", "jsonl-.jsonl"),
    ],
)
def test_a_name_that_no_other_is_taken_for_keeps_its_file(name, place):
    assert places(name, "doors") == [place, "doors"]


@pytest.mark.parametrize(
    "uses",
    [
        ("jsonl:春.jsonl", "jsonl:秋.jsonl"),
        ("jsonl:x y.jsonl", "jsonl:x-y.jsonl"),
        ("jsonl:AB.jsonl", "jsonl:ab.jsonl"),
        ("jsonl:ä.jsonl", "jsonl:ö.jsonl", "jsonl:ü.jsonl"),
        ("jsonl:STRASSE", "jsonl:strasse"),
        ("jsonl:a/b", "jsonl:a b", "jsonl:a-b"),
        ("jsonl:mine.jsonl", "jsonl:./mine.jsonl", "jsonl:/mine.jsonl"),
        ({"task": "multiarith", "data": "A"}, {"task": "multiarith", "data": "B"}),
        ({"task": "multiarith", "data": "A"}, {"task": "multiarith"}),
        ({"task": "sums", "limit": 4}, {"task": "sums", "limit": 6}, "sums"),
        ("jsonl:x", "jsonl:x.options"),
        (f"jsonl:{'x' * 300}", f"jsonl:{'x' * 301}"),
        ("jsonl:" + "春" * 100, "jsonl:" + "秋" * 100),
    ],
)
def test_two_tasks_have_two_places_and_two_labels(uses):
    tasks = evaluated(recipe_of(*uses))
    names = [str(stage.name) for stage in stages(recipe_of(*uses, evaluate={"teacher": True}))]

    assert len({task.place.casefold() for task in tasks}) == len({task.label for task in tasks}) == len(uses)
    assert all(task.place.isascii() and 0 < len(task.place) <= LONGEST_PLACE for task in tasks)
    assert not any(task.place.endswith(".options") for task in tasks)
    assert len(set(names)) == len(names)


def test_the_order_of_the_tasks_changes_no_place():
    uses = ("jsonl:春.jsonl", "jsonl:秋.jsonl", "sums")

    assert places(*uses) == places(*reversed(uses))[::-1]


def test_a_task_is_called_as_the_recipe_writes_it_and_two_uses_of_it_by_what_tells_them_apart():
    uses = ("jsonl:春.jsonl", {"task": "multiarith", "data": "A"}, {"task": "multiarith", "data": "B", "limit": 9})

    assert [task.label for task in evaluated(recipe_of(*uses))] == [
        "jsonl:春.jsonl",
        "multiarith (data A, no limit)",
        "multiarith (data B, limit 9)",
    ]


def test_both_uses_of_a_task_are_in_the_domain_that_it_was_trained_in():
    recipe = recipe_of({"task": "sums", "limit": 4}, {"task": "sums", "limit": 6}, "doors")

    assert in_results(recipe, recipe.tasks.train) == {"sums", "sums (limit 4)", "sums (limit 6)"}


def test_a_task_is_in_domain_where_all_its_kinds_of_problems_are_trained_on():
    evaluated_on = ("sums", "sums:terms=2", "sums4", "trade:changes=2:words=varied", "trade:changes=3", "ages")
    recipe = recipe_of(*evaluated_on, train=("sums:terms=2+3+5", "trade"))

    trained = {"sums:terms=2+3+5", "trade"}
    assert tuned_on(recipe) == trained | {"sums", "sums:terms=2", "trade:changes=2:words=varied"}


def test_a_task_that_is_trained_on_in_part_is_refused():
    recipe = recipe_of("sums:terms=4+5", train=("sums:terms=2+3+5",))

    with pytest.raises(DataError, match=r"sums:terms=4\+5 is partly trained on \(sums with 5 terms\)"):
        refuse_partly_trained(recipe.tasks.train, recipe.tasks.evaluate)
    refuse_partly_trained(recipe.tasks.train, recipe_of("sums", "sums4").tasks.evaluate)


def test_the_same_use_twice_is_refused():
    with pytest.raises(RecipeError, match="sums is given twice") as caught:
        recipe_of({"task": "sums", "limit": 4}, {"task": "sums", "limit": 4})

    assert caught.value.exit_code == 2


RECIPE = """\
name: names
student: {{model: "{student}", dtype: float32, tuning: full}}
tasks:
  train: [{{task: sums, limit: 12}}, {{task: switches, limit: 12}}]
  evaluate:
  - {{task: "jsonl:{folder}/春.jsonl"}}
  - {{task: "jsonl:{folder}/秋.jsonl"}}
  - {{task: svamp, data: {folder}/A}}
  - {{task: svamp, data: {folder}/B}}
instruct: {{epochs: 30, learning_rate: 1e-2, batch_size: 24, direct_target: answer}}
sample: {{direct: 2, cot: 2, max_new_tokens: 12}}
refine: {{loss: sigmoid, epochs: 1, batch_size: 8, nll_weight: 0.5}}
evaluate: {{prompts: [direct], max_new_tokens: 8}}
rows: 16
"""


def test_results_predictions_and_traces_keep_tasks_of_like_names_apart(tmp_path, tiny_student):
    for number, place in enumerate(("春.jsonl", "秋.jsonl", "A/svamp/test.jsonl", "B/svamp/test.jsonl"), start=1):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"id": n, "question": f"Add {n} and {number}0.", "answer": f"{10 * number + n}"} for n in range(number)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "names.yaml").write_text(RECIPE.format(student=tiny_student, folder=tmp_path))
    run = tmp_path / "run"

    done = CliRunner().invoke(app, ["run", str(tmp_path / "names.yaml"), "--out", str(run)])

    assert done.exit_code == 0, done.output
    rows = json.loads((run / "results.json").read_bytes())["rows"]
    assert {(row["task"].removeprefix(f"jsonl:{tmp_path}/"), row["n"]) for row in rows} == {
        ("春.jsonl", 1),
        ("秋.jsonl", 2),
        (f"svamp (data {tmp_path}/A)", 3),
        (f"svamp (data {tmp_path}/B)", 4),
    }
    found = {(trace.task.removeprefix(f"jsonl:{tmp_path}/"), trace.question): trace for trace in traces(run, 9, "0")}
    assert len(found) == 4 and all(len(trace.parts) == 3 for trace in found.values())
