"""A teacher behind an OpenAI-compatible endpoint: one retry loop, one budget, no answer paid for twice.

Faults fall in three classes. *Not accepted* (refused connection, 429, 5xx): tried again until nothing has
succeeded for `give_up_seconds`. *Unknown* (cut or late after the request was sent): tried once more, under
the same idempotency key. *Answered*: never asked again; an answer that is unusable is tried once more.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

import httpx2

from srit.errors import RecipeError, TeacherError
from srit.teachers import Answer, Question, answer_key

MAX_BYTES = 16 << 20  # of a response, decoded
MAX_WAIT = 60.0  # seconds between two tries where the server does not say
REPEATED = 20  # equal answers to different questions in a row: the teacher is broken
_OUT_OF_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how the teacher is asked."""

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"  # the variable that holds the key; a loopback server needs none
    temperature: float = 0.0
    max_tokens: int = 512
    concurrency: int = 8
    max_calls: int | None = None  # over this run; None: as many as it takes
    max_spent_tokens: int | None = None  # prompts and completions of this run, as the server counts them
    deadline_seconds: float = 600.0  # for one call, from sending to the last byte
    give_up_seconds: float = 600.0  # without one success


class OpenAITeacher:
    """Asks a chat model; answers come in the order in which they arrive."""

    def __init__(self, endpoint: Endpoint) -> None:
        """
        Raises:
            RecipeError: the address would show a key, or the key is not in the environment.
        """
        self.name = endpoint.model
        self.identity: dict[str, object] = {
            "base_url": endpoint.base_url,
            "model": endpoint.model,
            "temperature": endpoint.temperature,
            "max_tokens": endpoint.max_tokens,
        }
        self._endpoint = endpoint
        self._key = _key(endpoint)
        self._lock = threading.Lock()
        self._calls = 0
        self._spent_tokens = 0
        self._paused_until = 0.0
        self._last_success = time.monotonic()
        self._stopped = threading.Event()

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """One Answer a question, as they arrive.

        Raises:
            TeacherError: refused, out of credit or budget, or silent too long; what arrived was yielded.
        """
        self._last_success = time.monotonic()
        waiting = list(questions)[::-1]
        running: set[Future[Answer]] = set()
        failed: Exception | None = None
        said: list[tuple[str | None, str]] = []
        with self._client() as client, ThreadPoolExecutor(self._endpoint.concurrency) as threads:
            while running or (waiting and failed is None):
                while waiting and failed is None and len(running) < self._endpoint.concurrency:
                    running.add(threads.submit(self._ask, client, waiting.pop()))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    if error := future.exception():
                        failed = failed or (error if isinstance(error, Exception) else TeacherError(str(error)))
                        self._stopped.set()
                        continue
                    yield (answer := future.result())
                    said = [*said, (answer.text, answer.reason)][-REPEATED:]
                if failed is None and len(said) == REPEATED and len(set(said)) == 1:
                    text, reason = said[0]
                    what = f"no answer ({reason})" if text is None else f"the same answer ({text[:80]!r})"
                    failed = TeacherError(f"{self.name} gave {what} {REPEATED} times in a row")
        if failed is not None:
            raise failed

    def _client(self) -> Any:
        from openai import OpenAI

        limits = httpx2.Limits(max_connections=self._endpoint.concurrency)
        transport = _Bounded(httpx2.HTTPTransport(limits=limits), self._endpoint.deadline_seconds)
        return OpenAI(
            base_url=self._endpoint.base_url,
            api_key=self._key,
            max_retries=0,  # ours is the only loop: two would multiply what is paid
            timeout=self._endpoint.deadline_seconds,
            http_client=httpx2.Client(
                transport=transport, follow_redirects=False, headers={"Accept-Encoding": "identity"}
            ),
        )

    def _ask(self, client: Any, question: Question) -> Answer:
        """One question until it is answered or given up."""
        key = answer_key(self.identity, question.prompt)
        unknown = unusable = tries = 0
        jitter = Random(key)
        while True:
            self._wait_turn()
            tries += 1
            try:
                body = self._call(client, question.prompt, key)
            except _NotAccepted as fault:
                self._pause(fault.seconds if fault.seconds is not None else _backoff(tries, jitter), str(fault))
                continue
            except _Refused as fault:
                # Not paid for, and perhaps the server's setting: a later run asks again.
                return Answer(question.problem.id, None, f"refused: {fault}", tries, settled=False)
            except _Unknown as fault:
                unknown += 1
                if unknown > 1:
                    return Answer(
                        question.problem.id,
                        None,
                        f"no whole answer: {fault} (may have been paid)",
                        tries,
                        settled=False,
                    )
                continue
            self._last_success = time.monotonic()
            answer = _parsed(body, question.problem.id, tries)
            with self._lock:
                self._spent_tokens += answer.n_prompt_tokens + answer.n_completion_tokens
            if not answer.settled and not unusable:
                unusable = 1
                continue
            return answer

    def _call(self, client: Any, prompt: str, key: str) -> bytes:
        import openai

        with self._lock:
            if self._endpoint.max_calls is not None and self._calls >= self._endpoint.max_calls:
                raise TeacherError(f"the budget of {self._calls} calls is spent (teacher.max_calls): raise it to go on")
            budget = self._endpoint.max_spent_tokens
            if budget is not None and self._spent_tokens >= budget:
                raise TeacherError(
                    f"{self._spent_tokens} tokens are spent of a budget of {budget} (teacher.max_spent_tokens): "
                    "raise it to go on"
                )
            self._calls += 1
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=self._endpoint.model,
                messages=[{"role": "user", "content": prompt}],
                temperature=self._endpoint.temperature,
                max_tokens=self._endpoint.max_tokens,
                extra_headers={"Idempotency-Key": key},
            )
            content: bytes = raw.http_response.content
            return content
        except openai.APIStatusError as error:
            raise self._fault(error.response) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout)):
                raise _NotAccepted("no connection") from None
            raise _Unknown(type(cause).__name__) from None

    def _fault(self, response: httpx2.Response) -> Exception:
        """What a status means. The body may echo the key: no message holds it."""
        status, body = response.status_code, response.text[:2000].replace(self._key, "…")
        if status in (401, 403):
            return TeacherError(f"{self.name}: the key in {self._endpoint.api_key_env} is refused ({status})")
        if status == 402 or (status == 429 and any(word in body for word in _OUT_OF_CREDIT)):
            return TeacherError(f"{self.name}: the account has no credit ({status})")
        if status == 404:
            return RecipeError(
                f"teacher: {self._endpoint.base_url} knows no model {self._endpoint.model!r}, or the address is not "
                "whole, such as without /v1 at its end (404)"
            )
        if 300 <= status < 400:
            target = response.headers.get("location", "")
            return TeacherError(f"{self._endpoint.base_url} redirects to {target}: prompts go to the named host alone")
        if status in (408, 409, 429) or status >= 500:
            return _NotAccepted(f"status {status}", _retry_after(response))
        return _Refused(f"status {status}: {body[:200]}")

    def _pause(self, seconds: float, why: str) -> None:
        """For the whole client: a server that asks one caller to wait means all of them."""
        silent = time.monotonic() - self._last_success
        if silent > self._endpoint.give_up_seconds:
            raise TeacherError(f"{self.name}: no answer for {silent:.0f} s ({why}); what came is kept")
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _wait_turn(self) -> None:
        while (left := self._paused_until - time.monotonic()) > 0:
            if self._stopped.wait(min(left, 1.0)):
                break
        if self._stopped.is_set():
            raise TeacherError(f"{self.name}: stopped")


class _NotAccepted(Exception):
    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class _Unknown(Exception):
    """The request was sent; whether it was answered and paid is not known."""


class _Refused(Exception):
    """This one question is refused for good."""


class _Bounded(httpx2.BaseTransport):
    """Ends a response that is too long or takes too long; httpx's own timeout is for each read alone."""

    def __init__(self, inner: httpx2.BaseTransport, deadline_seconds: float) -> None:
        self._inner = inner
        self._deadline_seconds = deadline_seconds

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        deadline = time.monotonic() + self._deadline_seconds
        response = self._inner.handle_request(request)
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _BoundedStream(response.stream, deadline)
        return response

    def close(self) -> None:
        self._inner.close()


class _BoundedStream(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        total = 0
        for part in self._inner:
            total += len(part)
            if total > MAX_BYTES:
                raise httpx2.ReadError(f"more than {MAX_BYTES} bytes")
            if time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout("the whole call took too long")
            yield part

    def close(self) -> None:
        self._inner.close()


def _parsed(body: bytes, problem_id: str, tries: int) -> Answer:
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        text, finish = choice["message"]["content"], choice.get("finish_reason")
        usage = reply.get("usage") or {}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        start = body[:200].decode(errors="replace")
        return Answer(problem_id, None, f"unusable answer: {start!r}", tries, settled=False)
    prompted, completed = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    if not isinstance(text, str) or not text.strip():
        return Answer(problem_id, None, "unusable answer: no text", tries, prompted, completed, settled=False)
    if finish == "length":
        return Answer(problem_id, None, "cut: raise teacher.max_tokens", tries, prompted, completed)
    return Answer(problem_id, text, "", tries, prompted, completed)


def _count(usage: Any, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and value >= 0 else 0


def _retry_after(response: httpx2.Response) -> float | None:
    try:
        seconds = float(response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds < 86_400 else None


def _backoff(tries: int, jitter: Random) -> float:
    return float(min(MAX_WAIT, 0.5 * 2**tries) * jitter.uniform(0.5, 1.0))


def _key(endpoint: Endpoint) -> str:
    address = urlsplit(endpoint.base_url)
    loopback = address.hostname in ("localhost", "127.0.0.1", "::1")
    if address.scheme not in ("http", "https") or not address.hostname:
        raise RecipeError(f"teacher.base_url is {endpoint.base_url!r}: it must begin with https:// (or http:// here)")
    if address.username or address.password:
        raise RecipeError("teacher.base_url holds a name or password: put the key in an environment variable")
    if address.scheme == "http" and not loopback:
        raise RecipeError(f"teacher.base_url is {endpoint.base_url!r}: the key would travel in the clear; use https")
    key = os.environ.get(endpoint.api_key_env, "")
    if not key and not loopback:
        raise RecipeError(f"the environment variable {endpoint.api_key_env} (teacher.api_key_env) holds no key")
    return key or "none"
