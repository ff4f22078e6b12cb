"""The address and settings of a server, and the key for it: neither keys nor prompts travel unencrypted."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from srit.errors import RecipeError

NO_KEY = "none"  # sent where there is no key: the client library requires one, and servers without keys ignore it

_SECRET = 16  # characters of a key that is not a placeholder, which an answer may well contain
_BEGINNING = 8  # characters of a key that show that a text was cut within it
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_LOOPBACK = ("127.0.0.0/8", "0.0.0.0/32", "::1/128", "::/128")
# Python's is_private also includes addresses reserved for documentation and benchmarks, which may be routed.
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")
_LOCAL_NAMES = (".local", ".localhost", ".internal", ".lan", ".home.arpa")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a teacher's server, and how to ask it."""

    base_url: str
    model: str
    api_key_env: str | None = "OPENAI_API_KEY"  # the variable that holds the key; None: the server needs none
    temperature: float | None = 0.0  # None: not sent
    max_tokens: int = 512
    extra: Mapping[str, Any] = field(default_factory=dict)  # more fields of the request's body
    thoughts: bool = False  # whether an answer has the thoughts that are sent beside it
    concurrency: int = 8
    max_calls: int | None = None  # of the whole run; None: no limit
    max_spent_tokens: int | None = None  # prompt and completion tokens of the whole run, as the server counts them
    max_dollars: float | None = None  # of the whole run, at `prices`
    prices: tuple[float, float] | None = None  # dollars a million prompt and completion tokens
    max_refused: float = 0.05  # share of the questions that the server may refuse
    deadline_seconds: float = 600.0  # for one call, from sending to the last byte
    idle_seconds: float = 60.0  # without a byte, once the response has begun or others are answered much faster
    give_up_seconds: float = 600.0  # without any answer
    first_wait_seconds: float = 1.0  # after a question's first failure; doubled after each further one
    stop_seconds: float = 6.0  # how long to wait for answers in flight when the program is stopped


def key_for(base_url: str, api_key_env: str | None) -> str:
    """Return the key to send to an address; `NO_KEY` where none is set and none is needed.

    Args:
        api_key_env: the environment variable that holds the key; None: the server needs none.

    Raises:
        RecipeError: the address would expose a key or the prompts, or needs a key that is not set.
    """
    try:
        address = urlsplit(base_url)
        _ = address.port
    except ValueError:  # would repeat what is wrong, which may be a password
        raise RecipeError("teacher.base_url is not an address: look at its brackets and its port") from None
    if address.username or address.password or address.query or address.fragment:
        raise RecipeError(
            "teacher.base_url contains a user name, a password or a query: put the key in an environment variable, and "
            "its name in teacher.api_key_env"
        )
    if api_key_env and not _VARIABLE.fullmatch(api_key_env):
        raise RecipeError(
            "teacher.api_key_env is not the name of an environment variable: put the key in one, and give its name here"
        )
    if address.scheme not in ("http", "https") or not address.hostname:
        raise RecipeError(
            f"teacher.base_url is {base_url!r}: it must begin with https:// (or http:// on your own network)"
        )
    key = os.environ.get(api_key_env, "").strip() if api_key_env else ""
    if not (key.isascii() and key.isprintable()):
        raise RecipeError(
            f"the environment variable {api_key_env} (teacher.api_key_env) is not a key: it has characters that "
            "no HTTP header can carry"
        )
    is_local = is_loopback(address.hostname)
    if address.scheme == "http" and not is_local:
        _check_unencrypted(base_url, address.hostname, api_key_env, has_key=bool(key))
    if not key and not is_local and not is_private(address.hostname) and api_key_env:
        raise RecipeError(
            f"the environment variable {api_key_env} (teacher.api_key_env) is not set, and {base_url} is not on your "
            "own network: set it, or set teacher.api_key_env: null if the server needs no key"
        )
    return key or NO_KEY


def proxy_for(base_url: str) -> str | None:
    """Return the proxy that the environment names for an address; None: there is none, or it is this machine."""
    address = urlsplit(base_url)
    host = address.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    return proxies.get(address.scheme) or proxies.get("all")


def redacted(text: str, key: str) -> str:
    """Remove a key that a server repeats, even if the text was cut within it: nothing kept or shown contains it."""
    text = _without(text, key)
    if key != NO_KEY and key[:_BEGINNING] in text:
        for end in range(len(key), min(_BEGINNING, len(key)) - 1, -1):
            text = text.replace(key[:end], "…")
    return text


def redacted_answer(text: str, key: str) -> str:
    """Remove a key from a whole answer, which may well contain the beginning of one, or a placeholder."""
    return _without(text, key) if len(key) >= _SECRET else text


def _without(text: str, key: str) -> str:
    if key == NO_KEY:
        return text
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in key)
    for form in {key, quote(key, safe=""), json.dumps(key)[1:-1], key.replace("/", "\\/"), escaped}:
        text = text.replace(form, "…")
    return text


def _check_unencrypted(base_url: str, host: str, api_key_env: str | None, *, has_key: bool) -> None:
    if not is_private(host):
        raise RecipeError(
            f"teacher.base_url is {base_url!r}: over plain http to a public address, prompts and keys travel "
            "unencrypted and answers can be forged; use https"
        )
    if has_key:
        raise RecipeError(
            f"teacher.base_url is {base_url!r}: the key in {api_key_env} would travel unencrypted; use https, or "
            "set teacher.api_key_env: null if the server needs no key"
        )


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    return _is_within(host, _LOOPBACK) if _address(host) else host.rstrip(".").lower() in ("localhost",)


def is_private(host: str) -> bool:
    """Return whether a host is on a private network, judged by its address or the form of its name."""
    if _address(host):
        return _is_within(host, _LOOPBACK + _PRIVATE)
    name = host.rstrip(".").lower()
    # A non-ASCII name may resolve to dots and digits other than those it shows.
    return name.isascii() and ("." not in name or name.endswith(_LOCAL_NAMES))


def _is_within(host: str, networks: tuple[str, ...]) -> bool:
    address = _address(host)
    known: list[IPv4Network | IPv6Network] = [ip_network(network) for network in networks]
    return any(address in network for network in known if address and network.version == address.version)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address of a numeric host, in any spelling that resolvers accept: 0x7f.1 is 127.0.0.1."""
    try:
        found = ip_address(host)
    except ValueError:
        try:
            found = IPv4Address(socket.inet_aton(host.rstrip(".")))
        except (OSError, ValueError):
            return None
    return getattr(found, "ipv4_mapped", None) or found
