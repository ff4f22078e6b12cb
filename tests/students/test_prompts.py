import pytest
from tiny import chat_tokenizer, tiny_tokenizer
from transformers import ByT5Tokenizer

from srit.errors import DataError
from srit.recipe.wording import Example, Prompt
from srit.samplers import Sampled
from srit.samplers.asked import asked
from srit.stages.completions import make_completions
from srit.stages.predictions import make_predictions
from srit.students.prompts import Prompts, prompt_text
from srit.students.templates import CHATML as CHATML_WITH_SYSTEM
from srit.tasks import find_task


@pytest.fixture
def prompts():
    return Prompts(tiny_tokenizer(), "chatml")


def test_the_two_prompts_of_a_problem_differ_by_the_trigger_alone():
    task = find_task("sums")
    [problem] = task.load("train", data=None, limit=1, seed=0)

    direct, cot = (prompt_text(problem, kind) for kind in ("direct", "cot"))

    assert cot == f"{direct}\nLet's think step by step."
    assert direct == f"{task.instruction}\n{problem.question}"


def test_a_recipe_words_the_prompt_of_every_problem():
    task = find_task("sums")
    [problem] = task.load("train", data=None, limit=1, seed=0)
    shown = [Example(question="1 + 1?", answer="One and one. The answer is 2."), Example(question="0?", answer="0")]
    wording = Prompt(instruction="Add.", trigger="Think.", examples=tuple(shown))

    direct, cot = (prompt_text(problem, kind, wording) for kind in ("direct", "cot"))

    assert direct == f"Add.\n1 + 1?\nOne and one. The answer is 2.\n\n0?\n0\n\n{problem.question}"
    assert cot == (
        f"Add.\n1 + 1?\nThink.\nOne and one. The answer is 2.\n\n0?\nThink.\n0\n\n{problem.question}\nThink."
    )
    assert prompt_text(problem, "direct", Prompt(instruction="")) == problem.question
    prompts = Prompts(tiny_tokenizer(), "chatml", wording=wording)
    assert cot in prompts._tokenizer.decode(prompts.problem_ids(problem, "cot"))


SYSTEM = 'Be "brief" – {{ x }} %}\nTwo lines \\ 😀.'


def test_a_system_prompt_is_rendered_as_by_a_chat_that_brings_it_and_saved_with_the_template(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = tiny_tokenizer()
    prompts = Prompts(tokenizer, "chatml", wording=Prompt(system=SYSTEM))
    asked, said = ({"role": role, "content": text} for role, text in (("user", "Hi?"), ("assistant", "Yes.")))
    prompts.save(tmp_path)
    saved = AutoTokenizer.from_pretrained(tmp_path)

    def rendered(tokenizer, *chat, template=None):
        return tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, add_generation_prompt=True)

    given = rendered(tokenizer, {"role": "system", "content": SYSTEM}, asked, template=CHATML_WITH_SYSTEM)
    assert tokenizer.decode(prompts.prompt_ids("Hi?", where="")) == given == rendered(saved, asked)
    own = {"role": "system", "content": "Mine."}
    assert SYSTEM not in rendered(saved, own, asked, said, asked) and "Mine." in rendered(saved, own, asked)


@pytest.mark.parametrize("fault", ["{{ raise_exception('no system') }}", ""])
def test_a_template_that_takes_no_system_turn_is_refused(fault):
    template = "{% for m in messages %}{% if m.role == 'system' %}" + fault + "{% else %}"
    template += "<|im_start|>{{ m.content }}<|im_end|>{% endif %}{% endfor %}"

    with pytest.raises(DataError, match=r"prompt\.system: .*put the text into prompt\.instruction"):
        Prompts(tiny_tokenizer(), template, wording=Prompt(system="Be brief."))


def turns(user, assistant, opening, start=""):
    """A template of the usual form: what stands around a user's text, around an assistant's, and before an answer."""
    return (
        start + "{% for m in messages %}{% if m.role == 'user' %}" + "{{ m.content }}".join(user) + "{% else %}"
        "" + "{{ m.content }}".join(assistant) + "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}" + opening + "{% endif %}"
    )


CHATML = turns(("<|im_start|>user\n", "<|im_end|>\n"), ("<|im_start|>a\n", "<|im_end|>\n"), "<|im_start|>a\n")
LLAMA_2 = turns(("{{ bos_token }}[INST] ", " [/INST]"), (" ", " {{ eos_token }}"), "")
PHI = turns(("<|user|>\n", "<|end|>\n"), ("<|a|>\n", "<|end|>\n"), "<|a|>\n{% else %}{{ eos_token }}")
ZEPHYR = turns(("<|user|>\n", "{{ eos_token }}\n"), ("<|a|>\n", "{{ eos_token }}\n"), "<|a|>\n")
GLM = turns(("<|user|>\n", ""), ("<|a|>\n", ""), "<|a|>\n")
VICUNA = turns(("USER: ", " "), ("A: ", "{% if not loop.last %}{{ eos_token }}{% endif %}"), "A:")
OPEN = turns(("<|user|>", ""), ("<|a|>", ""), "", "") + "<|a|>"  # asked for or not
HARMONY = turns(
    ("<|start|>user<|message|>", "<|end|>"),
    ("<|start|>a<|channel|>final<|message|>", "{{ '<|return|>' if loop.last else '<|end|>' }}"),
    "<|start|>a",
)
COMMAND = turns(("<|T|><|U|>", "<|E|>"), ("<|T|><|C|><|R|>", "<|/R|><|E|>"), "<|T|><|C|>")


@pytest.mark.parametrize(
    ("template", "special", "plain", "eos", "end"),
    [
        (CHATML, ["<|im_start|>"], [], "<|im_end|>", "<|im_end|>"),
        (CHATML, ["<|im_start|>", "<|im_end|>"], [], "<eos>", "<|im_end|>"),  # marked special, without a name
        (CHATML, ["<|im_start|>"], ["<|im_end|>"], "<eos>", "<|im_end|>"),  # added, and not marked
        (CHATML, [], ["<|im_start|>", "<|im_end|>"], None, "<|im_end|>"),
        (CHATML, [], [], "<eos>", "<eos>"),  # mere text
        (LLAMA_2, [], [], "</s>", "</s>"),
        (PHI, ["<|user|>", "<|a|>", "<|end|>"], [], "<eos>", "<|end|>"),  # eos follows it
        (ZEPHYR, [], [], "</s>", "</s>"),
        (GLM, ["<|user|>", "<|a|>"], [], "<eos>", "<eos>"),  # the next turn alone ends one
        (VICUNA, [], [], "</s>", "</s>"),  # an end between turns alone
        (OPEN, ["<|user|>", "<|a|>"], [], "<eos>", "<eos>"),
        (HARMONY, ["<|start|>", "<|message|>", "<|channel|>", "<|end|>"], ["<|return|>"], "<eos>", "<|return|>"),
        (COMMAND, ["<|T|>", "<|U|>", "<|C|>", "<|R|>", "<|/R|>", "<|E|>"], [], "<|E|>", "<|/R|>"),
    ],
)
def test_an_answer_ends_with_the_token_that_the_template_puts_after_it(template, special, plain, eos, end):
    tokenizer = chat_tokenizer(*special, plain=plain, eos=eos, bos="<s>")

    prompts = Prompts(tokenizer, template)

    assert prompts.ends == tuple(dict.fromkeys([end, *([eos] if eos else [])]))
    assert prompts.completion_ids("6 * 3 = 18.")[-1] == tokenizer.convert_tokens_to_ids(end)
    for stop in prompts.stop_ids:
        assert prompts.text((*prompts.completion_ids("6 * 3 = 18.")[:-1], stop)) == "6 * 3 = 18."


def test_a_model_s_generation_settings_name_ends_too():
    tokenizer = chat_tokenizer("<|user|>", "<|a|>", "<|tool|>", eos="<eos>")
    stated = tokenizer.convert_tokens_to_ids(["<eos>", "<|user|>", "<|tool|>"])

    prompts = Prompts(tokenizer, GLM, stated_ends=stated)

    assert prompts.ends == ("<|user|>", "<eos>", "<|tool|>")


def test_an_end_that_is_no_token_is_left_out_of_what_is_read():
    prompts = Prompts(chat_tokenizer(eos="<eos>"), CHATML)

    ids = prompts.completion_ids("18.<|im_end|>\n<|im_start|>user\nAnd 7?")

    assert prompts.text(ids) == "18."


def test_an_answer_is_written_where_the_template_writes_it():
    harmony = Prompts(chat_tokenizer("<|start|>", "<|message|>", "<|channel|>", "<|end|>", eos="<|return|>"), HARMONY)
    without = CHATML.replace("{% if add_generation_prompt %}<|im_start|>a\n{% endif %}", "")
    chatml = Prompts(chat_tokenizer("<|im_start|>", "<|im_end|>", eos="<eos>"), without)

    assert rendered(harmony) == "<|start|>user<|message|>Hi<|end|><|start|>a<|channel|>final<|message|>"
    assert rendered(chatml) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>a\n"


def rendered(prompts, text="Hi"):
    return prompts._tokenizer.decode(prompts.prompt_ids(text, where="a test"))


@pytest.mark.parametrize(
    "tokenizer",
    [
        chat_tokenizer("<|im_start|>", "<|im_end|>", eos="<eos>"),
        chat_tokenizer(plain=("<|im_start|>", "<|im_end|>"), eos="<eos>"),
        chat_tokenizer(eos="<eos>"),
        ByT5Tokenizer(),  # of Python, not of the tokenizers library
    ],
    ids=["special", "not marked special", "text", "slow"],
)
def test_a_completion_cannot_speak_in_special_tokens(tokenizer):
    prompts = Prompts(tokenizer, "chatml")
    text = "x<|im_end|>\n<|im_start|>user <eos></s><extra_id_0> y"

    *ids, end = prompts.completion_ids(text)

    assert end == prompts.end_of_turn_id and not set(ids) & set(prompts.stop_ids)
    assert not set(ids) & set(tokenizer.added_tokens_decoder)
    assert tokenizer.decode(ids) == text


def test_half_a_character_of_a_teacher_is_no_reason_to_stop_and_one_of_a_problem_is_told(prompts):
    assert prompts.text(prompts.completion_ids("18 \ud83d apples \ud83d\ude00")) == "18 \ufffd apples 😀"
    with pytest.raises(DataError, match=r"problem-7: .*surrogate"):
        prompts.prompt_ids("5 \ud83d 5?", where="problem-7")


@pytest.mark.parametrize("plain", [(), ("<|im_end|>",)])
def test_a_problem_that_holds_a_token_of_the_chat_is_refused_by_its_id(plain):
    special = {"<|im_start|>", "<|im_end|>"} - set(plain)
    prompts = Prompts(chat_tokenizer(*sorted(special), plain=(*plain, "  ", "<think>"), eos="<eos>"), "chatml")

    with pytest.raises(DataError, match="problem-7"):
        prompts.prompt_ids("5 + 5?<|im_end|>", where="problem-7")
    # Other tokens that were added to the vocabulary are text.
    assert prompts.prompt_ids("def f(x):\n    <think>", where="problem-8")


def test_a_template_s_text_that_the_tokenizer_does_not_know_is_no_special_token():
    tokenizer = chat_tokenizer("<|im_start|>", "<|im_end|>", eos="<eos>")
    tokenizer.add_special_tokens({"unk_token": "<unk>"})

    assert Prompts(tokenizer, "chatml").prompt_ids("What is <unk> 1?", where="problem-7")


def test_what_follows_a_text_that_ends_an_answer_is_not_judged(prompts):
    [problem] = find_task("sums").load("test", data=None, limit=1, seed=0)
    text = f"The answer is {problem.answer}.\n\nOnce more: the answer is 999."
    sampled = [Sampled(prompts.completion_ids(text), -1.0, truncated=False)]
    wanted = asked([problem], [("cot", range(1))])

    [whole] = make_predictions(wanted, sampled, prompts)
    [ended] = make_predictions(wanted, sampled, prompts, stop=("\n\n", "Once"))

    assert (whole.answer, whole.verdict) == ("999", "wrong")
    assert (ended.text, ended.verdict) == (f"The answer is {problem.answer}.", "right")


def test_an_own_answer_that_begins_another_turn_did_not_end_by_itself(prompts):
    [problem] = find_task("sums").load("train", data=None, limit=1, seed=0)
    text = prompts.completion_ids(f"The answer is {problem.answer}.")
    turn = prompts.prompt_ids("And then?", where="")
    sampled = [Sampled(ids, -1.0, truncated=False) for ids in (text, (*text[:-1], *turn, text[-1]))]

    own, other = make_completions(asked([problem], [("cot", range(2))]), sampled, prompts)

    assert (own.truncated, own.verdict) == (False, "right")
    assert other.truncated and other.text == own.text
