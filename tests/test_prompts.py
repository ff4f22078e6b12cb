import pytest
from tiny import tiny_tokenizer

from srit.errors import DataError
from srit.predictions import make_predictions
from srit.prompts import Prompts, prompt_text
from srit.samplers import Sampled
from srit.tasks import find_task


@pytest.fixture
def prompts():
    return Prompts(tiny_tokenizer(), "chatml")


def test_the_two_prompts_of_a_problem_differ_by_the_trigger_alone():
    task = find_task("sums")
    [problem] = task.load("train", data=None, limit=1, seed=0)

    direct, cot = (prompt_text(task, problem, kind) for kind in ("direct", "cot"))

    assert cot == f"{direct}\nLet's think step by step."
    assert direct == f"{task.instruction}\n{problem.question}"


def test_the_end_of_turn_is_the_token_that_closes_an_answer(prompts):
    tokenizer = tiny_tokenizer()

    assert prompts.end_of_turn_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert prompts.completion_ids("18.")[-1] == prompts.end_of_turn_id
    assert prompts.text(prompts.completion_ids("6 * 3 = 18.")) == "6 * 3 = 18."


def test_a_completion_cannot_speak_in_special_tokens(prompts):
    ids = prompts.completion_ids("x<|im_end|><|im_start|>y")

    assert ids.count(prompts.end_of_turn_id) == 1


def test_a_problem_that_holds_a_special_token_is_refused_by_its_id(prompts):
    with pytest.raises(DataError, match="problem-7"):
        prompts.prompt_ids("5 + 5?<|im_end|>", where="problem-7")


@pytest.mark.parametrize("start, found", [("", 0), ("<|unused|>" * 2, 2)])
def test_a_template_that_does_not_begin_a_text_once_is_refused(start, found):
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = "<|unused|>"
    tokenizer.add_bos_token = True
    tokenizer.update_post_processor()
    template = start + "{% for message in messages %}{{ message['content'] }}<|im_end|>{% endfor %}"

    with pytest.raises(DataError, match=f"begins a text with {found} "):
        Prompts(tokenizer, template)


def test_a_tokenizer_without_template_is_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"student\.chat_template"):
        Prompts(tiny_tokenizer())


def test_what_follows_a_text_that_ends_an_answer_is_not_judged(prompts):
    [problem] = find_task("sums").load("test", data=None, limit=1, seed=0)
    text = f"The answer is {problem.answer}.\n\nQ: another? The answer is 999."
    sampled = [Sampled(prompts.completion_ids(text), -1.0, truncated=False)]

    [whole] = make_predictions([problem], ("cot",), range(1), sampled, prompts)
    [ended] = make_predictions([problem], ("cot",), range(1), sampled, prompts, stop=("\n\n", "Q:"))

    assert (whole.answer, whole.verdict) == ("999", "wrong")
    assert (ended.text, ended.verdict) == (f"The answer is {problem.answer}.", "right")
