"""Commands whose output nobody reads any more."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from shlex import quote

import pytest
import yaml
from teacher_server import Reply, TeacherServer, answer

from srit.cli.display import print_object
from srit.stopping import ask_to_stop, delayed_stop


@pytest.fixture
def taught(tiny_student, tmp_path):
    """The arguments of a run that asks 12 questions, 4 at a time; its server; and what lets that answer the second 4.

    These come one by one, and under another name, so that the first makes the run say something.
    """
    server, may = TeacherServer(), threading.Event()

    def answered(body):
        late = max(0, len(server.requests) - 4)
        if late:
            may.wait(60)
            time.sleep(0.2 * late)
        return Reply(answer(f"{body['messages'][0]['content']} The answer is 2.", model="other" if late else "m"))

    server.default = answered
    recipe = {
        "name": "unread",
        "student": {"model": str(tiny_student), "dtype": "float32"},
        "tasks": {"train": [{"task": "sums", "limit": 12}], "evaluate": [{"task": "doors", "limit": 2}]},
        "teacher": {"kind": "openai", "model": "m", "base_url": server.url, "concurrency": 4},
        "demonstrations": {"keep": "all"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    yield ("demonstrate", tmp_path / "recipe.yaml", "--out", tmp_path / "run"), server, may
    server.close()


def hear_until(descriptor, is_over):
    """Read what a command says until something is so."""
    while not is_over():
        if select.select([descriptor], [], [], 0.05)[0]:
            os.read(descriptor, 65536)


def stored(arguments):
    return (arguments[-1] / "teacher/answers.jsonl").read_text().count("\n")


@pytest.mark.parametrize("options", [["--json"], []])
def test_a_reader_that_hangs_up_stops_a_run_and_loses_no_answer(options, taught, zygote):
    arguments, server, may = taught
    output = zygote.place / "output"
    output.unlink(missing_ok=True)
    os.mkfifo(output)

    zygote.start(arguments[0], *options, *arguments[1:])
    reader = os.open(output, os.O_RDONLY)
    hear_until(reader, lambda: len(server.requests) == 8)
    os.close(reader)
    output.unlink()
    may.set()

    assert zygote.ended(60) == 128 + signal.SIGHUP
    assert stored(arguments) == len(server.requests) < 12


def test_a_terminal_that_goes_away_stops_a_run_and_loses_no_answer(taught, zygote):
    arguments, server, may = taught
    leader, follower = pty.openpty()

    zygote.start(*arguments, terminal=os.ttyname(follower))
    hear_until(leader, lambda: len(server.requests) == 8)
    os.close(follower)
    os.close(leader)
    may.set()

    assert zygote.ended(60) == 128 + signal.SIGHUP
    assert stored(arguments) == len(server.requests) < 12


def test_a_run_that_ignores_sighup_goes_on_without_its_terminal(taught, zygote):
    arguments, server, may = taught
    leader, follower = pty.openpty()

    zygote.start(*arguments, terminal=os.ttyname(follower), ignored=[signal.SIGHUP])
    hear_until(leader, lambda: len(server.requests) == 8)
    os.close(follower)
    os.close(leader)
    may.set()

    assert zygote.ended(60) == 0
    assert stored(arguments) == len(server.requests) == 12


@pytest.mark.parametrize("streams", [">&- 2>/dev/full", "2>&- >/dev/full"])
@pytest.mark.parametrize("options", ["", "--json"])
def test_where_one_stream_is_closed_and_the_other_full_the_exit_code_is_still_that_of_the_error(options, streams):
    line = f"{quote(sys.executable)} -m srit run no-such-recipe.yaml {options} {streams}"

    assert subprocess.run(line, shell=True, check=False).returncode == 2


def test_events_are_ascii_so_that_any_stream_takes_them(capsys):
    print_object({"message": "Zürich … 東京"})

    said = capsys.readouterr().out
    assert said.isascii() and json.loads(said) == {"message": "Zürich … 東京"}


def test_a_run_that_is_stopping_is_not_asked_to_stop_again():
    with pytest.raises(KeyboardInterrupt), delayed_stop() as stop:
        signal.raise_signal(signal.SIGINT)
        stop.since -= 10  # a second signal would now end it at once
        ask_to_stop(signal.SIGINT)
        asked = stop.signal

    assert asked == signal.SIGINT
