"""The commands that there are."""

import subprocess
import sys
from importlib.metadata import version

import pytest
import typer
from typer.testing import CliRunner

from srit.cli import app
from srit.recipe import read_recipe

COMMANDS = [
    *("init", "run", "plan", "demonstrate", "instruct", "sample", "pair", "refine", "evaluate", "compare"),
    *("report", "watch", "chat", "export", "show", "audit", "tasks", "recipes", "doctor", "bench", "study"),
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


@pytest.mark.parametrize(
    ("said", "code", "shown"),
    [
        (["--version"], 0, f"srit {version('srit')}\n"),
        (["tasks", "sums"], 0, "Let's think step by step.\n\ngold answer: "),
        (["tasks", "sums", "--split", "all"], 2, "--split: 'all' is not one of train, dev, test"),
        (["recipes"], 0, "\nquickstart            The whole method on the embedded student"),
        (["recipes", "quickstart"], 0, "\nname: quickstart\n"),
        (["recipes", "quickstrat"], 2, "did you mean 'quickstart'?"),
        (["recipes", "--copy", "mine.yaml"], 2, "--copy: name the recipe"),
    ],
)
def test_what_there_is_is_printed(said, code, shown):
    done = CliRunner().invoke(app, said)

    assert done.exit_code == code and shown in done.output


def test_a_recipe_is_copied_once_and_never_over_a_file(tmp_path):
    copy = tmp_path / "mine.yaml"
    first, second = (CliRunner().invoke(app, ["recipes", "quickstart", "--copy", str(copy)]) for _ in range(2))

    assert read_recipe(str(copy)) == read_recipe("quickstart")
    assert (first.exit_code, second.exit_code) == (0, 2) and "this file already exists" in second.output


def test_a_shell_completes_a_command():
    words = {"_SRIT_COMPLETE": "complete_bash", "COMP_WORDS": "srit rec", "COMP_CWORD": "1"}

    assert CliRunner().invoke(app, prog_name="srit", env=words).output.strip() == "recipes"
