"""How long texts may be for a model, and which prompts of a run are longer, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from srit.errors import DataError
from srit.records import Problem, PromptKind
from srit.students.prompts import Prompts, prompt_text
from srit.tasks import find_task

_LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "n_ctx", "seq_length")
_RELATIVE = ("rope_parameters", "rope_theta", "rope_scaling", "alibi")  # positions without a table of them


class Room(NamedTuple):
    """How many tokens a text of a model may have, its prompt and its answer together."""

    tokens: int
    hard: bool  # the model has no more positions; else it was only never trained beyond


class Asked(NamedTuple):
    """A prompt, and the room that its answer may take."""

    problem: Problem
    kind: PromptKind
    answer_tokens: int
    setting: str  # what says so


class Long(NamedTuple):
    """A prompt for which a model has too little room."""

    asked: Asked
    prompt_tokens: int

    @property
    def tokens(self) -> int:
        """Of the prompt and its answer."""
        return self.prompt_tokens + self.asked.answer_tokens


def room_of(config: Any) -> Room | None:
    """What a model's config says of it; None where it sets no limit. A sliding window is none."""
    text = config.get_text_config()
    limits = {name: getattr(text, name, None) for name in _LIMITS}
    name, limit = next(((n, value) for n, value in limits.items() if isinstance(value, int) and value > 0), ("", 0))
    if not limit:
        return None
    # BLOOM's seq_length is how long the texts were that it was trained on; its positions are relative.
    relative = name == "seq_length" or any(getattr(text, name, None) for name in _RELATIVE)
    return Room(limit, not relative)


def too_long(asked: Iterable[Asked], prompts: Prompts, room: Room) -> list[Long]:
    """The prompts that do not fit, their answers included."""
    found, around = [], len(prompts.prompt_ids("x", where="a template"))
    for one in asked:
        text = prompt_text(find_task(one.problem.task), one.problem, one.kind)
        # A byte makes a token at most, or a few where the tokenizer writes a character out as several.
        if 4 * len(text.encode(errors="surrogatepass")) + around + one.answer_tokens <= room.tokens:
            continue
        long = Long(one, len(prompts.prompt_ids(text, where=one.problem.id)))
        if long.tokens > room.tokens:
            found.append(long)
    return found


def refuse(found: Sequence[Long], room: Room) -> None:
    """
    Raises:
        DataError: there is one for which the model has no positions.
    """
    if not found or not room.hard:
        return
    (problem, kind, answer, setting), n = max(found, key=lambda long: long.tokens)
    raise DataError(
        f"problem {problem.id}: its {kind} prompt has {n} tokens and its answer may have {answer} ({setting}), and the "
        f"student has positions for {room.tokens}; {len(found)} prompts do not fit. Leave such problems out, lower "
        "max_new_tokens, or take another student"
    )


def warning(found: Sequence[Long], room: Room) -> str:
    """A line on prompts that are longer than what the model was trained on."""
    longest = max(found, key=lambda long: long.tokens)
    return (
        f"the student was made for {room.tokens} tokens, and {len(found)} prompts with their answers may be longer "
        f"(problem {longest.asked.problem.id}: {longest.prompt_tokens} and {longest.asked.setting}, "
        f"{longest.asked.answer_tokens}): what it writes beyond means little"
    )
