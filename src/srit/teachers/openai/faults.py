"""Classify a server's refusals, whether they come as a status or inside a body with status 200.

Servers agree neither on where an error stands (`error`, `errors`, `detail`, `base_resp`, the body itself, the choice)
nor on its code: a number (429 or 429.0), a number as text ("HTTP 429"), or a name such as "overloaded_error".
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

from srit.printable import one_line

MAX_WAIT_ASKED = 86_400.0  # seconds; a server that gives a larger number means something else

Kind = Literal[
    "busy",  # the server did not accept this request: try it again
    "limited",  # the server accepts no request for now: all of them wait
    "refused",  # the server refuses this question
    "resend",  # it refused the fields of the request, which have changed since
    "fields",  # it refused the fields of the request, and there are no others to try
    "key",
    "credit",
    "model",
    "redirect",
]


class Fault(NamedTuple):
    """The reason that a request was not answered."""

    kind: Kind
    reason: str  # one line for the user
    status: int  # from the status line or the body
    wait_seconds: float | None  # that the server asks for; None: it asks for no wait
    complaint: str  # the codes and the message in full
    fields: str  # the fields of the request that the error names


class ErrorText(NamedTuple):
    """The parts of an error. The message may repeat the prompt, so the words of a question must mean nothing here."""

    codes: tuple[str, ...]
    message: str
    fields: str  # the fields of the request that it names, if any
    delays: str  # the values whose names speak of a retry
    names: str  # the names of all values that are not negative: {"moderation": {"flagged": false}} flags nothing
    is_error: bool  # False: it is empty or reports success, such as {"code": 0, "message": "success"}


_CODES = re.compile(r"(?:error_?|http_?|status_?)*(?:code|status|type)|__type|reason", re.IGNORECASE)
_MESSAGES = ("message", "msg", "error_msg", "error_message", "status_msg", "detail", "error", "title")
_FIELDS = ("param", "loc", "field", "parameter")
_DETAILS = ("errors", "base_resp", "details", "metadata", "innererror")
_DEPTH = 6
# 429, "429.0", "HTTP 429", "429 Too Many Requests", "https://httpstatuses.com/429"
_STATUS = re.compile(
    r"(?:(?:http(?:/[\d.]+)?|status|error|err|e|code)[\W_]*)*([45]\d\d)(?:\.0*)?(?:[\W_]+(?-i:[A-Z]).*)?|"
    r"https?://\S*/([45]\d\d)/?",
    re.IGNORECASE | re.DOTALL,
)
_STATED = re.compile(r"(?:status|error|http)\W{0,3}(?:code\W{0,3})?([45]\d\d)\b", re.IGNORECASE)
_SUCCESS = re.compile(
    r"\W*(?:0+(?:\.0*)?|(?:2\d\d|200+)(?:\.0*)?|none|null|no[_ ]?err(?:or)?s?|false|normal|done|completed?|"
    r"(?:\w+ ){0,3}(?:ok(?:ay)?|succe\w*))?\W*",
    re.IGNORECASE,
)
# An error beside a finished answer counts only if its message has one of these words; otherwise it is a remark.
_FAILURE = (
    r"fail|error|exceed|reached|exhaust|too |insufficient|invalid|denied|refus|reject|forbidden|unauthori|unable|"
    r"can(?:no|')t|could ?n[o']t|not (?:found|available|allowed|permitted)|unavailable|overload|throttl|"
    r"tim(?:e|ed)[ -]?out|abort|cancel|disconnect|interrupt|reset|lost|broke|went away|crash|out of|try again|retry|"
    r"[45]\d\d"
)

_CREDIT = (
    r"insufficient[_ ](?:quota|balance|credit|fund)|billing_(?:hard|not)|payment[_ ]required|arrearage|"
    r"exceeded_current_quota|your credit balance|(?:purchase|buy|add) (?:more )?credits|all available credits|"
    r"monthly spending limit"
)
_FLAGGED = (
    r"moderat|flagged|content[_ -]?(?:filter|policy|management)|responsible_?ai|data_?inspection|safety|guardrail|"
    r"(?:usage|acceptable use|content|terms).{0,20} polic|policy violation|prohibited[_ ]content|inappropriate|harmful|"
    r"unsafe|sensitive (?:content|word|topic|information)|filtered|jailbreak|prompt[_ -]?injection|hate[_ ]?speech|"
    r"(?:prompt|input|content|message) violates|敏感|违规|不安全"
)
_FLAG = re.compile(_FLAGGED, re.IGNORECASE)
_TOO_LARGE = r"too (?:large|long|big|many tokens)|context.length|maximum context|larger than|reduce (?:the|your)"
# The names under which a filter says whether it found anything, and its values if it did not.
_VERDICT = re.compile(r"flagged|filtered|blocked|detected|moderat|violat", re.IGNORECASE)
_NEGATIVE = (False, "", "false", "no", "none", "null", "0", "safe", "pass", "passed", "ok", "clean", "allowed")
# The status that an error implies by what it calls itself; the first match counts.
_NAMES = (
    (402, _CREDIT),
    (401, r"(?:invalid|incorrect)[_ ]api[_ ]?key|authentication|unauthori[sz]ed|unauthenticated"),
    (400, _FLAGGED),
    (
        429,
        r"rate[_ -]?limit|too[_ ]many[_ ]requests|throttl|resource_?exhausted|quota|requests per|tokens per|"
        r"(?:requests?|qps|concurrency)[_ ]limit|限流|频率|频繁|并发",
    ),
    (404, r"model_?not_?found|not_found_error|notfounderror|^not_found$"),
    (403, r"permission|forbidden|access_?denied"),
    (400, rf"bad_?request|invalid_?(?:request|argument|parameter|value)|unsupported|validation|{_TOO_LARGE}|too_large"),
    (
        503,
        r"overload|unavailable|capacity|upstream|gateway|tim(?:e|ed)[_ -]?out|deadline|internal|server[_ ]?error|"
        r"api_error|provider|engine|loading|busy|try again|temporar|connection",
    ),
)
_WAIT = re.compile(
    r"(?:again|retry)[\w\"' :=-]{0,20}?(?:in|after|delay|seconds)?[\"' :=]{0,4}(\d+(?:\.\d+)?) ?"
    r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?)\b",
    re.IGNORECASE,
)
# "Please try again in 6m0s"
_LONG_WAIT = re.compile(r"\b(?:in|after) (?:(\d{1,3})h)?(\d{1,4})m(\d{1,4}(?:\.\d+)?)s\b", re.IGNORECASE)


def fault_of(status: int, error: ErrorText, headers: Mapping[str, str]) -> Fault:
    """Classify an error that came with a status, or that implies one (`implied_status`)."""
    kind, complaint = _kind(status, error), " ".join((*error.codes, error.message))
    shown = headers.get("location", "another address") if kind == "redirect" else error.message
    reason = f"status {status}: {one_line(shown)}" if shown.strip() else f"status {status}"
    if kind == "refused" and (found := _flag(status, error)) and not re.search("flagged|moderation", reason.lower()):
        reason += f" (flagged: {one_line(found)})"
    wait = None
    if kind == "limited" or (kind == "busy" and status != 429):
        wait = _requested_wait(headers, error.message + " " + error.delays)
    return Fault(kind, reason, status, wait, complaint, error.fields)


def _kind(status: int, error: ErrorText) -> Kind:
    complaint = " ".join((*error.codes, error.message)).lower()
    if status == 402 or (status in (400, 403, 429) and re.search(_CREDIT, complaint)):
        return "credit"
    if 300 <= status < 400:
        return "redirect"
    if status == 404 or any(re.search(r"model_?not_?found", code, re.IGNORECASE) for code in error.codes):
        return "model"
    if status == 401 or (status == 403 and not _flag(status, error)):
        return "key"
    if status == 429:
        return "busy" if re.search(_TOO_LARGE, complaint) else "limited"
    return "busy" if status in (408, 409, 425) or status >= 500 else "refused"


def _flag(status: int, error: ErrorText) -> str:
    """Return the part of an error that says that a filter flagged the question; "" if none does."""
    named = next((part for part in (*error.codes, *error.names.split()) if _FLAG.search(part)), "")
    # The message counts only for 403: with other statuses it may repeat the words of a question.
    worded = _FLAG.search(error.message) if status == 403 else None
    return named or (worded[0] if worded else "")


def implied_status(error: ErrorText) -> int | None:
    """Return the status that an error's code, name or message implies; None if none of them does."""
    by_code = _coded_status(error)
    return by_code if by_code is not None else _worded_status(error.message)


def reports_failure(error: ErrorText) -> bool:
    """Return whether an error reports a failure, although the server calls the answer beside it finished."""
    if not error.is_error:
        return False
    if _coded_status(error) is not None:
        return True
    return _worded_status(error.message) is not None and bool(re.search(_FAILURE, error.message, re.IGNORECASE))


def _coded_status(error: ErrorText) -> int | None:
    for code in error.codes:
        if stated := _STATUS.fullmatch(code):
            return int(stated[1] or stated[2])
    return _worded_status(" ".join(error.codes))


def _worded_status(words: str) -> int | None:
    if stated := re.fullmatch(r"\s*([45]\d\d)\s*", words) or _STATED.search(words):
        return int(stated[1])
    return next((status for status, pattern in _NAMES if re.search(pattern, words, re.IGNORECASE)), None)


def bare_error(value: Mapping[str, Any]) -> ErrorText:
    """Read the error in a body without an answer: {"detail": …}, {"status": 429, "title": …}, {"flagged": true}."""
    return error_text({name: part for name, part in value.items() if _is_about_errors(name)})


def _is_about_errors(name: str) -> bool:
    known = name in _MESSAGES + _DETAILS + _FIELDS or bool(_CODES.fullmatch(name))
    return known or "retry" in name.lower() or bool(_FLAG.search(name))


def error_text(value: Any) -> ErrorText:
    """Read an error of any shape."""
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        return ErrorText((), value, "", "", "", not _SUCCESS.fullmatch(value))
    found = list(_scalars(value, ()))
    pairs = [(path[-1] if path else "", scalar) for path, scalar in found if scalar is not False]
    codes = [_code(scalar) for name, scalar in pairs if _CODES.fullmatch(name)]
    messages = [scalar for wanted in _MESSAGES for name, scalar in pairs if name == wanted and isinstance(scalar, str)]
    own = "; ".join(dict.fromkeys(message for message in messages if message.strip()))
    meant = _affirmed(found)
    shown = (".".join(path) if scalar is True else f"{'.'.join(path)} {scalar}".strip() for path, scalar in meant)
    return ErrorText(
        codes=tuple(codes),
        message=own or " ".join(shown),
        fields=" ".join(str(scalar) for name, scalar in pairs if name in _FIELDS),
        delays=" ".join(f"{name} {scalar}" for name, scalar in pairs if "retry" in name.lower()),
        names=" ".join(dict.fromkeys(name for path, _ in meant for name in path)),
        is_error=_is_error(codes, messages) if codes or messages else bool(pairs),
    )


def _is_error(codes: list[str], messages: list[str]) -> bool:
    is_remark = any(re.search("warn|notice", code, re.IGNORECASE) for code in codes)
    return not is_remark and not all(map(_SUCCESS.fullmatch, codes + messages))


_Scalar = tuple[tuple[str, ...], str | float]  # the names that lead to a value, and the value


def _code(scalar: str | float) -> str:
    return str(int(scalar)) if isinstance(scalar, float) and scalar.is_integer() else str(scalar)


def _affirmed(found: list[_Scalar]) -> list[_Scalar]:
    """Drop negative values, and the name and scores of a filter that found nothing."""
    cleared = {path[:-1] for path, scalar in found if _is_verdict(path) and _is_negative(scalar)}
    return [
        (path, scalar)
        for path, scalar in found
        if not _is_negative(scalar) and (_is_verdict(path) or not any(path[: len(top)] == top for top in cleared))
    ]


def _is_verdict(path: tuple[str, ...]) -> bool:
    return bool(path) and bool(_VERDICT.search(path[-1]))


def _is_negative(scalar: str | float) -> bool:
    return (scalar.strip().lower() if isinstance(scalar, str) else scalar) in _NEGATIVE


def _scalars(value: Any, path: tuple[str, ...], depth: int = 0) -> Iterator[_Scalar]:
    """Yield the values of a nested error with the names that lead to them, the outer before the inner."""
    if value is None or depth > _DEPTH:
        return
    if isinstance(value, str) and value.lstrip().startswith("{"):
        # A gateway often passes on the error of its upstream server as JSON in a string.
        try:
            yield from _scalars(json.loads(value), path, depth + 1)
        except (ValueError, RecursionError):
            yield path, value
    elif isinstance(value, (str, int, float)):
        yield path, value
    elif isinstance(value, dict):
        inner = sorted(value.items(), key=lambda pair: isinstance(pair[1], (dict, list)))
        for key, part in inner:
            yield from _scalars(part, (*path, key), depth + 1)
    elif isinstance(value, list):
        for part in value:
            yield from _scalars(part, path, depth + 1)


def _requested_wait(headers: Mapping[str, str], text: str) -> float | None:
    """Return the seconds that the server asks to wait, in a header or in words; None if it does not ask."""
    for seconds in (_number(headers.get("retry-after-ms"), 0.001), _number(headers.get("retry-after"), 1.0)):
        if seconds is not None:
            return seconds
    if (date := _date(headers.get("retry-after", ""))) is not None:
        return date
    if found := _LONG_WAIT.search(text):
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return _number(str(3600 * hours + 60 * minutes + seconds), 1.0)
    if found := _WAIT.search(text):
        unit = found[2].lower()
        scale = 0.001 if unit.startswith(("ms", "milli")) else 60.0 if unit.startswith("m") else 1.0
        return _number(found[1], scale)
    return None


def _number(text: str | None, scale: float) -> float | None:
    try:
        seconds = float(text or "") * scale
    except ValueError:
        return None
    return seconds if 0 <= seconds < MAX_WAIT_ASKED else None


def _date(text: str) -> float | None:
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, seconds) if seconds < MAX_WAIT_ASKED else None
