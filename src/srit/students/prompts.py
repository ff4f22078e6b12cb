"""The one place where text becomes the token ids that the student is trained on, sampled and judged with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from copy import copy
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

from srit.errors import DataError
from srit.records import Problem, PromptKind
from srit.students.templates import QUESTION, Chat, beginning, is_thought, is_token, repeats, settled
from srit.tasks import Task

TRIGGER = "Let's think step by step."  # Kojima et al. 2022, arXiv 2205.11916

_TAG = re.compile(r"[<\[]\S{2,}[>\]]")  # an end that is no token but text: it stands in no answer for another reason


def prompt_text(task: Task, problem: Problem, kind: PromptKind) -> str:
    """x = (i, q) for "direct"; x̂ = (i, q, "Let's think step by step.") for "cot"."""
    parts = [task.instruction, task.phrase(problem)]
    return "\n".join([*parts, TRIGGER] if kind == "cot" else parts)


class Prompts:
    """Renders prompts and answers to token ids through a tokenizer's chat template."""

    def __init__(
        self,
        tokenizer: Any,
        template: str | None = None,
        *,
        stated_ends: Iterable[int] = (),
        field: str = "student.chat_template",
    ) -> None:
        """
        Args:
            tokenizer: of transformers.
            template: "chatml", "gemma", a Jinja chat template, or None for the tokenizer's own.
            stated_ends: ids that the model's generation settings end answers with.
            field: of the recipe, where another template can be given.

        Raises:
            DataError: there is no template, it fails, nothing ends an answer in it, or it begins a text more than
                once.
        """
        self._tokenizer = tokenizer
        self._chat, self.lines = settled(tokenizer, template, field=field)
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
    def template(self) -> str:
        """The chat template as it is used: the given one, mended so that it writes the same for everyone."""
        return self._chat.source

    @property
    def ends(self) -> tuple[str, ...]:
        """The tokens of `stop_ids`."""
        return tuple(self._tokenizer.convert_ids_to_tokens(list(self.stop_ids)))

    def prompt_ids(self, text: str, *, where: str) -> tuple[int, ...]:
        """A user turn and the opening of the answer.

        Raises:
            DataError: the text itself holds a token that would end the turn or speak for another, or half a character.
        """
        if not _is_whole(text):
            raise DataError(f"{where}: the text contains half a surrogate pair, which is no character; mend the data")
        ids = self._render(text)
        if self._count_control(ids) != self._n_control:
            raise DataError(f"{where}: the text contains a special token of the model; remove it from the data")
        return ids

    def n_beginnings(self, ids: tuple[int, ...]) -> int:
        """How many times the ids begin as texts do: with BOS, where the tokenizer has no other beginning."""
        return repeats(ids, self._beginning)

    def completion_ids(self, text: str) -> tuple[int, ...]:
        """An answer as the student is to write it, end of turn included. No token in it stands for a special one."""
        if not _is_whole(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        ids = self._split_ids(text)
        if not self._control.isdisjoint(ids):
            ids = [token_id for piece in self._pieces(text) for token_id in self._split_ids(piece)]
            ids = [token_id for token_id in ids if token_id not in self._control]
        return (*ids, self.end_of_turn_id)

    def text(self, token_ids: Sequence[int]) -> str:
        """What the ids of a completion say, up to its end of turn or to where it goes on with another turn."""
        written = token_ids[:-1] if token_ids and token_ids[-1] in self.stop_ids else token_ids
        begun = dropwhile(self._turns.__contains__, written)
        said = [i for i in takewhile(lambda i: i not in self._turns, begun) if i not in self._special]
        decoded: str = self._tokenizer.decode(said, clean_up_tokenization_spaces=False)
        return decoded.partition(self._closing)[0] if self._closing else decoded

    def is_text(self, token_ids: Sequence[int]) -> bool:
        """Whether a completion holds no token of the chat before its end: a model may go on with another turn."""
        return self._control.isdisjoint(token_ids[:-1])

    def save(self, folder: Path) -> None:
        """The tokenizer, with the template as it is used."""
        tokenizer = copy(self._tokenizer)
        tokenizer.chat_template = self.template
        tokenizer.save_pretrained(folder)

    def _render(self, text: str) -> tuple[int, ...]:
        return _ids(self._tokenizer, self._chat.write(text, opens=True))

    def _split_ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def _pieces(self, text: str) -> list[str]:
        """A text, cut within whatever is written like a token of the chat template.

        `split_special_tokens` takes apart the tokens that are marked special, and no others.
        """
        contents = map(re.escape, self._tokenizer.convert_ids_to_tokens(sorted(self._control)))
        return re.sub("|".join(contents), lambda found: f"{found[0][0]}\0{found[0][1:]}", text).split("\0")

    def _turn_ids(self, marks: frozenset[int]) -> frozenset[int]:
        """The tokens that the template writes around texts, and those that end an answer."""
        written = (self._chat.write(QUESTION, opens=True), self._chat.tails().last)
        around = marks.intersection(token_id for text in written for token_id in _ids(self._tokenizer, text))
        return around | {self.end_of_turn_id} | {i for i in self.stop_ids if i in self._special}

    def _count_control(self, ids: tuple[int, ...]) -> int:
        return sum(token_id in self._control for token_id in ids)


def _is_whole(text: str) -> bool:
    """Whether no half of a surrogate pair stands alone in it, as JSON can have it: tokenizers fail on those."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _bos(tokenizer: Any) -> tuple[int, ...]:
    return () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)


def _special_ids(tokenizer: Any) -> frozenset[int]:
    """Tokens that are never part of what an answer says. The tags of thoughts are, however they are marked."""
    marked = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    ids = {*tokenizer.all_special_ids, *marked}
    return frozenset(i for i in ids if not is_thought(tokenizer.convert_ids_to_tokens(i)))


def _marks(tokenizer: Any) -> frozenset[int]:
    """Tokens that were added to the vocabulary for chats: not for runs of spaces, for thoughts or for the unknown."""
    added = tokenizer.added_tokens_decoder.items()
    ids = {i for i, token in added if not token.content.isspace() and not is_thought(token.content)}
    unknown = {tokenizer.unk_token_id} - {tokenizer.eos_token_id}
    return frozenset(ids.union(tokenizer.all_special_ids) - unknown)


def _find_end(chat: Chat, marks: frozenset[int], stated: Sequence[int]) -> tuple[int, str]:
    """The token that ends an answer, and the text before it that closes one where the template has such a text.

    Args:
        marks: tokens that were added for chats.
        stated: tokens that are known to end texts, eos first.

    Raises:
        DataError: there is none.
    """
    tokenizer, tails = chat.tokenizer, chat.tails()
    last, inner = (next((i for i in _ids(tokenizer, tail) if i in marks), None) for tail in tails)
    closing, also = (_before(tokenizer, *one).strip() for one in zip(tails, (last, inner), strict=True))
    closing = closing if _TAG.fullmatch(closing) and also.startswith(closing) else ""
    if closing and is_token(tokenizer, closing):
        return int(tokenizer.convert_tokens_to_ids(closing)), ""
    # Some templates end with the opening of an assistant's turn, asked for or not: that is no end.
    opens = _ids(tokenizer, chat.introduction())
    if last is not None and (last in stated or last == inner or last not in opens):
        return last, closing
    if inner is not None and inner in stated:  # an end that stands between turns alone
        return inner, closing
    if not stated:
        raise DataError(
            f"{tokenizer.name_or_path}: nothing ends an answer: its chat template closes the assistant's "
            "turn with no special token, and the tokenizer has no eos_token"
        )
    return stated[0], closing


def _before(tokenizer: Any, text: str, token_id: int | None) -> str:
    return text if token_id is None else text.partition(tokenizer.convert_ids_to_tokens(token_id))[0]
