"""Finds the prompts of a run that are too long for the model, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from srit.errors import DataError
from srit.records import Problem, PromptKind
from srit.students.prompts import Prompts

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "n_ctx", "seq_length")
_RELATIVE = ("rope_parameters", "rope_theta", "rope_scaling", "alibi")  # relative positions, without a table


class Room(NamedTuple):
    """How many tokens a prompt and its answer may have together."""

    tokens: int
    hard: bool  # the model has no more positions; otherwise it was just not trained on longer texts


class Needed(NamedTuple):
    """A prompt, and the number of tokens that its answer may take."""

    problem: Problem
    kind: PromptKind
    answer_tokens: int
    setting: str  # the setting that this number comes from


class Long(NamedTuple):
    """A prompt that is too long for a model."""

    needed: Needed
    prompt_tokens: int

    @property
    def tokens(self) -> int:
        """The length of the prompt and its answer."""
        return self.prompt_tokens + self.needed.answer_tokens


def room_of(config: PreTrainedConfig) -> Room | None:
    """Return the limit in a model's config, or None if there is none. A sliding window is not a limit."""
    text = config.get_text_config()
    limits = {name: getattr(text, name, None) for name in _LIMITS}
    name, limit = next(((n, value) for n, value in limits.items() if isinstance(value, int) and value > 0), ("", 0))
    if not limit:
        return None
    # BLOOM's seq_length is the length of its training texts; its positions are relative.
    relative = name == "seq_length" or any(getattr(text, name, None) for name in _RELATIVE)
    return Room(limit, not relative)


def too_long(asked: Iterable[Needed], prompts: Prompts, room: Room) -> list[Long]:
    """Return the prompts that do not fit together with their answers."""
    found, around = [], len(prompts.prompt_ids("x", where="a template"))
    for one in asked:
        text = prompts.problem_text(one.problem, one.kind)
        # A byte is at most one token, or a few if the tokenizer splits a character.
        if 4 * len(text.encode(errors="surrogatepass")) + around + one.answer_tokens <= room.tokens:
            continue
        long = Long(one, len(prompts.problem_ids(one.problem, one.kind)))
        if long.tokens > room.tokens:
            found.append(long)
    return found


def refuse(found: Sequence[Long], room: Room) -> None:
    """Refuse prompts that the model has no positions for.

    Raises:
        DataError: there is such a prompt.
    """
    if not found or not room.hard:
        return
    (problem, kind, answer, setting), n = max(found, key=lambda long: long.tokens)
    raise DataError(
        f"problem {problem.id}: its {kind} prompt has {n} tokens and its answer may have {answer} ({setting}), and the "
        f"student has positions for {room.tokens}; {len(found)} prompts do not fit. Leave out such problems, lower "
        "max_new_tokens, or use another student"
    )


def warning(found: Sequence[Long], room: Room) -> str:
    """Word a warning about prompts that are longer than the texts that the model was trained on."""
    longest = max(found, key=lambda long: long.tokens)
    return (
        f"the student was made for {room.tokens} tokens, and {len(found)} prompts with their answers may be longer "
        f"(problem {longest.needed.problem.id}: {longest.prompt_tokens} and {longest.needed.setting}, "
        f"{longest.needed.answer_tokens}): what it writes beyond that is unreliable"
    )
