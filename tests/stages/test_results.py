import json
from dataclasses import replace

import pytest

from srit.errors import DataError
from srit.records import Model, Prediction
from srit.stages.results import make_results, read_results, write_results

BASE, INSTRUCTED, REFINED, TEACHER = Model("base"), Model("instructed"), Model("refined", 1), Model("teacher")
RIGHT, WRONG = "right", "wrong"


def predictions(task, verdicts):
    return [
        Prediction(f"{task}-{i}", task, "cot", 0, "", 10, verdict == "unread", None, None, "", verdict)
        for i, verdict in enumerate(verdicts)
    ]


ANSWERS = {
    (BASE, "sums"): predictions("sums", [WRONG, WRONG, "unread", WRONG]),
    (BASE, "doors"): predictions("doors", [WRONG, RIGHT]),
    (INSTRUCTED, "sums"): predictions("sums", [RIGHT, WRONG, WRONG, WRONG]),
    (INSTRUCTED, "doors"): predictions("doors", [WRONG, RIGHT]),
    (REFINED, "sums"): predictions("sums", [RIGHT, RIGHT, RIGHT, WRONG]),
    (REFINED, "doors"): predictions("doors", [RIGHT, WRONG]),
}
# The third and fourth sample of the first problem are right.
DRAWN = [
    Prediction("sums-0", "sums", "cot", index, "", 10, False, None, None, "", verdict)
    for index, verdict in enumerate([RIGHT, WRONG, WRONG, RIGHT], start=1)
]


@pytest.fixture
def results():
    return make_results(ANSWERS, {"sums"}, seed=0)


def test_a_row_counts_right_answers_and_keeps_unread_ones_apart(results):
    row = next(row for row in results.rows if (row.model, row.task) == (BASE, "sums"))

    assert (row.n, row.correct, row.accuracy, row.unread, row.truncated) == (4, 0, 0.0, 1, 1)
    assert (row.domain, row.round) == ("in", 0)


def test_models_are_compared_problem_by_problem(results):
    found = {(str(c.a), str(c.b), c.task): (c.only_a, c.only_b, c.delta) for c in results.comparisons}

    assert found["refined", "instructed", "sums"] == (2, 0, 0.5)
    assert found["refined", "instructed", "all out-of-domain"] == (1, 1, 0.0)
    assert found["instructed", "base", "all in-domain"] == (1, 0, 0.25)
    assert len(found) == 8


def test_two_trainings_are_compared_by_what_each_changed_of_instructed():
    control, first = Model("control", control="right"), Model("refined", 1, is_last=False)
    of_both = {
        (control, "sums"): predictions("sums", [WRONG, RIGHT, WRONG, RIGHT]),
        (control, "doors"): predictions("doors", [RIGHT, RIGHT]),
    }
    rounds = {(first, task): ANSWERS[REFINED, task] for task in ("sums", "doors")}

    once = make_results({**ANSWERS, **of_both}, {"sums"}, seed=0)
    twice = make_results({**ANSWERS, **rounds, **of_both}, {"sums"}, seed=0)

    [sums, doors, _, out] = once.overlaps
    assert (sums.n, sums.agree, sums.wrong_before) == (4, 1, 3)
    assert (sums.newly_a, sums.newly_b, sums.newly_both) == (2, 2, 1)
    assert (sums.lost_a, sums.lost_b, sums.lost_both) == (0, 1, 0)
    assert (doors.task, out.task, out.newly_both, out.lost_a) == ("doors", "all out-of-domain", 1, 1)
    # A control is trained for as much as the first round.
    assert {overlap.a for overlap in twice.overlaps} == {first}
    assert {(str(c.a), str(c.b)) for c in twice.comparisons if c.b == control} == {
        ("refined", "control-right"), ("refined-1", "control-right")
    }  # fmt: skip


def test_a_teacher_that_answers_another_prompt_than_the_students_has_rows_and_no_comparisons():
    direct = {key: [replace(p, prompt="direct") for p in found] for key, found in ANSWERS.items()}
    taught = {(TEACHER, task): ANSWERS[BASE, task] for task in ("sums", "doors")}

    found = make_results(direct | taught, {"sums"}, seed=0)

    assert {row.model for row in found.rows if row.prompt == "cot"} == {TEACHER}
    assert {c.prompt for c in found.comparisons} == {"direct"}


def test_sampled_answers_count_for_pass_at_k_and_for_nothing_else(results):
    more = {**ANSWERS, (REFINED, "sums"): [*ANSWERS[REFINED, "sums"], *DRAWN]}

    found = make_results(more, {"sums"}, pass_at=(1, 2), seed=0)

    assert found.rows == results.rows
    assert [(row.k, round(row.pass_at_k, 3)) for row in found.pass_at_k] == [(1, 0.5), (2, 0.833)]


def test_results_are_read_as_they_were_written(tmp_path):
    more = {**ANSWERS, (REFINED, "sums"): [*ANSWERS[REFINED, "sums"], *DRAWN]}
    results = make_results(more, {"sums"}, pass_at=(1, 2), seed=0)
    write_results(tmp_path / "results.json", replace(results, timings={"refined": 1.5}, environment={"torch": "2"}))

    found = read_results(tmp_path / "results.json")

    assert found == replace(results, timings={"refined": 1.5}, environment={"torch": "2"})
    assert "options" not in json.loads((tmp_path / "results.json").read_bytes())


def test_results_without_later_fields_are_read(tmp_path, results):
    path = tmp_path / "results.json"
    write_results(path, results)
    older = json.loads(path.read_bytes())
    for field in ("timings", "environment"):
        del older[field]
    path.write_text(json.dumps(older))

    assert read_results(path) == results


def test_an_interval_without_width_of_an_earlier_version_is_read_as_it_is_made_today(tmp_path):
    path, alike = tmp_path / "results.json", {key: ANSWERS[REFINED, key[1]] for key in ANSWERS}
    results = make_results(alike, {"sums"}, seed=0)
    write_results(path, replace(results, comparisons=tuple(replace(c, ci95=(0, 0)) for c in results.comparisons)))

    assert read_results(path) == results
    assert all(c.ci95.low < c.delta < c.ci95.high for c in results.comparisons)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda found: found["rows"][0].pop("n"), "'rows.0.n' is missing"),
        (lambda found: found["rows"][0].update(n="4"), "'rows.0.n': input should be a valid integer"),
        (
            lambda found: found["rows"][0].update(prompt="CoT"),
            "'rows.0.prompt': input should be 'direct'",
        ),
        (
            lambda found: found["comparisons"][0].update(a="refind"),
            "'comparisons.0.a': 'refind' is not a",
        ),
        (
            lambda found: found["pooled"][0].update(ci95=[0.1, None]),
            "'pooled.0.ci95.1': input should be a valid",
        ),
    ],
)
def test_damaged_results_are_refused_with_the_field_at_fault(tmp_path, results, damage, fault):
    path = tmp_path / "results.json"
    write_results(path, results)
    found = json.loads(path.read_bytes())
    damage(found)
    path.write_text(json.dumps(found))

    with pytest.raises(DataError) as caught:
        read_results(path)

    assert f"{path}: damaged (the field {fault}" in str(caught.value)


def test_results_with_half_of_a_surrogate_pair_are_refused(tmp_path, results):
    """No figure can show it, and srit writes none."""
    path = tmp_path / "results.json"
    write_results(path, results)
    path.write_bytes(path.read_bytes().replace(b'"sums"', rb'"\ud800"'))

    with pytest.raises(DataError, match=r"results\.json: damaged \(invalid JSON: .* at line \d+ column \d+\)"):
        read_results(path)
