"""One round of questions to a server: what is sent next, what arrived, and what ends it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Literal

from srit.errors import RecipeError, SritError, TeacherError
from srit.teachers import Answer, Question
from srit.teachers.openai.endpoint import NO_KEY, Endpoint
from srit.teachers.openai.faults import Fault, plain
from srit.teachers.openai.reply import Reply
from srit.teachers.openai.schedule import Attempt, Schedule
from srit.teachers.openai.stopping import Stop
from srit.teachers.openai.wire import Lost, NoConnection

REPEATED = 20  # equal answers to different questions in a row: the teacher is broken
AGAIN_SECONDS = 60.0  # how long a server is waited for if every question left failed in an earlier run too
SHOWN_SECONDS = 15.0  # waits from this length on are shown
SHOWN_EVERY = 60.0  # seconds

Outcome = Reply | Fault | NoConnection | Lost


class Asking:
    """The state of one round. Only this class reads the clock."""

    def __init__(
        self, endpoint: Endpoint, key: str, questions: Sequence[Question], tell: Callable[[str], None]
    ) -> None:
        self.failed: SritError | None = None  # why nothing more is asked
        self._endpoint = endpoint
        self._key = key
        self._tell = tell
        self._by_prompt: dict[str, list[Question]] = {}
        for question in questions:
            self._by_prompt.setdefault(question.prompt, []).append(question)
        attempts = [
            Attempt(number, prompt, all(q.failed_before for q in asked), Random(f"wait/{prompt}"))
            for number, (prompt, asked) in enumerate(self._by_prompt.items())
        ]
        patience = endpoint.give_up_seconds
        if all(attempt.failed_before for attempt in attempts):
            patience = min(patience, AGAIN_SECONDS)
        now = time.monotonic()
        self._schedule = Schedule(attempts, endpoint.concurrency, patience, endpoint.first_wait_seconds, now)
        self._n_calls = self._n_tokens = 0
        self._lately: deque[tuple[str | None, str]] = deque(maxlen=REPEATED)
        self._shown = float("-inf")
        self._stops_at: float | None = None

    def goes_on(self, stop: Stop) -> bool:
        """Whether there is anything to send or to wait for."""
        if stop.signal is not None and self._stops_at is None:
            self._stops_at = stop.since + self._endpoint.stop_seconds
            if n := len(self._schedule.running):
                self._tell(f"     stopping; waiting up to {self._endpoint.stop_seconds:.0f} s for {n} in flight")
        if self._stops_at is not None:
            return bool(self._schedule.running) and time.monotonic() < self._stops_at
        return bool(self._schedule.running if self.failed else self._schedule.n_left)

    def due(self, stop: Stop) -> Iterator[Attempt]:
        """What is to be sent now."""
        while self.failed is None and stop.signal is None:
            attempt = self._schedule.take(time.monotonic())
            if attempt is None:
                return
            self.failed = self._over_budget()
            if self.failed is not None:
                self._schedule.given_up(attempt)
                return
            self._n_calls += 1
            yield attempt

    def seconds_left(self) -> float | None:
        """Until something is due or the stop is; None: nothing is until something arrives."""
        now = time.monotonic()
        if self._stops_at is not None:
            return max(0.0, self._stops_at - now)
        if self.failed is not None:
            return None if self._schedule.running else 0.0
        return self._schedule.seconds_left(now)

    def settle(self, attempt: Attempt, outcome: Outcome) -> Iterator[Answer]:
        """The outcome of a request → one answer for each question with its prompt; none if it is sent again."""
        answer = self._answer(attempt, outcome)
        if answer is None:
            return
        limit = self._endpoint.max_tokens
        answer = answer._replace(reason=self._safe(answer.reason), raw=self._safe(answer.raw), limit=limit)
        for question in self._by_prompt[attempt.prompt]:
            yield answer._replace(problem_id=question.problem.id)
            answer = answer._replace(n_calls=0, n_prompt_tokens=0, n_completion_tokens=0)
        if not attempt.failed_before:  # failing again says nothing new about the teacher
            self._notice_repetition(answer.text, answer.reason)

    def _answer(self, attempt: Attempt, outcome: Outcome) -> Answer | None:
        if isinstance(outcome, Reply):
            return self._delivered(attempt, outcome)
        if isinstance(outcome, Fault):
            return self._fault(attempt, outcome)
        if isinstance(outcome, NoConnection):
            return self._not_accepted(attempt, "away", None, str(outcome))
        return self._lost(attempt, str(outcome))

    def _delivered(self, attempt: Attempt, said: Reply) -> Answer | None:
        now = time.monotonic()
        attempt.n_prompt_tokens += said.n_prompt_tokens
        attempt.n_completion_tokens += said.n_completion_tokens
        self._n_tokens += said.n_prompt_tokens + said.n_completion_tokens
        attempt.n_unusable += not said.settled
        if attempt.n_unusable == 1 and not said.settled and not self._is_ending:
            self._schedule.again(attempt, now + self._endpoint.first_wait_seconds)
            return None
        self._schedule.answered(attempt, now)
        return _answer(attempt, said)

    def _fault(self, attempt: Attempt, fault: Fault) -> Answer | None:
        if fault.kind in ("busy", "limited"):
            return self._not_accepted(attempt, fault.kind, fault.wait_seconds, fault.reason)
        if fault.kind == "resend" and not self._is_ending:
            self._schedule.again(attempt, time.monotonic())
            return None
        self._schedule.given_up(attempt)
        # A server that answered others accepts the key and knows the model: it refuses this question.
        one_alone = fault.kind in ("key", "model", "fields") and fault.status != 401 and self._schedule.n_answers > 0
        if fault.kind in ("refused", "resend") or one_alone:
            # Not paid for, and perhaps due to the server's settings: a later run asks again.
            return _answer(attempt, Reply(None, f"refused: {fault.reason}", settled=False))
        self.failed = self.failed or self._end(fault)
        return None

    def _end(self, fault: Fault) -> SritError:
        endpoint, why = self._endpoint, self._safe(fault.reason)
        if fault.kind == "model":
            return RecipeError(
                f"teacher: {endpoint.base_url} knows no model {endpoint.model!r}, or the address is not whole, such as "
                f"without /v1 at its end ({why})"
            )
        if fault.kind == "fields":
            return RecipeError(
                f"teacher: {endpoint.base_url} accepts teacher.max_tokens neither as max_tokens nor as "
                f"max_completion_tokens ({why})"
            )
        if fault.kind == "redirect":
            return TeacherError(f"{endpoint.base_url} redirects to {why}: prompts go to the named host alone")
        if fault.kind == "credit":
            return TeacherError(f"{endpoint.model}: the account has no credit ({why})")
        key = f"the key in {endpoint.api_key_env}" if self._key != NO_KEY else "a request without a key"
        return TeacherError(f"{endpoint.model}: {key} is refused ({why})")

    def _not_accepted(
        self, attempt: Attempt, kind: Literal["away", "busy", "limited"], wait_seconds: float | None, why: str
    ) -> Answer | None:
        if self._is_ending:
            self._schedule.given_up(attempt)
            return None
        now = time.monotonic()
        becomes = self._schedule.not_accepted(attempt, kind, wait_seconds, now)
        silent, pause = now - self._schedule.last_answer, self._schedule.paused_until - now
        if becomes == "hopeless":
            return _answer(attempt, Reply(None, f"no answer: {why} (tried {attempt.n_waits} times)", settled=False))
        if becomes == "silent":
            why = f"no answer for {silent:.0f} s ({self._safe(why)}); what came is kept"
            self.failed = TeacherError(f"{self._endpoint.model}: {why}")
        elif max(silent, pause) >= SHOWN_SECONDS and now - self._shown >= SHOWN_EVERY:
            self._shown = now
            waits = f"no answer for {silent:.0f} s" if silent > pause else f"waiting for {pause:.0f} s"
            self._tell(f"     {self._endpoint.model}: {waits} ({self._safe(why)}); still trying")
        return None

    def _lost(self, attempt: Attempt, why: str) -> Answer | None:
        attempt.n_lost += 1
        if attempt.n_lost == 1 and not self._is_ending:
            self._schedule.at_the_end(attempt)
            return None
        self._schedule.given_up(attempt)
        return _answer(attempt, Reply(None, f"no whole answer: {why} (may have been paid)", settled=False))

    @property
    def _is_ending(self) -> bool:
        return self.failed is not None or self._stops_at is not None

    def _over_budget(self) -> TeacherError | None:
        most, budget = self._endpoint.max_calls, self._endpoint.max_spent_tokens
        if most is not None and self._n_calls >= most:
            return TeacherError(f"the budget of {most} calls is spent (teacher.max_calls): raise it to go on")
        if budget is not None and self._n_tokens >= budget:
            return TeacherError(
                f"{self._n_tokens} tokens are spent of a budget of {budget} (teacher.max_spent_tokens): "
                "raise it to go on"
            )
        return None

    def _notice_repetition(self, text: str | None, reason: str) -> None:
        self._lately.append((text, reason))
        if self.failed is None and len(self._lately) == REPEATED and len(set(self._lately)) == 1:
            what = f"no answer ({reason})" if text is None else f"the same answer ({plain(text[:80])!r})"
            self.failed = TeacherError(f"{self._endpoint.model} gave {what} {REPEATED} times in a row")

    def _safe(self, text: str) -> str:
        """Without the key, which a server may echo: nothing that is kept or shown contains it."""
        return text if self._key == NO_KEY else text.replace(self._key, "…")


def _answer(attempt: Attempt, said: Reply) -> Answer:
    """The answer to a problem that is filled in later."""
    return Answer(
        problem_id="",
        text=said.text,
        reason=said.reason,
        n_calls=attempt.n_calls,
        n_prompt_tokens=attempt.n_prompt_tokens,
        n_completion_tokens=attempt.n_completion_tokens,
        settled=said.settled,
        cut=said.cut,
        raw=said.raw,
    )
