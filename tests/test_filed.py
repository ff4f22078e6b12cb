"""Records that stay in their files, and what a million of them take."""

import pickle
import tracemalloc
from dataclasses import replace

import pytest
from answers import GOOD, PROBLEM
from tiny import tiny_tokenizer

from srit.errors import DataError
from srit.records import Model, Prediction, Problem
from srit.records.own import key_of, with_own
from srit.run_directory import Chosen, Filed, Grouped, Lookup, Scratch, read_records, write_records
from srit.samplers.asked import asked, each, make_requests
from srit.stages.results import make_results
from srit.students.prompts import Prompts

PROBLEMS = [replace(PROBLEM, id=f"p{n}", question=f"{n} + 1?\u2028") for n in range(9)]


@pytest.fixture
def file(tmp_path):
    write_records(tmp_path / "problems.jsonl", PROBLEMS)
    return tmp_path / "problems.jsonl"


def test_records_in_a_file_are_those_of_a_list(file):
    file.write_bytes(file.read_bytes().replace(b"\n", b"\n\n", 2))
    filed = Filed(file, Problem)

    assert list(filed) == read_records(file, Problem) == PROBLEMS
    assert (len(filed), filed[3], list(filed[2:8:2])) == (9, PROBLEMS[3], PROBLEMS[2:8:2])
    assert list(Chosen([7, 1], filed.__getitem__)) == [PROBLEMS[7], PROBLEMS[1]]
    file.write_bytes(file.read_bytes().replace(b'"p4"', b'"p" 4'))
    with pytest.raises(DataError, match=r"problems\.jsonl: the record at byte"):
        Filed(file, Problem)[4]


def test_a_lookup_finds_every_number_of_a_key_whether_or_not_it_is_sorted_yet():
    keys, lookup = [f"{n % 3000}" for n in range(10_000)], Lookup()
    for number, key in enumerate(keys):
        lookup.add(key)
        if number in (0, 5000, 9000):
            assert lookup.find("0") == list(range(0, number + 1, 3000))

    assert lookup.find("2999") == [2999, 5999, 8999] and lookup.find("x") == []
    assert [group[0] for group in lookup.groups()] == list(range(3000))


def test_records_are_grouped_by_a_key_in_the_order_of_the_file(tmp_path):
    answers = [replace(GOOD, problem_id=name, index=n) for n, name in enumerate("abacb")]
    write_records(tmp_path / "completions.jsonl", answers)

    grouped = Grouped(tmp_path / "completions.jsonl", type(GOOD), key_of, lambda answer: answer.index != 3)

    assert [[answer.index for answer in group] for group in grouped] == [[0, 2], [1, 4]]
    assert [answer.index for answer in grouped.of(key_of(answers[1]))] == [1, 4]
    assert grouped.of(key_of(answers[3])) == []


def test_what_is_set_aside_is_there_again_in_another_process_too():
    values = [("\ud800", (1, 2)), None, "x" * 50_000_000]
    scratch = pickle.loads(pickle.dumps(Scratch(values)))

    assert list(scratch) == values and scratch[:2] == values[:2]


def test_answers_in_another_order_than_their_problems_are_refused():
    answers = [replace(GOOD, problem_id=name) for name in ("p0", "p2", "p2")]

    assert [len(own) for _, own in with_own(PROBLEMS[:3], answers)] == [1, 0, 2]
    with pytest.raises(DataError, match="'p2' are out of order"):
        list(with_own([PROBLEMS[2], PROBLEMS[0]], answers))


def test_a_request_is_the_same_wherever_a_slice_begins():
    wanted = asked(PROBLEMS, [("direct", range(0)), ("cot", range(3, 5)), ("direct", range(1))])

    requests = make_requests(wanted, Prompts(tiny_tokenizer(), "chatml"), "0")

    whole = list(requests)
    assert [request.seed for request in whole] == [f"0/sums/{p.id}/{kind}/{i}" for p, kind, i in each(wanted)]
    assert len(whole) == len(requests) == 27
    assert all(requests[start : start + 5] == whole[start : start + 5] for start in range(28))
    assert requests[-1] == whole[-1] and requests[4] == whole[4]


def test_results_take_some_bytes_for_each_answer(tmp_path):
    def answers(n):
        return (
            Prediction(f"p{i}", "sums", "cot", 0, "x" * 500, 9, False, "1", None, "", "right" if i % 3 else "wrong")
            for i in range(n)
        )

    def peak(n):
        tracemalloc.start()
        make_results({(Model(kind), "sums"): answers(n) for kind in ("base", "instructed")}, {"sums"}, seed=0)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)  # what is loaded when it is first used
    assert (peak(10_000) - peak(5_000)) / 5_000 < 250
