"""Turns text into the token ids that the student is trained on, sampled with and judged by; nothing else does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import dropwhile, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from srit.errors import DataError
from srit.recipe.wording import PLAIN, Prompt
from srit.records import Problem, PromptKind
from srit.students.templates import QUESTION, Chat, beginning, is_thought, is_token, mend, repeats, token_ids_of
from srit.tasks import find_task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RENDERED_AT_ONCE = 64  # prompts; more save nothing

_TAG = re.compile(
    r"[<\[]\S{2,}[>\]]"
)  # an end that is text rather than a token; answers contain it for no other reason


def prompt_text(problem: Problem, kind: PromptKind, wording: Prompt = PLAIN) -> str:
    """Return the prompt: x = (i, q) for "direct", x̂ = (i, q, "Let's think step by step.") for "cot".

    Examples stand between i and q, each as the question will, with its answer and a blank line after it.
    """
    task = find_task(problem.task)
    trigger = [wording.trigger] if kind == "cot" else []
    instruction = task.instruction if wording.instruction is None else wording.instruction
    parts = [] if wording.instruction == "" else [instruction]
    for example in wording.examples:
        parts += [example.question, *trigger, f"{example.answer}\n"]
    return "\n".join([*parts, task.phrase(problem), *trigger])


class Prompts:
    """Renders prompts and answers to token ids through a tokenizer's chat template."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str | None = None,
        *,
        stated_ends: Iterable[int] = (),
        field: str = "student.chat_template",
        wording: Prompt = PLAIN,
    ) -> None:
        """Fix the chat template, and find what ends an answer.

        Args:
            tokenizer: the model's.
            template: "chatml", "gemma", a Jinja chat template, or None for the tokenizer's own.
            stated_ends: ids that end an answer according to the model's generation settings.
            field: the recipe field that can name another template.
            wording: the recipe's prompt.

        Raises:
            DataError: there is no template, it fails, nothing ends an answer in it, or it begins a text more than
                once.
        """
        self._tokenizer, self._wording = tokenizer, wording
        self._chat, mended = mend(tokenizer, template, field=field, system=wording.system)
        self.lines = (*mended, *_about(wording))
        self._beginning = beginning(tokenizer) or _bos(tokenizer)
        self._special, marks = _special_ids(tokenizer), _marks(tokenizer)
        eos = tokenizer.eos_token_id
        stated = [*([] if eos is None else [eos]), *stated_ends]
        self.end_of_turn_id, self._closing = _find_end(self._chat, marks, stated)
        self.stop_ids = tuple(dict.fromkeys([self.end_of_turn_id, *stated]))
        self._turns = self._turn_ids(marks)
        self._control = (self._special - {tokenizer.unk_token_id}) | self._turns
        self._n_control = self._count_control(self._render("x"))

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer, with its own chat template."""
        return self._tokenizer

    @property
    def template(self) -> str:
        """The fixed chat template, which writes the same text for everyone."""
        return self._chat.source

    @property
    def ends(self) -> tuple[str, ...]:
        """The tokens of `stop_ids`."""
        return tuple(self._tokenizer.convert_ids_to_tokens(list(self.stop_ids)))

    def prompt_ids(self, text: str, *, where: str) -> tuple[int, ...]:
        """Render a user turn and the opening of the answer.

        Args:
            where: names the text in errors.

        Raises:
            DataError: the text holds a token that would end the turn or begin another, or half a surrogate pair.
        """
        if not _is_whole(text):
            raise DataError(f"{where}: the text contains half of a surrogate pair, not a character; fix the data")
        return self._checked(self._render(text), where)

    def problem_ids(self, problem: Problem, kind: PromptKind) -> tuple[int, ...]:
        """Render a problem's prompt and the opening of the answer.

        Raises:
            DataError: as `prompt_ids`.
        """
        return self.prompt_ids(self.problem_text(problem, kind), where=f"problem {problem.id}")

    def problem_text(self, problem: Problem, kind: PromptKind) -> str:
        """Return a problem's prompt, without its turn."""
        return prompt_text(problem, kind, self._wording)

    def each_problem_ids(self, problems: Iterable[Problem], kind: PromptKind) -> Iterator[tuple[int, ...]]:
        """Yield the `problem_ids` of each problem, in order; the template writes many at once."""
        remaining = iter(problems)
        while batch := list(islice(remaining, RENDERED_AT_ONCE)):
            texts = [self.problem_text(problem, kind) for problem in batch]
            if all(map(_is_whole, texts)):
                written = self._chat.write_each([(text,) for text in texts], opens=True)
                for problem, text in zip(batch, written, strict=True):
                    yield self._checked(token_ids_of(self._tokenizer, text), f"problem {problem.id}")
            else:  # one by one, up to the problem at fault
                yield from (self.problem_ids(problem, kind) for problem in batch)

    def n_beginnings(self, ids: tuple[int, ...]) -> int:
        """Count how often the ids begin the way texts do: with the tokenizer's prefix, or else with BOS."""
        return repeats(ids, self._beginning)

    def completion_ids(self, text: str) -> tuple[int, ...]:
        """Encode an answer for the student to learn, including its end of turn; no other token in it is special."""
        if not _is_whole(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        ids = self._split_ids(text)
        if not self._control.isdisjoint(ids):
            ids = [token_id for piece in self._pieces(text) for token_id in self._split_ids(piece)]
            ids = [token_id for token_id in ids if token_id not in self._control]
        return (*ids, self.end_of_turn_id)

    def text(self, token_ids: Sequence[int]) -> str:
        """Decode a completion up to its end of turn, or up to where it goes on with another turn."""
        written = token_ids[:-1] if token_ids and token_ids[-1] in self.stop_ids else token_ids
        begun = dropwhile(self._turns.__contains__, written)
        said = [i for i in takewhile(lambda i: i not in self._turns, begun) if i not in self._special]
        decoded = str(self._tokenizer.decode(said, clean_up_tokenization_spaces=False))
        return decoded.partition(self._closing)[0] if self._closing else decoded

    def is_text(self, token_ids: Sequence[int]) -> bool:
        """Return whether a completion holds no chat token before its end: a model may go on with another turn."""
        return self._control.isdisjoint(token_ids[:-1])

    def written(self, *texts: str, opens: bool) -> str:
        """Return the chat of a user and an assistant who take turns, as the fixed template writes it.

        Args:
            opens: whether it ends with the beginning of the assistant's next turn.
        """
        return self._chat.write(*texts, opens=opens)

    def ids_of(self, written: str) -> tuple[int, ...]:
        """Encode a text that the template has written."""
        return token_ids_of(self._tokenizer, written)

    def save(self, folder: Path) -> None:
        """Save the tokenizer with the fixed template."""
        tokenizer = copy(self._tokenizer)
        tokenizer.chat_template = self.template
        tokenizer.save_pretrained(folder)

    def _render(self, text: str) -> tuple[int, ...]:
        return token_ids_of(self._tokenizer, self._chat.write(text, opens=True))

    def _checked(self, ids: tuple[int, ...], where: str) -> tuple[int, ...]:
        if self._count_control(ids) != self._n_control:
            raise DataError(f"{where}: the text contains a special token of the model; remove it from the data")
        return ids

    def _split_ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def _pieces(self, text: str) -> list[str]:
        """Cut a text inside everything that is written like a token of the chat template.

        `split_special_tokens` only takes apart tokens that are marked special.
        """
        contents = map(re.escape, self._tokenizer.convert_ids_to_tokens(sorted(self._control)))
        return re.sub("|".join(contents), lambda found: f"{found[0][0]}\0{found[0][1:]}", text).split("\0")

    def _turn_ids(self, marks: frozenset[int]) -> frozenset[int]:
        """Return the tokens that the template writes around texts, and those that end an answer."""
        written = (self._chat.write(QUESTION, opens=True), self._chat.tails().last)
        around = marks.intersection(token_id for text in written for token_id in token_ids_of(self._tokenizer, text))
        return around | {self.end_of_turn_id} | {i for i in self.stop_ids if i in self._special}

    def _count_control(self, ids: tuple[int, ...]) -> int:
        return sum(token_id in self._control for token_id in ids)


def _about(wording: Prompt) -> Iterator[str]:
    """Yield a line for each part of the prompt that is not the tasks' own."""
    if wording.instruction is not None:
        yield f"before each question stands {wording.instruction!r}"
    if wording.system is not None:
        yield f"the chat template begins with the system prompt {wording.system!r} unless a chat brings its own"
    if wording.examples:
        yield f"{len(wording.examples)} examples stand before each question"
    if wording.trigger != PLAIN.trigger:
        yield f"the CoT prompt ends with {wording.trigger!r}"


def _is_whole(text: str) -> bool:
    """Return whether a text has no unpaired surrogate, which JSON allows and tokenizers fail on."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bos(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    return () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that are never part of an answer's text. Tags of thoughts are part of it, even if special."""
    marked = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = {*tokenizer.all_special_ids, *marked}
    return frozenset(i for i in ids if not is_thought(_token(tokenizer, i)))


def _marks(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that were added for chats, rather than for runs of spaces, thoughts or unknown text."""
    added = tokenizer.added_tokens_decoder.items()
    ids = {i for i, token in added if not token.content.isspace() and not is_thought(token.content)}
    unknown = {tokenizer.unk_token_id} - {tokenizer.eos_token_id}
    return frozenset(ids.union(tokenizer.all_special_ids) - unknown)


def _find_end(chat: Chat, marks: frozenset[int], stated: Sequence[int]) -> tuple[int, str]:
    """Find the token that ends an answer, and the text that the template puts before it, if any.

    Args:
        marks: tokens that were added for chats.
        stated: tokens that are known to end texts, eos first.

    Raises:
        DataError: nothing ends an answer.
    """
    tokenizer, tails = chat.tokenizer, chat.tails()
    last, inner = (next((i for i in token_ids_of(tokenizer, tail) if i in marks), None) for tail in tails)
    closing, also = (_before(tokenizer, *one).strip() for one in zip(tails, (last, inner), strict=True))
    closing = closing if _TAG.fullmatch(closing) and also.startswith(closing) else ""
    if closing and is_token(tokenizer, closing):
        return tokenizer.get_vocab()[closing], ""
    # Some templates always end with the opening of an assistant's turn, which does not end an answer.
    opens = token_ids_of(tokenizer, chat.introduction())
    if last is not None and (last in stated or last == inner or last not in opens):
        return last, closing
    if inner is not None and inner in stated:  # an end that is only written between turns
        return inner, closing
    if not stated:
        raise DataError(
            f"{tokenizer.name_or_path}: nothing ends an answer: its chat template closes the assistant's "
            "turn with no special token, and the tokenizer has no eos_token"
        )
    return stated[0], closing


def _before(tokenizer: PreTrainedTokenizerBase, text: str, token_id: int | None) -> str:
    return text if token_id is None else text.partition(_token(tokenizer, token_id))[0]


def _token(tokenizer: PreTrainedTokenizerBase, token_id: int) -> str:
    return str(tokenizer.convert_ids_to_tokens(token_id))
