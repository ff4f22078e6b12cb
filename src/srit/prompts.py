"""The one place where text becomes the token ids that the student is trained on, sampled and judged with."""

from __future__ import annotations

from itertools import dropwhile
from typing import Any

from srit.errors import DataError
from srit.records import Problem, PromptKind
from srit.tasks import Task

TRIGGER = "Let's think step by step."  # Kojima et al. 2022, arXiv 2205.11916

# SmolLM2's own template puts a system turn of 20 tokens before every question; this one does not.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def prompt_text(task: Task, problem: Problem, kind: PromptKind) -> str:
    """x = (i, q) for "direct"; x̂ = (i, q, "Let's think step by step.") for "cot"."""
    parts = [task.instruction, task.phrase(problem)]
    return "\n".join([*parts, TRIGGER] if kind == "cot" else parts)


class Prompts:
    """Renders prompts and answers to token ids through a tokenizer's chat template."""

    def __init__(self, tokenizer: Any, template: str | None = None) -> None:
        """
        Args:
            tokenizer: of transformers.
            template: "chatml", a Jinja chat template, or None for the tokenizer's own.

        Raises:
            DataError: there is no template, no special token ends an answer in it, or it begins a text
                otherwise than the tokenizer does.
        """
        self._tokenizer = tokenizer
        self._template = CHATML if template == "chatml" else template or tokenizer.chat_template
        if not self._template:
            raise DataError(
                f"{tokenizer.name_or_path}: the tokenizer has no chat template: set student.chat_template "
                "in the recipe to 'chatml' or to a template"
            )
        self._special = set(tokenizer.all_special_ids)
        self.end_of_turn_id = self._find_end_of_turn()
        self._n_special = self._count_special(self._render("x"))
        self._check_beginning()

    def prompt_ids(self, text: str, *, where: str) -> tuple[int, ...]:
        """A user turn and the opening of the answer.

        Raises:
            DataError: the text itself holds a special token, which would end the turn or speak for another.
        """
        ids = self._render(text)
        if self._count_special(ids) != self._n_special:
            raise DataError(f"{where}: the text contains a special token of the model; remove it from the data")
        return ids

    def n_beginnings(self, ids: tuple[int, ...]) -> int:
        """How many BOS tokens the ids begin with."""
        bos = self._tokenizer.bos_token_id
        return 0 if bos is None else len(ids) - len(list(dropwhile(lambda token_id: token_id == bos, ids)))

    def completion_ids(self, text: str) -> tuple[int, ...]:
        """An answer as the student is to write it, end of turn included."""
        ids = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return (*ids, self.end_of_turn_id)

    def text(self, token_ids: tuple[int, ...]) -> str:
        """What the ids of a completion say, its end of turn left out."""
        decoded: str = self._tokenizer.decode(
            [i for i in token_ids if i not in self._special], clean_up_tokenization_spaces=False
        )
        return decoded

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        eos = self._tokenizer.eos_token_id
        return tuple(dict.fromkeys([self.end_of_turn_id, *([] if eos is None else [eos])]))

    def _render(self, text: str) -> tuple[int, ...]:
        rendered = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            chat_template=self._template,
            add_generation_prompt=True,
            tokenize=False,
        )
        return tuple(self._tokenizer(rendered, add_special_tokens=False)["input_ids"])

    def _check_beginning(self) -> None:
        wanted = self.n_beginnings(tuple(self._tokenizer("x")["input_ids"]))
        found = self.n_beginnings(self._render("x"))
        if found > 1 or found < wanted:
            raise DataError(
                f"{self._tokenizer.name_or_path}: the chat template begins a text with {found} "
                f"{self._tokenizer.bos_token}, the tokenizer with {wanted}: mend student.chat_template "
                "({{ bos_token }} once at its start)"
            )

    def _count_special(self, ids: tuple[int, ...]) -> int:
        return sum(token_id in self._special for token_id in ids)

    def _find_end_of_turn(self) -> int:
        turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "answer"}]
        rendered = self._tokenizer.apply_chat_template(turns, chat_template=self._template, tokenize=False)
        if "answer" not in rendered:
            raise DataError(f"{self._tokenizer.name_or_path}: the chat template leaves the assistant's turn out")
        tail = rendered[rendered.rindex("answer") + len("answer") :]
        for token_id in self._tokenizer(tail, add_special_tokens=False)["input_ids"]:
            if token_id in self._special:
                return int(token_id)
        if self._tokenizer.eos_token_id is None:
            raise DataError(
                f"{self._tokenizer.name_or_path}: nothing ends an answer: its chat template closes the assistant's "
                "turn with no special token, and the tokenizer has no eos_token"
            )
        return int(self._tokenizer.eos_token_id)
