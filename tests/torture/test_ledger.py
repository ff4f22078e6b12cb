"""Nothing that a teacher delivered is lost, and nothing is bought twice without a word, whatever fails and whenever.

One seed decides every fault and every kill: `SEED=7 pytest -m slow tests/torture/test_ledger.py` replays a run.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
SEED = os.environ.get("SEED", "1")


class Outcome(NamedTuple):
    """What a client said last, and what the server's ledger says."""

    said: dict
    requests: list  # (question, tries, fault, "asked" or "delivered")
    stored: Counter  # answers by question
    rate: float  # requests a second, while a client ran and was not killed
    processor_rate: float  # the same by the client's processor time, which other work on the machine slows little


def python(script, *arguments, **more):
    return subprocess.Popen([sys.executable, str(HERE / script), *map(str, arguments)], text=True, **more)


def entries(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def torture(folder, n, kills, seed=SEED):
    """Asks n questions of a failing server, and kills the client so often; asks until no question is open."""
    draw, ledger = Random(f"{seed}/kills"), folder / "ledger.jsonl"
    moments = sorted(draw.randrange(n // 20, n) for _ in range(kills))  # in requests that the server has seen
    server = python("ledger_server.py", seed, ledger, stdout=subprocess.PIPE)
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        said, rates = None, []
        while said is None or said["open"] or moments:
            client = python("ledger_client.py", folder, url, n, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            before = ledger.stat().st_size
            while client.poll() is None and moments and len(entries(ledger)) < moments[0]:
                time.sleep(0.02)
            if client.poll() is None and moments:
                time.sleep(draw.random() * 0.05)
                client.kill()
                moments.pop(0)
            elif moments and len(entries(ledger)) < moments[0]:
                moments.clear()  # all are answered
            out, _ = client.communicate()
            if client.returncode == 0:
                said = json.loads(out)
                n_asked = ledger.read_bytes()[before:].count(b'"asked"')
                rates.append((n_asked, said["seconds"], said["processor"]))
        rows = [json.loads(line) for line in (folder / "teacher/answers.jsonl").read_bytes().splitlines()]
        stored = Counter(row["answer"]["problem_id"][1:] for row in rows if row["answer"]["text"])
        n_asked, seconds, processor = max(rates)
        return Outcome(said, entries(ledger), stored, n_asked / seconds, n_asked / processor)
    finally:
        server.kill()
        server.communicate()


def check(outcome, n):
    delivered = Counter(q for q, _, _, what in outcome.requests if what == "delivered")
    asked = Counter(q for q, _, _, what in outcome.requests if what == "asked")
    named = {problem[1:]: calls for problem, calls in outcome.said["spent"].get("maybe_paid", {}).items()}
    refused = {problem[1:] for problem in outcome.said["refused"]}

    assert outcome.said["wrong"] == []
    assert {str(i) for i in range(n)} - set(outcome.stored) == refused
    assert {q for q in delivered if q not in outcome.stored} == set()  # 0 answers lost
    twice = {q: times - 1 for q, times in delivered.items() if times > 1}
    assert {q: times for q, times in twice.items() if named.get(q, 0) < times} == {}  # those that were are named
    assert outcome.said["spent"]["n_calls"] >= sum(asked.values())  # a call that never arrived was still recorded
    assert set(outcome.stored.values()) == {1}
    return sum(twice.values()), sum(named.values()), sum(asked.values())


def test_no_answer_is_lost_or_bought_twice_without_a_word(tmp_path):
    outcome = torture(tmp_path, n=300, kills=2)

    check(outcome, 300)


@pytest.mark.slow
def test_ten_thousand_calls_with_thirty_percent_faults_and_twenty_kills(tmp_path, record_property):
    outcome = torture(tmp_path, n=10_000, kills=20)

    twice, named, asked = check(outcome, 10_000)
    kinds = Counter(kind for _, _, kind, what in outcome.requests if what == "asked")
    before, after = outcome.said["megabytes"]
    print(f"\nseed {SEED}: {asked} requests, {asked - kinds['']} faults of {len(kinds) - 1} kinds")
    rates = f"{outcome.rate:.0f} requests/s, {outcome.processor_rate:.0f} a second of the client's processor time"
    print(f"{twice} delivered twice; {named} calls named; {rates}; {before} → {after} MB")
    assert twice <= 20 * 32 and after - before < 100
