"""Results as tables: whole without a terminal, narrower on a narrow one."""

import io

import pytest
from rich.console import Console

from srit.cli.tables import accuracy_table, print_results
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


def test_a_narrow_table_has_no_intervals_of_models():
    assert "(65-85)" not in printed(accuracy_table(RESULTS, wide=False), 200)
    assert "(65-85)" in printed(accuracy_table(RESULTS, wide=True), 200)
