"""A template that writes the same for everyone: the date, thoughts, beginnings, and templates of the model families."""

import gc
import os
import re
import signal
from datetime import datetime
from pathlib import Path

import pytest
import trl
from tiny import chat_tokenizer, tiny_tokenizer
from transformers import AutoTokenizer

from srit.errors import DataError, MachineError
from srit.students.prompts import Prompts
from srit.students.rendering import Renderer
from srit.students.templates import TODAY, open_thought

TAIL = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
OPENING = "{% if add_generation_prompt %}<|im_start|>assistant\nTHOUGHT{% endif %}"


def rendered(prompts):
    return prompts._tokenizer.decode(prompts.prompt_ids("Hi", where="a test"))


def prompts_of(template, *special, **named):
    return Prompts(chat_tokenizer("<|im_start|>", "<|im_end|>", *special, **{"eos": "<eos>", **named}), template)


@pytest.mark.parametrize(
    "call",
    [
        "{{ strftime_now('%d %b %Y') }}",
        "{% set today = strftime_now('%Y-%m-%d') %}{{ today }}",
        "{% if strftime_now is defined %}{{ strftime_now('%A, %-d. %B %Y, %H:%M:%S') }}{% endif %}",
        "{% macro header(role) %}{{ role }} {{ strftime_now('%d.%m.%y, 100%%') }}{% endmacro %}{{ header('it is') }}",
        "{%- if true -%}\n  {{ strftime_now('%c %j %U') }}\n{%- endif %}",
    ],
)
def test_a_template_with_a_clock_writes_one_day_for_ever(call):
    [format] = re.findall(r"strftime_now\('(.*?)'\)", call)
    prompts = prompts_of(f"<|im_start|>{call}<|im_end|>{TAIL}{OPENING.replace('THOUGHT', '')}")

    assert TODAY.strftime(format) in rendered(prompts)
    assert str(datetime.now().year) not in rendered(prompts)
    assert any("26 Jul 2024" in line for line in prompts.lines)


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("<think>", "<think>\n\n</think>\n\n"),
        ("<think>\n", "<think>\n\n</think>\n\n"),
        ("<think>\nOkay, ", "<think>\nOkay, \n\n</think>\n\n"),
        ("[THINK]", "[THINK]\n\n[/THINK]\n\n"),
        ("<seed:think>", "<seed:think>\n\n</seed:think>\n\n"),
        ("◁think▷", "◁think▷\n\n◁/think▷\n\n"),
        ("<|START_THINKING|>", "<|START_THINKING|>\n\n<|END_THINKING|>\n\n"),
        ("<|begin_of_thought|>\n", "<|begin_of_thought|>\n\n<|end_of_thought|>\n\n"),
        ("<reasoning>", "<reasoning>\n\n</reasoning>\n\n"),
        ("<think></think>\n", "<think></think>\n"),  # closed by itself
        ("</think>", "</think>"),
        ("", ""),
        # closed by a variable that is made for it
        ("{% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>{% endif %}",
         "<think></think>"),
        ("{% set t = thinking if thinking is defined else true %}{{ '<think>' if t else '</think>' }}", "</think>"),
        ("{{ '<t:think>' if thinking_budget is not defined or thinking_budget != 0 else '<n>' }}", "<n>"),
    ],
)  # fmt: skip
def test_a_thought_that_the_prompt_opens_is_closed(opened, closed):
    prompts = prompts_of(TAIL + OPENING.replace("THOUGHT", opened) + "\n")

    text = rendered(prompts)

    assert text == f"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n{closed}"
    assert not open_thought(text)
    assert any("opens a thought" in line for line in prompts.lines) == (closed not in ("", opened, "<think></think>\n"))


def test_thoughts_that_a_system_s_text_speaks_of_are_not_open():
    opening = OPENING.replace("THOUGHT", "")
    prompts = prompts_of("<|im_start|>Think between <think> and </think>, then <answer>.<|im_end|>" + TAIL + opening)

    assert not prompts.lines and rendered(prompts).endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize("opened", ["<|channel>thought\n", "<work>", "<|channel|>analysis<|message|>", "Let me see: "])
def test_what_a_prompt_opens_and_answers_do_not_stand_in_is_warned_of(opened):
    prompts = prompts_of(TAIL + OPENING.replace("THOUGHT", opened))

    [line] = prompts.lines
    assert line.startswith("WARN ") and repr(opened.strip()) in line and "student.chat_template" in line


def test_a_template_that_wants_the_user_to_have_the_last_word_is_used():
    last = "{% if messages[-1].role != 'user' %}{{ raise_exception('the user speaks last') }}{% endif %}"
    prompts = prompts_of(last + TAIL + OPENING.replace("THOUGHT", ""))

    assert prompts.ends[0] == "<|im_end|>" and not prompts.lines


@pytest.mark.parametrize(
    "name, end, role", [("chatml", "<|im_end|>", "assistant"), ("gemma", "<end_of_turn>", "model")]
)
@pytest.mark.parametrize("has_token", [True, False])
@pytest.mark.parametrize("begins", [True, False])
def test_a_named_template_fits_a_base_model(name, end, role, has_token, begins):
    tokenizer = chat_tokenizer(*([end] if has_token else []), bos="<bos>", eos="<eos>", begins=begins)

    prompts = Prompts(tokenizer, name)

    turn_end = end if has_token else "<eos>"
    start = end.replace("end_of", "start_of").replace("im_end", "im_start")
    assert rendered(prompts) == f"{'<bos>' * begins}{start}user\nHi{turn_end}\n{start}{role}\n"
    assert prompts.ends[0] == (turn_end if name == "chatml" else "<eos>")  # no base model of Gemma's writes its own
    assert prompts.n_beginnings(prompts.prompt_ids("Hi", where="")) == int(begins)


def test_a_template_without_the_tokenizer_s_beginning_gets_it_once():
    turn = "<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n"
    zephyr = f"{{% for m in messages %}}\n  {{% if true %}}{turn}{{% endif %}}{{% endfor %}}"
    tokenizer = chat_tokenizer(bos="<s>", eos="</s>", begins=True)
    bare = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], chat_template=zephyr, tokenize=False)

    assert rendered(Prompts(tokenizer, zephyr)) == "<s>" + bare
    assert rendered(Prompts(tokenizer, "{{ bos_token }}" + zephyr)) == "<s>" + bare
    with pytest.raises(DataError, match=r"begins a text with 2 <s>.*teacher\.chat_template"):
        Prompts(tokenizer, "{{ bos_token }}<s>" + zephyr, field="teacher.chat_template")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}{% if %}", "Expected an expression"),
        ("{{ raise_exception('A system turn is needed') }}", "A system turn is needed"),
        ("{% for t in tools %}{{ t }}{% endfor %}", "'NoneType' object is not iterable"),
        ("{{ messages[0].content.__class__.__mro__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("chatlm", "leaves the user's or the assistant's text out"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "assistant's text out"),
    ],
)
def test_a_template_that_cannot_be_used_is_told_of_with_what_to_do(template, reason):
    with pytest.raises(DataError, match=r"set student\.chat_template to 'chatml' or 'gemma'") as caught:
        prompts_of(template)

    assert reason in str(caught.value)


def test_a_tokenizer_without_template_is_refused_with_what_to_do():
    with pytest.raises(DataError, match=r"set student\.chat_template in the recipe to 'chatml'"):
        Prompts(tiny_tokenizer())
    with pytest.raises(DataError, match="nothing ends an answer"):
        Prompts(chat_tokenizer(), "chatml")


def test_the_default_of_several_templates_is_taken():
    tokenizer = chat_tokenizer("<|im_start|>", "<|im_end|>", eos="<eos>")
    tokenizer.chat_template = {"tool_use": "{{ tools[0] }}", "default": TAIL}

    assert rendered(Prompts(tokenizer)).startswith("<|im_start|>user\nHi")


FAMILIES = {path.stem: path for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))}
ENDS = {
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "cohere2": "<|END_RESPONSE|>",
    "deepseekv3": "<｜end▁of▁sentence｜>",
    "deepseek_r1_distill": "<｜end▁of▁sentence｜>",
    "gemma3": "<end_of_turn>",
    "gptoss": "<|return|>",
    "idefics3": "<end_of_utterance>",
    "lfm2": "<|im_end|>",
    "llama3_2": "<|eot_id|>",
    "llava_next": "</s>",
    "phi3": "<|end|>",
    "qwen2_5_vl": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "qwen3_6": "<|im_end|>",
    "smolvlm": "<end_of_utterance>",
}


@pytest.mark.parametrize("family", [name for name in FAMILIES if not name.endswith("_training")])
def test_the_template_of_a_model_family_is_mended_once_and_for_all(family, tmp_path):
    source = FAMILIES[family].read_text()
    special = sorted(set(re.findall(r"<[|｜]?[\w▁/]+[|｜]?>|<turn\|>|<\|turn>|\[gMASK\]", source)))
    tokenizer = chat_tokenizer(*special, bos="<bos>", eos="</s>", begins="bos_token" in source)

    prompts = Prompts(tokenizer, source)
    prompts.save(tmp_path)

    again = AutoTokenizer.from_pretrained(tmp_path)
    parts = [{"type": "text", "text": "Hi"}]
    question = [{"role": "user", "content": parts if prompts._chat.in_parts else "Hi"}]
    ids = again.apply_chat_template(question, add_generation_prompt=True)["input_ids"]
    assert tuple(ids) == prompts.prompt_ids("Hi", where=family)
    assert "Hi" in again.decode(ids) and not open_thought(again.decode(ids))
    assert prompts.ends[0] == ENDS.get(family, prompts.ends[0])
    assert Prompts(again).lines == ()  # nothing is left to mend


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("{% if", "fails"),
        ("{{ raise_exception('not this one') }}", "not this one"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.foo.bar }}", "no attribute"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 1 + 'a' }}", "unsupported operand"),
        ("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "recursion"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "1 s of processor time"),
        ("{{ 'x' * 3000000000 }}", "memory"),
        ("{% for i in range(99999) %}{{ 'x' * 1000000 }}{% endfor %}", "memory"),
        ("{{ 'x' * 9000000 }}", "9,000,0"),
        ("\ud800", "half of a surrogate pair"),
        (r"{{ '\ud800' }}", "half of a surrogate pair"),
        ("{% set n = namespace(t='x') %}{% for i in range(99) %}{% set n.t = n.t ~ n.t %}{% endfor %}", "memory"),
    ],
)
def test_whatever_a_template_does_it_is_refused_in_a_sentence(broken, message):
    with pytest.raises(DataError, match=f"{message}.*set student.chat_template to 'chatml' or 'gemma'"):
        prompts_of(broken + TAIL + OPENING.replace("THOUGHT", ""))


def test_a_template_that_fails_for_one_text_goes_on_with_the_next_and_leaves_no_process():
    prompts = prompts_of("{% if 'bomb' in messages[0].content %}{{ 'x' * 3000000000 }}{% endif %}" + TAIL + OPENING)
    expected = rendered(prompts)
    child = prompts._chat.renderer._child.pid

    with pytest.raises(DataError, match="memory"):
        prompts.prompt_ids("a bomb", where="a test")

    assert rendered(prompts) == expected
    del prompts
    gc.collect()
    assert not Path(f"/proc/{child}").exists()


def test_a_template_s_process_that_is_killed_is_replaced_and_one_that_is_killed_again_is_the_machine_s_fault():
    prompts = prompts_of(TAIL + OPENING)
    expected = rendered(prompts)

    os.kill(prompts._chat.renderer._child.pid, signal.SIGKILL)  # as Linux does when memory runs out

    assert rendered(prompts) == expected
    with pytest.raises(MachineError, match=r"killed twice, .* it may take 537 MB, and .*B are free"):
        Renderer(lambda *_: os.kill(os.getpid(), signal.SIGKILL)).render("", [[]], opens=True)


def test_the_process_that_renders_takes_over_nothing_that_this_one_has_freed():
    freed = [bytes(10_000 + n % 7) for n in range(20_000)]  # 200 MB, which the C library keeps below the last block
    del freed[:-1]
    before = _allocated()

    (of_child,) = Renderer(lambda *_: str(_allocated())).render("", [[]], opens=True)

    assert int(of_child) < before - 150_000


def _allocated():
    """Return the kilobytes of memory that this process has beside its files."""
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1])
