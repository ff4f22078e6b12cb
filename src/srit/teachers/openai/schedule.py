"""Decide which question to ask next, and when: a question that was not accepted waits while others are asked.

The caller passes in the time, in seconds, so that tests need no clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

LEAST_WAIT = 0.25  # seconds, even if the server asks for no wait or for one that is over
MAX_WAIT = 60.0  # seconds between two tries, unless the server asks for more
TRIES = 6  # for a question that fails while others are answered; about 25 s from first to last
PATIENT_TRIES = 9  # if no other question is answered either; about two minutes
MORE_IF_LIMITED = 2  # a limit per minute may hit one question a few times more
LIMITS_IN_A_ROW = 3  # without an answer in between and without a time to wait: then the limit holds for all


@dataclass(slots=True, eq=False)
class Attempt:
    """A prompt, and what has become of its requests so far."""

    number: int  # its position among the prompts
    prompt: str
    failed_before: bool  # in an earlier run
    jitter: Random
    n_calls: int = 0
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    n_waits: int = 0  # requests that were not accepted
    n_refusals: int = 0  # of these, by a server that could be reached
    n_alone: int = 0  # of these, after others were answered since its previous refusal
    n_since: int = 0  # of these, since any question was answered
    n_lost: int = 0  # requests of which it is unknown whether they were answered
    n_unusable: int = 0  # replies that held no answer
    n_uncounted: int = 0  # replies whose tokens the server did not count
    sent_at: float = 0.0  # time of its latest request
    seen: tuple[int, int] = (0, 0)  # the schedule's `n_answers` and `n_limits` at its last refusal


@dataclass(slots=True)
class Schedule:
    """The attempts that still need an answer."""

    attempts: Iterable[Attempt]
    concurrency: int
    give_up_seconds: float  # without any answer
    first_wait_seconds: float
    last_answer: float  # time of the last answer; at first, of the start
    fresh: deque[Attempt] = field(init=False)  # never refused
    waiting: list[tuple[float, int, Attempt]] = field(default_factory=list)  # a heap, ordered by when each is due
    limited: deque[Attempt] = field(default_factory=deque)  # asked last, which shows whether others are limited too
    running: set[Attempt] = field(default_factory=set)
    paused_until: float = 0.0  # no attempt is sent before
    n_answers: int = 0
    n_limits: int = 0  # times that the server said that it accepts no requests for now
    failing: set[int] = field(default_factory=set)  # numbers of the attempts that failed since the last answer
    n_pauses: int = 0  # since the last answer
    limits_in_a_row: int = 0  # since the last answer

    def __post_init__(self) -> None:
        self.fresh = deque(self.attempts)

    @property
    def n_left(self) -> int:
        """The number of prompts neither answered nor given up."""
        return len(self.fresh) + len(self.waiting) + len(self.limited) + len(self.running)

    @property
    def is_silent(self) -> bool:
        """Whether so many different questions failed in a row that the server must be the reason."""
        return len(self.failing) >= 2 * self.concurrency + 2

    def take(self, now: float) -> Attempt | None:
        """Return what to send now; None: nothing until something arrives or `seconds_left` have passed."""
        if not self._has_room or now < self.paused_until:
            return None
        attempt = self._next(now)
        if attempt is not None:
            self.running.add(attempt)
            attempt.n_calls += 1
            attempt.sent_at = now
        return attempt

    def _next(self, now: float) -> Attempt | None:
        is_due = bool(self.waiting) and self.waiting[0][0] <= now
        # If the server is silent, a question that it never saw says more about it than one that it refused.
        if is_due and not (self.is_silent and self.fresh):
            return heapq.heappop(self.waiting)[2]
        if self.fresh:
            return self.fresh.popleft()
        return self.limited.popleft() if self.limited else None

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until `take` may return something; None: not until something arrives."""
        if not self._has_room or not (self.fresh or self.waiting or self.limited):
            return None
        due = now if self.fresh or self.limited else self.waiting[0][0]
        return max(0.0, self.paused_until - now, due - now)

    @property
    def _has_room(self) -> bool:
        return len(self.running) < (1 if self.is_silent else self.concurrency)

    def record_answer(self, attempt: Attempt, now: float) -> None:
        """Record that a reply to an attempt arrived."""
        self.running.remove(attempt)
        self.n_answers += 1
        self.last_answer, self.n_pauses, self.limits_in_a_row = now, 0, 0
        self.failing.clear()

    def give_up(self, attempt: Attempt) -> None:
        """Stop asking."""
        self.running.remove(attempt)

    def is_open(self, attempt: Attempt) -> bool:
        """Return whether an attempt has neither been answered nor given up."""
        return attempt in self.running or attempt in self._pending()

    def take_back(self, attempt: Attempt) -> None:
        """Make an attempt run, wherever it waits to be sent again."""
        self.fresh = deque(other for other in self.fresh if other is not attempt)
        self.limited = deque(other for other in self.limited if other is not attempt)
        self.waiting = [entry for entry in self.waiting if entry[2] is not attempt]
        heapq.heapify(self.waiting)
        self.running.add(attempt)

    def _pending(self) -> list[Attempt]:
        return [*self.fresh, *self.limited, *(entry[2] for entry in self.waiting)]

    def retry_at(self, attempt: Attempt, when: float) -> None:
        """Ask again at that time."""
        self.running.remove(attempt)
        heapq.heappush(self.waiting, (when, attempt.number, attempt))

    def retry_last(self, attempt: Attempt) -> None:
        """Ask again after all fresh attempts, since it may take as long as before."""
        self.running.remove(attempt)
        self.fresh.append(attempt)

    def delay_or_give_up(
        self, attempt: Attempt, kind: Literal["unreachable", "busy", "limited"], asked_wait: float | None, now: float
    ) -> Literal["waits", "hopeless", "silent"]:
        """Decide about an attempt that was not accepted.

        Args:
            kind: "unreachable" if there was no connection, "limited" if no request is accepted, else "busy".
            asked_wait: seconds that the server asks for; None: it asks for no wait. They hold for all questions if
                the kind is "limited" or the server answers none, otherwise for this one.

        Returns:
            "waits" if it is asked again later, "hopeless" if it is given up because the server answers other
            questions, and "silent" if the server answers none.
        """
        attempt.n_waits += 1
        self.failing.add(attempt.number)
        if kind != "unreachable":
            self._count_refusal(attempt, is_limit=kind == "limited")
        too_long = now - self.last_answer >= self.give_up_seconds
        is_refused = too_long and kind != "unreachable" and self._is_proven(attempt)
        if is_refused or self._is_hopeless(attempt, is_limit=kind == "limited"):
            self.running.remove(attempt)
            return "hopeless"
        if too_long:
            self.running.remove(attempt)
            return "silent"
        holds_for_all = kind == "limited" and (asked_wait is not None or self.limits_in_a_row >= LIMITS_IN_A_ROW)
        if holds_for_all or self.is_silent:
            self._pause(attempt, asked_wait, now)
        if holds_for_all:
            self.running.remove(attempt)
            self.limited.append(attempt)
        elif asked_wait is not None:
            self.retry_at(attempt, max(self.paused_until, now + max(asked_wait, LEAST_WAIT)))
        else:
            self.retry_at(attempt, max(self.paused_until, self._backed_off(attempt.n_waits, attempt.jitter, now)))
        return "waits"

    def _pause(self, attempt: Attempt, asked_wait: float | None, now: float) -> None:
        """Send nothing for a while."""
        if asked_wait is not None:
            self.paused_until = max(self.paused_until, now + max(asked_wait, LEAST_WAIT))
        elif now >= self.paused_until:  # requests that were in flight together count once
            self.n_pauses += 1
            self.paused_until = self._backed_off(self.n_pauses, attempt.jitter, now)

    def _count_refusal(self, attempt: Attempt, *, is_limit: bool) -> None:
        answers, limits = attempt.seen
        others_answered = self.n_answers > answers
        # A limit that other questions met too is not due to this one.
        if attempt.n_refusals and others_answered and not (is_limit and self.n_limits > limits):
            attempt.n_alone += 1
        attempt.n_since = 1 if others_answered else attempt.n_since + 1
        self.n_limits += is_limit
        self.limits_in_a_row += is_limit
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
        """Return whether the server answers questions, but has refused all that are left."""
        others_failed = not self.fresh and all(other.n_refusals for other in self.running)
        return others_failed and bool(self.n_answers or attempt.failed_before)

    def _backed_off(self, n: int, jitter: Random, now: float) -> float:
        """Return the time of the next try after n failures: the last one is when it is time to give up."""
        wait = min(MAX_WAIT, self.first_wait_seconds * 2.0 ** min(n - 1, 30)) * jitter.uniform(0.5, 1.0)
        return min(now + wait, max(now, self.last_answer + self.give_up_seconds))
