"""A person's own files: what is an id, a gold answer and an option, and what is refused with its file and line."""

import gzip
import json
import subprocess

import pytest

from srit.cli.audit import audit
from srit.errors import DataError
from srit.tasks import find_task, judge
from srit.tasks.golds import Final, final_answer, numbering, refuse_solution
from srit.tasks.labels import unlabeled
from srit.tasks.lines import Row, id_field, read_rows


def write(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def load(path, split="test"):
    return list(find_task(f"jsonl:{path}").load(split, data=None, limit=None, seed=0))


# ----------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["list.json", "list.json.gz"])
def test_a_list_has_the_rows_of_as_many_lines(tmp_path, monkeypatch, name, indent):
    rows = [{"question": f"Où est {n}, 世界?", "answer": n, "tags": ["a]", {"b": [n]}]} for n in range(50)]
    written = ("\ufeff" + json.dumps(rows, indent=indent, ensure_ascii=False) + "\n").encode()
    (tmp_path / name).write_bytes(gzip.compress(written) if name.endswith(".gz") else written)
    monkeypatch.setattr("srit.tasks.lines.PIECE", 61)  # ends within characters, words and rows

    assert [row.fields for row in read_rows(tmp_path / name)] == rows


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('[{"a": 1}, {"a": 2', "rows.json, item 2: not JSON"),
        ('[{"a": 1} {"a": 2}]', "rows.json, item 2: not JSON: ',' is missing"),
        ('[{"a": 1}, 5]', "rows.json, item 2: a row is a JSON object, not int"),
        ('[{"a": 1},]', "rows.json, item 2: not JSON"),
        ('[{"a": 1}]\n[{"a": 2}]', "rows.json, item 2: not JSON: something follows the list"),
        ('[{"a": NaN}]', "rows.json, item 1: not JSON: NaN is not JSON"),
        ("[" * 100_000, "rows.json, item 1: not JSON"),
        (b'[{"a": "\xff"}]', "rows.json: byte 0xff is not UTF-8"),
    ],
)
def test_a_list_that_is_none_is_refused_with_its_item(tmp_path, written, message):
    path = tmp_path / "rows.json"
    path.write_bytes(written if isinstance(written, bytes) else written.encode())

    with pytest.raises(DataError, match=message):
        list(read_rows(path))
    path.write_text(" [ ]\n")
    assert list(read_rows(path)) == []
    with pytest.raises(DataError, match=r"none\.jsonl\.gz: cannot be read"):
        list(read_rows(tmp_path / "none.jsonl.gz"))


def test_a_file_of_empty_lines_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "empty.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n" * 3_000_000))

    with pytest.raises(DataError, match=r"empty\.jsonl\.gz:1000001: more than 1,000,000 empty lines"):
        list(read_rows(path))


# ------------------------------------------------------------------------------------------------------ ids


@pytest.mark.parametrize(
    ("written", "identity"),
    [
        ("7", "7"),
        ("7.0", "7"),
        ("7.000", "7"),
        ("7e0", "7"),
        ("70e-1", "7"),
        ('"7"', "7"),
        ('"007"', "007"),
        ('"7.0"', "7.0"),  # a text, such as a version, stays what it is
        ('"1.10"', "1.10"),
        ("-0.0", "0"),
        ("7.50", "7.5"),
        ("9007199254740993", "9007199254740993"),
        ("9007199254740993.0", "9007199254740993"),  # a float would make it …992
        ("12345678901234567890123.0", "12345678901234567890123"),
        ("1e3", "1000"),
        ("1e400", "1" + 400 * "0"),
        ("1e9999", "1E+9999"),
    ],
)
def test_an_id_is_the_same_as_a_number_or_a_text(tmp_path, written, identity):
    [row] = read_rows(write(tmp_path / "rows.jsonl", f'{{"id": {written}}}'))

    assert id_field(row, "id") == identity


@pytest.mark.parametrize("written", ["true", "false", "[7]", '{"n": 7}', '""', '" "'])
def test_what_is_neither_a_number_nor_a_text_is_no_id(tmp_path, written):
    [row] = read_rows(write(tmp_path / "rows.jsonl", f'{{"id": {written}}}'))

    with pytest.raises(DataError, match=r"rows\.jsonl:1: id: "):
        id_field(row, "id")


def test_ids_of_problems_and_recordings_meet_whichever_way_they_are_written(tmp_path):
    problems = [{"id": n, "question": f"{n} + 1?", "answer": n + 1} for n in (7, 8, 9)]
    path = write(tmp_path / "problems.jsonl", *problems)
    answers = write(
        tmp_path / "answers.jsonl",
        '{"id": 7.0, "output": "The answer is 8."}',
        '{"problem_id": "8", "text": "The answer is 9."}',
        '{"id": 9, "output": null}',
    )

    found = audit(find_task(f"jsonl:{path}"), answers)

    assert (found.n, found.read, found.correct, found.unread) == (3, 2, 2, ("9",))


def test_one_id_written_in_two_ways_is_one_id_twice(tmp_path):
    rows = [{"id": written, "question": "?", "answer": "1"} for written in (7, 7.0, "7")]

    with pytest.raises(DataError, match="2 rows repeat an id"):
        load(write(tmp_path / "mine.jsonl", *rows))


def test_a_row_without_an_id_keeps_its_own_wherever_it_stands(tmp_path):
    rows = [{"question": f"{n}?", "answer": "1"} for n in range(3)]
    ids = {p.question: p.id for p in load(write(tmp_path / "mine.jsonl", rows[0], "", {**rows[1], "id": None}))}
    moved = {p.question: p.id for p in load(write(tmp_path / "mine.jsonl", rows[2], rows[1], rows[0]))}
    other = {p.id for p in load(write(tmp_path / "other.jsonl", *rows))}

    assert len(set(moved.values())) == 3 and ids.items() < moved.items()
    assert other.isdisjoint(moved.values())


def test_a_question_that_comes_twice_without_ids_is_two_problems(tmp_path):
    row = {"question": "?", "answer": "1"}
    first, second = (problem.id for problem in load(write(tmp_path / "mine.jsonl", row, row)))

    assert second == f"{first}-2"


@pytest.mark.parametrize("ids", [("a", None), (None, "a")])
def test_a_row_without_an_id_among_others_is_refused(tmp_path, ids):
    rows = [{"id": identity, "question": "?", "answer": "1"} for identity in ids]

    with pytest.raises(DataError, match=r"mine\.jsonl:2: id: "):
        load(write(tmp_path / "mine.jsonl", *rows))


def test_a_recording_without_any_answer_field_is_another_file(tmp_path):
    path = write(tmp_path / "mine.jsonl", {"id": 1, "question": "?", "answer": "1"})

    with pytest.raises(DataError, match=r"r\.jsonl:1: no row of this file has a field output or text"):
        audit(find_task(f"jsonl:{path}"), write(tmp_path / "r.jsonl", {"id": 1, "answer": "1"}))


# -------------------------------------------------------------------------------------------- gold solutions


@pytest.mark.parametrize(
    ("answer", "final", "solution"),
    [
        ("15", "15", None),
        ("2,200", "2,200", None),
        ("Oslo", "Oslo", None),
        ("She has 6 + 9 = <<6+9=15>>15 cards.\n#### 15", "15", "She has 6 + 9 = 15 cards."),
        ("9,200 - 7,000 = 2,200\n#### 2,200", "2,200", "9,200 - 7,000 = 2,200"),
        ("She lost 3.\r\n#### -3\r\n", "-3", "She lost 3."),
        ("Sold.\n#### $1,234.50", "$1,234.50", "Sold."),
        ("Counted.\n####15 cards", "15 cards", "Counted."),
        ("Counted.\n####\n15", "15", "Counted."),
        ("Counted.\n##### 15.", "15", "Counted."),
        ("#### Step 1\n6+9=15\n#### 15", "15", "#### Step 1\n6+9=15"),
        ("#### Solution\n6+9\n\\boxed{15}", "15", "#### Solution\n6+9\n\\boxed{15}"),
        ("Counted.\n#### \\boxed{15}", "15", "Counted."),
        ("6+9=15.\n#### 15\nThe answer is: 15", "15", "6+9=15.\n#### 15\nThe answer is: 15"),
        ("Let the answer: be 6+9.\n#### 15", "15", "Let the answer: be 6+9."),
        ("She has $6+8=\\boxed{14}$.", "14", "She has $6+8=\\boxed{14}$."),
        ("$\\boxed{14}$", "14", None),
        ("x is \\boxed{\\frac{3}{4}}", "\\frac{3}{4}", "x is \\boxed{\\frac{3}{4}}"),
        ("It is \\boxed{\\text{Oslo}}.", "Oslo", "It is \\boxed{\\text{Oslo}}."),
        ("Then \\boxed 5 is left", "5", "Then \\boxed 5 is left"),
        ("\\fbox{7}", "7", None),
        ("\\boxed{5} and so \\boxed{5}.", "5", "\\boxed{5} and so \\boxed{5}."),
        ("It is \\boxed{15", "15", "It is \\boxed{15"),
        ("The answer is 15.", "15", None),
        ("**Final Answer:** 15", "15", None),
        ("A: 15", "15", None),
        ("6 and 9 make 15. Therefore, the answer is $15.50.", "$15.50", None),
        ("The final answer is: $\\boxed{15}$. I hope it is correct.", "15", None),
        ("<think>6+9</think><answer>15</answer>", "15", None),
        ("因此答案是15。", "15", None),
    ],
)
def test_the_final_answer_of_a_solution_is_the_gold_one(answer, final, solution):
    found = final_answer(answer.strip(), "mine.jsonl:1")

    assert found.answer == final
    if solution is not None:
        assert found.solution == solution


@pytest.mark.parametrize(
    "answer",
    [
        "so ####",
        "6+9=15.\n#### 15\nThe answer is: 16",
        "\\boxed{2} or \\boxed{3}",
        "She has 6 + 9 = 15 cards.",
        "She has 6 cards. Then 9 more.\nSo she has 15.",
        "48/2 = 24\n24+48 = 72",
        "#### Step 1\n6+9=15\n#### Step 2\nSo there are 15.",
        "We know that the answer is 5 for part one. Then we add 10 and get 15.",
        "The answer is the sum of 6 and 9, which is 15",
        "After giving some of them away she is left with 15 cards",
        "No. Ice melts when it is heated because heat moves its molecules apart and it flows.",
        "word " * 80,
    ],
)
def test_a_solution_without_one_marked_answer_is_refused_with_its_line(tmp_path, answer):
    path = write(tmp_path / "mine.jsonl", {"id": 1, "question": "?", "answer": answer})

    with pytest.raises(DataError, match=r"mine\.jsonl:1: answer: ") as caught:
        load(path)

    assert caught.value.exit_code == 3
    assert "####" in str(caught.value) or "give only the right one" in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        "Oslo",
        "St. Louis",
        "blue and green",
        "6 + 9 = 15",
        "from 1914 to 1918",
        "U.S.",
        "3 1 2\n1 2 3\n2 3 1",
        "a\nb\nc",
    ],
)
def test_a_text_that_is_no_solution_stays_as_it_is(answer):
    refuse_solution(final_answer(answer, "x").answer, "x")

    assert final_answer(answer, "x") == Final(answer, None)


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("She has 15.\n#### 15", "The answer is 15."),
        ("Sold.\n#### 2,200", "The answer is $2,200."),
        ("Lost.\n#### -3", "So it is -3."),
        ("It is \\boxed{\\frac{x+1}{2}}.", "\\boxed{\\dfrac{x + 1}{2}}"),
        ("It is \\boxed{x^2+1}.", "The answer is $x^2 + 1$."),
        ("It is \\boxed{\\text{Oslo}}.", "The answer is Oslo."),
        ("The answer is Oslo.", "Oslo"),
        ("It is \\boxed{(2, 3)}.", "\\boxed{(2,3)}"),
        ("Sorted: \\boxed{1, 2,3}", "The answer is 1,2, 3."),
        ("So \\boxed{15\\text{ cm}}.", "The answer is 15 cm."),
        ("So \\boxed{15\\%}.", "The answer is 15%."),
        ("So it is \\boxed{x = 5}.", "\\boxed{x=5}"),
    ],
)
def test_a_right_reply_to_a_gold_solution_is_right(tmp_path, gold, said):
    path = write(tmp_path / "mine.jsonl", {"id": 1, "question": "?", "answer": gold})
    [problem] = load(path)

    assert judge(find_task(f"jsonl:{path}"), problem, said).verdict == "right"
    assert judge(find_task(f"jsonl:{path}"), problem, "The answer is 77.").verdict != "right"


def test_a_rationale_of_the_row_itself_is_kept(tmp_path):
    solved = {"question": "?", "answer": "Six and nine.\n#### 15"}
    rows = [{"id": 1, **solved, "rationale": "own"}, {"id": 2, **solved, "rationale": ""}]

    assert [problem.rationale for problem in load(write(tmp_path / "mine.jsonl", *rows))] == ["own", "Six and nine."]


# -------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (["A) 12 km", "B) 16 km", "C) none of these"], ["12 km", "16 km", "none of these"]),
        (["A)12%", "B)16%"], ["12%", "16%"]),
        (["(A) Rome", "(B) Oslo"], ["Rome", "Oslo"]),
        (["[A] x", "[B] y"], ["x", "y"]),
        (["<A> x", "<B> y"], ["x", "y"]),
        (["{A} x", "{B} y"], ["x", "y"]),
        (["【A】东", "【B】西"], ["东", "西"]),
        (["A: Rome", "B: Oslo"], ["Rome", "Oslo"]),
        (["A. Rome", "B.Oslo"], ["Rome", "Oslo"]),
        (["a) x", "b) y"], ["x", "y"]),
        (["A) x", "b) y"], ["x", "y"]),
        (["A.) 12", "B.) 16"], ["12", "16"]),
        (["(A). x", "(B). y"], ["x", "y"]),
        (["**A.** x", "**B**. y"], ["x", "y"]),
        (["Option A: x", "Option B: y"], ["x", "y"]),
        (["A - Rome", "B – Oslo"], ["Rome", "Oslo"]),
        (["A\tx", "B\ty"], ["x", "y"]),
        (["（A）东", "（B）西"], ["东", "西"]),
        (["A、东", "B．西"], ["东", "西"]),
        (["1) x", "2) y"], ["x", "y"]),
        (["1. 25", "2. 26"], ["25", "26"]),
        (["i) x", "ii) y", "iii) z"], ["x", "y", "z"]),
        (["A) A cat", "B) A dog"], ["A cat", "A dog"]),
        (["A. -5", "B. +6"], ["-5", "+6"]),
        (["A. I only", "B. II only"], ["I only", "II only"]),
        (["A)1", "B)2", "C)"], ["1", "2", ""]),
    ],
)
def test_letters_that_all_options_begin_with_in_order_are_none_of_their_words(choices, words):
    assert list(unlabeled(choices, "x").words) == words


@pytest.mark.parametrize(
    "choices",
    [
        ["A cat", "A dog", "A hen"],
        ["A major", "B minor"],
        ["Vitamin A", "Vitamin B"],
        ["A.D.", "B.C."],
        ["A:B", "B:C", "C:A"],
        ["A - B", "B - A"],
        ["A-1", "B-2"],
        ["(A) and (B)", "(B) and (C)", "(C) and (A)"],
        ["(1) only", "(2) only"],
        ["(1) is true", "(2) is true", "neither"],
        ["1.5", "2.5"],
        ["1:2", "2:3"],
        ["A", "B"],
        ["(A)", "(B)"],
        ["A) x", "B) y", "none"],
        ["C) x", "D) y"],
        ["B. Obama", "A. Lincoln"],
    ],
)
def test_options_that_begin_with_a_letter_by_chance_are_left_alone(choices):
    assert list(unlabeled(choices, "x").words) == choices


@pytest.mark.parametrize("choices", [["B) 16", "A) 12"], ["b. 16 km", "a. 12 km"], ["(2) 16", "(1) 12"]])
def test_options_whose_letters_are_out_of_order_are_refused(choices):
    with pytest.raises(DataError, match=r"mine\.jsonl:3: choices: they bring the labels [B2], [A1], out of order"):
        unlabeled(choices, "mine.jsonl:3")


KM = ["12 km", "16 km", "none of these"]


@pytest.mark.parametrize(
    ("gold", "choices", "letter"),
    [
        *((gold, KM, "B") for gold in ("B", "b", "(B)", "(b)", "B)", "B.", "[B]", "Option B", "**B**")),
        *(
            (gold, KM, "B")
            for gold in ("16 km", "16 KM.", "B) 16 km", "(B) 16 km", "The answer is (B).", "16 km\n#### B")
        ),
        ("\\boxed{\\text{(B)}}", KM, "B"),
        ("none of these", KM, "C"),
        ("B) 16 km", ["A) 12 km", "B) 16 km"], "B"),
        ("B", ["B", "A"], "B"),  # a capital is a letter, as it always was
        ("A. Lincoln", ["J. Adams", "A. Lincoln"], "B"),
        ("ii", ["i) x", "ii) y"], "B"),
        ("2", ["1) x", "2) y"], "B"),
        ("16.0", ["12", "16"], "B"),
        (16, ["12", "16"], "B"),
        ("yes", ["Yes", "No"], "A"),
    ],
)
def test_a_gold_answer_names_its_option_by_letter_or_words(tmp_path, gold, choices, letter):
    path = write(tmp_path / "mine.jsonl", {"id": 1, "question": "?", "answer": gold, "choices": choices})

    assert [problem.answer for problem in load(path)] == [letter]


@pytest.mark.parametrize(
    ("gold", "choices", "why"),
    [
        ("D", KM, "none of A, B, C"),
        ("A, B", KM, "none of A, B, C"),
        ("20 km", KM, "none of A, B, C"),
        ("B. 12 km", KM, "letter of one option and the words of another"),
        ("b", ["b", "a"], "letter of one option and the words of another"),
        ("same", ["same", "same"], "not the words of just one"),
        (0, ["1) x", "2) y"], "none of A, B"),
    ],
)
def test_a_gold_answer_that_is_no_one_option_is_refused_with_its_line(tmp_path, gold, choices, why):
    path = write(tmp_path / "mine.jsonl", {"id": 1, "question": "?", "answer": gold, "choices": choices})

    with pytest.raises(DataError, match=rf"mine\.jsonl:1: answer: .*{why}"):
        load(path)


@pytest.mark.parametrize(
    ("golds", "choices", "letters"),
    [
        ((0, 2), ["x", "y", "z"], ["A", "C"]),  # 0 is the first
        ((1, 3), ["x", "y", "z"], ["A", "C"]),  # 3 is the last
        (("0", "1"), ["x", "y"], ["A", "B"]),
        ((16, 24), ["12", "16", "24"], ["B", "C"]),  # words
        ((2, 6), ["2", "4", "6"], ["A", "C"]),  # as numbers of options there is no sixth
        ((1, 2, 3), ["1", "2", "3"], ["A", "B", "C"]),  # as words and counted from 1 alike
        ((1, 2), ["x", "y", "z"], None),
        ((0, 3), ["x", "y", "z"], None),
        ((2,), ["2", "4", "6"], None),
        ((7,), ["x", "y", "z"], None),
    ],
)
def test_numbers_for_options_mean_what_all_of_a_file_can_mean(tmp_path, golds, choices, letters):
    rows = [{"id": n, "question": "?", "answer": gold, "choices": choices} for n, gold in enumerate(golds)]
    path = write(tmp_path / "mine.jsonl", *rows)

    if letters is None:
        with pytest.raises(DataError, match=r"mine\.jsonl:[12]: answer: gold"):
            load(path)
    else:
        assert [problem.answer for problem in load(path)] == letters


def test_rows_of_letters_say_nothing_of_numbers():
    rows = [Row({"id": 1, "question": "?", "answer": "B", "choices": ["x", "y"]}, "x:1")]

    assert numbering(rows) == "words"


def test_the_prompt_shows_each_letter_once_and_an_options_words_are_read(tmp_path):
    row = {"id": 1, "question": "How far?", "answer": "B", "choices": ["A)12 km", "B)16 km"]}
    path = write(tmp_path / "mine.jsonl", row)
    [problem] = load(path)
    task = find_task(f"jsonl:{path}")

    assert task.phrase(problem) == "How far?\n(A) 12 km\n(B) 16 km"
    assert judge(task, problem, "The answer is 16 km.").verdict == "right"


def test_the_command_that_a_csv_file_is_refused_with_makes_rows_of_it(tmp_path):
    table = tmp_path / "my cards.csv"
    table.write_text('question,answer\n"2 + 3, or more?","Two, three.\n#### 5"\n')

    with pytest.raises(DataError, match=r"my cards\.csv: a table, not JSON Lines") as refused:
        load(table)
    subprocess.run(str(refused.value).partition("converts it: ")[2], shell=True, check=True)

    assert [problem.answer for problem in load(table.with_suffix(".jsonl"))] == ["5"]
