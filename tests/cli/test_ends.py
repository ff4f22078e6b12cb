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
        (MemoryError(), 5, "B are free); fix this and rerun the same command"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 509952 bytes."),
            5,
            "510 kB were",
        ),
        (RuntimeError("can't start new thread"), 5, "srit: out of memory ("),
        (ImportError("libx.so: failed to map segment from shared object"), 5, "srit: out of memory ("),
        (DataError("an id \x1b[31m"), 3, "srit: an id \\x1b[31m"),
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
    monkeypatch.setenv("OPENAI_API_KEY", "planted-key")
    error = ValueError("impossible: planted-key")
    error.add_note("half a character: \ud800")  # such as a teacher may write

    with pytest.raises(typer.Exit), reported_errors():
        raise error

    assert capsys.readouterr().err.endswith(f"(traceback: {tmp_path / 'srit.log'})\n")
    written = (tmp_path / "srit.log").read_text()
    assert "Traceback" in written and "impossible: …" in written and "planted-key" not in written


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


IMPATIENT = """
import signal, typer
from srit.cli.ends import reported_errors

class Interrupted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def main():
    ended_with_python = Interrupted()
    with reported_errors():
        signal.raise_signal(signal.SIGINT)

typer.run(main)
"""


def test_another_ctrl_c_while_python_ends_shows_no_traceback():
    ended = subprocess.run([sys.executable, "-c", IMPATIENT], capture_output=True, text=True)

    assert ended.stderr == "srit: interrupted; rerun the same command to continue\n" and ended.returncode == 130


CONVERTED = """
import signal
from srit.cli.ends import attempt, reported_errors

def load():
    try:
        signal.raise_signal({number})
    except BaseException:
        raise ImportError("initialization failed")  # as an extension module does

with reported_errors():
    {call}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("call", ["load()", "attempt(load)"])
def test_a_signal_that_interrupted_code_turns_into_an_error_is_still_a_stop(call, number, tmp_path):
    script = CONVERTED.format(call=call, number=int(number))
    script = f"import typer\ndef main():{script.replace(chr(10), chr(10) + '    ')}\ntyper.run(main)"

    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 128 + number, ended.stderr
    assert ended.stderr == "srit: interrupted; rerun the same command to continue\n" and not list(tmp_path.iterdir())


RECIPE = """\
name: stopped
student: {{model: "{student}", dtype: float32}}
tasks: {{train: [{{task: sums, limit: 2}}], evaluate: [{{task: sums, limit: 2}}]}}
"""
# Sends the process a signal when it first looks for a module.
STOPPED = """
import os, sys
from srit.cli import app

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), int(sys.argv[2]))

sys.meta_path.insert(0, Stop())
app(["run", *sys.argv[3:]])
"""


@pytest.mark.parametrize(
    ("module", "number"),
    [
        ("numpy", signal.SIGTERM),
        ("transformers.models.auto.modeling_auto", signal.SIGTERM),  # transformers would go on without it
        ("transformers.models.llama.modeling_llama", signal.SIGTERM),  # would be reported as missing
        ("transformers.models.llama.modeling_llama", signal.SIGINT),
    ],
)
def test_a_signal_while_modules_are_loaded_stops_a_run(module, number, tiny_student, tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(student=tiny_student))
    arguments = [module, str(int(number)), "recipe.yaml", "--out", "run"]

    ended = subprocess.run(
        [sys.executable, "-c", STOPPED, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert ended.returncode == 128 + number, ended.stderr
    assert "srit: interrupted" in ended.stderr and not (tmp_path / "srit.log").exists()
