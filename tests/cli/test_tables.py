"""Results as tables: whole without a terminal, narrower on a narrow one."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from srit.api import PlannedStage
from srit.cli.tables import accuracy_table, aligned, plan_rows, print_results
from srit.pipeline.estimate import Work
from srit.records import Model
from srit.records.scores import Comparison, Interval, Results, Score

BASE, INSTRUCTED, REFINED = Model("base"), Model("instructed"), Model("refined")
TASK, POOLED = "jsonl:/a/long/path/to/the/problems/of/a/task.jsonl", "all in-domain tasks"


def score(task, model, correct, n=40):
    share = correct / n
    interval = Interval(share - 0.1, share + 0.1)
    return Score(model, 0, "cot", "in", n, correct, share, interval, 0, 0, 0, 20.0, task)


def scores(task):
    return tuple(score(task, *row) for row in ((BASE, 2, 10), (INSTRUCTED, 20), (REFINED, 30)))


def comparison(task):
    return Comparison(REFINED, INSTRUCTED, task, "in", "cot", 40, 0.25, Interval(0.05, 0.45), 0.0123, 10, 0, 0.2)


RESULTS = Results(scores(TASK), scores(None), (comparison(POOLED), comparison(TASK)), ())


def printed(table, width):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("columns", ["20", "80", "300"])
def test_without_a_terminal_a_table_is_printed_whole(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)

    print_results(RESULTS)

    lines = capsys.readouterr().out.splitlines()
    assert any(TASK in line and "75.0 (65-85)" in line and "+25.0 (+5.0 to +45.0), p 0.012" in line for line in lines)
    assert any("20.0 of 10" in line for line in lines)  # base answered fewer problems
    assert [POOLED in line for line in lines if "cot" in line] == [False, True]  # the pooled line is the last


def test_a_p_value_is_never_printed_as_zero():
    sure = replace(RESULTS, comparisons=(replace(comparison(TASK), p=0.0000012),))

    assert "+25.0 (+5.0 to +45.0), p < 0.001" in printed(accuracy_table(sure, wide=True), 200)


def test_where_no_problem_changed_a_table_says_so_in_place_of_a_p_value():
    still = replace(comparison(TASK), delta=0.0, ci95=Interval(-0.072, 0.072), p=1.0, only_a=0, only_b=0)

    table = accuracy_table(replace(RESULTS, comparisons=(still,)), wide=True)

    assert "+0.0 (-7.2 to +7.2), no problem changed" in printed(table, 200)


def test_a_narrow_table_has_no_intervals_of_models():
    assert "(65-85)" not in printed(accuracy_table(RESULTS, wide=False), 200)
    assert "(65-85)" in printed(accuracy_table(RESULTS, wide=True), 200)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(results, columns, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    print_results(results)
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()


SHORT = Results(scores("commonsense-qa"), scores(None), (comparison("all in-domain"), comparison("commonsense-qa")), ())


@pytest.mark.parametrize(
    ("results", "columns", "expected"),
    [
        (SHORT, 150, "│ in │ commonsense-qa │ cot    │ 40 │ 20.0 of 10 (10-30) │ 50.0 (40-60) │ 75.0 (65-85) │"),
        (SHORT, 80, "in commonsense-qa cot    40 20.0 of 10 50.0       75.0    +25.0 (+5.0 to +45.0)"),
        (SHORT, 60, "  refined - instructed +25.0 (+5.0 to +45.0), p 0.012"),
        (RESULTS, 80, f"{TASK} (in), cot, n 40"),
    ],
)
def test_a_terminal_gets_the_fullest_form_that_fits_and_no_name_is_wrapped(results, columns, expected, monkeypatch):
    lines = shown(results, columns, monkeypatch)

    assert any(line.startswith(expected) for line in lines), lines
    assert all(len(line) <= columns for line in lines if TASK not in line)


def test_columns_are_as_wide_as_their_widest_cell():
    assert list(aligned([("run", "a long name", "x"), ("done", "b", "")])) == ["run   a long name  x", "done  b"]
    assert list(aligned([])) == []


def test_a_plan_has_one_row_for_parts_of_which_the_same_is_to_be_done():
    work = Work(sampled=1000, steps=2)

    def part(number, product, reason):
        return PlannedStage(f"round-2/part-{number}/{product}", reason, work if reason else Work())

    reasons = {1: "", 2: "", 3: "not made yet", 4: "not made yet"}
    parts = [part(n, product, reasons[n]) for n in reasons for product in ("pairs", "refined")]
    parts[1] = part(1, "refined", "damaged")
    stages = [PlannedStage("problems", "", Work()), *parts, PlannedStage("round-2/refined", "not made yet", work)]

    assert list(plan_rows(stages)) == [
        ("done", "problems", "", ""),
        ("done", "round-2/part-1…2/pairs", "", ""),
        ("run ", "round-2/part-1/refined", "1,000 tokens sampled, 2 steps", "damaged"),
        ("done", "round-2/part-2/refined", "", ""),
        ("run ", "round-2/part-3…4/pairs", "2,000 tokens sampled, 4 steps", "not made yet"),
        ("run ", "round-2/part-3…4/refined", "2,000 tokens sampled, 4 steps", "not made yet"),
        ("run ", "round-2/refined", "1,000 tokens sampled, 2 steps", "not made yet"),
    ]


def test_parts_that_are_no_neighbors_have_rows_of_their_own():
    stages = [PlannedStage(f"round-1/part-{n}/pairs", "", Work()) for n in (1, 2, 4)]

    assert [row[1] for row in plan_rows(stages)] == ["round-1/part-1…2/pairs", "round-1/part-4/pairs"]


def test_evaluation_tasks_whose_names_look_like_parts_have_rows_of_their_own():
    stages = [PlannedStage(f"predictions/base/part-{n}", "", Work()) for n in (1, 2)]

    assert [row[1] for row in plan_rows(stages)] == ["predictions/base/part-1", "predictions/base/part-2"]
