"""Which refusals concern one question, the fields of a request, or everything."""

import re

import pytest
from teacher_server import KEY, Reply, answer, asked, each_of, failing_for, questions

from srit.errors import RecipeError, TeacherError
from srit.teachers.openai.endpoint import Endpoint
from srit.teachers.openai.teacher import OpenAITeacher


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (Reply({"error": {"message": f"bad key {KEY}"}}, status=401), TeacherError, "OPENAI_API_KEY was refused"),
        (Reply(b"", status=402), TeacherError, "no credit"),
        (Reply({"error": {"code": "insufficient_quota"}}, status=429), TeacherError, "no credit"),
        (Reply(b"", status=404), RecipeError, "has no model 'm'"),
        (Reply(b"", status=307, headers={"Location": "http://127.0.0.1:9/"}), TeacherError, "redirects to"),
    ],
)
def test_a_refusal_of_everything_stops_after_one_call_and_shows_no_key(server, reply, kind, message):
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
def test_a_question_that_fails_alone_is_given_up_and_the_others_are_answered(server, reply, number, settings):
    server.default = failing_for(f"What is {number} ", reply)

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
    server.default = failing_for(f"What is {number} ", Reply(body, status=403))

    answers = asked(server, n=4)

    [refused] = [one for one in answers if one.text is None]
    assert re.search("flagged|moderation", refused.reason) and not refused.settled
    assert refused.n_calls == 1 and len(answers) == len(server.requests) == 4


def test_a_refusal_without_a_reason_concerns_the_key_only_if_nothing_was_answered(server):
    server.default = failing_for("What is 2 ", FORBIDDEN)

    answers = asked(server, n=4)

    [refused] = [one for one in answers if one.text is None]
    assert "status 403: not for …" in refused.reason
    with pytest.raises(TeacherError, match=r"OPENAI_API_KEY was refused \(status 403: not for …\)"):
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


def test_a_server_with_other_parameters_is_sent_those(server):
    server.default = reasoning_server
    lines = []
    teacher = OpenAITeacher(Endpoint(server.url, "m", concurrency=2, max_tokens=64), lines.append)

    answers = [*each_of(teacher.answer(questions(5))), *each_of(teacher.answer(questions(8)[5:]))]

    assert [one.text is not None for one in answers] == [True] * 8
    fields = [set(body) - {"model", "messages"} for _, _, body in server.requests]
    assert fields.count({"max_completion_tokens"}) == 8 and len(fields) <= 8 + 4
    assert server.requests[-1][2]["max_completion_tokens"] == 64
    assert [line.split(":")[0].strip() for line in lines] == [
        "m does not accept max_tokens",
        "m does not accept temperature 0.0",
    ]
    assert teacher.identity == OpenAITeacher(Endpoint(server.url, "m")).identity


def test_a_server_that_accepts_no_limit_is_reported_after_two_requests(server):
    def refuse(body):
        [name] = {"max_tokens", "max_completion_tokens"} & set(body)
        return Reply(
            {"detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs"}]}, status=422
        )

    server.default = refuse

    with pytest.raises(RecipeError, match="neither max_tokens nor max_completion_tokens"):
        asked(server, n=5)

    assert len(server.requests) == 2


def test_no_temperature_is_sent_if_the_recipe_has_none(server):
    asked(server, temperature=None)

    assert "temperature" not in server.requests[0][2]
