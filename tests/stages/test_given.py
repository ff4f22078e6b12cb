"""Answers and pairs of a file of the user's own."""

import json

import pytest
from tiny import tiny_tokenizer

from srit.errors import DataError
from srit.records import Problem
from srit.stages.given import read_completions, read_pairs
from srit.students.prompts import Prompts, prompt_text

PROBLEMS = [
    Problem("1", "sums", "train", "What is 2 + 2?", "4"),
    Problem("2", "sums", "train", "What is 3 + 4?", "7"),
]
BOTH, COT = ("direct", "cot"), ("cot",)


@pytest.fixture(scope="module")
def prompts():
    return Prompts(tiny_tokenizer(), "chatml")


def file_of(folder, rows):
    path = folder / "own.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_answers_are_judged_numbered_and_sorted_by_their_problems(tmp_path, prompts):
    rows = [
        {"id": 2, "output": " Three and four. The answer is 7. "},
        {"problem_id": "1", "text": "The answer is 5.", "prompt": "direct"},
        {"id": "2", "output": "The answer is 8."},
        {"id": "3", "output": "The answer is 8."},
        {"id": "1", "output": None},
    ]

    answers, counts = read_completions(file_of(tmp_path, rows), PROBLEMS, prompts)

    found = list(answers)
    said = [(c.problem_id, c.prompt, c.index, c.verdict, c.reward, c.truncated) for c in found]
    assert said == [
        ("1", "direct", 0, "wrong", 0.0, False),
        ("2", "cot", 0, "right", 1.0, False),
        ("2", "cot", 1, "wrong", 0.0, False),
    ]
    assert found[1].text == "Three and four. The answer is 7." and found[1].token_ids[-1] == prompts.end_of_turn_id
    assert counts == {"left out: no such problem": 1, "left out: empty": 1}


RIGHT, WRONG = "The answer is 4.", "The answer is 5."
ABOUT = {
    "an id": ({"id": 1}, COT),
    "an id and a prompt": ({"problem_id": "1", "prompt": "direct"}, ("direct",)),
    "an id and the text of a prompt": ({"id": "1", "prompt": "What is 2 + 2?"}, COT),
    "a question, as TRL has it": ({"prompt": " What is 2 + 2? "}, COT),
    "a chat, as TRL has it": ({"prompt": [{"role": "user", "content": "What is 2 + 2?"}]}, COT),
    "a whole prompt": ({"prompt": prompt_text(PROBLEMS[0], "direct")}, ("direct",)),
}


@pytest.mark.parametrize("about", ABOUT)
def test_a_pair_says_its_problem_by(tmp_path, prompts, about):
    fields, kinds = ABOUT[about]
    row = {**fields, "chosen": RIGHT, "rejected": [{"role": "assistant", "content": WRONG}]}

    found, counts = read_pairs(file_of(tmp_path, [row]), PROBLEMS, prompts, kinds)

    pairs = list(found)
    assert [(p.problem_id, p.prompt, p.chosen, p.rejected) for p in pairs] == [("1", kinds[0], RIGHT, WRONG)]
    assert prompts.text(pairs[0].chosen_ids) == RIGHT and prompts.text(pairs[0].rejected_ids) == WRONG
    assert counts == {"problems": 2, "problems with pairs": 1, "pairs": 1}


def test_a_pair_without_a_prompt_is_conditioned_on_each_that_the_recipe_wants(tmp_path, prompts):
    row = {"id": "2", "chosen": RIGHT, "rejected": WRONG}

    pairs, _ = read_pairs(file_of(tmp_path, [row]), PROBLEMS, prompts, BOTH)

    assert [pair.prompt for pair in pairs] == ["direct", "cot"]


def test_pairs_that_teach_nothing_are_counted(tmp_path, prompts):
    good = {"id": "1", "chosen": RIGHT, "rejected": WRONG}
    rows = [good, {**good, "rejected": f" {RIGHT}"}, {**good, "id": "9"}, {**good, "prompt": "direct"}]

    pairs, counts = read_pairs(file_of(tmp_path, rows), PROBLEMS, prompts, COT)

    assert len(list(pairs)) == 1
    assert {name for name, n in counts.items() if name.startswith("left out") and n == 1} == {
        "left out: chosen and rejected are the same text",
        "left out: no such problem",
        "left out: of a prompt that pairs.prompt leaves out",
    }


@pytest.mark.parametrize("read", [read_completions, lambda *given: read_pairs(*given, COT)], ids=["answers", "pairs"])
@pytest.mark.parametrize(
    "row, message",
    [
        ({"id": "9", "output": "x", "chosen": "a", "rejected": "b"}, r"own\.jsonl: no row .*\"id\": \"1\""),
        ({"output": "x", "chosen": "a", "rejected": "b"}, r"own\.jsonl:1: (id|prompt): is missing"),
        ({"id": "1", "output": 1, "prompt": "why", "chosen": 0, "rejected": ""}, r"own\.jsonl:1: (prompt|rejected): "),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_place(tmp_path, prompts, read, row, message):
    with pytest.raises(DataError, match=message):
        read(file_of(tmp_path, [row]), PROBLEMS, prompts)
