"""What a teacher behind a server does with replies, faults, budgets and stops."""

import gzip
import json
import os
import re
import resource
import signal
import socket
import threading
import time
import zlib
from itertools import pairwise
from urllib.parse import quote

import pytest
from teacher_server import KEY, Reply, answer, asked, each_of, questions

from srit.errors import RecipeError, TeacherError
from srit.records import Problem
from srit.teachers import Question, Spent
from srit.teachers.openai.endpoint import Endpoint, proxy_for
from srit.teachers.openai.teacher import OpenAITeacher


def test_every_question_is_answered_once(server):
    server.default = lambda body: Reply(answer(f"answer to {body['messages'][0]['content']}"))

    answers = asked(server, n=30, concurrency=6)

    assert sorted(a.problem_id for a in answers) == sorted(f"p{i}" for i in range(30))
    assert len(server.requests) == 30
    assert answers[0].text.startswith("answer to What is") and answers[0].n_completion_tokens == 9


NOT_ACCEPTED = {
    "429 with a time": Reply(status=429, headers={"Retry-After": "0.2"}),
    "429 with garbage": Reply(status=429, headers={"Retry-After": "soon"}),
    "429 with a negative time": Reply(status=429, headers={"Retry-After": "-5"}),
    "500": Reply({"error": "x"}, status=500),
    "503": Reply(b"", status=503),
    "529": Reply(b"overloaded", status=529),
}
UNKNOWN = {
    "reset": Reply(reset=True),
    "short body": Reply(cut=True),
}
UNUSABLE = {
    "HTML": Reply(b"<html>"),
    "null": Reply(b"null"),
    "a list": Reply(b"[]"),
    "an error with status 200": Reply({"error": {"message": "x"}}),
    "no choice": Reply(answer() | {"choices": []}),
    "no content": Reply(answer(None)),
    "cut JSON": Reply(b'{"choices": [{"mess'),
    "bad UTF-8": Reply(b'{"choices": "\xff"}'),
    "deep nesting": Reply(b"[" * 100_000),
}


@pytest.mark.parametrize("fault", {**NOT_ACCEPTED, **UNKNOWN, **UNUSABLE})
def test_a_passing_fault_costs_one_more_request(server, fault):
    server.script = [{**NOT_ACCEPTED, **UNKNOWN, **UNUSABLE}[fault]]

    [one] = asked(server)

    assert one.text == "6 * 3 = 18. The answer is 18." and one.n_calls == 2
    assert len(server.requests) == 2
    keys = {headers["idempotency-key"] for _, headers, _ in server.requests}
    assert len(keys) == 1


@pytest.mark.parametrize("fault", {**UNKNOWN, **UNUSABLE})
def test_a_request_that_may_have_been_charged_is_tried_at_most_twice(server, fault):
    server.default = {**UNKNOWN, **UNUSABLE}[fault]

    [one] = asked(server)

    assert one.text is None and one.reason
    assert len(server.requests) == 2


def test_retry_after_is_honored(server):
    server.script = [Reply(status=429, headers={"Retry-After": "0.5"})]

    asked(server)

    (first, *_), (second, *_) = server.requests
    assert second - first >= 0.5


def test_a_cut_answer_does_not_count(server):
    server.default = Reply(answer("6 * 3", finish="length"))

    [one] = asked(server)

    assert one.text is None and "teacher.max_tokens" in one.reason and len(server.requests) == 1


def test_a_slow_response_ends_at_the_deadline_of_the_whole_call(server):
    server.default = Reply(answer("x" * 400), drip=0.02)

    [one] = asked(server, deadline_seconds=0.5)

    assert one.text is None and "may have been paid" in one.reason


def test_a_response_that_is_too_long_is_dropped(server, monkeypatch):
    monkeypatch.setattr("srit.teachers.openai.wire.MAX_BYTES", 1000)
    server.default = Reply(answer("x" * 5000))

    [one] = asked(server)

    assert one.text is None


def test_a_silent_server_is_given_up(server):
    server.default = Reply(b"", status=500)

    with pytest.raises(TeacherError, match="no answer for"):
        asked(server, give_up_seconds=0.2)


@pytest.mark.parametrize(
    "reply, message",
    [
        (Reply(answer("yes")), "the same answer ('yes')"),
        (Reply(answer("a long ans", finish="length")), "no answer (cut: raise teacher.max_tokens)"),
    ],
)
def test_a_teacher_that_always_says_the_same_is_stopped(server, reply, message):
    server.default = reply

    with pytest.raises(TeacherError, match=re.escape(f"m gave {message}") + ".* 20 times in a row"):
        asked(server, n=60)

    assert len(server.requests) < 30


@pytest.mark.parametrize(
    "budget, message",
    [({"max_calls": 3}, "budget of 3 calls"), ({"max_spent_tokens": 40}, "48 tokens are spent of a budget of 40")],
)
def test_a_spent_budget_stops_asking_and_keeps_the_answers(server, budget, message):
    server.default = lambda body: Reply(answer(body["messages"][0]["content"]))  # 16 tokens each
    arrived = []

    with pytest.raises(TeacherError, match=message):
        for together in OpenAITeacher(Endpoint(server.url, "m", concurrency=1, **budget)).answer(questions(5)):
            arrived += together

    assert len(arrived) == len(server.requests) == 3


def test_a_call_that_was_not_accepted_takes_nothing_of_the_budget(server):
    server.script = [Reply({"error": "busy"}, status=503)] * 2
    server.default = lambda body: Reply(answer(body["messages"][0]["content"]))
    teacher = OpenAITeacher(Endpoint(server.url, "m", concurrency=1, max_calls=3, first_wait_seconds=0.01))
    arrived = []

    with pytest.raises(TeacherError, match="budget of 3 calls"):
        for together in teacher.answer(questions(5)):
            arrived += together

    assert (len(arrived), len(server.requests)) == (3, 5)


def test_a_budget_is_the_runs_whatever_an_earlier_invocation_spent(server):
    teacher = OpenAITeacher(
        Endpoint(server.url, "m", max_dollars=0.01, prices=(100.0, 1000.0)), spent=Spent(5, 10, 9), report=print
    )

    with pytest.raises(TeacherError, match=r"\$0\.01 is spent of a budget of \$0\.01 \(teacher\.max_dollars\)"):
        list(teacher.answer(questions(1)))

    assert server.requests == []


def test_more_refusals_than_the_recipe_allows_end_the_run(server):
    server.default = lambda body: (
        Reply({"error": "filtered"}, status=400)
        if " 0 +" in body["messages"][0]["content"] or " 4 +" in body["messages"][0]["content"]
        else Reply(answer(body["messages"][0]["content"]))
    )

    assert [one.text is None for one in asked(server, n=8, max_refused=0.25)] == [i in (0, 4) for i in range(8)]
    with pytest.raises(TeacherError, match=r"refused 2 of 8 questions.*filtered.*teacher\.max_refused \(0\.05\)"):
        asked(server, n=8)


def test_another_model_that_answers_is_reported_and_kept(server):
    lines = []
    server.script = [Reply(answer("2", model="m-2024-07-18")), Reply(answer("3", model="cheap\x1b"))]
    server.default = Reply(answer("4", model="cheap\x1b"))

    teacher = OpenAITeacher(Endpoint(server.url, "m", concurrency=1), lines.append)

    assert [one.model for one in each_of(teacher.answer(questions(3)))] == ["m-2024-07-18", r"cheap\x1b", r"cheap\x1b"]
    assert len(lines) == 1 and lines[0].startswith("WARN m: the server answers as")


def test_replies_without_a_count_of_tokens_are_counted_as_such(server):
    server.script = [Reply(answer() | {"usage": None}), Reply(b"null")]

    first, second = asked(server, n=2)

    assert (first.n_uncounted, second.n_uncounted) == (1, 1) and second.n_completion_tokens == 9


def test_a_server_that_cannot_be_reached_is_reported_at_once_and_given_up_as_set():
    lines, started = [], time.monotonic()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        teacher = OpenAITeacher(Endpoint(url, "m", give_up_seconds=2.0), lines.append)
        with pytest.raises(TeacherError, match=r"no answer for 2 s.*Connection refused"):
            list(teacher.answer(questions(3)))

    assert 2 <= time.monotonic() - started < 5
    assert re.search(r"Connection refused; still trying until \d\d:\d\d:\d\d", lines[0])


def test_a_wait_is_shown_with_its_end(server):
    noticed = threading.Event()
    lines, showing = [], lambda line: (lines.append(line), noticed.set())
    server.script = [Reply(status=429, headers={"Retry-After": "600"})]
    teacher = OpenAITeacher(Endpoint(server.url, "m", stop_seconds=0.1), showing)
    threading.Thread(target=lambda: (noticed.wait(10), os.kill(os.getpid(), signal.SIGINT))).start()

    with pytest.raises(KeyboardInterrupt):
        list(teacher.answer(questions(1)))

    assert re.search(r"status 429.*waiting 600 s, until \d\d:\d\d:\d\d", lines[0])


def test_a_silent_call_is_repeated_once_others_are_fast_and_its_late_reply_is_still_taken(server):
    late, twice = threading.Event(), threading.Event()

    def reply(body):
        if " 0 +" not in body["messages"][0]["content"]:
            return Reply(answer(body["messages"][0]["content"]))
        if late.is_set():  # the second request never gets an answer
            twice.set()
            time.sleep(3)
        late.set()
        twice.wait(10)
        return Reply(answer("late"))

    server.default = reply
    answers = {one.problem_id: one.text for one in asked(server, n=4, concurrency=2, idle_seconds=0.3)}

    assert answers["p0"] == "late" and len(answers) == 4 and len(server.requests) == 5


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_zipped_response_is_read_and_a_bomb_is_not(server, encoding):
    zipped = gzip.compress if encoding == "gzip" else zlib.compress
    server.script = [
        Reply(zipped(json.dumps(answer()).encode()), headers={"Content-Encoding": encoding}),
        *[Reply(zipped(b" " * (64 << 20)), headers={"Content-Encoding": encoding})] * 2,
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    whole, bomb = asked(server, n=2)

    assert whole.text.endswith("18.") and "longer than 16,777,216 bytes" in bomb.reason
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 << 10  # kilobytes, three copies of 16 MiB


def test_a_key_in_an_answer_is_not_stored_however_it_is_written(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key := "sk-canary/0123456789+abc")
    forms = [key, key.replace("/", "\\/"), quote(key, safe="")]
    server.default = Reply(answer(" ".join(forms)))

    [one] = asked(server)

    assert one.text == "… … …"


def test_a_lone_surrogate_arrives_unchanged(server):
    server.default = Reply(json.dumps(answer("a\ud800b")).encode())

    [one] = asked(server)

    assert one.text == "a\ud800b"


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(server, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "modelbox.lan")

    [one] = each_of(OpenAITeacher(Endpoint("http://box.internal/v1", "m", api_key_env=None)).answer(questions()))

    assert one.text and server.requests[0][1]["host"] == "box.internal"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert asked(server)[0].text and proxy_for("http://modelbox.lan/v1") is None


def test_a_proxy_that_cannot_be_used_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("http_proxy", "gopher://me:secret@box:1")

    with pytest.raises(RecipeError, match=r"the environment's proxy \(gopher\) cannot be used") as caught:
        each_of(OpenAITeacher(Endpoint("http://box.internal/v1", "m", api_key_env=None)).answer(questions()))

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://me:secret@example.com/v1", "environment variable"),
        ("https://example.com/v1?key=secret", "environment variable"),
        ("ftp://example.com", "must begin with"),
        ("http://[::1/v1", "is not an address"),
        ("http://127.0.0.1:99999/v1", "is not an address"),
        ("http://me:secret/v1", "is not an address"),
        ("https://example.com/v1", "is not set"),
    ],
)
def test_an_address_that_would_expose_a_key_is_refused(monkeypatch, url, message):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(RecipeError, match=message) as caught:
        OpenAITeacher(Endpoint(url, "m"))

    assert "secret" not in str(caught.value)


def test_an_error_inside_status_200_is_retried_like_the_status_it_names(server):
    server.script = [
        Reply({"error": {"message": "too many requests just now", "code": 429}}),
        Reply({"id": "x", "error": {"message": "upstream went away", "code": "502"}}),
    ]

    [one] = asked(server, first_wait_seconds=0.2)

    moments = [moment for moment, _, _ in server.requests]
    assert one.text is not None and one.n_calls == 3
    assert min(later - sooner for sooner, later in pairwise(moments)) >= 0.1


def test_an_error_inside_status_200_stops_the_run_like_the_status_it_names(server):
    server.default = Reply({"error": {"message": "pay first", "code": 402}})

    with pytest.raises(TeacherError, match="credit"):
        asked(server, n=5)

    assert len(server.requests) == 1


@pytest.mark.parametrize("error", [{"code": 0, "message": ""}, {"code": 0, "message": "success"}, {"message": "x"}])
def test_a_complete_answer_beside_an_empty_error_is_paid_for_once(server, error):
    server.default = Reply(answer(error=error))

    [one] = asked(server)

    assert one.text == "6 * 3 = 18. The answer is 18." and len(server.requests) == 1


@pytest.mark.parametrize(
    "body", [{"error": {"code": 429.0, "message": "x"}}, {"status": 429, "title": "Too Many Requests"}]
)
def test_a_rate_limit_in_another_form_is_waited_for(server, body):
    server.script = [Reply(body)] * 3

    [one] = asked(server)

    assert one.text is not None and one.n_calls == 4


def test_equal_prompts_are_asked_once(server):
    [first], twin = questions(), Problem("twin", "sums", "train", "0 + 1?", "2")

    answers = each_of(OpenAITeacher(Endpoint(server.url, "m")).answer([first, Question(twin, first.prompt)]))

    assert [one.problem_id for one in answers] == ["p0", "twin"] and answers[0].text == answers[1].text
    assert [one.n_calls for one in answers] == [1, 0] and len(server.requests) == 1


@pytest.mark.parametrize("echo", [Reply(f"<html>{KEY}</html>".encode()), Reply({"error": {"message": KEY}})])
def test_a_key_that_a_server_echoes_inside_status_200_is_not_stored(server, echo):
    server.default = echo

    [one] = asked(server)

    assert KEY not in str(one) and "…" in one.reason


@pytest.mark.parametrize("status", [200, 401])
@pytest.mark.parametrize("before", [0, 150, 168, 185, 65_520])
def test_a_key_is_not_shown_in_part_where_a_text_is_cut(server, monkeypatch, status, before):
    monkeypatch.setenv("OPENAI_API_KEY", key := "7f3e9a1c5b8d2e4f6a0c9b7d5e3f1a2b")
    said = "y" * before + " " + key + " nonsense"
    server.default = Reply(said.encode() if status == 200 else {"error": {"message": said}}, status=status)

    try:
        shown = str(asked(server))
    except TeacherError as error:
        shown = str(error)

    assert "yyy" in shown or not before
    assert key[:8] not in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_takes_the_answers_in_flight_and_asks_nothing_more(server, number):
    waiting, noted, arrived = threading.Barrier(3), threading.Event(), []

    def reply(body):
        waiting.wait(10)
        noted.wait(10)
        return Reply()

    def stop():
        waiting.wait(10)
        os.kill(os.getpid(), number)

    server.default = reply
    teacher = OpenAITeacher(Endpoint(server.url, "m", concurrency=2), report=lambda line: noted.set())
    threading.Thread(target=stop).start()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            for together in teacher.answer(questions(6)):
                arrived += [one.problem_id for one in together]
    finally:
        signal.signal(signal.SIGTERM, before)

    assert sorted(arrived) == ["p0", "p1"] and len(server.requests) == 2
