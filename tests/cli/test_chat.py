"""`srit chat`, on a terminal and without one."""

import os
import pty
import subprocess
import sys
import time
from select import select
from shlex import join

import pytest
from tiny import save_tiny_student
from typer.testing import CliRunner

from srit.cli import app
from srit.printable import printable
from srit.recipe import Student
from srit.samplers import Request, SamplingSettings
from srit.samplers.transformers.engine import TransformersSampler
from srit.students.loading import load_model, load_prompts

SHORT = ["--max-new-tokens", "12"]


def answer(student, text):
    prompts = load_prompts(student)
    request = Request(prompts.prompt_ids(text, where=""), "")
    sampler = TransformersSampler(load_model(student), rows=1, pad_id=0)
    [said] = sampler.sample([request], SamplingSettings(0.0, 12, prompts.stop_ids))
    return prompts.text(said.token_ids)


def test_each_line_of_standard_input_is_asked_with_the_prompt_trained_with(tiny_student):
    done = CliRunner().invoke(app, ["chat", str(tiny_student), *SHORT], input="What is 1 + 1?\n\nHi\n")

    student = Student(model=str(tiny_student), dtype="float32")
    said = answer(student, "What is 1 + 1?\nLet's think step by step.")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("> What is 1 + 1?\n") and done.stdout.count("\n> Hi\n") == 1
    assert f"{tiny_student.name}: {printable(said)}" in done.stdout


def test_a_question_that_is_not_utf_8_is_refused(tiny_student):
    done = CliRunner().invoke(app, ["chat", str(tiny_student), *SHORT], input=b"\xff\xfe\nHi\n")

    assert done.exit_code == 3 and "standard input: a question is not UTF-8" in done.output


def test_a_question_that_the_model_was_not_made_for_is_refused(tiny_student):
    done = CliRunner().invoke(app, ["chat", str(tiny_student), *SHORT], input="why " * 200)

    assert done.exit_code == 3 and f"{tiny_student.name} was made for 512: ask something shorter" in done.output


@pytest.mark.parametrize(("command", "code"), [(["chat", "STUDENT"], 0), (["init", "mine.yaml"], 2)])
def test_where_standard_input_is_closed_nobody_is_asked(tiny_student, tmp_path, command, code):
    words = [str(tiny_student) if word == "STUDENT" else word for word in command]
    line = f"{join([sys.executable, '-m', 'srit', *words])} <&-"

    ended = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == code and "internal error" not in ended.stderr, ended.stderr


@pytest.mark.parametrize("key", ["\x04", "\x03"])  # Ctrl-D, Ctrl-C
def test_a_terminal_is_asked_and_ends_the_chat_cleanly(tmp_path, zygote, key):
    lead, follow = pty.openpty()
    zygote.start("chat", save_tiny_student(tmp_path), "--direct", *SHORT, terminal=os.ttyname(follow))
    seen = _until(lead, "> ")
    os.close(follow)
    os.write(lead, b"Hi\r")
    seen += _until(lead, "\n> ")
    rest = _until(lead, "\0", press=key.encode())
    os.close(lead)

    assert zygote.ended() == 0 and "Traceback" not in seen + rest
    assert f"{tmp_path.name}: " in seen


def _until(terminal, mark, press=b""):
    """Read up to a mark or the end; press a key, and again after silence: one that comes too early goes unseen."""
    seen, deadline = "", time.monotonic() + 60
    os.write(terminal, press)
    while mark not in seen and time.monotonic() < deadline:
        try:
            if select([terminal], [], [], 3.0)[0]:
                seen += os.read(terminal, 4096).decode(errors="replace")
            else:
                os.write(terminal, press)
        except OSError:  # the other end has closed it
            break
    return seen
