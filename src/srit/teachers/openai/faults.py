"""What a server's refusal means, whether it comes as a status or inside a body with status 200.

Servers agree neither on the place of an error (`error`, `errors`, `detail`, `base_resp`, the body itself, the choice)
nor on its code: a number, a number as text, or a name such as "overloaded_error".
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

MAX_WAIT_ASKED = 86_400.0  # seconds; a server that asks for more means something else
SHOWN = 200  # characters of a message

Kind = Literal[
    "busy",  # this request was not accepted: try it again
    "limited",  # no request is accepted for now: all of them wait
    "refused",  # this question alone
    "resend",  # because of the fields it was sent with, which have changed since
    "fields",  # because of the fields it was sent with, and there are no others to try
    "key",
    "credit",
    "model",
    "redirect",
]


class Fault(NamedTuple):
    """Why a request was not answered."""

    kind: Kind
    reason: str  # for a person, in one line
    status: int  # as the server gives it, in the status line or in the body
    wait_seconds: float | None  # as the server asks for
    complaint: str  # codes and message in full
    fields: str  # the fields of the request that it names


class ErrorText(NamedTuple):
    """What an error says about itself. A server may repeat the prompt in it: words of a question mean nothing here."""

    codes: tuple[str, ...]
    message: str
    fields: str  # of the request, as far as it names any
    delays: str  # what is called a time to retry
    names: str  # of everything in it


_CODES = re.compile(r"(?:error_?|http_?|status_?)*(?:code|status|type)|__type|reason", re.IGNORECASE)
_MESSAGES = ("message", "msg", "error_msg", "error_message", "status_msg", "detail", "error", "title")
_FIELDS = ("param", "loc", "field", "parameter")
_DEPTH = 5

_CREDIT = (
    r"insufficient[_ ](?:quota|balance|credit|fund)|billing_(?:hard|not)|payment[_ ]required|arrearage|"
    r"exceeded_current_quota|your credit balance|(?:purchase|buy|add) (?:more )?credits|all available credits|"
    r"monthly spending limit"
)
_FLAGGED = (
    r"moderat|flagged|content[_ -]?(?:filter|policy|management)|responsible_?ai|data_?inspection|safety|guardrail|"
    r"(?:usage|acceptable use|content|terms).{0,20} polic|policy violation|prohibited[_ ]content|inappropriate|harmful|"
    r"unsafe|sensitive (?:content|word|topic|information)|敏感|违规|不安全"
)
_TOO_LARGE = r"too (?:large|long|big|many tokens)|context.length|maximum context|larger than|reduce (?:the|your)"
# What an error calls itself → the status that it would have had; the first match counts.
_NAMES = (
    (402, _CREDIT),
    (401, r"(?:invalid|incorrect)[_ ]api[_ ]?key|authentication|unauthori[sz]ed|unauthenticated"),
    (400, _FLAGGED),
    (429, r"rate[_ -]?limit|too[_ ]many[_ ]requests|throttl|resource_?exhausted|quota|requests per|tokens per"),
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
    """What to make of an error that came with a status, or that implies one (`implied_status`)."""
    kind, complaint = _kind(status, error), " ".join((*error.codes, error.message))
    shown = headers.get("location", "another address") if kind == "redirect" else error.message
    reason = f"status {status}: {plain(shown)}" if shown.strip() else f"status {status}"
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
    if status == 401 or (status == 403 and not re.search(_FLAGGED, f"{complaint} {error.names}".lower())):
        return "key"
    if status == 429:
        return "busy" if re.search(_TOO_LARGE, complaint) else "limited"
    return "busy" if status in (408, 409, 425) or status >= 500 else "refused"


def implied_status(error: ErrorText) -> int | None:
    """The status that an error would have had, by its code, its name or its words; None: nothing says which."""
    for code in error.codes:
        if re.fullmatch(r"[45]\d\d", code):
            return int(code)
    for words in (" ".join(error.codes), error.message):
        if stated := re.search(r"(?:status|error|http)\W{0,3}(?:code\W{0,3})?([45]\d\d)\b", words, re.IGNORECASE):
            return int(stated[1])
        for status, pattern in _NAMES:
            if re.search(pattern, words, re.IGNORECASE):
                return status
    return None


def error_text(value: Any) -> ErrorText:
    """What an error says, wherever in a body it says it."""
    if isinstance(value, str):
        return ErrorText((), value, "", "", "")
    pairs = list(_pairs(value, 0))
    codes = [str(scalar) for name, scalar in pairs if _CODES.fullmatch(name)]
    messages = [scalar for wanted in _MESSAGES for name, scalar in pairs if name == wanted and isinstance(scalar, str)]
    message = "; ".join(dict.fromkeys(messages)) or " ".join(f"{name} {scalar}" for name, scalar in pairs)
    fields = [str(scalar) for name, scalar in pairs if name in _FIELDS]
    delays = [f"{name} {scalar}" for name, scalar in pairs if "retry" in name.lower()]
    return ErrorText(tuple(codes), message, " ".join(fields), " ".join(delays), " ".join(name for name, _ in pairs))


def _pairs(value: Any, depth: int, name: str = "") -> Iterator[tuple[str, str | int]]:
    """Names and scalars of a nested error, the outer before the inner."""
    if isinstance(value, bool) or value is None or depth > _DEPTH:
        return
    if isinstance(value, str) and value.lstrip().startswith("{"):
        # Gateways often pass on the error of the server behind them as JSON in a string.
        try:
            yield from _pairs(json.loads(value), depth + 1, name)
        except (ValueError, RecursionError):
            yield name, value
    elif isinstance(value, (str, int)):
        yield name, value
    elif isinstance(value, dict):
        inner = sorted(value.items(), key=lambda pair: isinstance(pair[1], (dict, list)))
        for key, part in inner:
            yield from _pairs(part, depth + 1, key)
    elif isinstance(value, list):
        for part in value:
            yield from _pairs(part, depth + 1, name)


def plain(text: str) -> str:
    """Foreign text as one line without control characters, of `SHOWN` characters at most."""
    line = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    return line if len(line) <= SHOWN else line[:SHOWN] + "…"


def _requested_wait(headers: Mapping[str, str], text: str) -> float | None:
    """Seconds that the server asks to wait, in a header or in words; None if it does not."""
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
