"""What was paid for stays: the journal of answers under kills, damage and a full disk."""

import contextlib
import json
import os
import resource
import signal
import time

import pytest
from teacher_server import Reply, answer, ask, questions

from srit.errors import DataError, MachineError
from srit.stages.demonstrations import spent_on
from srit.teachers import Answer
from srit.teachers.journal import NotWritten, encoded
from srit.teachers.ledger import Ledger
from srit.teachers.openai.endpoint import Endpoint
from srit.teachers.openai.teacher import OpenAITeacher
from srit.teachers.paid import Paid


def texts(ledger):
    return {key: [answer.text for answer in answers] for key, answers in ledger.answers.items()}


@pytest.fixture
def file(tmp_path):
    """A ledger of three answers, closed."""
    file = tmp_path / "teacher/answers.jsonl"
    ledger = Ledger(file)
    for key in ("a", "b", "c"):
        ledger.keep([(key, Answer(f"p{key}", f"said {key} \ud800", "", n_calls=1))])
    return file


def test_what_was_stored_is_read_again_exactly(file):
    ledger = Ledger(file)

    assert texts(ledger) == {"a": ["said a \ud800"], "b": ["said b \ud800"], "c": ["said c \ud800"]}
    assert ledger.notes == [] and ledger.unreadable is None and ledger.spent.calls == 3


def test_a_line_that_a_crash_cut_is_dropped_with_a_word_and_one_that_lacks_only_its_end_is_kept(file):
    whole = file.read_bytes()
    file.write_bytes(whole + whole.splitlines()[0].replace(b'"a"', b'"d"')[:-9])

    torn = Ledger(file)

    assert set(torn.answers) == {"a", "b", "c"} and torn.unreadable is None
    assert f"{file}: its last line was cut at byte" in torn.notes[0] and file.read_bytes() == whole
    file.write_bytes(whole[:-1])  # as some editors do
    ended = Ledger(file)
    assert set(ended.answers) == {"a", "b", "c"} and file.read_bytes() == whole and ended.unreadable is None


def with_second(data, row):
    first, _, third = data.splitlines(keepends=True)
    return first + encoded(row) + third


DAMAGES = {
    "a digit": lambda data: data.replace(b"said b", b"said 8"),
    "the key": lambda data: data.replace(b'"key": "b"', b'"key": "x"'),
    "no JSON": lambda data: data.replace(b'{"key": "b"', b'["key": "b"'),
    "the sum": lambda data: data.replace(b'"sum"', b'"sun"', 2).replace(b'"sun"', b'"sum"', 1),
    "no text": lambda data: with_second(data, {"key": "b", "answer": {"problem_id": "pb", "text": 5, "reason": ""}}),
    "no key": lambda data: with_second(data, {"answer": {"problem_id": "pb", "text": "said b", "reason": ""}}),
    "a line gone": lambda data: b"".join(data.splitlines(keepends=True)[:2]),
    "cut": lambda data: data[: 2 * len(data) // 3 + 9],
    "emptied": lambda data: b"",
    "deleted": None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_and_kept_and_never_believed_or_silently_bought_again(file, server, damage):
    data, change = file.read_bytes(), DAMAGES[damage]
    file.unlink() if change is None else file.write_bytes(change(data))

    ledger = Ledger(file)

    whole = set(ledger.answers)
    assert len(whole) < 3 and all(f"said {key} \ud800" in texts(ledger)[key] for key in whole)
    assert all(str(file) in note for note in ledger.notes) and ledger.notes
    if damage not in ("a line gone", "cut", "emptied", "deleted"):
        assert f"{file}:2: damaged" in ledger.notes[-1] and change(data).splitlines()[1] in ledger.aside.read_bytes()
    for again in (ledger, Ledger(file)):
        with pytest.raises(DataError, match="paid for again"):
            ask_through(again, server)
    assert server.requests == []
    ledger.aside.unlink()  # the user agrees
    assert len(ask_through(Ledger(file), server)) == 2


def ask_through(ledger, server, n=2, report=lambda line: None, **settings):
    ledger.check_writable()
    teacher = OpenAITeacher(Endpoint(server.url, "m", **settings), report, ledger.record, ledger.spent)
    paid = Paid(ledger.answers, ledger.keep, (), set(), ledger.calls, ledger.unreadable, report)
    return ask(questions(n), teacher, paid)


@contextlib.contextmanager
def largest_file(size):
    """No file grows beyond so many bytes, as on a full disk; the last write is cut short."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_row_that_does_not_fit_on_the_disk_leaves_the_journal_as_it_was(file):
    ledger, before = Ledger(file), file.read_bytes()

    with largest_file(len(before) + 20), pytest.raises(NotWritten, match=str(file)):
        ledger.keep([("d", Answer("pd", "said d", ""))])

    assert file.read_bytes() == before and "d" not in ledger.answers
    ledger.keep([("e", Answer("pe", "said e", ""))])
    assert set(Ledger(file).answers) == {"a", "b", "c", "e"}


@pytest.mark.parametrize("change", ["moved", "begun again", "cut"])
def test_nothing_is_stored_in_another_file_than_the_one_that_was_read(file, change):
    ledger = Ledger(file)
    if change == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        file.rename(file.with_name("elsewhere.jsonl"))
    if change == "begun again":
        file.write_bytes(b"")
    before = file.read_bytes() if file.exists() else None

    with pytest.raises(NotWritten, match=r"moved, deleted or cut"):
        ledger.keep([("d", Answer("pd", "said d", ""))])

    assert (file.read_bytes() if file.exists() else None) == before and "d" not in ledger.answers


def test_answers_that_come_together_wait_for_the_disk_once(tmp_path, server, monkeypatch):
    server.default = lambda body: Reply(answer(body["messages"][0]["content"]))
    sync, waits = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda descriptor: (waits.append(time.sleep(0.05)), sync(descriptor)))

    answers = ask_through(Ledger(tmp_path / "teacher/answers.jsonl"), server, n=64, concurrency=16)

    assert len(answers) == 64 and len(waits) < 40
    assert len(texts(Ledger(tmp_path / "teacher/answers.jsonl"))) == 64


def test_a_call_is_on_disk_before_it_is_made(tmp_path, server, monkeypatch):
    sync, on_disk, unknown = os.fsync, [0], []

    def synced(descriptor):
        sync(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/calls.jsonl"):
            on_disk[0] = (tmp_path / "teacher/calls.jsonl").read_bytes().count(b'"sent"')

    def reply(body):
        unknown.append(len(server.requests) > on_disk[0])
        return Reply(answer(body["messages"][0]["content"]))

    monkeypatch.setattr(os, "fsync", synced)
    server.default = reply

    assert len(ask_through(Ledger(tmp_path / "teacher/answers.jsonl"), server, n=24, concurrency=4)) == 24
    assert len(unknown) == 24 and not any(unknown)


def test_a_full_disk_stops_the_asking_and_shows_what_was_on_its_way(tmp_path, server):
    server.default = lambda body: Reply(answer(body["messages"][0]["content"] + " The answer is 2." * 100))
    ledger, lines = Ledger(tmp_path / "teacher/answers.jsonl"), []

    with largest_file(5000), pytest.raises(MachineError, match=r"answers\.jsonl.*could not be stored"):
        ask_through(ledger, server, n=40, report=lines.append, concurrency=4)

    shown = [line for line in lines if line.startswith('{"key"')]
    calls = [json.loads(line) for line in (tmp_path / "teacher/calls.jsonl").read_bytes().splitlines()]
    assert not {json.loads(line)["key"] for line in shown} & {row["key"] for row in calls if row["call"] == "answered"}
    assert 1 <= len(shown) <= 4 and len(server.requests) == len(shown) + 2
    with (tmp_path / "teacher/answers.jsonl").open("a") as journal:
        journal.write("".join(line + "\n" for line in shown))
    server.requests.clear()
    assert len(ask_through(Ledger(tmp_path / "teacher/answers.jsonl"), server, n=40)) == 40
    assert len(server.requests) == 40 - len(shown) - 2


def test_a_teacher_is_not_asked_where_nothing_can_be_stored(tmp_path, server):
    ledger = Ledger(tmp_path / "teacher/answers.jsonl")
    (tmp_path / "teacher").write_text("a file where the folder should be")

    with pytest.raises(NotWritten, match="answers"):
        ask_through(ledger, server)

    assert server.requests == []


def test_a_call_without_an_end_is_named_and_counts_on_the_budget(tmp_path, server):
    file = tmp_path / "teacher/answers.jsonl"
    ask_through(Ledger(file), server)
    calls = file.with_name("calls.jsonl")
    rows = [json.loads(line) for line in calls.read_bytes().splitlines()]
    assert [row["call"] for row in rows if row["key"] == rows[0]["key"]] == ["sent", "answered"]
    kept = [line for line in calls.read_bytes().splitlines(keepends=True) if b"answered" not in line]
    calls.write_bytes(b"".join(kept))  # as if a kill had come before

    ledger = Ledger(file)
    teacher = OpenAITeacher(Endpoint(server.url, "m"))
    spent = spent_on(questions(2), teacher, Paid(ledger.answers, ledger.keep, (), set(), ledger.calls))

    assert spent["n_calls"] == 2 and spent["maybe_paid"] == {"p0": 1, "p1": 1} and ledger.spent.calls == 2
