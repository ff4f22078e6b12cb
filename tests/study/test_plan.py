import pytest

from srit.recipe import check_recipe, read_recipe
from srit.study.grid import read_study, shipped_studies
from srit.study.plan import plan_study, symbols


def test_a_finished_study_has_nothing_left_to_do(tiny_study, finished):
    planned = plan_study(read_study(str(tiny_study)), finished)

    assert [p.run for p in planned] == [[]] * 6
    changed = plan_study(read_study(str(tiny_study), ["refine.beta=0.3"]), finished)
    assert "round-1/refined" in changed[0].run and "instructed" not in changed[0].run


def test_students_share_demonstrations_and_nothing_that_they_write():
    recipe = read_recipe("quickstart", ["evaluate.teacher=true"])
    other = recipe.model_copy(update={"student": recipe.student.model_copy(update={"model": "org/other-1b"})})
    marks = [{str(stage.name): mark for stage, mark in symbols(r)} for r in (recipe, other)]

    shared = {name for name in marks[0] if marks[0][name] == marks[1][name]}

    assert {name for name in shared if not name.startswith("predictions/teacher")} == {"demonstrations"}
    assert "predictions/teacher/sums" in shared


def test_a_round_is_evaluated_once_for_runs_of_one_and_of_two_rounds():
    one, two = (read_recipe("quickstart", [f"rounds={n}"]) for n in (1, 2))
    marks = [{str(stage.name): mark for stage, mark in symbols(recipe)} for recipe in (one, two)]

    assert marks[0]["predictions/refined/sums"] == marks[1]["predictions/refined-1/sums"]
    assert marks[0]["predictions/refined/sums"] != marks[1]["predictions/refined/sums"]


def test_a_question_to_the_teacher_is_counted_once_in_a_study(tmp_path):
    text = "name: calls\nrecipe: openai-compatible\nseeds: [0, 1]\naxes: {demonstrations.limit: [50, 100]}\n"
    (tmp_path / "study.yaml").write_text(text)
    often = ["teacher.max_calls=null", "teacher.samples=4", "teacher.temperature=0.7"]
    planned, of_four = (
        plan_study(read_study(str(tmp_path / "study.yaml"), overrides), tmp_path / "out")
        for overrides in (often[:1], often)
    )

    # two tasks, 50 then 50 more of each; the evaluation problems of both tasks once
    assert [p.work.calls for p in planned] == [100 + 200, 100, 0, 0]
    assert [p.work.calls for p in of_four] == [4 * 100 + 200, 4 * 100, 0, 0]


@pytest.mark.parametrize("name", shipped_studies())
def test_every_shipped_study_is_a_plan(name, tmp_path):
    grid = read_study(name)
    planned = plan_study(grid, tmp_path)

    assert grid.study.name == name and len(planned) == len(grid.cells) * len(grid.study.seeds)
    assert all(p.run for p in planned[: len(grid.cells)]) and planned[0].seconds is not None


def test_only_stage_2_reads_the_problems_of_tasks_refine():
    recipe = {
        "name": "x",
        "student": {"model": "x"},
        "tasks": {"train": [{"task": "sums"}], "refine": [{"task": "trade"}], "evaluate": [{"task": "sums"}]},
    }
    made = {str(stage.name): stage for stage, _ in symbols(check_recipe(recipe, source="test"))}

    assert "problems/refine.jsonl" in made["round-1/completions"].inputs
    assert "problems/refine.jsonl" not in made["instructed"].inputs
