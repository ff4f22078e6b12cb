"""Ask a server one round of questions: what to send next, what to make of each reply, and when to stop."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Literal

from srit.errors import RecipeError, SritError, TeacherError
from srit.printable import one_line
from srit.stopping import Stop
from srit.teachers import Answer, Question, Spent
from srit.teachers.openai.endpoint import NO_KEY, Endpoint, redacted, redacted_answer
from srit.teachers.openai.faults import Fault
from srit.teachers.openai.reply import Reply
from srit.teachers.openai.schedule import Attempt, Schedule
from srit.teachers.openai.wire import Lost, NoConnection

REPEATED = 20  # so many equal answers in a row to different questions mean that the teacher is broken
AGAIN_SECONDS = 60.0  # how long to wait for a server if all questions left failed in an earlier run too
SHOWN_SECONDS = 5.0  # waits of this length or longer are shown
SHOWN_EVERY = 60.0  # seconds between two lines about a server that does not answer
AWAY_SECONDS = 15.0  # without a look at the clock, which a process at work takes every second: it was stopped
PATIENCE = 4.0  # times as slow as the slowest answer so far: then a silent call is given up

Outcome = Reply | Fault | NoConnection | Lost


class Clock:
    """Seconds without those in which this process was stopped (Ctrl-Z), when no server could answer it."""

    def __init__(self, read: Callable[[], float] = time.monotonic) -> None:
        self._read, self._last, self._stopped = read, read(), 0.0

    def now(self) -> float:
        """Return the time. A process that is not stopped asks again within `AWAY_SECONDS`."""
        last, self._last = self._last, self._read()
        if self._last - last > AWAY_SECONDS:
            self._stopped += self._last - last
        return self._last - self._stopped


class Asking:
    """The state of one round. Nothing else in it reads the clock."""

    def __init__(
        self, endpoint: Endpoint, key: str, questions: Sequence[Question], spent: Spent, report: Callable[[str], None]
    ) -> None:
        self.error: SritError | OSError | None = None  # the reason that nothing more is asked
        self.spent = spent  # by the run so far, this round included
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
        self._only_failed = all(attempt.failed_before for attempt in attempts)
        if self._only_failed:
            give_up_seconds = min(give_up_seconds, AGAIN_SECONDS)
        self._clock = Clock()
        now = self._clock.now()
        self._schedule = Schedule(attempts, endpoint.concurrency, give_up_seconds, endpoint.first_wait_seconds, now)
        self._recent: deque[tuple[str | None, str]] = deque(maxlen=REPEATED)
        self._n_refused = 0
        self._slowest = 0.0  # seconds of the slowest answer
        self._models: set[str] = set()  # other models that answered, as far as that was shown
        self._last_fault = ""  # why the last request was not accepted
        self._shown_at = self._shown_until = float("-inf")  # when a wait was last shown, and its end
        self._stops_at: float | None = None

    def is_unfinished(self, stop: Stop) -> bool:
        """Return whether there is anything left to send or to wait for."""
        if stop.signal is not None and self._stops_at is None:
            self._stops_at = self._clock.now() + self._endpoint.stop_seconds
            if n := len(self._schedule.running):
                self._report(f"     stopping; waiting up to {self._endpoint.stop_seconds:.0f} s for {n} in flight")
        if self._stops_at is not None:
            return bool(self._schedule.running) and self._clock.now() < self._stops_at
        return bool(self._schedule.running if self.error else self._schedule.n_left)

    def due(self, stop: Stop) -> Iterator[Attempt]:
        """Yield what to send now."""
        while self.error is None and stop.signal is None:
            attempt = self._schedule.take(self._clock.now())
            if attempt is None:
                return
            self.error = self._over_budget()
            if self.error is not None:
                self._schedule.give_up(attempt)
                return
            self.spent = self.spent._replace(calls=self.spent.calls + 1)
            yield attempt

    def stop_for(self, error: OSError) -> None:
        """Ask nothing more, since nothing more can be stored; what is on its way has the time that a stop has."""
        if self._stops_at is None:
            self._stops_at = self._clock.now() + self._endpoint.stop_seconds
        self.error = self.error or error

    def drop(self, attempt: Attempt) -> None:
        """Forget an attempt that was due and was not sent."""
        self._schedule.give_up(attempt)

    def overdue(self) -> list[Attempt]:
        """Return the attempts whose server says nothing for much longer than it took to answer others.

        The second request for a question has all the time that a call may take, and so has the reply to its first.
        """
        latest = self._clock.now() - self._patience
        return [attempt for attempt in self._impatient() if attempt.sent_at <= latest]

    def _impatient(self) -> list[Attempt]:
        if not self._slowest or self._is_ending:
            return []
        return [attempt for attempt in self._schedule.running if not attempt.n_lost]

    def is_open(self, attempt: Attempt) -> bool:
        """Return whether an attempt has neither been answered nor given up."""
        return self._schedule.is_open(attempt)

    def take_back(self, attempt: Attempt) -> None:
        """Take an attempt from wherever it waits to be sent again, since its reply has come after all."""
        self._schedule.take_back(attempt)

    def seconds_left(self) -> float | None:
        """Return the seconds until something is due; None: nothing is until a reply arrives."""
        now, running = self._clock.now(), self._schedule.running
        if self._stops_at is not None:
            return max(0.0, self._stops_at - now)
        if self.error is not None:
            return None if running else 0.0
        left = self._schedule.seconds_left(now)
        if left is not None and not running:
            self._show_wait(left, now)
        overdue = [max(0.0, attempt.sent_at + self._patience - now) for attempt in self._impatient()]
        return min([*overdue, *([] if left is None else [left])], default=None)

    @property
    def _patience(self) -> float:
        return max(self._endpoint.idle_seconds, PATIENCE * self._slowest)

    def settle(self, attempt: Attempt, outcome: Outcome) -> Iterator[Answer]:
        """Turn the outcome of a request into an answer for each question with its prompt; none if it is sent again."""
        answer = self._answer(attempt, outcome)
        if answer is None:
            return
        limit = self._endpoint.max_tokens
        answer = answer._replace(
            text=answer.text and redacted_answer(answer.text, self._key),
            reason=self._redacted(answer.reason),
            raw=self._redacted(answer.raw),
            model=self._redacted(answer.model),
            limit=limit,
        )
        for question in self._by_prompt[attempt.prompt]:
            yield answer._replace(problem_id=question.problem.id)
            answer = answer._replace(n_calls=0, n_prompt_tokens=0, n_completion_tokens=0, n_uncounted=0)
        if not attempt.failed_before:  # a repeated failure says nothing new about the teacher
            self._check_repetition(answer.text, answer.reason)

    def _answer(self, attempt: Attempt, outcome: Outcome) -> Answer | None:
        if isinstance(outcome, Reply):
            return self._reply(attempt, outcome)
        if not isinstance(outcome, Lost):
            self.spent = self.spent._replace(calls=self.spent.calls - 1)  # it was not charged
        if isinstance(outcome, Fault):
            return self._fault(attempt, outcome)
        if isinstance(outcome, NoConnection):
            return self._not_accepted(attempt, "unreachable", None, str(outcome))
        return self._lost(attempt, str(outcome))

    def _reply(self, attempt: Attempt, reply: Reply) -> Answer | None:
        now = self._clock.now()
        attempt.n_prompt_tokens += reply.n_prompt_tokens
        attempt.n_completion_tokens += reply.n_completion_tokens
        attempt.n_uncounted += not reply.is_counted
        self.spent = self.spent._replace(
            prompt_tokens=self.spent.prompt_tokens + reply.n_prompt_tokens,
            completion_tokens=self.spent.completion_tokens + reply.n_completion_tokens,
        )
        self._slowest = max(self._slowest, now - attempt.sent_at)
        self._show_model(reply.model)
        attempt.n_unusable += not reply.settled
        if attempt.n_unusable == 1 and not reply.settled and not self._is_ending:
            self._schedule.retry_at(attempt, now + self._endpoint.first_wait_seconds)
            return None
        self._schedule.record_answer(attempt, now)
        return _answer(attempt, reply._replace(model=reply.model if reply.model != self._endpoint.model else ""))

    def _fault(self, attempt: Attempt, fault: Fault) -> Answer | None:
        if fault.kind in ("busy", "limited"):
            return self._not_accepted(attempt, fault.kind, fault.wait_seconds, fault.reason)
        if fault.kind == "resend" and not self._is_ending:
            self._schedule.retry_at(attempt, self._clock.now())
            return None
        self._schedule.give_up(attempt)
        # A server that answered other questions accepts the key and knows the model, so it refuses this question.
        only_this_one = (
            fault.kind in ("key", "model", "fields") and fault.status != 401 and self._schedule.n_answers > 0
        )
        if fault.kind in ("refused", "resend") or only_this_one:
            self._check_refusals(fault)
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
                f"teacher: {endpoint.base_url} accepts neither max_tokens nor max_completion_tokens for "
                f"teacher.max_tokens ({reason})"
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
        now = self._clock.now()
        decision = self._schedule.delay_or_give_up(attempt, kind, wait_seconds, now)
        if decision == "hopeless":
            return _answer(attempt, Reply(None, f"no answer: {reason} (tried {attempt.n_waits} times)", settled=False))
        self._last_fault = self._redacted(reason)
        silence = now - self._schedule.last_answer
        if decision == "silent":
            self.error = TeacherError(
                f"{self._endpoint.model} at {self._endpoint.base_url}: no answer for {silence:.0f} s "
                f"({self._last_fault}); its answers so far are kept: rerun to continue"
            )
        elif (kind == "unreachable" or silence >= SHOWN_SECONDS) and now - self._shown_at >= SHOWN_EVERY:
            left = self._schedule.last_answer + self._schedule.give_up_seconds - now
            self._show(f"{self._last_fault}; still trying until {_clock(left)}", now, now)
        return None

    def _show_wait(self, seconds: float, now: float) -> None:
        """Show that nothing is asked for a while; longer waits may follow from a later reply."""
        if seconds >= SHOWN_SECONDS and now + seconds >= self._shown_until + 1:
            self._show(f"{self._last_fault}; waiting {seconds:.0f} s, until {_clock(seconds)}", now, now + seconds)

    def _show(self, line: str, now: float, until: float) -> None:
        self._shown_at, self._shown_until = now, until
        self._report(f"     {self._endpoint.model}: {line}")

    def _show_model(self, said: str) -> None:
        if said and said not in self._models and not is_same_model(self._endpoint.model, said):
            self._models.add(said)
            self._report(f"WARN {self._endpoint.model}: the server answers as {self._redacted(said)!r}")

    def _lost(self, attempt: Attempt, reason: str) -> Answer | None:
        attempt.n_lost += 1
        if attempt.n_lost == 1 and not self._is_ending:
            self._schedule.retry_last(attempt)
            return None
        self._schedule.give_up(attempt)
        reply = Reply(None, f"no whole answer: {reason} (may have been paid)", settled=False)
        return _answer(attempt, reply)

    @property
    def _is_ending(self) -> bool:
        return self.error is not None or self._stops_at is not None

    def _over_budget(self) -> TeacherError | None:
        endpoint, spent = self._endpoint, self.spent
        tokens = spent.prompt_tokens + spent.completion_tokens
        if endpoint.max_calls is not None and spent.calls >= endpoint.max_calls:
            what = f"the budget of {endpoint.max_calls} calls is spent (teacher.max_calls)"
        elif endpoint.max_spent_tokens is not None and tokens >= endpoint.max_spent_tokens:
            what = f"{tokens} tokens are spent of a budget of {endpoint.max_spent_tokens} (teacher.max_spent_tokens)"
        elif endpoint.max_dollars is not None and (paid := self._dollars()) >= endpoint.max_dollars:
            what = f"${paid:.2f} is spent of a budget of ${endpoint.max_dollars:.2f} (teacher.max_dollars)"
        else:
            return None
        return TeacherError(f"{what}, earlier invocations included: raise it to continue")

    def _dollars(self) -> float:
        prompt, completion = self._endpoint.prices or (0.0, 0.0)
        return (prompt * self.spent.prompt_tokens + completion * self.spent.completion_tokens) / 1e6

    def _check_refusals(self, fault: Fault) -> None:
        """Stop if the server refuses more questions than it may; a round of only repeated questions does not count."""
        if self._only_failed:
            return
        self._n_refused += 1
        total, share = len(self._by_prompt), self._endpoint.max_refused
        if self._n_refused > max(1, share * total):
            self.error = self.error or TeacherError(
                f"{self._endpoint.model} refused {self._n_refused} of {total} questions, the last with "
                f"{self._redacted(fault.reason)}: more than teacher.max_refused ({share:g}) allows; raise it to "
                "continue without them"
            )

    def _check_repetition(self, text: str | None, reason: str) -> None:
        self._recent.append((text, reason))
        if self.error is None and len(self._recent) == REPEATED and len(set(self._recent)) == 1:
            what = f"no answer ({reason})" if text is None else f"the same answer ({one_line(text[:80])!r})"
            self.error = TeacherError(f"{self._endpoint.model} gave {what} {REPEATED} times in a row")

    def _redacted(self, text: str) -> str:
        return redacted(text, self._key)


def is_same_model(asked: str, said: str) -> bool:
    """Return whether a server's name for its model means the one that was asked: a path or a date may differ."""
    names = [re.sub(r"[-@:]\d[\d.-]*$", "", name.rstrip("/").split("/")[-1].casefold()) for name in (asked, said)]
    return names[0] == names[1]


def _clock(seconds: float) -> str:
    """Return the time of day so many seconds from now."""
    return time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))


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
        model=reply.model,
        n_uncounted=attempt.n_uncounted,
    )
