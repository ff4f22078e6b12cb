"""Rows of other formats, columns by name, and files that are divided by what their rows say."""

import json

import pytest

from srit.errors import DataError
from srit.tasks import find_task

SOLVED = "6 + 9 = 15.\n#### 15"
CHAT = [{"role": "user", "content": "6 + 9?"}, {"role": "assistant", "content": SOLVED}]


def load(tmp_path, *rows, said="", split="train", seed=0):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(find_task(f"jsonl:{path}{said}").load(split, data=None, limit=None, seed=seed))


@pytest.mark.parametrize(
    "row",
    [
        {"question": "6 + 9?", "answer": SOLVED},
        {"instruction": "6 + 9?", "input": "", "output": SOLVED},
        {"messages": CHAT},
        {"conversations": [{"from": "human", "value": "6 + 9?"}, {"from": "gpt", "value": SOLVED}]},
        {"prompt": "6 + 9?", "completion": SOLVED},
        {"prompt": CHAT[:1], "completion": CHAT[1:]},
        {"query": "6 + 9?", "response": "6 + 9 = 15.\nThe answer is: 15", "type": "GSM"},
        {"problem": "6 + 9?", "solution": "6 + 9 = \\boxed{15}."},
        {"problem": "6 + 9?", "solution": "6 + 9 = 15.", "answer": 15},
    ],
    ids=lambda row: "+".join(row),
)
def test_a_row_of_a_common_format_is_a_problem_with_its_solution(tmp_path, row):
    [problem] = load(tmp_path, row)

    assert (problem.question, problem.answer) == ("6 + 9?", "15")
    assert problem.rationale.startswith("6 + 9 = ")


def test_what_the_system_and_the_input_say_is_part_of_the_question(tmp_path):
    system = {"role": "system", "content": "Count."}
    chat, alpaca = load(
        tmp_path, {"messages": [system, *CHAT]}, {"instruction": "Add.", "input": "6 and 9", "output": "15"}
    )

    assert (chat.question, alpaca.question) == ("Count.\n\n6 + 9?", "Add.\n6 and 9")


@pytest.mark.parametrize("turns", [CHAT * 2, CHAT[:1], CHAT[::-1]])
def test_a_chat_that_is_not_one_question_and_its_answer_is_refused_with_its_line(tmp_path, turns):
    with pytest.raises(DataError, match=r"mine\.jsonl:1: messages: its turns are (user|assistant)"):
        load(tmp_path, {"messages": turns})


@pytest.mark.parametrize(
    "row",
    [
        {"options": ["12", "16"], "answer": "B"},
        {"options": ["A) 12", "B) 16"], "answer": "b"},
        {"choices": {"A": "12", "B": "16"}, "answer": "B"},
        {"choices": {"text": ["12", "16"], "label": ["A", "B"]}, "answerKey": "B"},
        {"choices": {"text": ["12", "16"], "label": ["1", "2"]}, "answerKey": "2"},
        {"choices": [{"label": "A", "text": "12"}, {"label": "B", "text": "16"}], "answer": "16"},
        {"choices": {"B": "12", "A": "16"}, "answer": "A"},
    ],
)
def test_options_come_as_lists_letters_or_labels(tmp_path, row):
    [problem] = load(tmp_path, {"question": "4 * 4?", **row})

    assert (problem.choices, problem.answer) == (("12", "16"), "B")


def test_an_answer_that_could_mean_two_of_the_labeled_options_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"mine\.jsonl:1: answer: '\(A\)' is none of the labels B, A"):
        load(tmp_path, {"question": "4 * 4?", "choices": {"B": "12", "A": "16"}, "answer": "(A)"})


def test_columns_are_named_after_the_path(tmp_path):
    row = {"Frage": "4 * 4?", "one": "12", "two": "16", "key": "two is 16", "gold": "16", "answer": "of another"}

    [problem] = load(tmp_path, row, said="?question=Frage&answer=gold&choices=one,two&rationale=key")

    assert (problem.question, problem.choices, problem.answer) == ("4 * 4?", ("12", "16"), "B")
    assert problem.rationale == "two is 16"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("?question=Frage", r"mine\.jsonl:1: there is no column 'Frage' for the question; it has: question, answer"),
        ("?quesion=x", "'quesion': did you mean question"),
        ("?split=80/30/10", "'80/30/10' is not three whole percentages"),
        ("?split=80/10/10&split=1/1/98", "names and values"),
        ("?question", "names and values"),
    ],
)
def test_what_a_task_says_of_its_rows_is_checked(tmp_path, said, why):
    with pytest.raises(DataError, match=why):
        load(tmp_path, {"question": "?", "answer": "1"}, said=said)


def test_a_file_is_divided_by_its_questions_whatever_their_order(tmp_path):
    rows = [{"question": f"{n} + 1?", "answer": n + 1} for n in range(200)]

    def divided(rows, seed=0):
        splits = ("train", "dev", "test")
        return [{p.question for p in load(tmp_path, *rows, said="?split=60/20/20", split=s, seed=seed)} for s in splits]

    parts, few = divided(rows), divided(rows[:100:-1])

    assert len(set.union(*parts)) == sum(map(len, parts)) == 200
    assert 100 <= len(parts[0]) <= 140 and all(25 <= len(part) <= 55 for part in parts[1:])
    assert all(some <= part for some, part in zip(few, parts, strict=True))
    assert divided(rows, seed=1) != parts


def test_a_folder_is_divided_by_its_files_alone(tmp_path):
    with pytest.raises(DataError, match="a folder has a file for each split"):
        find_task(f"jsonl:{tmp_path}?split=80/10/10")


def test_a_row_that_names_its_split_stays_there(tmp_path):
    rows = [{"question": f"{n}?", "answer": n, "split": "test"} for n in range(9)]

    assert len(load(tmp_path, *rows, said="?split=100/0/0", split="test")) == 9


def test_the_sum_of_a_file_whose_rows_were_always_read_stays_what_it_was(tmp_path):
    def source(**row):
        load(tmp_path, {"question": "?", "answer": "1", **row})
        return find_task(f"jsonl:{tmp_path}/mine.jsonl").source("train", data=None)

    assert [len(source(id=1)), source()[64:]] == [64, " by content"]
