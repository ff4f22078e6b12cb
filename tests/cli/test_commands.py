"""The commands that there are."""

import subprocess
import sys

import typer
from typer.testing import CliRunner

from srit.cli import app

COMMANDS = [
    *("run", "plan", "demonstrate", "instruct", "sample", "pair", "refine", "evaluate", "report", "watch"),
    *("show", "audit", "tasks", "recipes", "doctor", "bench", "study"),
]


def test_every_command_has_a_help_text():
    commands = typer.main.get_command(app).commands

    assert list(commands) == COMMANDS
    assert all(command.help for command in [*commands.values(), *commands["study"].commands.values()])


def test_srit_study_x_is_srit_study_run_x(tmp_path):
    short, long = (
        CliRunner().invoke(app, ["study", *run, "smoke", "--dry-run", "--out", str(tmp_path)]) for run in ((), ("run",))
    )

    assert short.exit_code == 0 and short.stdout == long.stdout and "in all: " in short.stdout


def test_help_loads_neither_torch_nor_pydantic():
    code = "import sys, srit.cli; print({'torch', 'transformers', 'pydantic', 'rich.progress'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"
