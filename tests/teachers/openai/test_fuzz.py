"""Whatever a server sends is read: an answer, a fault or neither, in bounded time and memory."""

import json
import resource
import time
from random import Random

from drawn import FUZZED, SECONDS, named
from teacher_server import answer

from srit.teachers.openai.faults import Fault
from srit.teachers.openai.reply import Received, Reply, read_reply

NAMES = [
    *("choices", "message", "content", "text", "refusal", "reasoning_content", "type", "thought", "value", "model"),
    *("finish_reason", "stop_reason", "usage", "prompt_tokens", "completion_tokens", "completion_tokens_details"),
    *("error", "errors", "code", "status", "detail", "base_resp", "flagged", "moderation", "param", "loc", "msg"),
    *("title", "retry_after", "reasoning_tokens", "x"),
]
SCALARS = [
    *(None, True, False, 0, -1, 429, 10**400, 1e308, float("nan"), float("-inf"), 0.5, "", "stop", "length", "429"),
    *("429.0", "HTTP 503", "rate_limit_exceeded", "content_filter", "insufficient_quota", "0", "success", "{"),
    *("try again in 6m0s", "retry after 1e999 s", "in 99999999999999999999 seconds", '{"error": {}}'),
    *("model_not_found", "\ud800", "\x00\x1b[31m", "9" * 5000, " " * 5000, "in 1h" * 500, "a" * 70_000),
]
HEADERS = ["retry-after", "retry-after-ms", "location"]
WAITS = ["-1", "nan", "inf", "1e309", "Thu, 99 Foo 2026 25:61:61 GMT", "Fri, 31 Dec 9999 23:59:59 -9999", "\xe9", "5"]
OPENINGS = ["[", '{"error":', '{"choices":[', '[{"message":']
STATUSES = [200, 200, 200, 201, 301, 400, 401, 403, 404, 418, 422, 429, 500, 503, 599]


def value(draw, depth=0):
    """JSON of any shape."""
    kind = draw.random()
    if depth > 3 or kind < 0.5:
        return draw.choice(SCALARS)
    if kind < 0.65:
        return "".join(map(chr, draw.choices(range(0x3000), k=draw.randrange(20))))
    parts = [value(draw, depth + 1) for _ in range(draw.randrange(4))]
    return parts if kind < 0.75 else {draw.choice(NAMES): part for part in parts}


def body(draw):
    """Bytes, JSON of any shape, or an answer with parts replaced, perhaps damaged."""
    kind = draw.choice(["bytes", "json", "deep", "replaced", "replaced", "damaged", "damaged"])
    if kind == "bytes":
        return draw.randbytes(draw.randrange(200))
    if kind == "json":
        return json.dumps(value(draw)).encode()
    if kind == "deep":
        return draw.choice(OPENINGS).encode() * draw.choice([10, 900, 100_000])
    whole = answer(draw.choice(SCALARS))
    place = draw.choice([whole, whole["choices"][0], whole["choices"][0]["message"], whole["usage"]])
    for _ in range(draw.randrange(1, 4)):
        place[draw.choice(NAMES)] = value(draw)
    data = json.dumps(whole).encode()
    if kind == "damaged":
        at = draw.randrange(len(data))
        data = data[:at] + draw.randbytes(draw.randrange(3)) + data[at + draw.randrange(20) :]
    return data


def read_any(body, status, headers):
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    read = read_reply(Received(status, headers, body), 512)

    assert isinstance(read, (Reply, Fault))
    assert time.process_time() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # kilobytes
    if isinstance(read, Reply):
        assert (read.text is None) == bool(read.reason) and read.n_completion_tokens >= 0
    assert all(character.isprintable() or character in "\u200c\u200d" for character in ascii(read.reason))


def test_any_body_is_read():
    for number in range(FUZZED):
        draw = Random(number)
        headers = {draw.choice(HEADERS): draw.choice(WAITS) for _ in range(draw.randrange(3))}
        with named(number):
            read_any(body(draw), draw.choice(STATUSES), headers)
