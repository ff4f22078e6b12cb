"""How a command ends: the message, the exit code, the log."""

import signal
import subprocess
import sys

import pytest
import typer

from srit.cli.ends import reported_errors
from srit.errors import DataError


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
