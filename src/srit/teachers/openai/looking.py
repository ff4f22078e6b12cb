"""Looks whether a server is there, takes the key and has the model, with one request that costs nothing."""

from __future__ import annotations

import difflib
import http.client
import json
import ssl
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from srit.errors import TeacherError
from srit.kinds import Finding
from srit.printable import one_line
from srit.teachers.openai.endpoint import NO_KEY, key_for, proxy_for, redacted

SECONDS = 5.0  # from the lookup of the address to the last byte
LONGEST = 2**20  # bytes of a list of models that are read


def look(base_url: str, model: str, api_key_env: str | None) -> Iterator[Finding]:
    """Ask the server for its models.

    Raises:
        RecipeError: as `key_for`.
        TeacherError: it cannot be reached, or refuses the key.
    """
    key = key_for(base_url, api_key_env)
    if proxy_for(base_url):
        yield Finding(True, f"teacher at {base_url}", "behind a proxy: it was not asked")
        return
    try:
        status, body = _in_time(base_url, key)
    except TimeoutError:
        yield Finding(False, f"teacher at {base_url}", f"has not listed its models in {SECONDS:.0f} s")
        return
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        said = str(getattr(error, "strerror", None) or error) or type(error).__name__
        reason = one_line(redacted(said, key))
        raise TeacherError(
            f"teacher.base_url: {base_url} cannot be reached ({reason}): start the server, or correct the address"
        ) from None
    if status in (401, 403):
        raise TeacherError(f"teacher.base_url: {base_url} {_refusal(key, api_key_env)} (status {status})")
    finding = _found(base_url, model, body if status == 200 else b"")
    yield finding._replace(found=redacted(finding.found, key))


def _refusal(key: str, api_key_env: str | None) -> str:
    if key != NO_KEY:
        return f"refuses the key in {api_key_env}: correct it"
    if api_key_env is None:
        return "wants a key: put it in an environment variable, and its name in teacher.api_key_env"
    return f"wants a key, and the environment variable {api_key_env} (teacher.api_key_env) is not set: set it"


def _in_time(base_url: str, key: str) -> tuple[int, bytes]:
    """Return the status and the body of GET /models, or give up: a socket's timeout bounds only each read of it."""
    outcome: SimpleQueue[tuple[int, bytes] | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            outcome.put(_get(base_url, key))
        except Exception as error:
            outcome.put(error)

    Thread(target=ask, daemon=True).start()
    try:
        found = outcome.get(timeout=SECONDS)
    except Empty:
        raise TimeoutError from None
    if isinstance(found, Exception):
        raise found
    return found


def _get(base_url: str, key: str) -> tuple[int, bytes]:
    """Send GET /models; no redirect is followed, so that the key goes nowhere else."""
    address = urlsplit(base_url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    options: dict[str, Any] = {"context": ssl.create_default_context()} if address.scheme == "https" else {}
    connection = kind(address.hostname or "", address.port, timeout=SECONDS, **options)
    headers = {"Accept-Encoding": "identity"} | ({} if key == NO_KEY else {"Authorization": f"Bearer {key}"})
    try:
        connection.request("GET", f"{address.path.rstrip('/')}/models", headers=headers)
        response = connection.getresponse()
        return response.status, response.read(LONGEST)
    finally:
        connection.close()


def _found(base_url: str, model: str, body: bytes) -> Finding:
    names = _models(body)
    what = f"teacher at {base_url}"
    if not names:
        return Finding(True, what, "answers; it lists no models")
    if model in names:
        return Finding(True, what, f"answers, and has {model}")
    near = difflib.get_close_matches(model, names, n=1) or names[:3]
    return Finding(
        False, what, one_line(f"answers, but does not list teacher.model {model!r}; it has {', '.join(near)}")
    )


def _models(body: bytes) -> list[str]:
    """Return the names in a list of models; none if the body is something else."""
    try:
        return [str(entry["id"]) for entry in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
