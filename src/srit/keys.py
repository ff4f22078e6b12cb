"""Finds keys in a recipe, where they would be printed and kept, and masks keys in other software's texts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

REMEDY = "put the key in an environment variable, and the variable's name in teacher.api_key_env"

# Fields that would hold a key, and parts of URLs that do; not `max_tokens`, `row_tokens` or `token_logps`.
_SECRET = re.compile(
    r"(?:^|[_-])(?:api[_-]?key|key|secret|password|passwd|credential|authorization|bearer|sig(?:nature)?|"
    r"(?:access|auth|api|hf)?[_-]?token)$",
    re.IGNORECASE,
)
# What the keys of known services look like.
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|gsk|xai|nvapi|pplx|fw)[-_](?=[\w-]*\d)[\w-]{12,}|hf_[A-Za-z0-9]{16,}|AIza[\w-]{20,}|"
    r"gh[opsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|xox[abp]-[\w-]{10,}|AKIA[A-Z0-9]{16}|ya29\.[\w-]{20,}|"
    r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})"
)
_BEARER = re.compile(r"\bbearer\s+\S{8,}", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # of an address, with the password
_LEAST = 6  # characters of a key: a shorter value could be an ordinary word
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOUND = "contains what looks like a key"
_RANDOM = 20  # characters: a longer name with both lower-case letters and digits is a key rather than a variable


def keys_in(tree: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the place of every name and value in a parsed recipe that is or holds a key, and why.

    The last part of a place may itself be or hold a key: show it `masked`.
    """
    if isinstance(tree, dict):
        for name, value in tree.items():
            if _looks_like_key(name):
                yield (*place, name), _FOUND
            else:
                yield from keys_in(value, (*place, name))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from keys_in(value, (*place, number))
    elif isinstance(tree, str) and tree and (reason := _reason(str(place[-1]) if place else "", tree)):
        yield place, reason


def _reason(field: str, text: str) -> str:
    if field.endswith("_env"):
        return "" if _is_variable(text) else "is not the name of an environment variable"
    if _SECRET.search(field):
        return "would keep a key in plain text"
    if _looks_like_key(text):
        return _FOUND
    return "contains a key in its address" if "://" in text and address_has_key(text) else ""


def _looks_like_key(text: str) -> bool:
    return bool(_KEY.search(text) or _BEARER.search(text))


def _is_variable(text: str) -> bool:
    if not _VARIABLE.fullmatch(text) or _KEY.search(text):
        return False
    is_mixed = re.search(r"[a-z]", text) and re.search(r"[0-9]", text)
    return not (len(text) >= _RANDOM and is_mixed) or text in os.environ


def address_has_key(text: str) -> bool:
    """Return whether a URL holds a user name, a password, or a field that is named like a key."""
    try:
        address = urlsplit(text)
        fields = [name for part in (address.query, address.fragment) for name, value in parse_qsl(part) if value]
    except ValueError:
        return False
    return "@" in address.netloc or any(_SECRET.search(name) for name in fields)


def masked(text: str) -> str:
    """Return other software's text without keys: those in this process's environment, and what looks like one."""
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= _LEAST:
            text = text.replace(value, "…")
    for pattern in (_KEY, _BEARER, _USER):
        text = pattern.sub("…", text)
    return text
