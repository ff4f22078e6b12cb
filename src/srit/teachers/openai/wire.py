"""Send requests from threads, with a limit on the bytes and the time of each response."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

import httpx2

from srit.errors import RecipeError
from srit.printable import one_line
from srit.teachers.openai.endpoint import proxy_for
from srit.teachers.openai.reply import Received

MAX_BYTES = 16 << 20  # of a response
CONNECT_SECONDS = 30.0
LONGEST_WAIT = 1.0  # seconds

Request = TypeVar("Request")


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class NoConnection(Exception):
    """The server could not be reached, so nothing was sent."""


class Lost(Exception):
    """The request was sent, but whether it was answered and charged is unknown."""


def client(base_url: str, key: str, deadline_seconds: float, idle_seconds: float) -> Any:
    """Make a client of the `openai` package that never retries by itself.

    Args:
        deadline_seconds: for one call, from sending to the last byte.
        idle_seconds: without a byte, once a response has begun.

    Raises:
        RecipeError: the environment names a proxy that cannot be used.
    """
    from openai import OpenAI

    transport = _Bounded(_transport(proxy_for(base_url)), deadline_seconds, idle_seconds)
    return OpenAI(
        base_url=base_url,
        api_key=key,
        max_retries=0,  # srit retries; a second loop would multiply the cost
        timeout=httpx2.Timeout(deadline_seconds, connect=min(CONNECT_SECONDS, deadline_seconds)),
        http_client=httpx2.Client(transport=transport, follow_redirects=False, headers={"Accept-Encoding": "identity"}),
    )


def _transport(proxy: str | None) -> httpx2.HTTPTransport:
    limits = httpx2.Limits(max_connections=None)  # there are as many as threads
    try:
        return httpx2.HTTPTransport(limits=limits, proxy=proxy)
    except (ValueError, ImportError) as error:  # the address may hold a password
        scheme = (proxy or "").partition(":")[0]
        raise RecipeError(
            f"teacher: the environment's proxy ({scheme}) cannot be used ({type(error).__name__}): give an http proxy "
            "in HTTPS_PROXY, or name the server in NO_PROXY"
        ) from None


def send(client: Any, fields: dict[str, Any], idempotency_key: str, extra: Mapping[str, Any] = _NOTHING) -> Received:
    """Send one request for a chat completion and return the response, whatever its status.

    Args:
        extra: fields that the client library does not know.

    Raises:
        NoConnection: the server could not be reached.
        Lost: the response broke off or came too late.
    """
    import openai

    try:
        raw = client.chat.completions.with_raw_response.create(
            **fields, extra_headers={"Idempotency-Key": idempotency_key}, extra_body=dict(extra) or None
        )
        response = raw.http_response
    except openai.APIStatusError as error:
        response = error.response
    except openai.APIConnectionError as error:
        cause = error.__cause__
        if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)):
            why = str(cause).removeprefix("[Errno ").partition("] ")[2] or str(cause) or "timed out"
            raise NoConnection(f"no connection: {one_line(why)}") from None
        raise Lost(one_line(str(cause)) or type(cause).__name__) from None
    return Received(response.status_code, response.headers, response.content)


class Arrived(NamedTuple, Generic[Request]):
    """A request and its outcome."""

    request: Request
    outcome: Received | Exception


class Threads(Generic[Request]):
    """Send requests concurrently, from threads that never keep the program from exiting."""

    def __init__(self, send: Callable[[Request], Received], n: int) -> None:
        self._send = send
        self._waiting: SimpleQueue[Request | None] = SimpleQueue()
        self._arrived: SimpleQueue[Arrived[Request] | None] = SimpleQueue()
        self._n = 0
        for _ in range(n):
            self.add()

    def add(self) -> None:
        """Start one more thread."""
        # At exit, Python would wait for the threads of concurrent.futures, however long a server takes.
        threading.Thread(target=self._work, daemon=True).start()
        self._n += 1

    def put(self, request: Request) -> None:
        """Queue a request; the next free thread sends it."""
        self._waiting.put(request)

    def get(self, seconds: float | None) -> list[Arrived[Request]]:
        """Return what has arrived, or what arrives next; [] if nothing does within `seconds` or a second, or at `wake`.

        A signal that comes between the last bytecode before a wait and the wait itself does not interrupt it, so no
        wait is long.
        """
        try:
            found = [self._arrived.get(timeout=LONGEST_WAIT if seconds is None else min(seconds, LONGEST_WAIT))]
        except Empty:
            return []
        while not self._arrived.empty():  # nobody else takes them
            found.append(self._arrived.get())
        return [one for one in found if one is not None]

    def wake(self) -> None:
        """Make `get` return; safe to call from a signal handler."""
        self._arrived.put(None)

    def close(self) -> None:
        """Let each thread end after its current request."""
        for _ in range(self._n):
            self._waiting.put(None)

    def _work(self) -> None:
        while (request := self._waiting.get()) is not None:
            try:
                outcome: Received | Exception = self._send(request)
            except Exception as error:  # raised again in the thread that calls `get`
                outcome = error
            self._arrived.put(Arrived(request, outcome))


class _Bounded(httpx2.BaseTransport):
    """End a response that is too long or too slow: httpx's own timeout applies to each read, not to the whole."""

    def __init__(self, inner: httpx2.BaseTransport, deadline_seconds: float, idle_seconds: float) -> None:
        self._inner = inner
        self._deadline_seconds = deadline_seconds
        self._idle_seconds = idle_seconds

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        deadline, idle = time.monotonic() + self._deadline_seconds, min(self._idle_seconds, self._deadline_seconds)
        response = self._inner.handle_request(request)
        # A process that was stopped (Ctrl-Z) finds the response when it continues, perhaps after its deadline.
        deadline = max(deadline, time.monotonic() + idle)
        request.extensions["timeout"]["read"] = idle  # it is looked at before each read of the body
        assert isinstance(response.stream, httpx2.SyncByteStream)
        encoding = response.headers.pop("content-encoding", "")  # else httpx decodes it, however long it becomes
        response.stream = _BoundedStream(response.stream, deadline, is_zipped=encoding in ("gzip", "x-gzip", "deflate"))
        return response

    def close(self) -> None:
        self._inner.close()


class _BoundedStream(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream, deadline: float, *, is_zipped: bool) -> None:
        self._inner = inner
        self._deadline = deadline
        self._decoded = _unzipped() if is_zipped else _as_it_is

    def __iter__(self) -> Iterator[bytes]:
        total = 0
        for part in self._inner:
            decoded = self._decoded(part, MAX_BYTES + 1 - total)
            total += len(decoded)
            if total > MAX_BYTES:
                raise httpx2.ReadError(f"the response is longer than {MAX_BYTES:,} bytes")
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("the response took too long")
            yield decoded

    def close(self) -> None:
        self._inner.close()


def _as_it_is(part: bytes, most: int) -> bytes:
    return part


def _unzipped() -> Callable[[bytes, int], bytes]:
    """Return a function that decodes the parts of a zipped response, each to so many bytes at most."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip or zlib, by its header

    def decoded(part: bytes, most: int) -> bytes:
        try:
            return stream.decompress(stream.unconsumed_tail + part, max(1, most))
        except zlib.error as error:
            raise httpx2.ReadError(f"the response is not what its Content-Encoding says ({error})") from None

    return decoded
