"""Which texts of a teacher can be learned."""

import pytest
from teacher_server import questions, stored_answers

from srit.recipe import Demonstrations
from srit.stages.demonstrations import Tally, make_demonstrations
from srit.teachers import Answer, answer_key
from srit.teachers.local import LocalTeacher


@pytest.mark.parametrize("keep", ["correct", "all"])
@pytest.mark.parametrize(
    ("text", "trained", "reason"),
    [
        ("  The answer is 2.\n", "The answer is 2.", "right"),
        ("The answer is 2.</s>", "The answer is 2.", "right"),
        ("The answer is 2.<|im_end|>\n<|im_start|>user\nAnd 3?", "The answer is 2.", "right"),
        ("<s> The answer is 2.<|eot_id|>", "The answer is 2.", "right"),
        ("<|im_start|>assistant\nThe answer is 2.<end_of_turn>", "The answer is 2.", "right"),
        ("The answer is 2.\n\nQuestion: What is 1 + 1?\nThe answer is 3.", "The answer is 2.", "right"),
        ("<think>3?</think>The answer is 2.</s>", "<think>3?</think>The answer is 2.", "right"),
        (
            "<|channel|>analysis<|message|>3?<|end|><|start|>assistant<|channel|>final<|message|>The answer is 2.",
            "The answer is 2.",
            "right",
        ),
        ("<think>The answer is 2.", None, "its thought never ends"),
        ("2, I think.</think>\n\nThe answer is 2.", "The answer is 2.", "right"),  # its beginning was cut off
        ("The answer is 2.<|im_start|> So <|im_end|>", "The answer is 2.", "right"),
        ("half a pair \ud800. The answer is 2.", None, "surrogate"),
        (" \n", None, "says nothing"),
        (None, None, "filtered"),
    ],
)
def test_only_a_text_that_can_be_learned_is_trained_on(keep, text, trained, reason):
    def complete(chunks):
        return ((number, [(text, False)] * len(chunks[number])) for number in chunks)

    teacher = LocalTeacher("t", {}, complete, max_tokens=64, rows=8)
    paid = stored_answers()
    if text is None:
        paid.keep([(answer_key({}, questions()[0].prompt), Answer("p0", None, "filtered", limit=64))])
    paid.keep([(answer_key({}, questions(2)[1].prompt), Answer("p1", "The answer is 2.", "", limit=64))])

    made = list(make_demonstrations(questions(2), teacher, Demonstrations(keep=keep), paid, Tally()))

    assert (made[0].text if made[0].kept else None) == trained and reason in made[0].reason
