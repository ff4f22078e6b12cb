"""Reads and fixes chat templates, so that they write the same text for everyone.

A template may write today's date, open a thought that no demonstration closes, or leave out the token that the
tokenizer begins texts with. srit fixes all of this once, in the template's source. Training, sampling and evaluation
use the fixed source, and it is saved with the weights: whoever renders it, next year or in another program, gets the
prompt used in training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from os.path import commonprefix
from typing import TYPE_CHECKING, NamedTuple

from srit.errors import DataError
from srit.students.rendering import Render, Renderer, Turns, Unrendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# SmolLM2's own template puts a system turn of 20 tokens before every question; this one does not.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Gemma's template, except for the end of an answer: only instruct models were trained to write <end_of_turn>, and they
# come with their own template. In base models it is like any unused token, and adapters cannot distinguish it.
GEMMA = (
    "{% for message in messages %}<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] | trim }}{{ eos_token if message['role'] == 'assistant' else '<end_of_turn>' }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
NAMED = {"chatml": (CHATML, "<|im_end|>"), "gemma": (GEMMA, "<end_of_turn>")}  # each with its end of turn

# The date that every template gets, so that equal runs end in equal files whenever they are started. It is the one that
# Llama 3's templates write if they have no clock.
TODAY = datetime(2024, 7, 26)
_CLOCK = "strftime_now"  # the function that transformers gives to templates
_DIRECTIVES = [f"%{flag}{letter}" for letter in "dmeHIjMSyUW" for flag in "-_"]  # glibc's, as templates use them
_DIRECTIVES += [f"%{letter}" for letter in "aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ%"]

# <think>, <|begin_of_thought|>, [THINK], ◁think▷, <seed:think>, <|START_THINKING|>, … and their closing tags
_KINDS = r"think|thought|reason|reflect|rationale|analys[ei]s|scratchpad|monologue|(?<![a-z])cot(?![a-z])"
_NAME = rf"(?P<name>(?!no)[^<>\[\]◁▷|\s]*?(?:{_KINDS})[^<>\[\]◁▷|\s]*)"
_THOUGHT = re.compile(rf"(?P<open><\||[<\[◁]){_NAME}(?P<close>\|>|[>\]▷])", re.IGNORECASE)
_ENDS = re.compile(r"^/|^end|(?<![a-z])(?:end|stop|close)(?![a-z])", re.IGNORECASE)
_BEGINS = re.compile(r"^(?:start|begin)|(?<![a-z])(?:start|begin)(?![a-z])", re.IGNORECASE)
_SWITCH = re.compile(r"\b(?!\d)\w*(?:think|reason)\w*\b", re.IGNORECASE)  # enable_thinking, thinking_budget, …

# Texts that no template contains: they show what it writes around them.
QUESTION, ANSWER, REPLY = "Qzx uvy 1?", "Wvk jqz 2.", "Jqy xkw 3."


class Tails(NamedTuple):
    """What a template writes after an assistant's text."""

    last: str  # if nothing follows
    inner: str  # up to the next text of the user


@dataclass(frozen=True)
class Chat:
    """A template and the tokenizer that renders it."""

    tokenizer: PreTrainedTokenizerBase
    source: str
    field: str  # the recipe field that can name another template
    renderer: Renderer
    in_parts: bool = False  # a message's content is a list of parts, as some templates for images require

    def write(self, *texts: str, opens: bool = False) -> str:
        """Render the chat of a user and an assistant who take turns.

        Args:
            opens: whether the chat ends with the beginning of the assistant's next turn.

        Raises:
            DataError: the template fails.
        """
        return self.write_each([texts], opens=opens)[0]

    def write_each(self, chats: Sequence[Sequence[str]], *, opens: bool = False) -> list[str]:
        """Render several chats, each as `write` does; a few hundred at once cost least."""
        turns = [self._turns(texts) for texts in chats]
        try:
            return self.renderer.render(self.source, turns, opens=opens)
        except Unrendered as error:
            raise DataError(self.fault(str(error))) from None

    def opening(self) -> str:
        """Return what the template writes between a user's text and an answer that is yet to come."""
        return _after(self.write(QUESTION, opens=True), QUESTION)

    def answered(self) -> str:
        """Return a question and its answer, cut from a longer chat if the template demands a final user turn."""
        try:
            return self.write(QUESTION, ANSWER)
        except DataError as fault:
            try:
                return self.write(QUESTION, ANSWER, REPLY).partition(REPLY)[0]
            except DataError:
                raise fault from None

    def introduction(self) -> str:
        """Return what the template writes between a user's text and a given answer."""
        return _after(self.answered().rpartition(ANSWER)[0], QUESTION)

    def tails(self) -> Tails:
        """Return what the template writes after a given answer."""
        last = _after(self.answered(), ANSWER)
        try:
            inner = _after(self.write(QUESTION, ANSWER, REPLY), ANSWER)
        except DataError:  # the template allows only one question and its answer
            return Tails(last, last)
        return Tails(last, inner.partition(REPLY)[0])

    def fault(self, what: str) -> str:
        """Word an error: what is wrong with the template, and what to do."""
        names = " or ".join(repr(name) for name in NAMED)
        return f"{self.tokenizer.name_or_path}: the chat template {what}: set {self.field} to {names} or to a template"

    def _turns(self, texts: Sequence[str]) -> Turns:
        roles = ("user", "assistant")
        return [{"role": roles[place % 2], "content": self._content(text)} for place, text in enumerate(texts)]

    def _content(self, text: str) -> str | list[dict[str, str]]:
        return [{"type": "text", "text": text}] if self.in_parts else text


def mend(
    tokenizer: PreTrainedTokenizerBase, template: str | None, *, field: str, system: str | None = None
) -> tuple[Chat, tuple[str, ...]]:
    """Return a template that writes the same text for everyone and leads to the answer, and a line for each change.

    Args:
        template: a name in `NAMED`, a Jinja template, or None for the tokenizer's own.
        field: the recipe field that errors name.
        system: the system prompt of chats that do not begin with one.

    Raises:
        DataError: there is no template, or it cannot be used.
    """
    source, named = _source(tokenizer, template, field)
    chat = _readable(Chat(tokenizer, source, field, Renderer(_rendering(tokenizer))))
    chat = chat if system is None else _led(chat, system)
    lines = [named]
    for change in (_dated, _thoughtless, _introduced, _begun):
        chat, line = change(chat)
        lines.append(line)
    return chat, tuple(line for line in lines if line)


def _rendering(tokenizer: PreTrainedTokenizerBase) -> Render:
    """Return the function that renders with a tokenizer's own variables, such as bos_token."""

    def render(source: str, turns: Turns, opens: bool) -> str:
        written = tokenizer.apply_chat_template(
            list(turns), chat_template=source, add_generation_prompt=opens, tokenize=False
        )
        return str(written)

    return render


def token_ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Encode a text as it is, without the tokens that the tokenizer puts around texts."""
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def is_token(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Return whether a text is a token of the vocabulary and is encoded as that token."""
    token_id = tokenizer.get_vocab().get(text)
    return token_id is not None and token_id in token_ids_of(tokenizer, text)


def is_thought(text: str) -> bool:
    """Return whether a token opens or closes a thought."""
    return _THOUGHT.fullmatch(text.strip()) is not None


def beginning(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that a tokenizer puts before every text, such as BOS."""
    whole, bare = (tuple(tokenizer("x", add_special_tokens=add)["input_ids"]) for add in (True, False))
    places = (place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
    return whole[: next(places, 0)]


def repeats(ids: tuple[int, ...], first: tuple[int, ...]) -> int:
    """Count how many times in a row the ids begin with `first`."""
    n = 0
    while first and ids[n * len(first) : (n + 1) * len(first)] == first:
        n += 1
    return n


def _source(tokenizer: PreTrainedTokenizerBase, template: str | None, field: str) -> tuple[str, str]:
    """Return the template to start from, and a line about it."""
    if template in NAMED:
        source, end = NAMED[template]
        if is_token(tokenizer, end):
            return source, ""
        if tokenizer.eos_token is None:
            raise DataError(
                f"{tokenizer.name_or_path}: nothing ends an answer: the tokenizer has neither {end}, which {template} "
                f"ends turns with, nor an eos_token: set {field} to a template with tokens of the model"
            )
        line = f"the model has no token {end}: in {template}, turns end with its {tokenizer.eos_token}"
        return source.replace(end, tokenizer.eos_token), line
    own = tokenizer.chat_template
    if isinstance(own, dict):
        own = own.get("default") or next(iter(own.values()), None)
    source = template or own
    if not source:
        raise DataError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template: set {field} in the recipe to "
            f"{', '.join(repr(name) for name in NAMED)} or to a template"
        )
    return source, ""


def _readable(chat: Chat) -> Chat:
    """Choose the form of content that the template takes: text, or parts if it skips text.

    Raises:
        DataError: in both forms the template fails or leaves out a question or an answer.
    """
    faults = []
    for form in (chat, replace(chat, in_parts=True)):
        try:
            if _is_whole(form):
                return form
            faults.append(DataError(chat.fault("leaves the user's or the assistant's text out")))
        except DataError as error:
            faults.append(error)
    raise faults[0]


def _is_whole(chat: Chat) -> bool:
    return QUESTION in chat.write(QUESTION, opens=True) and ANSWER in chat.answered()


def _led(chat: Chat, system: str) -> Chat:
    """Make the template begin each chat with a system turn.

    Raises:
        DataError: it does not support one.
    """
    text = json.dumps(system, ensure_ascii=False)  # Jinja reads the same escapes
    content = f"[{{'type': 'text', 'text': {text}}}]" if chat.in_parts else text
    turn = f"[{{'role': 'system', 'content': {content}}}]"
    led = _before(
        chat, f"{{% if messages[0]['role'] != 'system' %}}{{% set messages = {turn} + messages %}}{{% endif %}}"
    )
    advice = "put the text into prompt.instruction, or name another template"
    try:
        if system.strip() in led.write(QUESTION, opens=True):
            return led
    except DataError as error:
        raise DataError(f"prompt.system: {error}; or {advice}") from None
    raise DataError(f"prompt.system: the chat template leaves the system's turn out: {advice}")


def _dated(chat: Chat) -> tuple[Chat, str]:
    """Replace the clock with one date for all runs."""
    if _CLOCK not in chat.source or f"macro {_CLOCK}" in chat.source:
        return chat, ""
    values = {directive: TODAY.strftime(directive) for directive in _DIRECTIVES}
    values["%s"] = f"{TODAY.replace(tzinfo=UTC).timestamp():.0f}"  # strftime would take the machine's time zone
    filters = "".join(f" | replace({json.dumps(d)}, {json.dumps(value)})" for d, value in values.items())
    clock = f"{{% macro {_CLOCK}(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}"
    return _before(chat, clock), f"the chat template writes the date: it is always {TODAY:%d %b %Y}"


def _thoughtless(chat: Chat) -> tuple[Chat, str]:
    """Close the thought that the template opens for the answer: demonstrations do not close it."""
    tag = open_thought(chat.opening())
    if not tag:
        return chat, ""
    summary = f"the chat template opens a thought ({tag}): in training, sampling and evaluation alike,"
    for switched, setting in _switched(chat):
        if not open_thought(switched.opening()):
            return switched, f"{summary} {setting} is set"
    line = "\n" if chat.opening().endswith("\n") else "\n\n"
    closing = f"{line}{_closing(tag)}\n\n"
    return _appended(chat, closing), f"{summary} {_closing(tag)} closes it"


def open_thought(text: str) -> str:
    """Return the tag of the thought that is open at the end of a text; "" if there is none."""
    tags = list(_THOUGHT.finditer(text))
    return "" if not tags or _ENDS.search(tags[-1]["name"]) else tags[-1][0]


def _switched(chat: Chat) -> Iterator[tuple[Chat, str]]:
    """Yield the template with each of its variables that may turn thoughts off."""
    for name in dict.fromkeys(_SWITCH.findall(chat.source)):
        for value in ("false", "0"):
            switched = _before(chat, f"{{% set {name} = {value} %}}")
            try:
                if _is_whole(switched):
                    yield switched, f"{name} = {value}"
            except DataError:
                continue


def _closing(tag: str) -> str:
    def closed(found: re.Match[str]) -> str:
        name = found["name"]
        ended = _BEGINS.sub(lambda begins: "END" if begins[0].isupper() else "end", name, count=1)
        return found["open"] + (ended if ended != name else f"/{name}") + found["close"]

    return _THOUGHT.sub(closed, tag)


def _introduced(chat: Chat) -> tuple[Chat, str]:
    """Append what the template writes before an answer, such as a role or a channel, if a prompt stops short of it."""
    opening, introduction = chat.opening(), chat.introduction()
    rest = introduction.removeprefix(opening)
    if introduction.startswith(opening) and _has_added_token(chat.tokenizer, rest) and not _THOUGHT.search(rest):
        return _appended(chat, rest), f"the prompt continues as the chat template does before an answer: {rest!r}"
    alike = len(commonprefix([opening.rstrip(), introduction]))  # noqa: RUF071  of characters
    other = opening.rstrip()[alike:]
    if _THOUGHT.split(other)[-1].strip():
        return chat, (
            f"WARN the chat template ends a prompt with {other!r}, which no answer in a chat follows: if it begins a "
            f"thought, the student answers inside that thought. Set {chat.field} to a template without it"
        )
    return chat, ""


def _begun(chat: Chat) -> tuple[Chat, str]:
    """Prepend the tokens that the tokenizer begins texts with, if they are missing.

    Raises:
        DataError: they are there more than once.
    """
    wanted = beginning(chat.tokenizer)
    first = wanted or (() if chat.tokenizer.bos_token_id is None else (chat.tokenizer.bos_token_id,))
    found = repeats(_ids(chat), first)
    text = "".join(chat.tokenizer.convert_ids_to_tokens(list(first)))
    if found > 1:
        raise DataError(
            f"{chat.tokenizer.name_or_path}: the chat template begins a text with {found} {text}, the tokenizer with "
            f"{1 if wanted else 0}: fix {chat.field} (write it once, at the start)"
        )
    if found or not wanted:
        return chat, ""
    begun = _before(chat, f"{{% if true %}}{{{{ {json.dumps(text, ensure_ascii=False)} }}}}{{% endif %}}")
    if repeats(_ids(begun), first) != 1:
        raise DataError(chat.fault(f"does not begin a text with {text}, as the tokenizer does"))
    return begun, f"texts begin with {text}, as the tokenizer's do; the chat template leaves it out"


def _ids(chat: Chat) -> tuple[int, ...]:
    return token_ids_of(chat.tokenizer, chat.write(QUESTION, opens=True))


def _has_added_token(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    ids = token_ids_of(tokenizer, text)
    return bool(text.strip()) and not tokenizer.added_tokens_decoder.keys().isdisjoint(ids)


def _before(chat: Chat, block: str) -> Chat:
    # transformers renders with trim_blocks: the newline belongs to the block, so the rest still begins a line.
    return replace(chat, source=f"{block}\n{chat.source}")


def _appended(chat: Chat, text: str) -> Chat:
    """Append a text to the beginning of an assistant's turn."""
    # Jinja drops a newline at the end of a template. An expression, since a block would strip the spaces before it.
    source = chat.source.removesuffix("\n") + "{{ " + json.dumps(text, ensure_ascii=False)
    return replace(chat, source=source + ' if add_generation_prompt else "" }}')


def _after(text: str, mark: str) -> str:
    return text.rpartition(mark)[2]
