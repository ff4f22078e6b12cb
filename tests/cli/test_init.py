"""srit init writes a recipe for data of one's own, and srit recipes says what its fields are."""

import json

import pytest
from typer.testing import CliRunner

from srit.cli import app
from srit.recipe import read_recipe

SOLVED = [{"question": f"What is {n} + {n}?", "answer": f"{n} + {n} = {2 * n}.\n#### {2 * n}"} for n in range(30)]
BARE = [{"asked": f"What is {n} + {n}?", "gold": 2 * n, "split": "train" if n % 2 else "test"} for n in range(30)]
SERVER = "gpt-4o-mini@https://api.openai.com/v1"


def srit(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.output


def rows(path, found):
    is_list = path.suffix == ".json"
    path.write_text(json.dumps(found, indent=1) if is_list else "".join(f"{json.dumps(row)}\n" for row in found))
    return path


@pytest.mark.parametrize("name", ["solved.jsonl", "solved.json"])
def test_a_file_with_solutions_teaches_itself_and_is_divided(tmp_path, tiny_student, name):
    data, recipe = rows(tmp_path / name, SOLVED), tmp_path / "My first.yaml"

    said = srit("init", recipe, "--data", data)

    read = read_recipe(str(recipe))
    assert f"next, srit plan '{recipe}'" in said and "# srit plan 'My first.yaml' checks" in recipe.read_text()
    assert read.name == "my-first" and read.teacher.kind == "gold"
    assert read.tasks.train == read.tasks.evaluate and read.tasks.train[0].task == f"jsonl:{data}?split=80/0/20"
    assert read.student.chat_template == "chatml"
    srit("demonstrate", recipe, f"student.model={tiny_student}", "--out", tmp_path / "run")
    assert "this file already exists" in srit("init", recipe, "--data", data, code=2)


def test_columns_splits_a_student_and_a_server_are_taken_as_they_are_given(tmp_path):
    data, recipe = rows(tmp_path / "bare.jsonl", BARE), tmp_path / "r.yaml"
    columns = ("--question", "asked", "--answer", "gold")

    srit("init", recipe, "--data", data, *columns, "--student", "Qwen/Qwen2.5-0.5B-Instruct", "--teacher", SERVER)

    read = read_recipe(str(recipe))
    assert read.tasks.train[0].task == f"jsonl:{data}?question=asked&answer=gold"  # the rows say their splits
    assert (read.student.model, read.student.chat_template) == ("Qwen/Qwen2.5-0.5B-Instruct", None)
    assert (read.teacher.model, read.teacher.base_url) == tuple(SERVER.split("@"))


QUIZ = [{"stem": f"Is {n} even?", "A": "yes", "B": "no", "key": "AB"[n % 2], "why": f"{n} / 2."} for n in range(10)]


def test_options_in_columns_and_solutions_of_another_name(tmp_path):
    data, recipe = rows(tmp_path / "quiz.jsonl", QUIZ), tmp_path / "r.yaml"

    named = {"--question": "stem", "--answer": "key", "--choices": "A,B", "--rationale": "why"}
    srit("init", recipe, "--data", data, *[word for pair in named.items() for word in pair])

    read = read_recipe(str(recipe))
    assert read.teacher.kind == "gold"
    assert read.tasks.train[0].task.endswith("?question=stem&answer=key&choices=A,B&rationale=why&split=80/0/20")


HUB = "hub:openai/gsm8k?config=main"


@pytest.mark.parametrize("data, kind", [("sums", "solver"), ("gsm8k", "gold"), (HUB, "gold")])
def test_a_task_is_data_too(tmp_path, data, kind):
    srit("init", tmp_path / "r.yaml", "--data", data)

    read = read_recipe(str(tmp_path / "r.yaml"))
    assert (read.tasks.train[0].task, read.teacher.kind) == (data, kind)


@pytest.mark.parametrize(
    "options, message, code",
    [
        ([], "--data is missing, and there is no terminal to ask on: the problems (a .jsonl", 2),
        (["--data", "nothing.jsonl"], "there is no file or folder 'nothing.jsonl'", 3),
        (
            ["--data", "bare.jsonl", "--question", "asked"],
            "answer: is missing; if another column holds it, add ?answer=COLUMN",
            3,
        ),
        (["--data", "other.jsonl"], "other.jsonl:1: question: is missing", 3),
        (["--data", "table.csv"], "table.csv: a table, not JSON Lines. This converts it: python3 -c", 3),
        (
            ["--data", "bare.jsonl", "--question", "asked", "--answer", "gold"],
            "on: the teacher (gold, a file of answers, or",
            2,
        ),
        (["--data", "solved.jsonl", "--teacher", "nobody"], "give gold, a server as MODEL@URL, or an existing file", 2),
        (["--data", "sums", "--teacher", "gold"], "not all problems have a solution", 2),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path, monkeypatch, options, message, code):
    monkeypatch.chdir(tmp_path)
    rows(tmp_path / "solved.jsonl", SOLVED)
    rows(tmp_path / "bare.jsonl", BARE)
    rows(tmp_path / "other.jsonl", [{"q": "What is 1 + 1?", "a": "2"}])
    (tmp_path / "table.csv").write_text("question,answer\n1 + 1,2\n")

    assert message in srit("init", "r.yaml", *options, code=code)
    assert not (tmp_path / "r.yaml").exists()


def test_a_field_is_explained_where_recipes_are_listed():
    beta = srit("recipes", "--field", "refine.beta")
    assert "refine.beta (refine.loss: sigmoid): number above 0; default 0.1" in beta
    part = srit("recipes", "--field", "sample").splitlines()
    assert len(part) > 6 and all(line.startswith("sample.") for line in part)
    assert "refine.loss: sigmoid; DPO." in srit("recipes", "--field", "refine.loss")
    assert srit("recipes", "--field", "tasks.train.0.limit").startswith("tasks.….limit: whole number from 1")
    assert "a recipe has no 'refine.bata'" in srit("recipes", "--field", "refine.bata", code=2)
