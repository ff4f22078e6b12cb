import gzip
import itertools
import json
import random
from pathlib import Path

import pytest

from srit.cli.audit import audit, judged_rows
from srit.errors import DataError
from srit.tasks import benchmarks, gym, hub, jsonl, judge
from srit.tasks.reading.numbers import read_number
from srit.tasks.reading.numerals.numerals import numbers_equal

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"  # next to the checkout
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not beside the checkout")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 51 dollars.", "51"),
        ("So Danny has 100 - 68 = 32 more wrappers than", "32"),
        ("It comes to **73**", "73"),
        ("She pays $29.00.", "29"),
        (r"\boxed{\$1{,}234.50}", "1234.5"),
        ("Therefore, the answer (arabic numerals) is\n\n1792", "1792"),
        ("… <<5*2=10>>10\n#### 1,234", "1234"),
        ("3 + 1 = 4\nA: 4", "4"),
        ("**Answer:** 12\nExplanation: 3 times 4.", "12"),
        ("The answer is -5.", "-5"),
        ("The answer is −5.", "-5"),
        ("He has -$5", "-5"),
        ("That leaves:\n- 7 questions", "7"),  # a list
        (r"The answer is $\frac{1}{3}$.", "1/3"),
        ("so 2 1/2 cups", "2.5"),
        ("The answer is 3 * 5 = 15.", "15"),
        ("The answer is 1.5 million people", "1500000"),
        ("The answer is thirty-eight.", "38"),
        ("The answer is two hundred and four dollars.", "204"),
        ("The rate is 5%.", "5%"),
        ("５０％です", "50%"),
        ("The answer is Rs. 500.", "500"),
        ("The answer is not 40, it's 50.", "50"),
        ("Then 9 * 8 = 72.\nSo John needs 72 nails to secure the 9 planks.", "72"),
        ("There were 22,800 (304 x 75) students.", "22800"),
        ("So x is 29.\nTo check: 29 + 30 + 31 = 90", "29"),
        ("٣ apples", None),
        ("1. Add.\n2. Divide.", None),
        ("The answer is unknown. There were 3.", None),
        ("NaN", None),
        ("9" * 200, None),
        ("1e99999", None),
        ("", None),
    ],
)
def test_a_number_is_read(text, answer):
    assert read_number(text).answer == answer


def test_the_span_is_where_the_answer_stands_even_at_the_end_of_a_long_text():
    text = "x" * 50_000 + " The answer is 7,200 km."
    start, end = read_number(text).span
    assert text[start:end] == "7,200"


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("72.0", "72", True),
        ("1/2", "0.5", True),
        (r"\frac{1}{2}", ".5", True),
        ("1,000", "1000", True),
        ("$5", "5", True),
        ("5%", "5", True),
        ("5%", "0.05", True),
        ("5", "0.05", False),
        ("0.6666666666666667", "0.666667", True),
        ("2/3", "0.666667", True),
        ("0.67", "2/3", False),
        ("118548", "118558", False),
        ("1e400", "1e400", True),
        ("nan", "nan", False),
        ("inf", "inf", False),
        ("3 to 4", "3 to 4", False),
        ("1/0", "1/0", False),
    ],
)
def test_numbers_are_compared_by_value(first, second, equal):
    assert numbers_equal(first, second) is equal
    assert numbers_equal(second, first) is equal


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(number=1, **fields):
    return {"id": f"p{number}", "question": "How many?", "answer": "3", **fields}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b'{"id": "x", "question": "?"}\n', r"test\.jsonl:2: answer: is missing"),
        (json.dumps(row(2, answer="—")).encode(), r"test\.jsonl:2: answer: gold '—' of 'p2' is not a number"),
        (b'{"id": "\xff"}', r"test\.jsonl:2: byte 0xff at column 9 is not UTF-8"),
        (b"[1]", r"test\.jsonl:2: a row is a JSON object"),
        (b'{"id": NaN}', r"test\.jsonl:2: not JSON: NaN"),
        (b"[" * 100_000, r"test\.jsonl:2: not JSON"),
        (b'{"id": "x", "question": "\\ud800", "answer": "1"}', r"test\.jsonl:2: question: holds half a surrogate"),
        (json.dumps(row(1)).encode(), r"1 rows repeat an id: .*test\.jsonl:2: 'p1'"),
        (b'"' + b"x" * (17 * 2**20), r"test\.jsonl:2: the line is longer than 16 MiB"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, bad, message):
    path = write(tmp_path / "gsm8k" / "test.jsonl", row(1))
    path.write_bytes(path.read_bytes() + bad)
    with pytest.raises(DataError, match=message) as error:
        list(benchmarks.make("gsm8k").load("test", data=tmp_path, limit=None, seed=0))
    assert error.value.exit_code == 3


def test_byte_order_mark_crlf_and_line_separators_inside_fields_are_accepted(tmp_path):
    path = tmp_path / "gsm8k" / "test.jsonl"
    path.parent.mkdir()
    text = json.dumps(row(1, question="a\u2028b\u0085c"), ensure_ascii=False) + "\r\n" + json.dumps(row(2)) + "\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(list(benchmarks.make("gsm8k").load("test", data=tmp_path, limit=None, seed=0))) == 2


def test_a_cut_gzip_file_is_a_data_error(tmp_path):
    whole = gzip.compress(b"".join(json.dumps(row(n)).encode() + b"\n" for n in range(1000)))
    path = tmp_path / "gsm8k" / "test.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"damaged or cut off"):
        list(benchmarks.make("gsm8k").load("test", data=tmp_path, limit=None, seed=0))


def test_a_missing_split_names_those_there_are(tmp_path):
    write(tmp_path / "addsub" / "test.jsonl", row(1))
    with pytest.raises(DataError, match=r"no train split .* there is: test"):
        list(benchmarks.make("addsub").load("train", data=tmp_path, limit=None, seed=0))


def test_a_limit_draws_by_seed_and_keeps_the_file_order(tmp_path):
    write(tmp_path / "gsm8k" / "test.jsonl", *[row(n) for n in range(100)])

    def ids(seed):
        return [p.id for p in benchmarks.make("gsm8k").load("test", data=tmp_path, limit=10, seed=seed)]

    expected = sorted(random.Random("3/gsm8k/test").sample(range(100), 10))
    assert ids(3) == [f"p{n}" for n in expected] == ids(3)
    assert ids(3) != ids(4)


def test_the_rows_of_the_hub_become_problems():
    def convert(name, **raw):
        return hub.BENCHMARKS[name].convert(raw)

    lettered = {"choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}
    assert convert("arc_challenge", id="a", question="q", **lettered)["answer"] == "B"
    assert convert("openbookqa", id="a", question_stem="q", **lettered)["question"] == "q"
    assert convert("commonsense_qa", id="a", question="q", **{**lettered, "answerKey": ""})["answer"] is None
    gsm8k = convert("gsm8k", question="q", answer="5*2=<<5*2=10>>10.\n#### 1,010")
    assert (gsm8k["answer"], gsm8k["rationale"]) == ("1010", "5*2=10.")
    assert convert("piqa", goal="q", sol1="x", sol2="y", label=1)["answer"] == "B"
    iqa = {"answerA": "x", "answerB": "y", "answerC": "z", "label": "3"}
    assert convert("social_iqa", context="c", question="q", **iqa)["answer"] == "C"
    assert convert("aqua", question="q", options=["A)1", "B)2"], correct="B", rationale="r")["choices"] == ["1", "2"]
    assert convert("asdiv", body="b", question="q", answer="9 (apples)")["answer"] == "9"
    assert convert("math", problem="q", solution=r"so $\boxed{\frac{1}{2}}$.")["answer"] == r"\frac{1}{2}"
    assert convert("strategyqa", qid="i", question="q", answer=False, facts="f")["answer"] == "B"


def test_a_file_of_ones_own_decides_how_answers_are_read(tmp_path):
    rows = [
        row(1),
        row(2, answer="B", choices=["red", "green"], split="train"),
        row(3, answer="Paris", split="test"),
    ]
    task = jsonl.make(f"jsonl:{write(tmp_path / 'mine.jsonl', *rows)}")
    train = list(task.load("train", data=None, limit=None, seed=0))
    test = list(task.load("test", data=None, limit=None, seed=0))
    assert ([p.id for p in train], [p.id for p in test]) == (["p1", "p2"], ["p1", "p3"])
    assert judge(task, train[0], "The answer is 3.0.").verdict == "right"
    assert judge(task, train[1], "The answer is (b).").verdict == "right"
    assert judge(task, test[1], "The answer is paris.").verdict == "right"


def test_an_audit_counts_and_names_an_id_without_a_problem(tmp_path):
    problems = write(tmp_path / "problems.jsonl", row(1), row(2), row(3))
    said = [("p1", "The answer is 3", True), ("p2", "The answer is 4", True), ("p3", "Who knows?", False)]
    recording = write(tmp_path / "r.jsonl", *[{"id": i, "output": o, "is_correct": c} for i, o, c in said])
    found = audit(benchmarks.make("gsm8k"), recording, problems)
    assert (found.n, found.read, found.correct, found.errors, found.accuracy) == (3, 2, 1, 0, 1 / 3)
    assert (found.unread, found.disagreements) == (("p3",), ("p2",))
    with pytest.raises(DataError, match=r"r\.jsonl:1: id: no problem 'p9' of gsm8k is in"):
        audit(benchmarks.make("gsm8k"), write(tmp_path / "r.jsonl", {"id": "p9", "output": ""}), problems)


def test_generated_splits_share_no_question_whatever_the_seed():
    pytest.importorskip("reasoning_gym")
    task = gym.make("gym:leg_counting")
    train = list(task.load("train", data=None, limit=60, seed=1))
    test = list(task.load("test", data=None, limit=60, seed=2))
    assert len({p.question for p in train}) == len({p.question for p in test}) == 60
    assert not {p.question for p in train} & {p.question for p in test}
    assert train == list(task.load("train", data=None, limit=60, seed=1))
    worked = next(iter(gym.make("gym:gsm_symbolic").load("train", data=None, limit=1, seed=0)))
    solution = task.solve(worked)
    assert solution.endswith(f"The answer is {worked.answer}.")
    assert judge(task, worked, solution).verdict == "right"
    with pytest.raises(DataError, match="did you mean gym:leg_counting"):
        gym.make("gym:leg_counting2")


# Published accuracies are those of SOURCES.md, recomputed over the same rows; a tolerance is what
# docs/answer-reading.md explains of the file's disagreements.
@needs_data
@pytest.mark.parametrize(
    ("recording", "tolerance"),
    [
        ("palm-540b/commonsense_qa", 0.01),
        ("text-davinci-003/social_iqa_validation", 0.01),
        ("text-davinci-003/svamp", 0.01),
        ("text-davinci-003/addsub", 0.01),
        ("gpt-3.5-turbo/commonsense_qa_validation", 0.005),
        ("gpt-3.5-turbo/gsm8k_test", 0.01),
        ("gpt-3-175b-finetuned/gsm8k_test", 0.005),
        ("gpt-4o/strategyqa", 0.005),
        ("llama-3-70b/svamp", 0.005),
        ("text-davinci-002/svamp", 0.02),
    ],
)
def test_recorded_answers_are_judged_as_published(recording, tolerance):
    path = DATA / "teachers" / f"{recording}.jsonl.gz"
    name = path.name.removesuffix(".jsonl.gz").removesuffix("_validation").removesuffix("_test")
    rows = judged_rows(benchmarks.make(name), path, data=DATA / "benchmarks")
    pairs = [(judgment.verdict == "right", r.fields["is_correct"]) for r, judgment in itertools.islice(rows, 2000)]
    ours, published = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    assert abs(ours - published) <= tolerance


@needs_data
@pytest.mark.parametrize("name", [name for name in benchmarks.names() if name != "mmlu"])
def test_every_published_row_is_accepted_and_its_gold_answer_equals_itself(name):
    task = benchmarks.make(name)
    problems = list(task.load_all(DATA / "benchmarks"))
    assert problems
    assert all(task.equal(problem.answer, problem.answer) for problem in problems)
