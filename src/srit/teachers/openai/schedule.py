"""Which question is asked next, and when: those that were not accepted wait while the others are asked.

The caller passes in the time, in seconds, so that tests need no clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

LEAST_WAIT = 0.25  # seconds: a server that asks for none, or for one in the past, is not asked without pause
MAX_WAIT = 60.0  # seconds between two tries where the server does not say
TRIES = 6  # of a question that fails while others are answered; about 25 s from first to last
PATIENT_TRIES = 9  # if nobody is answered any more; about two minutes
MORE_IF_LIMITED = 2  # a limit per minute may hit one question a few more times


@dataclass(slots=True, eq=False)
class Attempt:
    """A prompt on its way to an answer."""

    number: int  # its place among the questions
    prompt: str
    failed_before: bool  # by an earlier run
    jitter: Random
    n_calls: int = 0
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    n_waits: int = 0  # times it was not accepted
    n_refusals: int = 0  # of these, by a server that was there
    n_alone: int = 0  # of these, after others had been answered since the one before
    n_since: int = 0  # of these, since anybody was answered
    n_lost: int = 0  # times nobody knows whether it was answered
    n_unusable: int = 0
    seen: tuple[int, int] = (0, 0)  # the schedule's answers and limits at its last refusal


@dataclass(slots=True)
class Schedule:
    """The attempts still to be made."""

    attempts: Iterable[Attempt]
    concurrency: int
    give_up_seconds: float  # without one answer
    first_wait_seconds: float
    last_answer: float  # when the last answer came; at first, when asking began
    fresh: deque[Attempt] = field(init=False)  # never refused
    later: list[tuple[float, int, Attempt]] = field(default_factory=list)  # a heap, by when they may be asked
    limited: deque[Attempt] = field(default_factory=deque)  # asked after all others, which shows whose limit it was
    running: set[Attempt] = field(default_factory=set)
    paused_until: float = 0.0  # for all of them
    n_answers: int = 0
    n_limits: int = 0  # times the server said that it accepts no requests for now
    in_vain: set[int] = field(default_factory=set)  # questions that failed since the last answer
    n_pauses: int = 0  # since the last answer

    def __post_init__(self) -> None:
        self.fresh = deque(self.attempts)

    @property
    def n_left(self) -> int:
        """Prompts that were neither answered nor given up."""
        return len(self.fresh) + len(self.later) + len(self.limited) + len(self.running)

    @property
    def is_silent(self) -> bool:
        """Whether so many different questions failed in a row that the server is down, rather than they bad."""
        return len(self.in_vain) >= 2 * self.concurrency + 2

    def take(self, now: float) -> Attempt | None:
        """What to send now; None: nothing until something arrives or `seconds_left` have passed."""
        if not self._has_room or now < self.paused_until:
            return None
        attempt = self._next(now)
        if attempt is not None:
            self.running.add(attempt)
            attempt.n_calls += 1
        return attempt

    def _next(self, now: float) -> Attempt | None:
        is_due = bool(self.later) and self.later[0][0] <= now
        # A question that a silent server never saw tells more about it than one that it refused.
        if is_due and not (self.is_silent and self.fresh):
            return heapq.heappop(self.later)[2]
        if self.fresh:
            return self.fresh.popleft()
        return self.limited.popleft() if self.limited else None

    def seconds_left(self, now: float) -> float | None:
        """Until `take` may return something; None: not until something arrives."""
        if not self._has_room or not (self.fresh or self.later or self.limited):
            return None
        due = now if self.fresh or self.limited else self.later[0][0]
        return max(0.0, self.paused_until - now, due - now)

    @property
    def _has_room(self) -> bool:
        return len(self.running) < (1 if self.is_silent else self.concurrency)

    def answered(self, attempt: Attempt, now: float) -> None:
        """Something was delivered for it."""
        self.running.remove(attempt)
        self.n_answers += 1
        self.last_answer, self.n_pauses = now, 0
        self.in_vain.clear()

    def given_up(self, attempt: Attempt) -> None:
        """It is not asked again."""
        self.running.remove(attempt)

    def again(self, attempt: Attempt, when: float) -> None:
        """It is asked again at that time."""
        self.running.remove(attempt)
        heapq.heappush(self.later, (when, attempt.number, attempt))

    def at_the_end(self, attempt: Attempt) -> None:
        """It is asked again after all the fresh ones, since it may take as long as before."""
        self.running.remove(attempt)
        self.fresh.append(attempt)

    def not_accepted(
        self, attempt: Attempt, kind: Literal["away", "busy", "limited"], asked_wait: float | None, now: float
    ) -> Literal["waits", "hopeless", "silent"]:
        """Decides that it is asked again later; that it is hopeless, as others succeed; or that the server is silent.

        Args:
            kind: "away" if there was no connection, "limited" if no request is accepted, else "busy".
            asked_wait: seconds that the server asks everybody to wait.
        """
        attempt.n_waits += 1
        self.in_vain.add(attempt.number)
        if kind != "away":
            self._count_refusal(attempt, is_limit=kind == "limited")
        too_long = now - self.last_answer > self.give_up_seconds
        is_refused = too_long and kind != "away" and self._is_proven(attempt)
        if is_refused or self._is_hopeless(attempt, is_limit=kind == "limited"):
            self.running.remove(attempt)
            return "hopeless"
        if too_long:
            self.running.remove(attempt)
            return "silent"
        if asked_wait is not None or kind == "limited" or self.is_silent:
            self._pause(attempt, asked_wait, now)
        if kind == "limited":
            self.running.remove(attempt)
            self.limited.append(attempt)
        else:
            self.again(attempt, max(self.paused_until, now + self._backoff(attempt.n_waits, attempt.jitter)))
        return "waits"

    def _pause(self, attempt: Attempt, asked_wait: float | None, now: float) -> None:
        """Nothing is sent for a while."""
        if asked_wait is not None:
            self.paused_until = max(self.paused_until, now + max(asked_wait, LEAST_WAIT))
        elif now >= self.paused_until:  # once for all requests that were in flight together
            self.n_pauses += 1
            self.paused_until = now + self._backoff(self.n_pauses, attempt.jitter)

    def _count_refusal(self, attempt: Attempt, *, is_limit: bool) -> None:
        answers, limits = attempt.seen
        others_answered = self.n_answers > answers
        # A limit that others met too is not this question's fault.
        if attempt.n_refusals and others_answered and not (is_limit and self.n_limits > limits):
            attempt.n_alone += 1
        attempt.n_since = 1 if others_answered else attempt.n_since + 1
        self.n_limits += is_limit
        attempt.n_refusals += 1
        attempt.seen = (self.n_answers, self.n_limits)

    def _is_hopeless(self, attempt: Attempt, *, is_limit: bool) -> bool:
        if attempt.n_alone >= TRIES - 1:
            return True
        if not self._is_proven(attempt):
            return False
        sure = attempt.n_alone > 0 or self.n_left == 1 or attempt.failed_before
        most = TRIES if sure else PATIENT_TRIES
        return attempt.n_since >= most + MORE_IF_LIMITED if is_limit else attempt.n_refusals >= most

    def _is_proven(self, attempt: Attempt) -> bool:
        """Whether the server answers, but every question left has failed."""
        others_failed = not self.fresh and all(other.n_refusals for other in self.running)
        return others_failed and bool(self.n_answers or attempt.failed_before)

    def _backoff(self, n: int, jitter: Random) -> float:
        return min(MAX_WAIT, self.first_wait_seconds * 2.0 ** min(n - 1, 30)) * jitter.uniform(0.5, 1.0)
