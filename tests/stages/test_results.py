from dataclasses import replace

import pytest

from srit.records import Prediction
from srit.stages.results import make_results


def predictions(task, verdicts):
    return [
        Prediction(f"{task}-{i}", task, "cot", 0, "", 10, verdict == "unread", None, None, "", verdict)
        for i, verdict in enumerate(verdicts)
    ]


RIGHT, WRONG = "right", "wrong"
ANSWERS = {
    ("base", "sums"): predictions("sums", [WRONG, WRONG, "unread", WRONG]),
    ("base", "doors"): predictions("doors", [WRONG, RIGHT]),
    ("instructed", "sums"): predictions("sums", [RIGHT, WRONG, WRONG, WRONG]),
    ("instructed", "doors"): predictions("doors", [WRONG, RIGHT]),
    ("refined", "sums"): predictions("sums", [RIGHT, RIGHT, RIGHT, WRONG]),
    ("refined", "doors"): predictions("doors", [RIGHT, WRONG]),
}


@pytest.fixture
def results():
    return make_results(ANSWERS, {"sums"}, {"refined": 1}, seed=0)


def test_a_row_counts_right_answers_and_tells_unread_ones_apart(results):
    row = next(r for r in results["rows"] if (r["model"], r["task"]) == ("base", "sums"))

    assert (row["n"], row["correct"], row["accuracy"], row["unread"], row["truncated"]) == (4, 0, 0.0, 1, 1)
    assert (row["domain"], row["round"]) == ("in", 0)


def test_models_are_compared_problem_by_problem(results):
    found = {(c["a"], c["b"], c["task"]): (c["only_a"], c["only_b"], c["delta"]) for c in results["comparisons"]}

    assert found["refined", "instructed", "sums"] == (2, 0, 0.5)
    assert found["refined", "instructed", "all out-of-domain"] == (1, 1, 0.0)
    assert found["instructed", "base", "all in-domain"] == (1, 0, 0.25)
    assert len(found) == 8


def test_a_teacher_that_answers_another_prompt_than_the_students_has_rows_and_no_comparisons():
    direct = {key: [replace(p, prompt="direct") for p in found] for key, found in ANSWERS.items()}
    taught = {("teacher", "sums"): ANSWERS["base", "sums"], ("teacher", "doors"): ANSWERS["base", "doors"]}

    found = make_results(direct | taught, {"sums"}, {"refined": 1}, seed=0)

    assert {(row["model"], row["prompt"]) for row in found["rows"] if row["prompt"] == "cot"} == {("teacher", "cot")}
    assert {row["prompt"] for row in found["comparisons"]} == {"direct"}


def test_sampled_answers_count_for_pass_at_k_and_for_nothing_else(results):
    drawn = [
        Prediction("sums-0", "sums", "cot", index, "", 10, False, None, None, "", verdict)
        for index, verdict in enumerate([RIGHT, WRONG, WRONG, RIGHT], start=1)
    ]
    more = {**ANSWERS, ("refined", "sums"): [*ANSWERS["refined", "sums"], *drawn]}

    found = make_results(more, {"sums"}, {"refined": 1}, pass_at=(1, 2), seed=0)

    assert found["rows"] == results["rows"]
    assert [(row["k"], round(row["pass_at_k"], 3)) for row in found["pass_at_k"]] == [(1, 0.5), (2, 0.833)]
