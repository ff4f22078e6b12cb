"""Ask a server one round of questions: what to send next, what to make of each reply, and when to stop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Literal

from srit.errors import RecipeError, SritError, TeacherError
from srit.printable import one_line
from srit.stopping import Stop
from srit.teachers import Answer, Question
from srit.teachers.openai.endpoint import NO_KEY, Endpoint
from srit.teachers.openai.faults import Fault
from srit.teachers.openai.reply import Reply
from srit.teachers.openai.schedule import Attempt, Schedule
from srit.teachers.openai.wire import Lost, NoConnection

REPEATED = 20  # so many equal answers in a row to different questions mean that the teacher is broken
AGAIN_SECONDS = 60.0  # how long to wait for a server if all questions left failed in an earlier run too
SHOWN_SECONDS = 15.0  # waits of this length or longer are shown
SHOWN_EVERY = 60.0  # seconds between two such lines

Outcome = Reply | Fault | NoConnection | Lost


class Asking:
    """The state of one round. Nothing else in it reads the clock."""

    def __init__(
        self, endpoint: Endpoint, key: str, questions: Sequence[Question], report: Callable[[str], None]
    ) -> None:
        self.error: SritError | None = None  # the reason that nothing more is asked
        self._endpoint = endpoint
        self._key = key
        self._report = report
        self._by_prompt: dict[str, list[Question]] = {}
        for question in questions:
            self._by_prompt.setdefault(question.prompt, []).append(question)
        attempts = [
            Attempt(number, prompt, all(q.failed_before for q in alike), Random(f"wait/{prompt}"))
            for number, (prompt, alike) in enumerate(self._by_prompt.items())
        ]
        give_up_seconds = endpoint.give_up_seconds
        if all(attempt.failed_before for attempt in attempts):
            give_up_seconds = min(give_up_seconds, AGAIN_SECONDS)
        now = time.monotonic()
        self._schedule = Schedule(attempts, endpoint.concurrency, give_up_seconds, endpoint.first_wait_seconds, now)
        self._n_calls = self._n_tokens = 0
        self._recent: deque[tuple[str | None, str]] = deque(maxlen=REPEATED)
        self._last_shown = float("-inf")
        self._stops_at: float | None = None

    def is_unfinished(self, stop: Stop) -> bool:
        """Whether there is anything left to send or to wait for."""
        if stop.signal is not None and self._stops_at is None:
            self._stops_at = stop.since + self._endpoint.stop_seconds
            if n := len(self._schedule.running):
                self._report(f"     stopping; waiting up to {self._endpoint.stop_seconds:.0f} s for {n} in flight")
        if self._stops_at is not None:
            return bool(self._schedule.running) and time.monotonic() < self._stops_at
        return bool(self._schedule.running if self.error else self._schedule.n_left)

    def due(self, stop: Stop) -> Iterator[Attempt]:
        """Yield what to send now."""
        while self.error is None and stop.signal is None:
            attempt = self._schedule.take(time.monotonic())
            if attempt is None:
                return
            self.error = self._over_budget()
            if self.error is not None:
                self._schedule.give_up(attempt)
                return
            self._n_calls += 1
            yield attempt

    def seconds_left(self) -> float | None:
        """Return the seconds until something is due; None: nothing is until a reply arrives."""
        now = time.monotonic()
        if self._stops_at is not None:
            return max(0.0, self._stops_at - now)
        if self.error is not None:
            return None if self._schedule.running else 0.0
        return self._schedule.seconds_left(now)

    def settle(self, attempt: Attempt, outcome: Outcome) -> Iterator[Answer]:
        """Turn the outcome of a request into an answer for each question with its prompt; none if it is sent again."""
        answer = self._answer(attempt, outcome)
        if answer is None:
            return
        limit = self._endpoint.max_tokens
        answer = answer._replace(reason=self._redacted(answer.reason), raw=self._redacted(answer.raw), limit=limit)
        for question in self._by_prompt[attempt.prompt]:
            yield answer._replace(problem_id=question.problem.id)
            answer = answer._replace(n_calls=0, n_prompt_tokens=0, n_completion_tokens=0)
        if not attempt.failed_before:  # a repeated failure says nothing new about the teacher
            self._check_repetition(answer.text, answer.reason)

    def _answer(self, attempt: Attempt, outcome: Outcome) -> Answer | None:
        if isinstance(outcome, Reply):
            return self._reply(attempt, outcome)
        if isinstance(outcome, Fault):
            return self._fault(attempt, outcome)
        if isinstance(outcome, NoConnection):
            return self._not_accepted(attempt, "unreachable", None, str(outcome))
        return self._lost(attempt, str(outcome))

    def _reply(self, attempt: Attempt, reply: Reply) -> Answer | None:
        now = time.monotonic()
        attempt.n_prompt_tokens += reply.n_prompt_tokens
        attempt.n_completion_tokens += reply.n_completion_tokens
        self._n_tokens += reply.n_prompt_tokens + reply.n_completion_tokens
        attempt.n_unusable += not reply.settled
        if attempt.n_unusable == 1 and not reply.settled and not self._is_ending:
            self._schedule.retry_at(attempt, now + self._endpoint.first_wait_seconds)
            return None
        self._schedule.record_answer(attempt, now)
        return _answer(attempt, reply)

    def _fault(self, attempt: Attempt, fault: Fault) -> Answer | None:
        if fault.kind in ("busy", "limited"):
            return self._not_accepted(attempt, fault.kind, fault.wait_seconds, fault.reason)
        if fault.kind == "resend" and not self._is_ending:
            self._schedule.retry_at(attempt, time.monotonic())
            return None
        self._schedule.give_up(attempt)
        # A server that answered other questions accepts the key and knows the model, so it refuses this question.
        only_this_one = (
            fault.kind in ("key", "model", "fields") and fault.status != 401 and self._schedule.n_answers > 0
        )
        if fault.kind in ("refused", "resend") or only_this_one:
            # It was not charged, and may be due to the server's settings: a later run asks again.
            return _answer(attempt, Reply(None, f"refused: {fault.reason}", settled=False))
        self.error = self.error or self._fatal(fault)
        return None

    def _fatal(self, fault: Fault) -> SritError:
        endpoint, reason = self._endpoint, self._redacted(fault.reason)
        if fault.kind == "model":
            return RecipeError(
                f"teacher: {endpoint.base_url} has no model {endpoint.model!r}, or the address is incomplete: it may "
                f"need /v1 at its end ({reason})"
            )
        if fault.kind == "fields":
            return RecipeError(
                f"teacher: {endpoint.base_url} accepts teacher.max_tokens neither as max_tokens nor as "
                f"max_completion_tokens ({reason})"
            )
        if fault.kind == "redirect":
            return TeacherError(
                f"{endpoint.base_url} redirects to {reason}: srit sends prompts only to the address in teacher.base_url"
            )
        if fault.kind == "credit":
            return TeacherError(f"{endpoint.model}: the account has no credit left ({reason})")
        key = f"the key in {endpoint.api_key_env}" if self._key != NO_KEY else "a request without a key"
        return TeacherError(f"{endpoint.model}: {key} was refused ({reason})")

    def _not_accepted(
        self, attempt: Attempt, kind: Literal["unreachable", "busy", "limited"], wait_seconds: float | None, reason: str
    ) -> Answer | None:
        if self._is_ending:
            self._schedule.give_up(attempt)
            return None
        now = time.monotonic()
        decision = self._schedule.delay_or_give_up(attempt, kind, wait_seconds, now)
        silence, pause = now - self._schedule.last_answer, self._schedule.paused_until - now
        if decision == "hopeless":
            return _answer(attempt, Reply(None, f"no answer: {reason} (tried {attempt.n_waits} times)", settled=False))
        model, shown = self._endpoint.model, self._redacted(reason)
        if decision == "silent":
            self.error = TeacherError(
                f"{model}: no answer for {silence:.0f} s ({shown}); its answers so far are kept: rerun to continue"
            )
        elif max(silence, pause) >= SHOWN_SECONDS and now - self._last_shown >= SHOWN_EVERY:
            self._last_shown = now
            wait = f"no answer for {silence:.0f} s" if silence > pause else f"waiting for {pause:.0f} s"
            self._report(f"     {model}: {wait} ({shown}); still trying")
        return None

    def _lost(self, attempt: Attempt, reason: str) -> Answer | None:
        attempt.n_lost += 1
        if attempt.n_lost == 1 and not self._is_ending:
            self._schedule.retry_last(attempt)
            return None
        self._schedule.give_up(attempt)
        return _answer(attempt, Reply(None, f"no whole answer: {reason} (may have been paid)", settled=False))

    @property
    def _is_ending(self) -> bool:
        return self.error is not None or self._stops_at is not None

    def _over_budget(self) -> TeacherError | None:
        most, budget = self._endpoint.max_calls, self._endpoint.max_spent_tokens
        if most is not None and self._n_calls >= most:
            return TeacherError(f"the budget of {most} calls is spent (teacher.max_calls): raise it to continue")
        if budget is not None and self._n_tokens >= budget:
            return TeacherError(
                f"{self._n_tokens} tokens are spent of a budget of {budget} (teacher.max_spent_tokens): "
                "raise it to continue"
            )
        return None

    def _check_repetition(self, text: str | None, reason: str) -> None:
        self._recent.append((text, reason))
        if self.error is None and len(self._recent) == REPEATED and len(set(self._recent)) == 1:
            what = f"no answer ({reason})" if text is None else f"the same answer ({one_line(text[:80])!r})"
            self.error = TeacherError(f"{self._endpoint.model} gave {what} {REPEATED} times in a row")

    def _redacted(self, text: str) -> str:
        """Remove the key, which a server may echo: nothing that is kept or shown contains it."""
        return text if self._key == NO_KEY else text.replace(self._key, "…")


def _answer(attempt: Attempt, reply: Reply) -> Answer:
    """Make the answer to a prompt; `settle` fills in the problem."""
    return Answer(
        problem_id="",
        text=reply.text,
        reason=reply.reason,
        n_calls=attempt.n_calls,
        n_prompt_tokens=attempt.n_prompt_tokens,
        n_completion_tokens=attempt.n_completion_tokens,
        settled=reply.settled,
        cut=reply.cut,
        raw=reply.raw,
    )
