"""Answers that are text."""

import json

import pytest

from srit.tasks import jsonl, judge
from srit.tasks.reading.texts import read_text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Let me see.\nThe answer is 'green box'.", "green box"),
        ("one\ntwo\n", "two"),
        (" \n", None),
        ("The answer is T. S. Eliot.", "T. S. Eliot"),
        ("The answer is J.R.R. Tolkien, who wrote it.", "J.R.R. Tolkien"),
        ("The answer is John F. Kennedy.", "John F. Kennedy"),
        ("The answer is E. coli.", "E. coli"),
        ("The answer is U.N. Plaza.", "U.N. Plaza"),
        ("The answer is the U.S. Congress. It votes.", "the U.S. Congress"),
        ("The answer is Mt. Fuji.", "Mt. Fuji"),
        ("The answer is Dr. Strange. He is a doctor.", "Dr. Strange"),
        ("The answer is Martin Luther King Jr. He marched.", "Martin Luther King Jr"),
        ("The answer is 8 a.m. on Monday.", "8 a.m. on Monday"),
        ("The answer is Plan B. It is cheap.", "Plan B"),
        ("The answer is Vitamin C. Oranges contain it.", "Vitamin C"),
        (r"The answer is \boxed{\text{Amalia}}.", "Amalia"),
        (r"The answer is $\textbf{Oslo}$.", "Oslo"),
        ("The answer is Oslo, the capital of Norway.", "Oslo"),
        ("The answer is **Oslo**, the capital of Norway.", "Oslo"),
        ("The answer is Oslo (the capital of Norway).", "Oslo"),
        ("The answer is Oslo – the capital of Norway.", "Oslo"),
        ("The answer is Oslo because ships dock there.", "Oslo"),
        ("The answer is Paris, France.", "Paris, France"),
        ("The answer is red, green and blue.", "red, green and blue"),
        ("The answer is not Oslo.", None),
        ("The answer is not Oslo, it is Bergen.", "Bergen"),
        ("The answer isn't Oslo but Bergen.", "Bergen"),
        ("A: Oslo", "Oslo"),
        ("**Final Answer**\nOslo", "Oslo"),
    ],
)
def test_text_is_read(text, answer):
    assert read_text(text).answer == answer


def test_the_wanted_form_says_what_may_belong_to_an_answer():
    title = "The answer is The Lion, the Witch and the Wardrobe."
    assert read_text(title, like="Prince Caspian, the Return").answer == "The Lion, the Witch and the Wardrobe"
    assert read_text("The verdict: the answer is not guilty.", like="not guilty").answer == "not guilty"


def test_texts_are_judged_by_what_they_name(tmp_path):
    said = {"Oslo": "The answer is Oslo, the capital of Norway.", "The Lion, the Witch": "A: The Lion, the Witch"}
    rows = [{"id": gold, "question": "?", "answer": gold} for gold in said]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = jsonl.make(f"jsonl:{tmp_path / 'mine.jsonl'}")
    for problem in task.load("test", data=None, limit=None, seed=0):
        assert judge(task, problem, said[problem.id]).verdict == "right"
