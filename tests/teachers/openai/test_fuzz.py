"""Whatever a server sends is read: an answer, a fault or neither, in bounded time and memory."""

import json
import resource
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from teacher_server import answer

from srit.teachers.openai.faults import Fault
from srit.teachers.openai.reply import Received, Reply, read_reply

NAMES = st.sampled_from(
    [
        *("choices", "message", "content", "text", "refusal", "reasoning_content", "type", "thought", "value", "model"),
        *("finish_reason", "stop_reason", "usage", "prompt_tokens", "completion_tokens", "completion_tokens_details"),
        *("error", "errors", "code", "status", "detail", "base_resp", "flagged", "moderation", "param", "loc", "msg"),
        *("title", "retry_after", "reasoning_tokens"),
    ]
)
WORDS = st.sampled_from(
    [
        *("stop", "length", "429", "429.0", "HTTP 503", "rate_limit_exceeded", "content_filter", "insufficient_quota"),
        *("0", "success", "try again in 6m0s", "retry after 1e999 s", "in 99999999999999999999 seconds", "{"),
        *('{"error": {}}', "model_not_found", "\ud800", "\x00\x1b[31m"),
        *("9" * 5000, " " * 5000, "in 1h" * 500, "a" * 70_000),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=6),
    max_leaves=15,
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "location"]),
    WORDS | st.sampled_from(["-1", "nan", "inf", "1e309", "Thu, 99 Foo 2026 25:61:61 GMT", "\xe9"]),
    max_size=2,
)


@st.composite
def bodies(draw):
    """Bytes, JSON of any shape, or an answer with a part replaced or its bytes damaged."""
    kind = draw(st.sampled_from(["bytes", "json", "replaced", "damaged", "deep"]))
    if kind == "bytes":
        return draw(st.binary(max_size=200))
    if kind == "json":
        return json.dumps(draw(VALUES)).encode()
    if kind == "deep":
        opening = draw(st.sampled_from(["[", '{"error":', '{"choices":[', '[{"message":']))
        return opening.encode() * draw(st.sampled_from([10, 900, 100_000]))
    whole = answer(draw(WORDS | st.none() | VALUES))
    place = draw(st.sampled_from([whole, whole["choices"][0], whole["choices"][0]["message"], whole["usage"]]))
    for _ in range(draw(st.integers(1, 3))):
        place[draw(NAMES)] = draw(VALUES)
    data = json.dumps(whole).encode()
    if kind == "damaged":
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 20)) :]
    return data


def read_any(body, status, headers):
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    read = read_reply(Received(status, headers, body), 512)

    assert isinstance(read, (Reply, Fault))
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # kilobytes
    if isinstance(read, Reply):
        assert (read.text is None) == bool(read.reason) and read.n_completion_tokens >= 0
    assert all(character.isprintable() or character in "\u200c\u200d" for character in ascii(read.reason))


STATUSES = st.sampled_from([200, 200, 200, 201, 301, 400, 401, 403, 404, 418, 422, 429, 500, 503, 599])
ANY = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@given(bodies(), STATUSES, HEADERS)
@settings(max_examples=2_000, derandomize=True, **ANY)
def test_any_body_is_read(body, status, headers):
    read_any(body, status, headers)


@pytest.mark.slow
@given(bodies(), STATUSES, HEADERS)
@settings(max_examples=100_000, **ANY)
def test_any_of_a_hundred_thousand_bodies_is_read(body, status, headers):
    read_any(body, status, headers)
