"""Who is asked next, and when a question is given up, on a clock of the test's own."""

import heapq
from itertools import count
from random import Random

import pytest

from srit.teachers.openai.asking import Clock
from srit.teachers.openai.schedule import Attempt, Schedule

SECOND = 1.0  # that a request takes


class Ended:
    """What came of a simulated round."""

    def __init__(self):
        self.answered, self.given_up, self.requests, self.seconds, self.is_silent = [], [], [], 0.0, False


def simulate(n, says, *, concurrency=2, failed_before=(), give_up_seconds=600.0):
    """Plays a server: says(number, tries, seconds) is "ok", "unreachable", "busy", "limited", or one with a wait."""
    ended, tries = Ended(), {}
    attempts = [Attempt(i, f"q{i}", i in failed_before, Random(i)) for i in range(n)]
    schedule = Schedule(attempts, concurrency, give_up_seconds, 1.0, 0.0)
    now, order, replies = 0.0, count(), []
    while schedule.n_left:
        while (attempt := schedule.take(now)) is not None:
            tries[attempt.number] = tries.get(attempt.number, 0) + 1
            ended.requests.append((now, attempt.number))
            said = says(attempt.number, tries[attempt.number], now)
            heapq.heappush(replies, (now + SECOND, next(order), attempt, said))
        left = schedule.seconds_left(now)
        next_reply = replies[0][0] if replies else float("inf")
        now = min(next_reply, now + left if left is not None else float("inf"))
        if not replies or replies[0][0] > now:
            continue
        _, _, attempt, said = heapq.heappop(replies)
        if said == "ok":
            schedule.record_answer(attempt, now)
            ended.answered.append(attempt.number)
            continue
        kind, wait = said if isinstance(said, tuple) else (said, None)
        decision = schedule.delay_or_give_up(attempt, kind, wait, now)
        if decision == "hopeless":
            ended.given_up.append(attempt.number)
        elif decision == "silent":
            ended.is_silent = True
            break
    ended.seconds = now
    return ended


BAD = {
    "the first": (6, {0}),
    "the second of few": (6, {1}),
    "the last": (6, {5}),
    "one of many": (200, {50}),
    "two": (20, {3, 11}),
    "the last two": (20, {18, 19}),
    "many, among more": (200, set(range(0, 200, 10))),
    "as many at the beginning as are asked at once": (30, {0, 1, 2, 3}),
}


@pytest.mark.parametrize("kind", ["busy", "limited"])
@pytest.mark.parametrize("concurrency", [1, 2, 8])
@pytest.mark.parametrize("name", BAD)
def test_questions_that_never_succeed_are_given_up_and_all_others_are_answered(name, concurrency, kind):
    n, bad = BAD[name]

    ended = simulate(n, lambda number, *_: kind if number in bad else "ok", concurrency=concurrency)

    assert not ended.is_silent
    assert set(ended.answered) == set(range(n)) - bad and set(ended.given_up) == bad
    assert max(sum(number == one for _, number in ended.requests) for one in bad) <= 14


def test_one_bad_question_is_given_up_within_a_minute_and_holds_up_nobody():
    few, many = (simulate(n, lambda number, *_: "busy" if number == 1 else "ok", concurrency=1) for n in (6, 60))

    assert 15 < few.seconds < 60
    assert many.seconds <= 59 * SECOND + 6 * SECOND  # one after the other, and no pause between them


@pytest.mark.parametrize("kind", ["unreachable", "busy", "limited"])
def test_a_server_that_answers_nobody_is_waited_for_and_not_besieged(kind):
    ended = simulate(100, lambda *_: kind, concurrency=8)

    assert ended.is_silent and 600 < ended.seconds < 700
    assert ended.given_up == [] and len(ended.requests) < 60


@pytest.mark.parametrize("kind", ["unreachable", "busy", "limited"])
@pytest.mark.parametrize("until", [30, 90, 400])
def test_a_server_that_was_away_for_a_while_answers_every_question(kind, until):
    ended = simulate(60, lambda number, tries, now: kind if 10 < now < until else "ok", concurrency=4)

    assert sorted(ended.answered) == list(range(60)) and ended.given_up == []


def test_a_connection_that_fails_is_nobodys_fault():
    ended = simulate(3, lambda number, tries, now: "ok" if number < 2 or now > 300 else "unreachable")

    assert sorted(ended.answered) == [0, 1, 2]


def test_a_limit_that_meets_all_gives_up_none():
    """Three requests a minute are accepted, without a word on how long to wait."""
    accepted = {}

    def limited(number, tries, now):
        minute = int(now // 60)
        accepted[minute] = accepted.get(minute, 0) + 1
        return "ok" if accepted[minute] <= 3 else "limited"

    ended = simulate(40, limited, concurrency=8)

    assert sorted(ended.answered) == list(range(40)) and ended.given_up == []


def test_one_busy_reply_lets_that_question_wait_alone():
    ended = simulate(20, lambda number, tries, now: "busy" if (number, tries) == (0, 1) else "ok", concurrency=2)

    assert ended.seconds <= 12 * SECOND


def test_the_time_of_a_limit_is_meant_for_all():
    limited = ("limited", 30.0)
    ended = simulate(20, lambda number, tries, now: limited if (number, tries) == (4, 1) else "ok", concurrency=2)

    pauses = [later - sooner for (sooner, _), (later, _) in zip(ended.requests, ended.requests[1:], strict=False)]
    assert 29 <= max(pauses) <= 31 and sorted(ended.answered) == list(range(20))


def test_the_time_of_a_busy_server_is_meant_for_one_question():
    busy = ("busy", 15.0)
    ended = simulate(20, lambda number, tries, now: busy if (number, tries) == (4, 1) else "ok", concurrency=2)

    assert ended.seconds <= 20 * SECOND and sorted(ended.answered) == list(range(20))


def test_a_limit_that_meets_one_request_stops_no_other_and_one_that_meets_three_stops_all():
    one = simulate(40, lambda number, tries, now: "limited" if (number, tries) == (4, 1) else "ok", concurrency=2)
    three = simulate(40, lambda number, tries, now: "limited" if now < 5 else "ok", concurrency=2)

    assert one.seconds <= 21 * SECOND
    assert sum(now < 5 for now, _ in three.requests) <= 6


def test_what_failed_in_an_earlier_run_is_given_up_again_where_no_other_question_is_left():
    ended = simulate(2, lambda *_: "busy", failed_before={0, 1})

    assert not ended.is_silent and sorted(ended.given_up) == [0, 1] and ended.seconds < 60


def test_a_lost_request_is_repeated_after_the_questions_that_were_never_asked():
    attempts = [Attempt(i, f"q{i}", False, Random(i)) for i in range(3)]
    schedule = Schedule(attempts, 1, 600.0, 1.0, 0.0)

    schedule.retry_last(schedule.take(0.0))

    assert [schedule.take(0.0).number for _ in range(1)] == [1] and schedule.n_left == 3


def test_the_time_in_which_the_process_was_stopped_does_not_pass():
    times = iter([0.0, 1.0, 601.0, 602.0])
    clock = Clock(lambda: next(times))

    assert [clock.now() for _ in range(3)] == [1.0, 1.0, 2.0]
