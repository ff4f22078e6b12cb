"""What a server's response means, in the forms that servers really send."""

import json
import re
from email.utils import formatdate
from time import time

import pytest
from teacher_server import answer

from srit.teachers.openai import faults
from srit.teachers.openai.faults import Fault
from srit.teachers.openai.reply import Received, Reply, read_reply

LIMIT = 64


def read(body, status=200, headers=()):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_reply(Received(status, dict(headers), data), LIMIT)


def reply(message=None, finish="stop", tokens=9, **more):
    choice = {
        "index": 0,
        "message": {"role": "assistant"} | (message or {"content": "So 11."}),
        "finish_reason": finish,
    }
    return {"id": "x", "choices": [choice | more], "usage": {"prompt_tokens": 7, "completion_tokens": tokens}}


def text(value):
    return {"type": "text", "text": value}


THINKING = {"type": "thinking", "thinking": [text("Maybe 12?")]}
CONTENTS = {
    "a text": ("So 11.", "So 11."),
    "parts of text": ([text("6 + 5 = 11. "), text("So 11.")], "6 + 5 = 11. So 11."),
    "a thought, then a text": ([THINKING, text("So 11.")], "So 11."),
    "a thought of type reasoning": ([{"type": "reasoning", "text": "12?"}, text("So 11.")], "So 11."),
    "a part that is marked as a thought": ([text("12?") | {"thought": True}, text("So 11.")], "So 11."),
    "output_text": ([{"type": "output_text", "text": "So 11.", "annotations": []}], "So 11."),
    "plain strings": (["So ", "11."], "So 11."),
    "a part without a type": ([{"text": "So 11."}], "So 11."),
    "a text with a value": ([{"type": "text", "text": {"value": "So 11.", "annotations": []}}], "So 11."),
    "one part without a list": (text("So 11."), "So 11."),
    "a type of null": ([{"type": None, "text": "So 11."}], "So 11."),
    "a type in capitals": ([{"type": "Text", "text": "So 11."}], "So 11."),
    "an image beside it": ([{"type": "image_url", "image_url": {"url": "x"}}, text("So 11.")], "So 11."),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_answer_is_the_text_of_the_content_and_no_thought(name):
    content, expected = CONTENTS[name]

    said = read(reply({"content": content, "reasoning_content": "Maybe 12?", "reasoning": "12"}))

    assert (said.text, said.settled, said.cut) == (expected, True, False)


@pytest.mark.parametrize(
    "finish",
    ["stop", "STOP", None, "", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "</s>", "<|return|>"],
)
def test_an_answer_that_its_server_calls_finished_is_whole(finish):
    assert read(reply(finish=finish)).text == "So 11."


def test_a_server_may_name_no_reason_for_the_end():
    body = reply()
    del body["choices"][0]["finish_reason"]

    assert read(body).text == "So 11."


# finish_reason: (its reason, whether a higher limit would help, whether asking again would end alike)
UNENDED = {
    "length": ("cut: raise teacher.max_tokens", True, True),
    "max_tokens": ("cut: raise teacher.max_tokens", True, True),
    "MAX_TOKENS": ("cut: raise teacher.max_tokens", True, True),
    "max_output_tokens": ("cut: raise teacher.max_tokens", True, True),
    "model_length": ("the model's own length", False, True),
    "model_context_window_exceeded": ("the model's own length", False, True),
    "content_filter": ("filtered", False, True),
    "SAFETY": ("filtered", False, True),
    "recitation": ("filtered", False, True),
    "tool_calls": ("tool call", False, True),
    "error": ("broke off", False, False),
    "abort": ("broke off", False, False),
    "network_error": ("broke off", False, False),
    "insufficient_system_resource": ("broke off", False, False),
    "weariness": ("no known end", False, True),
}


@pytest.mark.parametrize("finish", UNENDED)
@pytest.mark.parametrize("content", ["8 * 4 = 32 plums, since", None])
def test_an_answer_that_did_not_end_by_itself_is_none_and_says_why(finish, content):
    reason, cut, settled = UNENDED[finish]

    said = read(reply({"content": content}, finish))

    assert said.text is None and reason in said.reason
    assert (said.cut, said.settled, said.raw, said.n_completion_tokens) == (cut, settled, content or "", 9)


@pytest.mark.parametrize(
    "message", [{"content": None, "reasoning_content": "There are 40"}, {"content": ""}, {"content": "40 - 15 ="}]
)
@pytest.mark.parametrize("finish", ["length", "stop", None])
@pytest.mark.parametrize("tokens", [LIMIT, f"{LIMIT}"])
def test_an_answer_that_took_all_its_tokens_was_cut_whatever_its_server_says(message, finish, tokens):
    said = read(reply(message, finish, tokens=tokens))

    assert said.text is None and said.cut and said.settled and "teacher.max_tokens" in said.reason


def test_thoughts_that_a_server_does_not_limit_do_not_count_against_the_limit():
    def used(total, thoughts):
        body = reply(tokens=total)
        body["usage"]["completion_tokens_details"] = {"reasoning_tokens": thoughts}
        return read(body).text

    assert used(LIMIT + 30, 50) == "So 11."
    assert used(LIMIT, 50) is None
    assert used(LIMIT + 30, 10) is None


@pytest.mark.parametrize(
    "message",
    [{"content": None, "refusal": "I cannot help."}, {"content": [{"type": "refusal", "refusal": "I cannot help."}]}],
)
def test_a_refusal_of_the_model_is_settled_and_is_no_answer(message):
    said = read(reply(message))

    assert (said.text, said.settled, said.reason) == (None, True, "refused by the model: I cannot help.")


UNUSABLE = {
    "HTML": b"<html>hello</html>",
    "null": b"null",
    "a list": b"[]",
    "no choices": answer() | {"choices": []},
    "no choice": answer() | {"choices": None},
    "no message": answer() | {"choices": [{}]},
    "cut JSON": b'{"choices": [{"mess',
    "bad UTF-8": b'{"choices": "\xff"}',
    "deep nesting": b"[" * 100_000,
    "a thought and no answer": reply({"content": "", "reasoning_content": "12?"}),
    "an error that says nothing": {"error": {"message": "x"}},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_holds_no_answer_is_unsettled(name):
    said = read(UNUSABLE[name])

    assert isinstance(said, Reply) and said.text is None and not said.settled


ERRORS = {
    "a number": ({"error": {"message": "slow down", "code": 429}}, "limited", 429),
    "a number as text": ({"id": "x", "error": {"message": "upstream went away", "code": "502"}}, "busy", 502),
    "no credit": ({"error": {"message": "more money", "code": 402}}, "credit", 402),
    "no such key": ({"error": {"message": "No auth", "code": "401"}}, "key", 401),
    "a name": ({"error": {"message": "x", "type": "overloaded_error"}}, "busy", 503),
    "a name beside a type": ({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, "limited", 429),
    "no quota": ({"error": {"message": "x", "type": "insufficient_quota", "code": None}}, "credit", 402),
    "Google's": ({"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}, "busy", 503),
    "Google's in a list": ([{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}], "limited", 429),
    "Google's without a number": ({"error": {"status": "PERMISSION_DENIED", "message": "x"}}, "key", 403),
    "a text alone": ({"error": "Model is overloaded", "error_type": "overloaded"}, "busy", 503),
    "a text with a number": ({"error": "Error code: 429 - slow down"}, "limited", 429),
    "vLLM's": ({"object": "error", "message": "x", "type": "InternalServerError", "code": 500}, "busy", 500),
    "FastAPI's": ({"detail": "Too many requests"}, "limited", 429),
    "errors": ({"success": False, "errors": [{"code": 1000, "message": "Rate limit"}]}, "limited", 429),
    "a status in words": ({"statusCode": 529, "message": "x"}, "busy", 529),
    "base_resp": ({"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, "limited", 429),
    "in the choice": ({"choices": [{"error": {"code": 502, "message": "x"}, "finish_reason": "error"}]}, "busy", 502),
    "beside half an answer": (reply(finish="error", error={"code": "503", "message": "x"}), "busy", 503),
    "a request that is no good": ({"error": {"type": "invalid_request_error", "message": "x"}}, "refused", 400),
    "a model that is not there": ({"error": {"code": "model_not_found", "message": "x"}}, "model", 404),
    "a float": ({"error": {"code": 429.0, "message": "x"}}, "limited", 429),
    "a float as text": ({"error": {"code": "503.0", "message": "x"}}, "busy", 503),
    "a float without credit": ({"error": {"status": 402.0}}, "credit", 402),
    "a number with its name": ({"error": {"code": "HTTP 429", "message": "x"}}, "limited", 429),
    "a number with its phrase": ({"error": {"code": "503 Service Unavailable"}}, "busy", 503),
    "a number that is no code": ({"error": {"reason": "402 tokens are busy"}}, "busy", 503),
    "the error is a number": ({"error": 429}, "limited", 429),
    "the error is a number as text": ({"error": "429"}, "limited", 429),
    "problem+json": ({"status": 429, "title": "Too Many Requests"}, "limited", 429),
    "problem+json, a float": ({"type": "about:blank", "status": 503.0, "title": "x"}, "busy", 503),
    "problem+json, a title alone": ({"title": "Too Many Requests"}, "limited", 429),
    "problem+json, a type alone": ({"type": "https://httpstatuses.com/429", "title": "x"}, "limited", 429),
    "ASP.NET's": ({"type": "https://tools.ietf.org/html/rfc6585#section-4", "status": "429"}, "limited", 429),
    "JSON:API's": ({"errors": [{"status": "429", "title": "x"}]}, "limited", 429),
    "Spring's": ({"status": 502, "error": "Bad Gateway", "path": "/v1"}, "busy", 502),
    "Baidu's": ({"error_code": 18, "error_msg": "Open api qps request limit reached"}, "limited", 429),
    "Zhipu's": ({"error": {"code": "1302", "message": "您当前使用该API的并发数过高"}}, "limited", 429),
    "a flag": ({"flagged": True}, "refused", 400),
    "a flag in a detail": ({"detail": {"moderation": {"flagged": True}}}, "refused", 400),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_within_status_200_counts_as_the_status_that_it_names(name):
    body, kind, status = ERRORS[name]

    fault = read(body)

    assert isinstance(fault, Fault) and (fault.kind, fault.status) == (kind, status)


NO_ERRORS = [
    *(None, {}, "", [], [None], 0, False, "null", "none", "No error", {"code": None, "message": None}),
    *({"code": 0, "message": ""}, {"code": 0}, {"code": 0.0, "msg": "ok"}, {"code": "0", "message": "Success"}),
    *({"code": 200, "message": "OK"}, {"code": "success"}, {"code": 20000, "message": "Request succeeded."}),
    *({"code": 0, "message": "", "metadata": {"provider_name": "Azure"}}, {"type": "warning", "message": "no seed"}),
]
REMARKS = [
    *({"message": "x"}, {"code": -1, "message": "cache missed"}, True, {"code": 1000}, "a remark"),
    *({"message": "served by the fallback provider"}, {"message": "safety check passed"}),
    {"message": "unsupported parameter ignored: seed"},
]
FAILURES = {
    "a number": ({"code": 502, "message": "x"}, 502),
    "a float": ({"code": 429.0, "message": ""}, 429),
    "a name": ({"type": "overloaded_error", "message": "x"}, 503),
    "words": ({"message": "Rate limit exceeded"}, 429),
    "words, a code of 0": ({"code": 0, "message": "upstream timed out"}, 503),
    "a text": ("Provider returned error", 503),
}


def with_error(place, error, finish):
    body = reply(finish=finish)
    {"body": body, "choice": body["choices"][0], "message": body["choices"][0]["message"]}[place]["error"] = error
    return read(body)


@pytest.mark.parametrize("place", ["body", "choice", "message"])
@pytest.mark.parametrize("error", NO_ERRORS, ids=str)
@pytest.mark.parametrize("finish", ["stop", None])
def test_an_error_that_says_nothing_takes_no_answer_away(error, place, finish):
    assert with_error(place, error, finish).text == "So 11."


@pytest.mark.parametrize("error", REMARKS, ids=str)
def test_a_remark_takes_away_only_an_answer_that_nobody_calls_whole(error):
    assert with_error("body", error, "stop").text == "So 11."
    assert with_error("body", error, "length").cut
    assert getattr(with_error("body", error, None), "text", None) is None


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("finish", ["stop", None])
def test_an_error_that_says_what_failed_counts_beside_an_answer_too(name, finish):
    error, status = FAILURES[name]

    assert with_error("body", error, finish).status == status


def test_a_filter_that_failed_is_not_an_answer_that_failed():
    filtered = {"error": {"code": "content_filter_error", "message": "The contents are not filtered"}}

    assert read(reply(content_filter_result=filtered)).text == "So 11."  # Azure's


STATUSES = {
    "moderation": (403, {"error": {"code": 403, "message": "The input was flagged by moderation"}}, "refused"),
    "a flagged input": (403, {"error": {"message": "no", "metadata": {"flagged_input": "A hall"}}}, "refused"),
    "a policy": (403, {"error": {"message": "This violates our usage policies"}}, "refused"),
    "a safety system": (403, {"error": {"message": "rejected by the safety system"}}, "refused"),
    "a flag": (403, {"flagged": True}, "refused"),
    "a flag in a list": (403, [{"flagged": True}], "refused"),
    "a flag in words": (403, {"flagged": "true", "message": "Forbidden"}, "refused"),
    "a nested flag": (403, {"detail": {"moderation": {"flagged": True}}}, "refused"),
    "one flag of two": (403, {"results": [{"flagged": False}, {"flagged": True}]}, "refused"),
    "a block by moderation": (403, {"error": {"message": "no", "moderation": {"blocked": True}}}, "refused"),
    "JSON in a text": (403, {"error": {"message": "no", "details": '{"moderation": {"flagged": true}}'}}, "refused"),
    "a type": (403, {"error": {"type": "moderation_blocked", "message": "no"}}, "refused"),
    "Azure's results": (403, {"error": {"content_filter_result": {"hate": {"filtered": True}}}}, "refused"),
    "Gemini's": (403, {"promptFeedback": {"blockReason": "SAFETY"}}, "refused"),
    "no flag": (403, {"error": {"message": "no", "flagged": False}}, "key"),
    "no flag in words": (403, {"flagged": "false"}, "key"),
    "no nested flag": (403, {"moderation": {"flagged": False, "model": "m", "scores": {"hate": 0.1}}}, "key"),
    "Azure's results, all safe": (
        403,
        {"error": {"content_filter_result": {"hate": {"filtered": False, "severity": "safe"}}}},
        "key",
    ),
    "moderation without a result": (403, {"moderation": None}, "key"),
    "a region": (403, {"error": {"message": "Country not supported"}}, "key"),
    "no reason": (403, b"", "key"),
    "a key": (401, {"error": {"message": "flagged"}}, "key"),
    "Azure's filter": (400, {"error": {"code": "content_filter", "message": "x"}}, "refused"),
    "Anthropic without credit": (400, {"error": {"message": "Your credit balance is too low"}}, "credit"),
    "no credit": (402, b"", "credit"),
    "a question about money": (400, {"error": {"message": "Not read: Ann has no credit balance, and buys"}}, "refused"),
    "a question about size": (429, {"error": {"message": "Slow down", "input": "Is 9 larger than 7?"}}, "limited"),
    "no quota": (429, {"error": {"code": "insufficient_quota", "message": "x"}}, "credit"),
    "a limit": (429, {"error": {"code": "rate_limit_exceeded", "message": "Limit 10, Used 9, Requested 2"}}, "limited"),
    "one too large": (429, {"error": {"code": "rate_limit_exceeded", "message": "Request too large for m"}}, "busy"),
    "too long": (400, {"error": {"code": "context_length_exceeded", "message": "x"}}, "refused"),
    "too large": (413, b"<html>", "refused"),
    "not read": (422, {"detail": [{"loc": ["body", "x"], "msg": "bad"}]}, "refused"),
    "no model": (404, {"error": {"message": "no such model"}}, "model"),
    "elsewhere": (307, b"", "redirect"),
    "a timeout": (408, b"", "busy"),
    "overloaded": (529, b"overloaded", "busy"),
    "HTML": (503, b"<html>maintenance</html>", "busy"),
}


@pytest.mark.parametrize("name", STATUSES)
def test_a_status_and_its_words_say_whom_a_refusal_is_meant_for(name):
    status, body, kind = STATUSES[name]

    fault = read(body, status)

    assert (fault.kind, fault.status) == (kind, status) and str(status) in (fault.reason or str(status))
    if status == 403:
        assert (kind == "refused") == bool(re.search("flagged|moderation", fault.reason))


WAITS = {
    "seconds": ({"retry-after": "20"}, {}, 20),
    "milliseconds": ({"retry-after-ms": "1500"}, {}, 1.5),
    "in words": ({}, {"error": {"message": "Please try again in 7.66s."}}, 7.66),
    "in words, milliseconds": ({}, {"error": {"message": "Please try again in 120ms."}}, 0.12),
    "in minutes": ({}, {"error": {"message": "Please retry after 2 minutes"}}, 120),
    "Google's": ({}, {"error": {"message": "x", "details": [{"retryDelay": "34s"}]}}, 34),
    "garbage": ({"retry-after": "soon"}, {}, None),
    "negative": ({"retry-after": "-5"}, {}, None),
    "not a number": ({"retry-after": "nan"}, {}, None),
    "for ever": ({"retry-after": "inf"}, {}, None),
    "not said": ({}, {"error": {"message": "Limit 10, Used 9"}}, None),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_server_may_say_how_long_to_wait(name):
    headers, body, seconds = WAITS[name]

    assert read(body, 429, headers).wait_seconds == (seconds if seconds is None else pytest.approx(seconds))


def test_a_server_may_say_until_when_to_wait():
    assert 5 < read({}, 503, {"retry-after": formatdate(time() + 10, usegmt=True)}).wait_seconds <= 10


def test_what_a_server_says_is_shown_as_one_harmless_line():
    fault = read({"error": {"message": "a\x1b[31m\nb\u202e" + "x" * 500}}, 400)

    assert fault.reason.startswith("status 400: a\\x1b[31m b\\u202exxx") and len(fault.reason) < 250


@pytest.mark.parametrize(
    ("words", "seconds"),
    [("Please try again in 6m0s.", 360.0), ("try again in 1h2m3s", 3723.0), ("retry after 20s", 20.0)],
)
def test_a_wait_in_several_units_is_read_whole(words, seconds):
    body = {"error": {"message": f"Rate limit reached. {words}", "code": "rate_limit_exceeded"}}

    assert faults.fault_of(429, faults.error_text(body["error"]), {}).wait_seconds == seconds
