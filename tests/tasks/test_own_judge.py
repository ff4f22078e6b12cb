"""A function in a file of the user's own judges answers."""

import pytest

from srit.errors import DataError, JudgeError
from srit.recipe import check_recipe
from srit.stages import stages
from srit.stages.problems import load
from srit.tasks import find_task, judge
from srit.tasks.own_judge import own_judge

JUDGE = """\
print("noise on import")


def right(text, gold):
    print("noise")
    return gold in text


def raises(text, gold):
    raise ValueError("no idea")


def maybe(text, gold):
    return "perhaps"


def dies(text, gold):
    import os

    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "own.jsonl").write_text('{"id": "1", "question": "Say a word of four letters.", "answer": "word"}\n')
    return tmp_path


def task_of(place, function="right"):
    return find_task(f"jsonl:{place}/own.jsonl?judge={place}/judge.py:{function}")


@pytest.mark.parametrize("text, verdict", [("In a word, yes.", "right"), ("No.", "wrong")])
def test_a_function_of_a_file_decides(place, text, verdict):
    task = task_of(place)
    [problem] = task.load("train", data=None, limit=None, seed=0)

    found = judge(task, problem, f" {text}\n")

    assert (found.verdict, found.answer, found.reason) == (verdict, text, "judged by judge.py:right")


@pytest.mark.parametrize(
    "function, message",
    [
        ("raises", "judge.py:raises failed: ValueError: no idea"),
        ("maybe", "judge.py:maybe returned 'perhaps', neither True nor False"),
        ("dies", "not decided|died"),
        ("missing", "judge.py cannot be imported: AttributeError"),
    ],
)
def test_what_goes_wrong_in_it_is_an_error_of_the_judge_and_no_wrong_answer(place, function, message):
    judge = own_judge(f"{place}/judge.py:{function}", "own")

    for _ in range(2):
        with pytest.raises(JudgeError, match=message):
            judge.right("a", "b")


def test_a_judge_that_fails_on_gold_answers_is_refused_before_anything_is_spent(place):
    from srit.recipe import TaskUse

    use = TaskUse(task=task_of(place, "raises").name)
    with pytest.raises(DataError, match=r"problem 1: its own judge cannot read the gold answer 'word': .*no idea"):
        list(load([use], "train", seed=0))


def test_a_judge_that_never_ends_is_stopped(place, monkeypatch):
    monkeypatch.setattr("srit.tasks.own_judge.SECONDS", 0.5)
    (place / "slow.py").write_text("def right(text, gold):\n    while text == 'loop':\n        pass\n    return True\n")
    slow = own_judge(f"{place}/slow.py:right", "own")

    with pytest.raises(JudgeError, match=r"not decided within 0\.5 s"):
        slow.right("loop", "b")
    assert slow.right("a", "b")


@pytest.mark.parametrize("said, message", [("judge.py", "is not a file and a function"), ("no.py:right", "no file")])
def test_a_judge_that_is_not_there_is_refused(place, said, message):
    with pytest.raises(DataError, match=message):
        find_task(f"jsonl:{place}/own.jsonl?judge={said}")


def test_another_judge_makes_again_what_it_judges_and_nothing_before(place):
    use = {"task": task_of(place).name}
    fields = {"name": "own", "student": {"model": "smollm2-135m-instruct"}, "tasks": {"train": [use]}}
    fields["tasks"]["evaluate"] = [{"task": "sums", "limit": 2}]
    recipe = check_recipe(fields, source="own")

    def sources():
        return {str(stage.name): stage.sources() for stage in stages(recipe)}

    before = sources()
    (place / "judge.py").write_text(f"{JUDGE}\n")
    changed = {name for name, found in sources().items() if found != before[name]}
    judging = ("demonstrations", "probe", "completions", "accepted", "predictions")
    assert changed == {str(stage.name) for stage in stages(recipe) if stage.name.product in judging}
