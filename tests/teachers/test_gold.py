"""The data's own solutions as a teacher."""

import json

import pytest
from typer.testing import CliRunner

from srit.cli import app
from srit.pipeline.estimate import tokens_of
from srit.recipe import TaskUse, check_recipe
from srit.tasks import find_task, judge
from srit.teachers import Question
from srit.teachers.gold import GoldTeacher


def demonstrated(tmp_path, **row):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"id": 1, "question": "How many?", **row}) + "\n")
    task = find_task(f"jsonl:{path}")
    [problem] = task.load("train", data=None, limit=None, seed=0)
    [answer] = GoldTeacher().answer([Question(problem, "")])
    return answer, answer.text and judge(task, problem, answer.text).verdict


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"answer": "6 + 9 = <<6+9=15>>15.\n#### 15"}, "6 + 9 = 15.\nThe answer is 15."),
        ({"answer": 15, "rationale": "6 + 9 = 15."}, "6 + 9 = 15.\nThe answer is 15."),
        ({"answer": 15, "rationale": "So the answer is 15."}, "So the answer is 15."),
        ({"answer": "$\\frac{1}{2}$", "rationale": "Half: \\boxed{\\frac{1}{2}}"}, "Half: \\boxed{\\frac{1}{2}}"),
        ({"answer": "\\frac{1}{2}", "rationale": "Half."}, "Half.\nThe answer is \\frac{1}{2}."),
        ({"answer": "Oslo", "rationale": "In Norway."}, "In Norway.\nThe answer is Oslo."),
        ({"answer": "b", "choices": ["12", "16"], "rationale": "4 * 4."}, "4 * 4.\nThe answer is (B)."),
    ],
)
def test_a_solution_of_the_data_ends_in_its_answer_and_is_right(tmp_path, row, text):
    answer, verdict = demonstrated(tmp_path, **row)

    assert (answer.text, verdict) == (text, "right")


def test_a_solution_that_ends_in_another_answer_is_wrong(tmp_path):
    _, verdict = demonstrated(tmp_path, answer=15, rationale="So the answer is 16.")

    assert verdict == "wrong"


def test_a_row_without_a_solution_has_no_demonstration(tmp_path):
    answer, _ = demonstrated(tmp_path, answer=15)

    assert (answer.text, answer.reason) == (None, "the data has no solution of it")


def test_a_plan_counts_answers_as_long_as_the_solutions_of_the_data(tmp_path):
    demonstrated(tmp_path, answer=15, rationale="word " * 40)
    use = {"task": f"jsonl:{tmp_path}/mine.jsonl"}
    tree = {"name": "x", "student": {"model": "m"}, "tasks": {"train": [use], "evaluate": [{"task": "sums"}]}}
    recipe = check_recipe({**tree, "teacher": {"kind": "gold"}}, source="x")

    assert 40 < tokens_of(recipe, TaskUse(**use), "train", 256).answer < 60


RECIPE = """\
name: gold
student: {{model: "{student}", dtype: float32, tuning: full}}
tasks: {{train: [{{task: "jsonl:{problems}"}}], evaluate: [{{task: sums, limit: 2}}]}}
teacher: {{kind: gold}}
"""


def test_a_solution_mended_under_the_same_question_is_what_is_trained_on(tmp_path, tiny_student):
    problems, run = tmp_path / "problems.jsonl", tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text(RECIPE.format(student=tiny_student, problems=problems))

    for said in ("Six and nine.", "6 + 9 = 15."):
        problems.write_text(json.dumps({"id": 1, "question": "6 + 9?", "answer": f"{said}\n#### 15"}) + "\n")
        done = CliRunner().invoke(app, ["demonstrate", str(run)])

        assert done.exit_code == 0, done.output
        [made] = map(json.loads, (run / "demonstrations.jsonl").read_text().splitlines())
        assert (made["text"], made["kept"]) == (f"{said}\nThe answer is 15.", True)
