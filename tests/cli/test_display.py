"""What is shown while a command works: to a person at a terminal, to a log, and to a program."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from small_runs import RECIPE
from typer.testing import CliRunner

from srit.cli import app
from srit.cli.display import objects, warnings_alone
from srit.cli.display.course import STOPPING, Course, clock, following, in_words
from srit.cli.display.log import LINE_SECONDS, Entries, log
from srit.stopping import delayed_stop
from srit.watching import Begun, Line, Made, Progressed, Said, Taken, as_line, headed

ANSWERS = [Said("2 + 2 = 4", "right"), Said("2 + 2 = 5", "wrong")]


def report(done, **more):
    return Progressed("answers", done, 100, n_tokens=lambda: 50, said=lambda: iter(ANSWERS), **more)


def course(*reports, began=0.0):
    """A course that heard reports at the given times."""
    followed = Course(reports[0][1], began)
    for now, event in reports:
        followed.hear(event, now)
    return followed


@pytest.mark.parametrize(
    ("reports", "per_second", "tokens_per_second", "seconds_left"),
    [
        ([(5, report(10))], 0.2, None, 450),  # of the first report nobody knows how many answers are new
        ([(5, report(10, earlier=0))], 2, 10, 45),
        ([(1, report(10, earlier=40)), (2, report(40, earlier=40))], None, None, None),  # nothing is new yet
        ([(1, report(40, earlier=40)), (11, report(50, earlier=40))], 10 / 11, 50 / 11, 55),
        # The first interval has the model's loading in it.
        ([(30, report(10, earlier=0)), (40, report(30, earlier=0))], 2, 5, 35),
    ],
)
def test_a_rate_counts_what_this_run_did(reports, per_second, tokens_per_second, seconds_left):
    figures = course(*reports).figures(reports[-1][0])

    assert figures.per_second == pytest.approx(per_second)
    assert figures.seconds_left == pytest.approx(seconds_left)
    if tokens_per_second:
        assert figures.tokens_per_second == pytest.approx(tokens_per_second)


def test_answers_are_judged_once_a_second_at_most():
    followed = course((1, report(10, earlier=0)), (1.5, report(20, earlier=0)), (3, report(30, earlier=0)))

    found = followed.figures(3)
    assert (found.looked_at, found.right, found.said) == (4, 2, ANSWERS[1])
    assert in_words(found) == "10 answers/s, 50 tokens/s, 50% right of 4 looked at"


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (67, "1:07"), (7390, "2:03:10")])
def test_time_is_shown_as_on_a_clock(seconds, shown):
    assert clock(seconds) == shown


EVENTS = [
    Begun("instructed"),
    report(50),
    Line("WARN too short"),
    Line("ok   agrees"),
    report(100),
    Made("instructed", 2.04, {"steps": 4, "invariants": []}),
    Taken("pairs"),
]


def told(display, events=EVENTS):
    said = []
    watch = display(said.append)
    for event in events:
        watch(event)
    return said


def test_without_a_terminal_there_is_a_line_for_each_event():
    said = []
    with log(said.append) as watch:
        for event in EVENTS:
            watch(event)

    taken = "pairs taken from a run that did the same work"
    assert said == ["instructed …", "WARN too short", "ok   agrees", "instructed done in 2 s  steps 4", taken]


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([], r"preparing  0:31"),
        ([Line("     measuring once")], r"measuring once  0:31"),
        (EVENTS[:1], r"instructed  0:31"),
        (EVENTS[:2], r"answers 50/100  .*50% right of 2 looked at, \d+:\d\d left"),
    ],
)
def test_a_log_that_was_silent_for_long_says_what_is_being_done(events, line):
    said = []
    entries = Entries(said.append)
    watch, began = following(entries.progressed, entries.happened), time.monotonic()
    for event in events:
        watch(event)

    for seconds in (1, LINE_SECONDS + 1, LINE_SECONDS + 2):
        entries.remind(began + seconds)

    assert len(said) == bool(events) + 1 and re.fullmatch(rf"     {line}", said[-1])


def test_a_log_speaks_even_if_nothing_happens(monkeypatch):
    monkeypatch.setattr("srit.cli.display.log.LINE_SECONDS", 0)
    monkeypatch.setattr("srit.cli.display.log.LOOK_SECONDS", 0.01)
    said, spoke = [], threading.Event()

    with log(lambda line: said.append(line) or spoke.set()):
        assert spoke.wait(10)

    assert said[0] == "     preparing  0:00"


def test_a_log_says_once_that_the_work_is_stopping():
    said = []
    entries = Entries(said.append)

    with pytest.raises(KeyboardInterrupt), delayed_stop():
        signal.raise_signal(signal.SIGINT)
        entries.remind(time.monotonic())
        entries.remind(time.monotonic())

    assert said == [f"     {STOPPING}"]


def test_quiet_shows_warnings_alone_those_under_a_heading_too():
    assert told(warnings_alone) == ["WARN too short"]
    assert told(lambda say: headed("[1/2] a", warnings_alone(say))) == ["  WARN too short"]


def test_json_has_an_object_for_each_event():
    found = told(objects)

    assert json.loads(json.dumps(found)) == found
    assert [one["event"] for one in found] == ["begun", "progress", "warning", "check", "progress", "done", "taken"]
    assert found[1]["done"] == 50 and found[1]["said"] == {"text": "2 + 2 = 5", "verdict": "wrong"}
    assert found[2] == {"event": "warning", "message": "too short"}
    assert found[5] == {
        "event": "done",
        "stage": "instructed",
        "seconds": 2.04,
        "counts": {"steps": 4, "invariants": []},
    }


def test_a_stage_of_a_study_is_headed_by_its_cell():
    assert [one.get("stage", one.get("what")) for one in told(lambda put: headed("a", objects(put)), EVENTS[:2])] == [
        "a: instructed",
        "a: answers",
    ]


def in_terminal(zygote, *arguments, columns=80):
    """What a command writes to a terminal, and its exit code."""
    leader, follower = pty.openpty()
    subprocess.run(["stty", "cols", str(columns), "rows", "24"], stdin=follower, check=True)
    zygote.start(*arguments, terminal=os.ttyname(follower))
    written = os.read(leader, 65536)  # the command has opened it now
    os.close(follower)
    while True:
        try:
            written += os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
    os.close(leader)
    return written.decode(), zygote.ended()


@pytest.fixture(scope="module")
def run(tiny_student, tmp_path_factory, zygote):
    """A run in a terminal: its recipe, its folder, and what it wrote."""
    folder = tmp_path_factory.mktemp("terminal")
    # Enough steps that one is on screen: it is drawn ten times a second.
    (folder / "recipe.yaml").write_text(RECIPE.format(student=tiny_student).replace("{epochs: 1,", "{epochs: 20,", 1))
    written, exit_code = in_terminal(zygote, "run", folder / "recipe.yaml", "--out", folder / "run")
    assert exit_code == 0, written
    return folder, written


def test_a_terminal_shows_the_stage_its_rate_the_time_left_an_answer_and_the_loss(run):
    _, written = run
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written).replace("\r", "\n")

    assert re.search(r"round-1/completions +[━╸╺]+ \d+/\d+ \d:\d\d left", plain)
    assert re.search(r"\d answers/s, [\d,]+ tokens/s, \d+% right of \d+ looked at", plain)
    assert re.search(r"^  (right|wrong|unread): ", plain, re.MULTILINE)
    assert re.search(r"steps/s, [\d,]+ tokens/s, loss \d", plain)
    # What is left on the screen are whole lines, and no other library drew a bar or logged.
    assert not re.search(r"it/s|WARNING|Warning:|\[transformers\]", plain)
    assert "report done in" in plain and "report: " in plain


def again(run, *options):
    """Make the report of a finished run again."""
    folder, _ = run
    (folder / "run/report.html").unlink()
    done = CliRunner().invoke(app, ["run", str(folder / "recipe.yaml"), "--out", str(folder / "run"), *options])
    assert done.exit_code == 0, done.output
    return folder / "run", done


SLOW = ("torch", "transformers", "numpy", "srit.tasks.reading.clauses", "srit.tasks.judging.forms")


def test_a_run_with_nothing_to_do_loads_nothing_that_takes_long(run):
    folder, _ = run
    arguments = ["run", str(folder / "recipe.yaml"), "--out", str(folder / "run")]
    code = f"import sys; from srit.cli import app; app({arguments!r}, standalone_mode=False)"
    loaded = f"print({set(SLOW)} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", f"{code}; {loaded}"], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "set()"


def test_json_on_stdout_ends_with_where_the_result_is(run):
    folder, done = again(run, "--json")

    objects = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["event"] for one in objects][-3:] == ["begun", "done", "finished"] and done.stderr == ""
    assert objects[-2]["stage"] == "report" and objects[-1]["folder"] == str(folder)


def test_json_says_which_error_ended_a_command_and_its_exit_code():
    ended = CliRunner().invoke(app, ["run", "nothing.yaml", "--json"])

    [error] = map(json.loads, ended.stdout.splitlines())
    assert (error["event"], error["kind"], error["exit_code"]) == ("error", "RecipeError", ended.exit_code)
    assert f"srit: {error['message']}\n" == ended.stderr


def test_quiet_leaves_the_result(run):
    folder, done = again(run, "--quiet")

    assert done.stderr == "" and done.stdout.splitlines()[-1] == f"report: {folder / 'report.html'}"


def test_a_stages_counts_are_in_words():
    counts = {"n_calls": 1200, "tokens": 77428.0, "accepted": True, "delta": 2 / 3, "invariants": []}

    line = as_line(Made("round-1/refined", 2.0, counts))

    assert line == "round-1/refined done in 2 s  calls 1,200, tokens 77,428, accepted yes, change 0.6667"
