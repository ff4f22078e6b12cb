"""Finds texts that are too long for the model: prompts before anything is spent, answers before they are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from srit.errors import DataError
from srit.records import Problem, PromptKind
from srit.students.prompts import Prompts

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "n_ctx", "seq_length")
_RELATIVE = ("rope_parameters", "rope_theta", "rope_scaling", "alibi")  # relative positions, without a table
_STRETCHED = ("linear", "dynamic", "yarn")  # kinds of RoPE whose factor multiplies the positions

MOST_LONG = 0.2  # of the texts to train on may be left out as too long


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
    return Room(max(limit, _stretched(text, limit)), not relative)


def _stretched(text: PreTrainedConfig, limit: int) -> int:
    """Return the positions that a scaled RoPE has, which configs state in `max_position_embeddings` or leave out.

    Models with several kinds of layers have parameters for each, and state the whole length.
    """
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") not in _STRETCHED or not rope.get("factor"):
        return limit
    return int(rope["factor"] * (rope.get("original_max_position_embeddings") or limit))


class Bound(NamedTuple):
    """The longest text to train on, its prompt included."""

    tokens: int
    what: str  # names it: "the student's 8192 positions"
    remedy: str  # how longer texts could be trained on


def bound_of(room: Room | None, max_length: int | None, part: str) -> Bound | None:
    """Return the longest text to train on, or None if there is no limit.

    Args:
        room: the student's. Relative positions go beyond it, which `max_length` can ask for.
        max_length: the recipe's.
        part: that of the recipe which sets `max_length`.
    """
    field = f"{part}.max_length"
    if max_length is not None and (room is None or not room.hard or max_length <= room.tokens):
        return Bound(max_length, f"{field} ({max_length} tokens)", f"raise {field}")
    if room is None:
        return None
    remedy = "use another student" if room.hard else f"set {field} to train the student beyond them"
    return Bound(room.tokens, f"the student's {room.tokens} positions", remedy)


@dataclass(slots=True)
class Fitting:
    """Tells which texts can be trained on, and counts them."""

    bound: Bound | None
    n: int = 0
    n_long: int = 0
    most: int = 0  # tokens of the longest text
    longest: str = ""  # the problem that it belongs to

    def fits(self, tokens: int, problem_id: str) -> bool:
        """Return whether a text of so many tokens, with its prompt, can be trained on."""
        self.n += 1
        if tokens > self.most:
            self.most, self.longest = tokens, problem_id
        fits = self.bound is None or tokens <= self.bound.tokens
        self.n_long += not fits
        return fits

    def told(self, what: str) -> str:
        """Say how many texts are left out, and name the longest; "" if all fit.

        Args:
            what: the texts, in the plural.

        Raises:
            DataError: they are more than a fifth.
        """
        if self.bound is None or not self.n_long:
            return ""
        line = (
            f"{self.n_long} of {self.n} {what} with their prompts are longer than {self.bound.what} "
            f"(problem {self.longest}: {self.most} tokens)"
        )
        if self.n_long > MOST_LONG * self.n:
            raise DataError(
                f"{line}, which is more than {MOST_LONG:.0%}: the rest would teach only short answers. Use shorter "
                f"ones, or {self.bound.remedy}"
            )
        return f"{line}: they are left out. To train on them, {self.bound.remedy}"


def too_long(asked: Iterable[Needed], prompts: Prompts, limit: int) -> list[Long]:
    """Return the prompts that have more tokens together with their answers than the limit."""
    found, around = [], len(prompts.prompt_ids("x", where="a template"))
    for one in asked:
        text = prompts.problem_text(one.problem, one.kind)
        if most_tokens(text) + around + one.answer_tokens <= limit:
            continue
        long = Long(one, len(prompts.problem_ids(one.problem, one.kind)))
        if long.tokens > limit:
            found.append(long)
    return found


def most_tokens(text: str) -> int:
    """Return an upper bound: a byte is at most one token, or a few if the tokenizer splits a character."""
    return 4 * len(text.encode(errors="surrogatepass"))


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
