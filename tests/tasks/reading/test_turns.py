"""Which part of a text is the answer: thoughts, end tokens, other turns and questions, tags, corrections, headings."""

import pytest

from srit.tasks.reading.choices import read_choice
from srit.tasks.reading.formulas import read_math
from srit.tasks.reading.numbers import read_number
from srit.tasks.reading.texts import read_text
from srit.tasks.reading.turns import own_turn
from srit.tasks.story.reading import read_answer

ASKED = "Ana has 4 bags of 15 apples. How many apples does she have in all?"
FOUR = ("gold", "lead", "coal", "salt")
END_TOKENS = """
    </s> <|im_end|> <|eot_id|> <|eom_id|> <|endoftext|> <|end_of_text|> <|end|> <|return|> <end_of_turn> <eos> <turn|>
    <｜end▁of▁sentence｜> <|END_OF_TURN_TOKEN|> <|end_of_turn|> [|endofturn|] <|EOT|> <eod> [EOS] <|/assistant|>
"""


def own(text: str) -> str | None:
    turn = own_turn(text, ASKED)
    return None if turn.open_thought else text[turn.start : turn.end].strip()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\na\n</think>\n\nb", "b"),
        ("a\n</think>\n\nb", "b"),  # the prompt opened it
        ("<think>", None),
        ("<think>a", None),
        ("<think>a</think>b<think>c", None),
        ("<think></think>b", "b"),
        ("<think>a</think>b</think>c", "c"),
        ("<think>a</thinking>b", "b"),
        ("<THINK effort='high'>a</THINK>b", "b"),
        ("<thinking>a <reflection>Question: c?</reflection> User: d</thinking>b", "b"),
        ("<reasoning>a</reasoning>b", "b"),
        ("b\n<reasoning>a</reasoning>", "b"),  # given afterwards
        ("<thought>a</thought>b", "b"),
        ("<seed:think>a</seed:think>b<seed:eos>", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("◁think▷a◁/think▷b", "b"),
        ("&lt;think&gt;a&lt;/think&gt;b", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>b<|end_of_solution|>", "b"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "b"),
        ("<|channel>thought\na<channel|>b<turn|>", "b"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>", "b"),
        ("<|channel|>analysis<|message|>a", None),
        ("analysisWe add.assistantfinalb", "b"),  # the same without its special tokens
        ("Here is my thought process: a\nHere is my response:\nb", "b"),
        ("<think>a<|im_end|>\n<|im_start|>user\nb", None),
    ],
)
def test_an_answer_begins_after_the_last_thought(text, answer):
    assert own(text) == answer


@pytest.mark.parametrize("token", END_TOKENS.split())
def test_an_end_token_is_no_part_of_the_answer(token):
    assert own(f"Oslo{token}\n") == "Oslo"
    assert own(f"Oslo.{token}{token}") == "Oslo."
    assert read_text(f"The answer is Oslo{token}").answer == "Oslo"
    assert read_choice(f"C{token}", FOUR).answer == "C"
    assert read_number(f"The answer is 14.{token}\nuser\nAnd 3?").answer == "14"


def test_an_end_token_may_be_cut():
    assert own("Oslo<|im_en") == own("Oslo</s") == "Oslo"


@pytest.mark.parametrize(
    "continuation",
    [
        "\n\nQuestion: Max has 2 hats and buys 6. How many?\nAnswer: The answer is 8.",
        "\n\nQ: Two and six?\nA: 2 + 6 = 8\n#### 8",
        "\nQ2. Two and six? The answer is 8.",
        "\n\n---\n\n**Question 2:** Two and six?\n\n**Answer:** 8",
        "\n\n## Problem 2\nTwo and six? The answer is 8.",
        "\n\nNext question: two and six? The answer is 8.",
        "\n\nPassage: Max has 2 hats.\nQuestion: And 6 more?\nAnswer: 8",
        "\nUser: And 2 + 6?\nAssistant: The answer is 8.",
        " User: And 2 + 6?\nAssistant: The answer is 8.",
        "\n\nHuman: And 2 + 6?\n\nAssistant: The answer is 8.",
        "\nuser\nAnd 2 + 6?\nassistant\nThe answer is 8.",
        "\nAssistant: The answer is 8.",
        "\n\n### Instruction:\nAdd 2 and 6.\n\n### Response:\nThe answer is 8.",
        "<|im_end|>\n<|im_start|>user\nAnd 2 + 6?<|im_end|>\n<|im_start|>assistant\n<think>x</think>The answer is 8.",
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|>The answer is 8.",
        "<end_of_turn>\n<start_of_turn>user\nAnd?<end_of_turn>\n<start_of_turn>model\nThe answer is 8.",
        " [INST] And 2 + 6? [/INST] The answer is 8.",
        "</s><s>[INST] And 2 + 6? [/INST] The answer is 8.",
        "<|endoftext|>Question: And?\nThe answer is 8.",
        "\n<question>And 2 + 6?</question>\n<answer>8</answer>",
        "\n\n问题：2 + 6？\n答案：8",
    ],
)
def test_an_answer_ends_where_a_model_goes_on_with_something_else(continuation):
    answer = "4 * 15 = 60. The answer is 60."
    turn = own_turn(answer + continuation, ASKED)
    assert (answer + continuation)[: turn.end] == answer
    assert read_number(answer + continuation, ASKED).answer == "60"
    assert read_answer(answer + continuation, ASKED, "number").answer == "60"


@pytest.mark.parametrize(
    "text",
    [
        "Question: What is 4 * 15?\nAnswer: The answer is 60.",
        "Question: What is 4 * 15?\nAnswer: The answer is 60.\n\nQuestion: And 2 + 6?\nAnswer: 8",
        f"Sure, let me restate it.\n\n**Question:** {ASKED}\n\n**Answer:** 60",
        f"First I read the task again.\n\nProblem: {ASKED}\nSolution: 60 apples.",
        "Passage: A bag holds 15 apples.\nQuestion: How many are in 4?\nAnswer: 60\nPassage: 8",
        "Ana has 4 bags of 15 apples.\n\nQuestion: How many in all?\n\nAnswer: 60",
        "User: What is 4 * 15?\nAssistant: The answer is 60.",
        "<|im_start|>user\nWhat is 4 * 15?<|im_end|>\n<|im_start|>assistant\n60<|im_end|>",
        "<|im_start|>assistant\n60<|im_end|>\n8",
        "<s>[INST] What is 4 * 15? [/INST] 60 </s> 8",
        "Question 1: How many are in a bag? There are 15.\nQuestion 2: How many bags? There are 4.\nThe answer is 60.",
        "Question 1: How many are in a bag? Answer: 15.\nQuestion 2: And in four bags? Answer: 60.",
        "That is 60 in all.\n\nProblem: 2 + 6\nSolution: 8",
    ],
)
def test_a_text_may_begin_with_its_own_question_and_take_it_apart(text):
    assert read_number(text, ASKED).answer == "60"


def test_what_only_looks_like_a_mark_ends_nothing():
    for text in (
        "|a|<|b|>0",
        "The <b>answer</b> is 5.",
        "<|begin_of_box|>5<|end_of_box|>",
        "He asked a question: why?",
    ):
        assert own_turn(text) == (0, len(text), False)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>5 * 12 = 60.</think>\n<answer>60</answer>\n<confidence>0.7</confidence>", "60"),
        ("<answer>\n60\n</answer>", "60"),
        ("<answer>The answer is 60.</answer>\nScore: 5", "60"),
        ("<answer>\\boxed{60}</answer>", "60"),
        ("<answer>$60</answer>", "60"),
        ("<answer type='number'>60 apples</answer>", "60"),
        ("<answer>There are 4 bags.\nEach has 15.\nThat makes 60.</answer>\n<score>1</score>", "60"),
        ("<answer>40</answer> Hmm. <answer>60</answer>", "60"),
        ("<answer>60</answer>\nI used the <answer></answer> tags.", "60"),
        ("<answer><answer>60</answer></answer>", "60"),
        ("<answer>60<answer>", "60"),
        ("<answer>60</ans", "60"),
        ("60</answer>\n3", "60"),  # the prompt opened it
        ("<final_answer>60</final_answer> 3", "60"),
        ("<Final Answer>60</Final Answer> 3", "60"),
        ("[ANSWER]60[/ANSWER] 3", "60"),
        ("&lt;answer&gt;60&lt;/answer&gt; 3", "60"),
        ("<|begin_of_box|>60<|end_of_box|> 3", "60"),
        ("<solution>60</solution><confidence>3</confidence>", "60"),
        ("<solution>\n4 bags of 15\n</solution>\nThe answer is 60.", "60"),
        ("The answer is 60. <answer></answer>", "60"),
        ('{"reasoning": "4 * 15", "answer": 60, "confidence": 0.9}', "60"),
    ],
)
def test_a_number_between_answer_tags_is_the_answer(text, answer):
    assert read_number(text).answer == answer


def test_tags_hold_any_kind_of_answer():
    assert read_choice("<answer>C</answer>", FOUR).answer == "C"
    assert read_choice("<answer>\ncoal\n</answer>", FOUR).answer == "C"
    assert read_choice("<answer>yes</answer>", ("Yes", "No")).answer == "A"
    assert read_text("<answer>Oslo</answer>").answer == "Oslo"
    assert read_text("<answer>\n1 0\n0 1\n</answer>").answer == "1 0\n0 1"
    assert read_text('```json\n{"answer": "Oslo"}\n```').answer == "Oslo"
    assert read_math(r"<answer>5\sqrt{6}</answer>").answer == r"5\sqrt{6}"
    assert read_answer("<answer>No</answer> <score>1</score>", ASKED, "yes or no").answer == "no"
    text = "<think>x</think>\n<answer>\n60\n</answer>"
    assert text[slice(*read_number(text).span)] == "60"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 60", "60"),
        ("####60", "60"),
        ("#### $60", "60"),
        ("#### **60**", "60"),
        ("#### 60 apples", "60"),
        ("#### Answer: 60", "60"),
        ("#### Final answer\n60", "60"),
        ("### Final Answer\n\n**60**", "60"),
        ("**Final Answer:**\n\n60", "60"),
        ("Final answer\n60", "60"),
        ("#### 60\n\n#### Note 2\nAll were counted.", "60"),
        ("#### 60\n\n### 3. Remarks\nNone.", "60"),
        ("#### Step 2: Bags\n4 * 15 = 60\nThat makes 60 apples.", "60"),
        ("#### 1. Bags\n15 apples\n#### 2. What is in all\n4 * 15 = 60", "60"),
        ("There are 60.\n#### 3rd step", "60"),
        ("#### Conclusion\nAna has 60 apples.", "60"),
        ("#### The answer is 60", "60"),
    ],
)
def test_four_hashes_announce_a_value_and_else_make_a_heading(text, answer):
    assert read_number(text).answer == answer


def test_a_heading_announces_the_line_below_it():
    assert read_text("#### Final answer\nOslo").answer == "Oslo"
    assert read_text("#### Oslo").answer == "Oslo"
    assert read_choice("## Final Answer\n\n(c) coal", FOUR).answer == "C"
    assert read_choice("#### A closer look\nIt burns, so (C).", FOUR).answer == "C"
    assert read_choice("#### C", FOUR).answer == "C"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 40. Wait, there are four. So it is 60.", "60"),
        ("The answer is 40. Wait, there are 3.", None),  # a reason, and no other answer
        ("The answer is 40. Wait, that's not right.", None),
        ("The answer is 40 no wait its 60", "60"),
        ("The answer is 40? No, it's 60.", "60"),
        ("The answer is 40. Actually, it's 60.", "60"),
        ("The answer is 40, scratch that, 60.", "60"),
        ("The answer is 40 – sorry, 60.", "60"),
        ("The answer is 40.\nCorrection: 60", "60"),
        ("The answer is 40. Oops, I made a mistake. 4 * 15 = 60.", "60"),
        ("The answer is 40. On second thought, the answer is 60.", "60"),
        ("The answer is 40. No, wait! The answer is 60. I made a mistake.", "60"),
        ("The answer is 40. I don't think that's right. It should be 60.", "60"),
        ("#### 40\nHold on.\n#### 60", "60"),
        ("The answer is ~~40~~ 60.", "60"),
        ("The answer isn't 40, it's 60.", "60"),
        ("The answer is not 40 but 60.", "60"),
        ("The answer is not 40.", None),
        ("If the answer is 40, then five are missing. So 60.", "60"),
        ("Some may think the answer is 40, but it is 60.", "60"),
        ("The answer is 60. Wait, let me double-check: 60 / 4 = 15. Yes, that is correct.", "60"),
        ("The answer is 60. To check: 15 + 15 + 15 + 15 = 60", "60"),
        ("They had to wait, then ate. The answer is 60.", "60"),
    ],
)
def test_what_is_taken_back_does_not_count(text, answer):
    assert read_number(text).answer == answer


def test_options_and_texts_are_taken_back_as_well():
    assert read_choice("The answer is (D). Wait, (B) is heavier.", FOUR).answer == "B"
    assert read_choice("B. Actually, C.", FOUR).answer == "C"
    assert read_choice("The answer is (A)? No: (D).", FOUR).answer == "D"
    assert read_choice("The answer is B. Wait, let me see. Yes, B is correct.", FOUR).answer == "B"
    assert read_choice("The answer is (A) Wait, then paint.", ("Wait, then paint", "Paint at once")).answer == "A"
    assert read_choice("Yes. Wait, no.", ("Yes", "No")).answer == "B"
    assert read_text("The answer is Oslo. Wait, no, it is Bergen.").answer == "Bergen"
    assert read_text("The answer is Oslo. Wait, I must look at the map again.").answer is None
