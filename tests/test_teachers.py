import gzip
import json
import re

import pytest
from teacher_server import Reply, TeacherServer, answer

from srit.demonstrations import make_demonstrations
from srit.errors import DataError, RecipeError, TeacherError
from srit.recipe import Demonstrations
from srit.records import Problem
from srit.tasks import find_task
from srit.teachers import Question
from srit.teachers.local import LocalTeacher
from srit.teachers.openai import Endpoint, OpenAITeacher
from srit.teachers.recording import RecordingTeacher
from srit.teachers.solver import SolverTeacher

KEY = "sk-canary-0123456789"


def questions(n=1):
    return [Question(Problem(f"p{i}", "sums", "train", f"{i} + 1?", "2"), f"What is {i} + 1?") for i in range(n)]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("srit.teachers.openai._backoff", lambda *_: 0.01)
    server = TeacherServer()
    yield server
    server.close()


def asked(server, n=1, **settings):
    defaults = {"concurrency": 1, "deadline_seconds": 5.0, "give_up_seconds": 5.0}
    return list(OpenAITeacher(Endpoint(server.url, "m", **defaults | settings)).answer(questions(n)))


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
def test_what_may_have_been_paid_is_tried_twice_and_no_more(server, fault):
    server.default = {**UNKNOWN, **UNUSABLE}[fault]

    [one] = asked(server)

    assert one.text is None and one.reason
    assert len(server.requests) == 2


def test_retry_after_is_honored(server):
    server.script = [Reply(status=429, headers={"Retry-After": "0.5"})]

    asked(server)

    (first, *_), (second, *_) = server.requests
    assert second - first >= 0.5


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (Reply({"error": {"message": f"bad key {KEY}"}}, status=401), TeacherError, "OPENAI_API_KEY is refused"),
        (Reply(b"", status=402), TeacherError, "no credit"),
        (Reply({"error": {"code": "insufficient_quota"}}, status=429), TeacherError, "no credit"),
        (Reply(b"", status=404), RecipeError, "knows no model 'm'"),
        (Reply(b"", status=307, headers={"Location": "http://127.0.0.1:9/"}), TeacherError, "redirects to"),
    ],
)
def test_a_refusal_ends_it_after_one_call_and_shows_no_key(server, reply, kind, message):
    server.default = reply

    with pytest.raises(kind) as caught:
        asked(server, n=20)

    assert message in str(caught.value) and KEY not in str(caught.value)
    assert len(server.requests) == 1


def test_one_refused_question_does_not_stop_the_others(server):
    server.script = [Reply({"error": {"message": f"content filter {KEY}"}}, status=400)]
    server.default = lambda body: Reply(answer(body["messages"][0]["content"]))

    first, second = asked(server, n=2)

    assert first.text is None and "content filter" in first.reason and KEY not in first.reason
    assert second.text is not None


def test_a_cut_answer_is_no_answer(server):
    server.default = Reply(answer("6 * 3", finish="length"))

    [one] = asked(server)

    assert one.text is None and "teacher.max_tokens" in one.reason and len(server.requests) == 1


def test_a_drip_ends_at_the_deadline_of_the_whole_call(server):
    server.default = Reply(answer("x" * 400), drip=0.02)

    [one] = asked(server, deadline_seconds=0.5)

    assert one.text is None and "may have been paid" in one.reason


def test_a_response_without_end_is_cut(server, monkeypatch):
    monkeypatch.setattr("srit.teachers.openai.MAX_BYTES", 1000)
    server.default = Reply(answer("x" * 5000))

    [one] = asked(server)

    assert one.text is None


def test_silence_ends_in_giving_up(server):
    server.default = Reply(b"", status=500)

    with pytest.raises(TeacherError, match="no answer for"):
        asked(server, give_up_seconds=0.2)


@pytest.mark.parametrize(
    "reply, message",
    [
        (Reply(answer("yes")), "the same answer ('yes')"),
        (Reply(answer("a long ans", finish="length")), "no answer (cut: raise teacher.max_tokens)"),
        (Reply({"error": "no such model"}, status=400), "no answer (refused: status 400"),
    ],
)
def test_a_teacher_that_says_one_thing_only_is_stopped(server, reply, message):
    server.default = reply

    with pytest.raises(TeacherError, match=re.escape(f"m gave {message}") + ".* 20 times in a row"):
        asked(server, n=60)

    assert len(server.requests) < 30


@pytest.mark.parametrize(
    "budget, message",
    [({"max_calls": 3}, "budget of 3 calls"), ({"max_spent_tokens": 40}, "48 tokens are spent of a budget of 40")],
)
def test_a_budget_ends_it_with_the_answers_that_came(server, budget, message):
    server.default = lambda body: Reply(answer(body["messages"][0]["content"]))  # 16 tokens each
    arrived = []

    with pytest.raises(TeacherError, match=message):
        for one in OpenAITeacher(Endpoint(server.url, "m", concurrency=1, **budget)).answer(questions(5)):
            arrived.append(one)

    assert len(arrived) == len(server.requests) == 3


def test_a_lone_surrogate_arrives_as_it_was_sent(server):
    server.default = Reply(json.dumps(answer("a\ud800b")).encode())

    [one] = asked(server)

    assert one.text == "a\ud800b"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.com/v1", "in the clear"),
        ("https://me:secret@example.com/v1", "environment variable"),
        ("ftp://example.com", "must begin with"),
        ("https://example.com/v1", "holds no key"),
    ],
)
def test_an_address_that_would_leak_is_refused(monkeypatch, url, message):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with pytest.raises(RecipeError, match=message) as caught:
        OpenAITeacher(Endpoint(url, "m"))

    assert "secret" not in str(caught.value)


def test_a_solver_answers_with_the_worked_solution():
    [problem] = find_task("sums").load("train", data=None, limit=1, seed=0)

    [one] = SolverTeacher(find_task).answer([Question(problem, "")])

    assert one.text == problem.rationale


def test_recordings_answer_by_id(tmp_path):
    path, more = tmp_path / "teacher.jsonl.gz", tmp_path / "more.jsonl"
    rows = [
        {"id": "p0", "split": "train", "variant": "a", "output": "first"},
        {"id": "p0", "split": "train", "variant": "a", "output": "second"},
        {"id": "p0", "split": "train", "variant": "b", "output": "other"},
    ]
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))

    more.write_text('{"problem_id": "p1", "text": "from another file", "variant": "a"}\n')

    def texts(paths, variant):
        return [a.text for a in RecordingTeacher(paths, variant).answer(questions(2))]

    assert texts([path], "a") == ["first", None]
    assert texts([path], "b") == ["other", None]
    assert texts([path, more], "a") == ["first", "from another file"]
    with pytest.raises(DataError, match="no variant 'c', only a, b"):
        RecordingTeacher([path], "c")


def test_an_answer_that_is_stored_is_never_asked_for_again(server):
    server.default = lambda body: Reply(answer(f"{body['messages'][0]['content']} The answer is 2."))
    store = {}

    def demonstrate(n, keep):
        teacher = OpenAITeacher(Endpoint(server.url, "m", concurrency=3))
        return make_demonstrations(questions(n), teacher, Demonstrations(keep=keep), store, store.__setitem__)

    demonstrate(4, "correct")
    made, counts = demonstrate(7, "all")

    assert len(server.requests) == 7
    assert len(made) == sum(counts.values()) == 7
    assert all(d.text.startswith("What is") for d in made)


def test_a_local_model_teaches_through_the_sampler():
    def complete(prompts):
        for prompt in prompts:
            yield f"echo {prompt}", "3 +" in prompt

    answers = list(LocalTeacher("local", {}, complete, rows=2).answer(questions(5)))

    assert [a.text for a in answers][:2] == ["echo What is 0 + 1?", "echo What is 1 + 1?"]
    assert [a.problem_id for a in answers if a.text is None] == ["p3"]
