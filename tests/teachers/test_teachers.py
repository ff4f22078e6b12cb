import gzip
import json
import os
import re
import signal
import threading
from itertools import pairwise

import pytest
from teacher_server import Reply, TeacherServer, answer

from srit.errors import DataError, RecipeError, TeacherError
from srit.recipe import Demonstrations
from srit.records import Problem
from srit.stages.demonstrations import ask, make_demonstrations, spent_on
from srit.tasks import find_task
from srit.teachers import Answer, Question, answer_key
from srit.teachers.local import LocalTeacher
from srit.teachers.openai.endpoint import Endpoint
from srit.teachers.openai.teacher import OpenAITeacher
from srit.teachers.paid import Paid, said_to
from srit.teachers.paid import holding as known
from srit.teachers.recording import RecordingTeacher
from srit.teachers.solver import SolverTeacher

KEY = "sk-canary-0123456789"


def questions(n=1):
    return [Question(Problem(f"p{i}", "sums", "train", f"{i} + 1?", "2"), f"What is {i} + 1?") for i in range(n)]


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = TeacherServer()
    yield server
    server.close()


def asked(server, n=1, **settings):
    defaults = {"concurrency": 1, "deadline_seconds": 5.0, "give_up_seconds": 5.0, "first_wait_seconds": 0.01}
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
    monkeypatch.setattr("srit.teachers.openai.wire.MAX_BYTES", 1000)
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


def test_an_error_within_status_200_is_waited_for_like_a_status(server):
    server.script = [
        Reply({"error": {"message": "too many requests just now", "code": 429}}),
        Reply({"id": "x", "error": {"message": "upstream went away", "code": "502"}}),
    ]

    [one] = asked(server, first_wait_seconds=0.2)

    moments = [moment for moment, _, _ in server.requests]
    assert one.text is not None and one.n_calls == 3
    assert min(later - sooner for sooner, later in pairwise(moments)) >= 0.1


def test_an_error_within_status_200_ends_the_run_where_the_status_would(server):
    server.default = Reply({"error": {"message": "pay first", "code": 402}})

    with pytest.raises(TeacherError, match="credit"):
        asked(server, n=5)

    assert len(server.requests) == 1


@pytest.mark.parametrize("error", [{"code": 0, "message": ""}, {"code": 0, "message": "success"}, {"message": "x"}])
def test_a_whole_answer_beside_an_error_that_says_nothing_is_paid_for_once(server, error):
    server.default = Reply(answer(error=error))

    [one] = asked(server)

    assert one.text == "6 * 3 = 18. The answer is 18." and len(server.requests) == 1


@pytest.mark.parametrize(
    "body", [{"error": {"code": 429.0, "message": "x"}}, {"status": 429, "title": "Too Many Requests"}]
)
def test_a_limit_in_another_form_is_waited_for(server, body):
    server.script = [Reply(body)] * 3

    [one] = asked(server)

    assert one.text is not None and one.n_calls == 4


def holding(word, reply, otherwise=None):
    """A server that answers all questions, but those that hold a word in a way of their own."""

    def answered(body):
        prompt = body["messages"][0]["content"]
        return reply if word in prompt else otherwise or Reply(answer(f"{prompt} The answer is 2."))

    return answered


@pytest.mark.parametrize("settings", [{"concurrency": 1}, {"concurrency": 4}])
@pytest.mark.parametrize("number", [0, 3, 5])
@pytest.mark.parametrize(
    "reply",
    [
        Reply({"error": {"message": "the prompt does not fit"}}, status=500),
        Reply(b"<html>busy</html>", status=503),
        Reply({"error": {"message": "Request too large for m"}}, status=429),
        Reply({"error": {"code": 502, "message": "upstream went away"}}),
    ],
)
def test_a_question_that_alone_fails_is_given_up_and_the_others_are_answered(server, reply, number, settings):
    server.default = holding(f"What is {number} ", reply)

    answers = asked(server, n=6, first_wait_seconds=0.001, **settings)

    [failed] = [one for one in answers if one.text is None]
    assert failed.problem_id == f"p{number}" and not failed.settled and len(answers) == 6
    assert re.search("status 50[0-3]|status 429", failed.reason) and 6 <= failed.n_calls <= 9
    assert len(server.requests) == failed.n_calls + 5


FLAGGED = [
    {"error": {"code": 403, "message": "The input was flagged by moderation"}},
    {"flagged": True},
    {"detail": {"moderation": {"flagged": True}}},
    {"error": {"message": "Forbidden", "metadata": {"reasons": ["violence"], "flagged_input": "What is"}}},
    {"error": {"type": "moderation_blocked", "message": "no"}},
]
FORBIDDEN = Reply({"error": {"message": f"not for {KEY}"}}, status=403)


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("body", FLAGGED)
def test_a_flagged_question_is_refused_alone(server, number, body):
    server.default = holding(f"What is {number} ", Reply(body, status=403))

    answers = asked(server, n=4)

    [refused] = [one for one in answers if one.text is None]
    assert re.search("flagged|moderation", refused.reason) and not refused.settled
    assert refused.n_calls == 1 and len(answers) == len(server.requests) == 4


def test_a_refusal_without_a_reason_is_the_keys_only_while_nobody_was_answered(server):
    server.default = holding("What is 2 ", FORBIDDEN)

    answers = asked(server, n=4)

    [refused] = [one for one in answers if one.text is None]
    assert "status 403: not for …" in refused.reason
    with pytest.raises(TeacherError, match=r"OPENAI_API_KEY is refused \(status 403: not for …\)"):
        server.default = FORBIDDEN
        asked(server, n=4)


def reasoning_server(body):
    """Takes neither max_tokens nor a temperature, and says so one after the other."""
    for name, message in (
        ("max_tokens", "max_tokens is not supported by this model: send max_completion_tokens"),
        ("temperature", "only the default temperature, 1, is supported"),
    ):
        if name in body:
            error = {
                "message": message,
                "type": "invalid_request_error",
                "param": name,
                "code": "unsupported_parameter",
            }
            return Reply({"error": error}, status=400)
    return Reply(answer(body["messages"][0]["content"]))


def test_a_server_of_other_parameters_is_asked_by_them(server):
    server.default = reasoning_server
    told = []
    teacher = OpenAITeacher(Endpoint(server.url, "m", concurrency=2, max_tokens=64), told.append)

    answers = [*teacher.answer(questions(5)), *teacher.answer(questions(8)[5:])]

    assert [one.text is not None for one in answers] == [True] * 8
    fields = [set(body) - {"model", "messages"} for _, _, body in server.requests]
    assert fields.count({"max_completion_tokens"}) == 8 and len(fields) <= 8 + 4
    assert server.requests[-1][2]["max_completion_tokens"] == 64
    assert [line.split(":")[0].strip() for line in told] == [
        "m does not accept max_tokens",
        "m does not accept temperature 0.0",
    ]
    assert teacher.identity == OpenAITeacher(Endpoint(server.url, "m")).identity


def test_a_server_that_takes_no_limit_is_told_of_after_two_requests(server):
    def refuse(body):
        [name] = {"max_tokens", "max_completion_tokens"} & set(body)
        return Reply(
            {"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs"}]}, status=422
        )

    server.default = refuse

    with pytest.raises(RecipeError, match="neither as max_tokens nor as max_completion_tokens"):
        asked(server, n=5)

    assert len(server.requests) == 2


def test_no_temperature_is_sent_where_the_recipe_has_none(server):
    asked(server, temperature=None)

    assert "temperature" not in server.requests[0][2]


def test_equal_prompts_are_asked_once(server):
    [first], twin = questions(), Problem("twin", "sums", "train", "0 + 1?", "2")

    answers = list(OpenAITeacher(Endpoint(server.url, "m")).answer([first, Question(twin, first.prompt)]))

    assert [one.problem_id for one in answers] == ["p0", "twin"] and answers[0].text == answers[1].text
    assert [one.n_calls for one in answers] == [1, 0] and len(server.requests) == 1


@pytest.mark.parametrize("echo", [Reply(f"<html>{KEY}</html>".encode()), Reply({"error": {"message": KEY}})])
def test_a_key_that_is_echoed_within_status_200_is_kept_nowhere(server, echo):
    server.default = echo

    [one] = asked(server)

    assert KEY not in str(one) and "…" in one.reason


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_answers_on_their_way_when_it_is_stopped_are_taken_and_no_more_is_asked(server, number):
    waiting, noted, arrived = threading.Barrier(3), threading.Event(), []

    def reply(body):
        waiting.wait(10)
        noted.wait(10)
        return Reply()

    def stop():
        waiting.wait(10)
        os.kill(os.getpid(), number)

    server.default = reply
    teacher = OpenAITeacher(Endpoint(server.url, "m", concurrency=2), tell=lambda line: noted.set())
    threading.Thread(target=stop).start()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            for one in teacher.answer(questions(6)):
                arrived.append(one.problem_id)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert sorted(arrived) == ["p0", "p1"] and len(server.requests) == 2


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


def shelf():
    """Answers that are kept for the length of a test."""
    kept = {}
    return Paid(kept, lambda key, one: kept.setdefault(key, []).append(one), (), set())


def test_an_answer_that_is_stored_is_never_asked_for_again(server):
    server.default = lambda body: Reply(answer(f"{body['messages'][0]['content']} The answer is 2."))
    paid = shelf()

    def demonstrate(n, keep):
        teacher = OpenAITeacher(Endpoint(server.url, "m", concurrency=3))
        return make_demonstrations(questions(n), teacher, Demonstrations(keep=keep), paid)

    demonstrate(4, "correct")
    made, counts, unsettled = demonstrate(7, "all")

    assert len(server.requests) == 7 and unsettled == 0
    assert len(made) == sum(counts.values()) == 7
    assert all(d.text.startswith("What is") for d in made)


def test_a_raised_limit_asks_again_what_was_cut_and_nothing_else(server):
    def reply(body):
        if "What is 1 " in body["messages"][0]["content"] and body["max_tokens"] < 200:
            return Reply(answer(None, finish="length"))
        return Reply(answer("The answer is 2."))

    server.default, paid = reply, shelf()

    def texts(limit):
        server.requests.clear()
        answers = ask(questions(3), OpenAITeacher(Endpoint(server.url, "m", max_tokens=limit)), paid)
        return [answers[f"p{i}"].text is not None for i in range(3)], len(server.requests)

    assert texts(64) == ([True, False, True], 3)
    assert texts(64) == texts(32) == ([True, False, True], 0)
    assert texts(128) == ([True, False, True], 1)
    assert texts(256) == ([True, True, True], 1)
    assert texts(64) == ([True, True, True], 0)  # 9 tokens, as the server counted them: it fits
    assert texts(9) == ([False, False, False], 0)  # and here it would have been cut
    assert len({headers["idempotency-key"] for _, headers, _ in server.requests}) == len(server.requests)


def test_journals_of_the_time_when_the_limit_was_in_the_key_are_read(server):
    teacher = OpenAITeacher(Endpoint(server.url, "m", max_tokens=256))
    kept = [
        Answer("p0", "The answer is 2.", "", 1, 7, 9),
        Answer("p1", None, "cut: raise teacher.max_tokens", 1, 7, 64),
        Answer("p2", "The answer is 2. To be sure", "", 1, 7, 64),  # of a server that called it "stop"
    ]
    keys = [answer_key(teacher.identity | {"max_tokens": 64}, q.prompt) for q in questions(3)]
    old = {key: [one] for key, one in zip(keys, kept, strict=True)}

    def open_run(limit, *earlier):
        asked_now = OpenAITeacher(Endpoint(server.url, "m", max_tokens=limit))
        paid = Paid(old, print, earlier, set())
        found = [known(said_to(q, asked_now, paid), limit) for q in questions(3)]
        return [one and (one.text or one.reason) for one in found]

    cut = "cut: raise teacher.max_tokens"
    assert open_run(64) == ["The answer is 2.", cut, cut]
    assert open_run(256, 64) == ["The answer is 2.", None, None]
    assert open_run(256) == [None, None, None]  # no run of this folder ever had another limit


SETTLED, UNSETTLED = Answer("p", None, "filtered", limit=64), Answer("p", None, "refused", settled=False, limit=64)
WHOLE, CUT_SHORT = Answer("p", "2", "", limit=64), Answer("p", None, "cut", cut=True, limit=64)


@pytest.mark.parametrize(
    ("said", "limit", "expected"),
    [
        ([], 64, None),
        ([UNSETTLED], 64, None),
        ([UNSETTLED, WHOLE], 64, "2"),
        ([SETTLED], 256, "filtered"),
        ([CUT_SHORT], 64, "cut"),
        ([CUT_SHORT], 65, None),
        ([CUT_SHORT, WHOLE], 256, "2"),
        ([WHOLE], 256, "2"),
        ([WHOLE], 32, None),  # nobody counted its tokens
        ([WHOLE], None, "2"),
    ],
)
def test_an_answer_holds_while_asking_again_would_give_the_same(said, limit, expected):
    found = known(said, limit)

    assert (found and (found.text or found.reason)) == expected


def test_what_is_not_settled_is_asked_again_by_another_process_and_counted(server):
    server.default = holding("What is 1 ", Reply({"error": {"message": "the template failed"}}, status=400))
    teacher, paid = OpenAITeacher(Endpoint(server.url, "m")), shelf()

    ask(questions(3), teacher, paid)
    ask(questions(3), teacher, paid)

    assert len(server.requests) == 3  # this process has tried
    server.default = Reply()
    assert ask(questions(3), teacher, paid._replace(in_vain=set()))["p1"].text is not None
    assert len(server.requests) == 4
    assert spent_on(questions(3), teacher, paid) == {"n_calls": 4, "n_prompt_tokens": 21, "n_completion_tokens": 27}


@pytest.mark.parametrize("keep", ["correct", "all"])
@pytest.mark.parametrize(
    ("text", "trained", "reason"),
    [
        ("  The answer is 2.\n", "The answer is 2.", "right"),
        ("The answer is 2.</s>", "The answer is 2.", "right"),
        ("The answer is 2.<|im_end|>\n<|im_start|>user\nAnd 3?", "The answer is 2.", "right"),
        ("<s> The answer is 2.<|eot_id|>", "The answer is 2.", "right"),
        ("<|im_start|>assistant\nThe answer is 2.<end_of_turn>", "The answer is 2.", "right"),
        ("The answer is 2.\n\nQuestion: What is 1 + 1?\nThe answer is 3.", "The answer is 2.", "right"),
        ("<think>3?</think>The answer is 2.</s>", "<think>3?</think>The answer is 2.", "right"),
        (
            "<|channel|>analysis<|message|>3?<|end|><|start|>assistant<|channel|>final<|message|>The answer is 2.",
            "The answer is 2.",
            "right",
        ),
        ("<think>The answer is 2.", None, "its thought never ends"),
        ("2, I think.</think>\n\nThe answer is 2.", "The answer is 2.", "right"),  # its beginning was cut off
        ("The answer is 2.<|im_start|> So <|im_end|>", "The answer is 2.", "right"),
        ("half a pair \ud800. The answer is 2.", None, "surrogate"),
        (" \n", None, "says nothing"),
        (None, None, "filtered"),
    ],
)
def test_what_is_trained_on_is_a_text_that_can_be_learned(keep, text, trained, reason):
    def complete(chunks):
        return ((number, [(text, False)] * len(chunks[number])) for number in chunks)

    teacher = LocalTeacher("t", {}, complete, max_tokens=64, rows=8)
    paid = shelf()
    if text is None:
        paid.keep(answer_key({}, questions()[0].prompt), SETTLED)
    paid.keep(answer_key({}, questions(2)[1].prompt), Answer("p1", "The answer is 2.", "", limit=64))

    made, _, _ = make_demonstrations(questions(2), teacher, Demonstrations(keep=keep), paid)

    assert (made[0].text if made[0].kept else None) == trained and reason in made[0].reason


def test_a_local_model_teaches_through_the_sampler():
    def complete(chunks):
        for number in reversed(chunks):  # in any order
            yield number, [(f"echo {prompt}", "3 +" in prompt) for prompt in chunks[number]]

    answers = list(LocalTeacher("local", {}, complete, max_tokens=64, rows=2).answer(questions(5)))

    assert [a.text for a in answers if a.problem_id in ("p0", "p1")] == ["echo What is 0 + 1?", "echo What is 1 + 1?"]
    [cut] = [a for a in answers if a.text is None]
    assert (cut.problem_id, cut.cut, cut.limit, cut.raw) == ("p3", True, 64, "echo What is 3 + 1?")
    assert "teacher.max_tokens" in cut.reason
