"""Ask a chat model behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from srit.stopping import delayed_stop
from srit.teachers import Answer, Question, answer_key
from srit.teachers.openai.asking import Asking, Outcome
from srit.teachers.openai.endpoint import Endpoint, key_for
from srit.teachers.openai.faults import Fault
from srit.teachers.openai.parameters import Parameters, adapted, is_limit_refused
from srit.teachers.openai.reply import Received, read_reply
from srit.teachers.openai.schedule import Attempt
from srit.teachers.openai.wire import Lost, NoConnection, Threads, client, send


class _Request(NamedTuple):
    attempt: Attempt
    sent: Parameters


class OpenAITeacher:
    """Ask a chat model, and yield its answers as they arrive."""

    def __init__(self, endpoint: Endpoint, report: Callable[[str], None] = lambda line: None) -> None:
        """
        Args:
            report: shows a line to the user: what the server does not accept, and long waits.

        Raises:
            RecipeError: the address would expose a key, or the key is not in the environment.
        """
        self.name = endpoint.model
        self.identity: dict[str, object] = {
            "base_url": endpoint.base_url,
            "model": endpoint.model,
            "temperature": endpoint.temperature,
        }
        self.max_tokens = endpoint.max_tokens
        self._endpoint = endpoint
        self._report = report
        self._key = key_for(endpoint.base_url, endpoint.api_key_env)
        self._parameters = Parameters()  # learned from the server's refusals, and kept for later calls of `answer`

    def answer(self, questions: Sequence[Question]) -> Generator[Answer]:
        """Yield one Answer for each question, as they arrive; equal prompts are asked once.

        Raises:
            TeacherError: the server refused, credit or budget ran out, or no answer came for too long; all answers
                that arrived were yielded.
            RecipeError: the server does not have the model, or accepts no limit.
        """
        if not questions:
            return
        endpoint = self._endpoint
        asking = Asking(endpoint, self._key, questions, self._report)
        connection = client(endpoint.base_url, self._key, endpoint.concurrency, endpoint.deadline_seconds)
        threads: Threads[_Request] = Threads(lambda request: self._send(connection, request), endpoint.concurrency)
        with closing(connection), closing(threads), delayed_stop(threads.wake) as stop:
            while asking.is_unfinished(stop):
                for attempt in asking.due(stop):
                    threads.put(_Request(attempt, self._parameters))
                if (arrived := threads.get(asking.seconds_left())) is None:
                    continue
                outcome = self._outcome(arrived.outcome)
                if isinstance(outcome, Fault):
                    outcome = self._learned(arrived.request, outcome)
                yield from asking.settle(arrived.request.attempt, outcome)
        if asking.error is not None:
            raise asking.error

    def _send(self, connection: Any, request: _Request) -> Received:
        endpoint, (attempt, sent) = self._endpoint, request
        # A changed limit or field makes another request: a server that caches by this key must not repeat its reply.
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
        """Learn from a refusal; its kind becomes "resend" if the request is to be sent again with other fields."""
        if fault.kind not in ("refused", "busy"):
            return fault
        if request.sent != self._parameters:
            return fault._replace(kind="resend")  # the fields changed after this request was sent
        temperature, complaint = self._endpoint.temperature, fault.complaint.replace(request.attempt.prompt, "")
        changed = adapted(request.sent, complaint, fault.fields, temperature)
        if changed is None:
            hopeless = fault.kind == "refused" and is_limit_refused(request.sent, complaint, fault.fields)
            return fault._replace(kind="fields") if hopeless else fault
        if changed.limit != request.sent.limit:
            self._report(f"     {self.name} does not accept {request.sent.limit}: sending {changed.limit} instead")
        if "temperature" in changed.refused - request.sent.refused:
            self._report(f"     {self.name} does not accept temperature {temperature}: using the server's default")
        self._parameters = changed
        return fault._replace(kind="resend")
