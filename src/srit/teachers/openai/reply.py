"""Read a response of a teacher's server: a complete answer, an incomplete one, or a fault."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from srit.printable import one_line
from srit.teachers import CUT
from srit.teachers.openai.faults import (
    ErrorText,
    Fault,
    bare_error,
    error_text,
    fault_of,
    implied_status,
    reports_failure,
)

KEPT = 1 << 16  # bytes kept of a body that is not an answer; an incomplete answer is kept in full


class Received(NamedTuple):
    """A response as it was received."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """A server's reply to one question."""

    text: str | None  # None: there is no complete answer, and `reason` says why
    reason: str = ""
    settled: bool = True  # asking again would give the same reply
    cut: bool = False  # at the limit that the request set
    raw: str = ""  # what arrived instead of a complete answer
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    is_counted: bool = True  # whether the server counted the tokens
    model: str = ""  # that answered, as the server says


# The reasons that servers give when a model ended its answer by itself.
_ENDS = {
    *("", "none", "null", "stop", "stopped", "stop_sequence", "stop_token", "stop_word", "stop_string"),
    *("s", "return", "end", "end_turn", "complete", "n_completion", "finish", "finished", "done", "normal", "natural"),
}
_ENDS_LIKE = r"(?:eos|eot|im_end)(?:_|$)|end_?of_?"
# The first match counts: "model_length" is not the recipe's limit, and "max_tokens_error" is not a failure.
_OTHER_ENDS = (
    (r"model_length|context|window|error_limit", "cut at the model's own length, which no setting raises"),
    (r"^length|max_|token_?limit|truncat|^limit|output_limit", CUT),
    (
        r"filter|safety|recitation|blocklist|prohibited|spii|guardrail|moderat|refus|sensitive|flagged|policy|block|harm",
        "filtered: the server stopped the answer",
    ),
    (r"tool|function", "the answer is a tool call"),
)
_BROKEN = r"error|abort|cancel|interrupt|fail|time|insufficient|network|unavailable|overload|disconnect|rate_?limit"
_TEXTS = ("text", "output_text", "")  # the types of the parts that belong to the answer; thoughts do not


def read_reply(received: Received, limit: int, *, thoughts: bool = False) -> Reply | Fault:
    """Classify a response.

    Args:
        limit: tokens that the answer may have; one that used them all was cut, whatever its server says.
        thoughts: whether the answer begins with the thoughts that were sent beside it, as <think>…</think>.
    """
    value = _json(received.body)
    if received.status >= 300:
        error = error_text(value if isinstance(value, (dict, list)) else _start(received.body))
        return fault_of(received.status, error, received.headers)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = value[0]  # Gemini's gateway wraps an error in a list
    if not isinstance(value, dict):
        return _unusable(received.body)
    if (choice := _choice(value)) is not None:
        reply, error = _reply_of(choice, value.get("usage"), limit, thoughts=thoughts), _error_in(value, choice)
        reply = reply._replace(model=_model(value))
        if not _is_invalidated(reply, _finish(choice), error):
            return reply
    else:
        reply, error = _unusable(received.body), bare_error(value)
    if (status := implied_status(error)) is not None:
        return fault_of(status, error, received.headers)
    return reply if choice is None else _maybe_broken_off(reply, error)


def _is_invalidated(reply: Reply, finish: str, error: ErrorText) -> bool:
    """Return whether the error beside an answer counts. A complete answer was paid for, so a mere remark does not."""
    is_ended = reply.settled and finish.lower() not in ("", "none", "null")
    return reports_failure(error) if is_ended else error.is_error


def _maybe_broken_off(reply: Reply, error: ErrorText) -> Reply:
    """Make an answer unsettled that has an error beside it and nothing that says that it ended."""
    reason = f"{reply.reason or 'unusable answer: no end is named'} (error: {one_line(error.message) or 'no message'})"
    return reply._replace(text=None, reason=reason, settled=False, raw=reply.raw or reply.text or "")


def _reply_of(choice: Mapping[str, Any], usage: Any, limit: int, *, thoughts: bool) -> Reply:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {"content": message or choice.get("text")}
    text, refusal = _content(message)
    reason, settled = _incompleteness(_finish(choice))
    n_prompt = _count(usage, "prompt_tokens", "input_tokens")
    n_completion = _count(usage, "completion_tokens", "output_tokens")
    is_counted = n_prompt > 0 and n_completion > 0
    if not reason and _is_used_up(limit, usage, n_completion):
        reason = CUT
    if not reason and not text.strip():
        reason, settled = (
            (f"refused by the model: {one_line(refusal)}", True) if refusal else ("unusable answer: no text", False)
        )
    if not reason:
        thought = _thought(message).strip() if thoughts else ""
        text = f"<think>\n{thought}\n</think>\n\n{text.lstrip()}" if thought else text
        return Reply(text, n_prompt_tokens=n_prompt, n_completion_tokens=n_completion, is_counted=is_counted)
    return Reply(None, reason, settled, reason == CUT, text or _thought(message), n_prompt, n_completion, is_counted)


def _incompleteness(finish: str) -> tuple[str, bool]:
    """Return why a finish reason makes an answer incomplete ("" if it does not), and whether a retry is useless."""
    word = re.sub(r"\W+", "_", finish.lower()).removeprefix("finish_reason_").strip("_")
    if word in _ENDS or re.match(_ENDS_LIKE, word):
        return "", True
    for pattern, reason in _OTHER_ENDS:
        if re.search(pattern, word):
            return (reason if reason == CUT else f"{reason} (finish_reason {one_line(finish)})"), True
    if re.search(_BROKEN, word):
        return f"the answer broke off (finish_reason {one_line(finish)})", False
    return f"no known end (finish_reason {one_line(finish)})", True


def _finish(choice: Mapping[str, Any]) -> str:
    word = choice.get("finish_reason", choice.get("finishReason", choice.get("stop_reason")))
    word = word.get("type") if isinstance(word, dict) else word
    return "" if word is None else str(word)


def _model(value: Mapping[str, Any]) -> str:
    named = value.get("model")
    return one_line(named) if isinstance(named, str) else ""


def _choice(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _error_in(value: Mapping[str, Any], choice: Mapping[str, Any]) -> ErrorText:
    """Read the error beside an answer."""
    message = choice.get("message")
    places = (value, choice, message if isinstance(message, dict) else {})
    errors = [error_text(place[name]) for place in places for name in ("error", "errors") if place.get(name)]
    return next((error for error in errors if error.is_error), error_text(None))


def _content(message: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of the answer, and that of a refusal."""
    content, refusal = message.get("content"), message.get("refusal")
    parts = content if isinstance(content, list) else [content]
    text = "".join(_texts(parts))
    refusals = [part["refusal"] for part in parts if isinstance(part, dict) and isinstance(part.get("refusal"), str)]
    return text, "".join([*([refusal] if isinstance(refusal, str) else []), *refusals])


def _texts(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and str(part.get("type") or "").lower() in _TEXTS and not part.get("thought"):
            inner = part.get("text", part.get("content"))
            inner = inner.get("value") if isinstance(inner, dict) else inner
            yield inner if isinstance(inner, str) else ""


def _thought(message: Mapping[str, Any]) -> str:
    found = message.get("reasoning_content") or message.get("reasoning")
    return found if isinstance(found, str) else ""


def _is_used_up(limit: int, usage: Any, n_completion: int) -> bool:
    """Return whether an answer used all its tokens. If a server lets thoughts exceed the limit, the rest counts."""
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    beyond = _count(details, "reasoning_tokens") if n_completion > limit else 0
    return n_completion - beyond >= limit


def _count(usage: Any, *names: str) -> int:
    for name in names:
        value = usage.get(name) if isinstance(usage, dict) else None
        value = float(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
            return int(value)
    return 0


def _unusable(body: bytes) -> Reply:
    start = _start(body)
    return Reply(None, f"unusable answer: {one_line(start)}", settled=False, raw=start, is_counted=False)


def _start(body: bytes) -> str:
    return body[:KEPT].decode(errors="replace")


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
