"""Ask a chat model behind an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from srit.stopping import Stop, delayed_stop
from srit.teachers import UNSPENT, Answer, Call, CallEvent, Question, Record, Spent, answer_key, not_recorded
from srit.teachers.journal import NotWritten
from srit.teachers.openai.asking import Asking, Outcome
from srit.teachers.openai.endpoint import Endpoint, key_for, redacted
from srit.teachers.openai.faults import Fault
from srit.teachers.openai.parameters import Parameters, adapted, is_limit_refused
from srit.teachers.openai.reply import Received, Reply, read_reply
from srit.teachers.openai.schedule import Attempt
from srit.teachers.openai.wire import Arrived, Lost, NoConnection, Threads, client, send


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    attempt: Attempt
    sent: Parameters


@dataclass(frozen=True, slots=True)
class _Round:
    """One round of questions on its way."""

    asking: Asking
    threads: Threads[_Request]
    awaited: dict[Attempt, _Request]  # the latest request of each attempt, unless it was given up as lost


class OpenAITeacher:
    """Ask a chat model, and yield its answers as they arrive."""

    def __init__(
        self,
        endpoint: Endpoint,
        report: Callable[[str], None] = lambda line: None,
        record: Record = not_recorded,
        spent: Spent = UNSPENT,
        system: str | None = None,
        sample: int = 0,
    ) -> None:
        """
        Args:
            report: shows a line to the user: what the server does not accept, and long waits.
            record: as in `Surroundings`.
            spent: on the budgets so far.
            system: what a system turn before each question says; None: there is none.
            sample: which of several answers to each question it gives, from 0; each is kept under a key of its own.

        Raises:
            RecipeError: the address would expose a key, or the key is not in the environment.
        """
        self.name = endpoint.model
        self.identity: dict[str, object] = {
            "base_url": endpoint.base_url,
            "model": endpoint.model,
            "temperature": endpoint.temperature,
            **({} if system is None else {"system": system}),
            **({"extra": dict(endpoint.extra)} if endpoint.extra else {}),
            **({"thoughts": True} if endpoint.thoughts else {}),
            **({"sample": sample} if sample else {}),
        }
        self.max_tokens = endpoint.max_tokens
        self._leading = [] if system is None else [{"role": "system", "content": system}]
        self._endpoint = endpoint
        self._report = report
        self._record = record
        self._spent = spent
        self._key = key_for(endpoint.base_url, endpoint.api_key_env)
        self._parameters = Parameters()  # learned from the server's refusals, and kept for later calls of `answer`

    def answer(self, questions: Sequence[Question]) -> Generator[list[Answer]]:
        """Yield one Answer for each question, those that arrive together in a list; equal prompts are asked once.

        Raises:
            TeacherError: the server refused, credit or budget ran out, or no answer came for too long; all answers
                that arrived were yielded.
            RecipeError: the server does not have the model, or accepts no limit.
        """
        if not questions:
            return
        endpoint = self._endpoint
        asking = Asking(endpoint, self._key, questions, self._spent, self._report)
        connection = client(endpoint.base_url, self._key, endpoint.deadline_seconds, endpoint.idle_seconds)
        threads: Threads[_Request] = Threads(lambda request: self._send(connection, request), endpoint.concurrency)
        this = _Round(asking, threads, {})
        try:
            with closing(connection), closing(threads), delayed_stop(threads.wake) as stop:
                while asking.is_unfinished(stop):
                    self._send_due(this, stop)
                    yield from self._overdue(this)
                    yield from self._next(this)
        finally:
            self._spent = asking.spent
        if asking.error is not None:
            raise asking.error

    def _send_due(self, this: _Round, stop: Stop) -> None:
        due = list(this.asking.due(stop))
        may_be_sent = self._note(this.asking, [self._call(attempt, "sent") for attempt in due])
        for attempt in due:
            if may_be_sent:
                request = this.awaited[attempt] = _Request(attempt, self._parameters)
                this.threads.put(request)
            else:
                this.asking.drop(attempt)

    def _overdue(self, this: _Round) -> Iterator[list[Answer]]:
        """Ask again what is silent for too long; its reply is still taken if it comes first."""
        for attempt in this.asking.overdue():
            del this.awaited[attempt]
            this.threads.add()  # the thread that waits for it is not free
            yield from self._settled(this.asking, [(attempt, Lost("the server said nothing for too long"))])

    def _next(self, this: _Round) -> Iterator[list[Answer]]:
        """Wait for responses, and yield the answers that they give together."""
        arrived = this.threads.get(this.asking.seconds_left())
        return self._settled(this.asking, (found for one in arrived if (found := self._taken(this, one)) is not None))

    def _taken(self, this: _Round, arrived: Arrived[_Request]) -> tuple[Attempt, Outcome] | None:
        """Return an attempt and its outcome; None if another request has given it one."""
        request, attempt = arrived.request, arrived.request.attempt
        outcome = self._outcome(arrived.outcome)
        if isinstance(outcome, Fault):
            outcome = self._learned(request, outcome)
        is_answer = isinstance(outcome, Reply) and outcome.text is not None
        if this.awaited.get(attempt) is request:
            del this.awaited[attempt]
        elif is_answer and this.asking.is_open(attempt):  # it had been given up as lost
            this.awaited.pop(attempt, None)
            this.asking.take_back(attempt)
        else:
            return None
        return attempt, outcome

    def _settled(self, asking: Asking, outcomes: Iterable[tuple[Attempt, Outcome]]) -> Iterator[list[Answer]]:
        """Yield the answers that outcomes give, and record these; answers that cannot be stored stop the asking."""
        answers: list[Answer] = []
        calls: list[Call] = []
        for attempt, outcome in outcomes:
            event = _event_of(outcome)
            raw = outcome.raw if event == "unusable" and isinstance(outcome, Reply) else ""
            answers += asking.settle(attempt, outcome)
            calls.append(self._call(attempt, event, raw))
        self._note(asking, [call for call in calls if call.event != "answered"])
        if answers:
            try:
                yield answers
            except NotWritten as error:
                asking.stop_for(error)
                return
        self._note(asking, [call for call in calls if call.event == "answered"])  # only once their answers are stored

    def _call(self, attempt: Attempt, event: CallEvent, raw: str = "") -> Call:
        return Call(answer_key(self.identity, attempt.prompt), event, redacted(raw, self._key))

    def _note(self, asking: Asking, calls: Sequence[Call]) -> bool:
        """Record calls; return False if they could not be, so that nothing more may be asked."""
        try:
            if calls:
                self._record(calls)
        except NotWritten as error:
            asking.stop_for(error)
            return False
        return True

    def _send(self, connection: Any, request: _Request) -> Received:
        endpoint, attempt, sent = self._endpoint, request.attempt, request.sent
        # A changed limit or field makes another request: a server that caches by this key must not repeat its reply.
        shaped = self.identity | {"max_tokens": endpoint.max_tokens}
        shaped |= {} if sent == Parameters() else {"sent": [sent.limit, sorted(sent.refused)]}
        turns = [*self._leading, {"role": "user", "content": attempt.prompt}]
        fields: dict[str, Any] = {"model": endpoint.model, "messages": turns}
        fields |= sent.fields(endpoint.max_tokens, endpoint.temperature)
        return send(connection, fields, answer_key(shaped, attempt.prompt), endpoint.extra)

    def _outcome(self, arrived: Received | Exception) -> Outcome:
        if isinstance(arrived, Received):
            return read_reply(arrived, self._endpoint.max_tokens, thoughts=self._endpoint.thoughts)
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


def _event_of(outcome: Outcome) -> CallEvent:
    if isinstance(outcome, Reply):
        return "answered" if outcome.text is not None or outcome.settled else "unusable"
    return "lost" if isinstance(outcome, Lost) else "not accepted"
