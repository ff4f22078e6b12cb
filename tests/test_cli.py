"""What a command prints and how it ends, whatever the terminal."""

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from srit.cli import app
from srit.cli.ends import reported_errors
from srit.cli.tables import accuracy_table, print_results
from srit.errors import DataError

COMMANDS = [
    *("run", "plan", "demonstrate", "instruct", "sample", "pair", "refine", "evaluate", "report"),
    *("show", "audit", "tasks", "recipes", "doctor", "study"),
]
TASK = "jsonl:/a/long/path/to/the/problems/of/a/task.jsonl"


def score(model, correct, n=40):
    share = correct / n
    place = {"model": model, "task": TASK, "domain": "in", "prompt": "cot"}
    return {**place, "n": n, "accuracy": share, "ci95": [share - 0.1, share + 0.1]}


def comparison(task):
    place = {"a": "refined", "b": "instructed", "domain": "in", "task": task, "prompt": "cot"}
    return {**place, "delta": 0.25, "ci95": [0.05, 0.45], "p": 0.0123}


SCORES = [score("base", 2, 10), score("instructed", 20), score("refined", 30)]
POOLED = "all in-domain tasks"
RESULTS = {
    "rows": SCORES,
    "pooled": [row | {"task": POOLED} for row in SCORES],
    "comparisons": [comparison(POOLED), comparison(TASK)],
}


def printed(table, width):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_every_command_has_a_help_text():
    commands = typer.main.get_command(app).commands

    assert list(commands) == COMMANDS
    assert all(command.help for command in [*commands.values(), *commands["study"].commands.values()])


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


@pytest.mark.parametrize(
    ("error", "exit_code", "message"),
    [
        (DataError("x.jsonl:3: not JSON"), 3, "srit: x.jsonl:3: not JSON"),
        (OSError(28, "No space left on device"), 5, "No space left on device; fix this and rerun the same command"),
        (MemoryError(), 5, "srit: out of memory; fix this and rerun the same command"),
        (KeyboardInterrupt(), 130, "srit: interrupted; rerun the same command to continue"),
        (ValueError("no"), 1, "srit: internal error, please report it: ValueError: no"),
    ],
)
def test_an_error_becomes_a_message_and_an_exit_code(error, exit_code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(typer.Exit) as ended, reported_errors():
        raise error

    assert ended.value.exit_code == exit_code and message in capsys.readouterr().err
    assert (tmp_path / "srit.log").exists() == (exit_code == 1)


def test_an_internal_error_says_where_its_traceback_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    error = ValueError("impossible")
    error.add_note("half a character: \ud800")  # such as a teacher may write

    with pytest.raises(typer.Exit), reported_errors():
        raise error

    assert capsys.readouterr().err.endswith(f"(traceback: {tmp_path / 'srit.log'})\n")
    assert "Traceback" in (tmp_path / "srit.log").read_text() and "impossible" in (tmp_path / "srit.log").read_text()


STUBBORN = """
import time
from srit.cli.ends import reported_errors
with reported_errors():
    try:
        print("working", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        time.sleep(60)
"""


def test_a_second_sigterm_ends_a_command_at_once():
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        for line in ("working\n", "cleaning\n"):
            assert process.stdout.readline() == line
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 128 + signal.SIGTERM


def test_srit_study_x_is_srit_study_run_x(tmp_path):
    short, long = (
        CliRunner().invoke(app, ["study", *run, "smoke", "--dry-run", "--out", str(tmp_path)]) for run in ((), ("run",))
    )

    assert short.exit_code == 0 and short.stdout == long.stdout and "in all: " in short.stdout


def test_help_loads_neither_torch_nor_pydantic():
    code = "import sys, srit.cli; print({'torch', 'transformers', 'pydantic', 'rich.progress'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.home())

    assert done.stdout == "set()\n"
