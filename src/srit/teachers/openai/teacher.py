"""Asks a chat model behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from srit.teachers import Answer, Question, answer_key
from srit.teachers.openai.asking import Asking, Outcome
from srit.teachers.openai.endpoint import Endpoint, key_for
from srit.teachers.openai.faults import Fault
from srit.teachers.openai.parameters import Parameters, adapted, is_limit_refused
from srit.teachers.openai.reply import Received, read_reply
from srit.teachers.openai.schedule import Attempt
from srit.teachers.openai.stopping import stop_noted
from srit.teachers.openai.wire import Lost, NoConnection, Threads, client, send


class _Request(NamedTuple):
    attempt: Attempt
    sent: Parameters


class OpenAITeacher:
    """Asks a chat model; answers are yielded as they arrive."""

    def __init__(self, endpoint: Endpoint, tell: Callable[[str], None] = lambda line: None) -> None:
        """
        Args:
            tell: shows a line to a person: what the server does not accept, and long waits.

        Raises:
            RecipeError: the address would show a key, or the key is not in the environment.
        """
        self.name = endpoint.model
        self.identity: dict[str, object] = {
            "base_url": endpoint.base_url,
            "model": endpoint.model,
            "temperature": endpoint.temperature,
        }
        self.max_tokens = endpoint.max_tokens
        self._endpoint = endpoint
        self._tell = tell
        self._key = key_for(endpoint.base_url, endpoint.api_key_env)
        self._parameters = Parameters()  # learned from the server's refusals, for this `answer` and all later ones

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """One Answer a question, as they arrive; equal prompts are asked once.

        Raises:
            TeacherError: refused, out of credit or budget, or silent too long; what arrived was yielded.
        """
        if not questions:
            return
        endpoint = self._endpoint
        asking = Asking(endpoint, self._key, questions, self._tell)
        connection = client(endpoint.base_url, self._key, endpoint.concurrency, endpoint.deadline_seconds)
        threads: Threads[_Request] = Threads(lambda request: self._send(connection, request), endpoint.concurrency)
        with closing(connection), closing(threads), stop_noted(threads.wake) as stop:
            while asking.goes_on(stop):
                for attempt in asking.due(stop):
                    threads.put(_Request(attempt, self._parameters))
                if (arrived := threads.get(asking.seconds_left())) is None:
                    continue
                outcome = self._outcome(arrived.outcome)
                if isinstance(outcome, Fault):
                    outcome = self._learned(arrived.request, outcome)
                yield from asking.settle(arrived.request.attempt, outcome)
        if asking.failed is not None:
            raise asking.failed

    def _send(self, connection: Any, request: _Request) -> Received:
        endpoint, (attempt, sent) = self._endpoint, request
        # Another limit or other fields make another request: a server that caches by this key must not repeat itself.
        shaped = self.identity | {"max_tokens": endpoint.max_tokens}
        shaped |= {} if sent == Parameters() else {"sent": [sent.limit, sorted(sent.refused)]}
        fields: dict[str, Any] = {"model": endpoint.model, "messages": [{"role": "user", "content": attempt.prompt}]}
        fields |= sent.fields(endpoint.max_tokens, endpoint.temperature)
        return send(connection, fields, answer_key(shaped, attempt.prompt))

    def _outcome(self, arrived: Received | Exception) -> Outcome:
        if isinstance(arrived, Received):
            return read_reply(arrived, self._endpoint.max_tokens)
        if isinstance(arrived, (NoConnection, Lost)):
            return arrived
        raise arrived

    def _learned(self, request: _Request, fault: Fault) -> Fault:
        """A refusal as it is, or as a reason to send the request again with the fields that the server accepts."""
        if fault.kind not in ("refused", "busy"):
            return fault
        if request.sent != self._parameters:
            return fault._replace(kind="resend")  # sent before another question's refusal changed the fields
        temperature, complaint = self._endpoint.temperature, fault.complaint.replace(request.attempt.prompt, "")
        changed = adapted(request.sent, complaint, fault.fields, temperature)
        if changed is None:
            hopeless = fault.kind == "refused" and is_limit_refused(request.sent, complaint, fault.fields)
            return fault._replace(kind="fields") if hopeless else fault
        if changed.limit != request.sent.limit:
            self._tell(f"     {self.name} does not accept {request.sent.limit}: sending {changed.limit} instead")
        if "temperature" in changed.refused - request.sent.refused:
            self._tell(f"     {self.name} does not accept temperature {temperature}: using the server's default")
        self._parameters = changed
        return fault._replace(kind="resend")
