import gzip
import json

import pytest
from teacher_server import questions

from srit.errors import DataError
from srit.records import Problem
from srit.teachers import Question
from srit.teachers.recording import RecordingTeacher


def recording(tmp_path, *rows):
    path = tmp_path / "teacher.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def answers(path, *problems, variant=None):
    asked = [Question(Problem(identity, task, split, "?", "1"), "?") for identity, task, split in problems]
    return [(answer.text, answer.reason) for answer in RecordingTeacher([path], variant).answer(asked)]


P7 = ("7", "sums", "train")


@pytest.mark.parametrize(
    "row", ['{"id": 7, "output": "a"}', '{"id": 7.0, "text": "a"}', '{"problem_id": "7", "text": "a"}']
)
def test_an_answer_is_found_by_its_id_as_number_or_text(tmp_path, row):
    assert answers(recording(tmp_path, row), P7) == [("a", "")]


@pytest.mark.parametrize(
    "empty", [{"id": 7, "output": None}, {"id": 7}, {"problem_id": 7, "text": None}, {"problem_id": 7, "text": " "}]
)
def test_a_null_or_missing_output_is_a_question_without_an_answer(tmp_path, empty):
    path = recording(tmp_path, empty, {"id": 8, "output": "b"})

    assert answers(path, P7, ("8", "sums", "train"), ("9", "sums", "train")) == [
        (None, "the recording has no answer to it"),
        ("b", ""),
        (None, "not in the recording"),
    ]


def test_an_answer_counts_though_a_null_came_first(tmp_path):
    assert answers(recording(tmp_path, {"id": 7, "output": None}, {"id": 7, "output": "a"}), P7) == [("a", "")]


def test_of_two_problems_with_one_id_each_gets_the_answer_of_its_task_and_split(tmp_path):
    path = recording(
        tmp_path,
        {"id": 7, "task": "sums", "split": "train", "output": "train"},
        {"id": 7, "task": "sums", "split": "test", "output": "test"},
        {"id": 7, "task": "doors", "output": "doors"},
    )

    said = answers(path, P7, ("7", "sums", "test"), ("7", "doors", "test"), ("7", "sums", "dev"), ("7", "race", "test"))

    missing = [(None, "not in the recording"), (None, "its id is one of doors, sums there, and none is race")]
    assert said == [("train", ""), ("test", ""), ("doors", ""), *missing]


def test_a_problem_whose_own_row_is_empty_gets_no_other_problems_answer(tmp_path):
    path = recording(
        tmp_path,
        {"id": 7, "task": "sums", "split": "train", "output": None},
        {"id": 7, "task": "sums", "split": "test", "output": "test"},
        {"id": 7, "task": "doors", "output": "doors"},
    )

    assert answers(path, P7) == [(None, "the recording has no answer to it")]


def test_tasks_and_splits_may_have_other_names_in_a_recording(tmp_path):
    path = recording(tmp_path, {"id": 7, "task": "Sums", "split": "validation", "output": "a"})

    assert answers(path, P7) == [("a", "")]


def test_a_variant_may_be_a_number(tmp_path):
    path = recording(tmp_path, {"id": 7, "variant": 1, "output": "a"}, {"id": 7, "variant": 2, "output": "b"})

    assert answers(path, P7, variant="2") == [("b", "")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"output": "a"}, "teacher.jsonl:2: id: is missing"),
        ({"id": True, "output": "a"}, "teacher.jsonl:2: id: True is not text"),
        ({"id": 7, "output": ["a"]}, "teacher.jsonl:2: output: "),
        ({"id": 7, "output": "a", "variant": ["x"]}, "teacher.jsonl:2: variant: "),
        ("[]", "teacher.jsonl:2: a row is a JSON object"),
    ],
)
def test_a_row_that_is_no_recorded_answer_is_named(tmp_path, row, message):
    with pytest.raises(DataError) as caught:
        RecordingTeacher([recording(tmp_path, {"id": 1, "output": "a"}, row)])

    assert message in str(caught.value)


def test_a_file_in_which_no_row_has_an_answer_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"teacher\.jsonl:1: no row of this file has a field output or text"):
        RecordingTeacher([recording(tmp_path, {"id": 1, "answer": "a"}, {"id": 2, "answer": "b"})])


def test_recordings_answer_by_id(tmp_path):
    path, more = tmp_path / "teacher.jsonl.gz", tmp_path / "more.jsonl"
    rows = [
        {"id": "p0", "split": "train", "variant": "a", "output": "first"},
        {"id": "p0", "split": "train", "variant": "a", "output": "second"},
        {"id": "p0", "split": "train", "variant": "b", "output": "other"},
    ]
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))

    more.write_text('{"problem_id": "p1", "text": "from another file", "variant": "a"}\n')

    def texts(paths, variant):
        return [a.text for a in RecordingTeacher(paths, variant).answer(questions(2))]

    assert texts([path], "a") == ["first", None]
    assert texts([path], "b") == ["other", None]
    assert texts([path, more], "a") == ["first", "from another file"]
    with pytest.raises(DataError, match="'c' is not in the file; it has a, b"):
        RecordingTeacher([path], "c")
