"""The records that flow through a run; each is one line of a JSON Lines file.

Frozen, flat and without behavior: checked where a file is read (`run_directory.read_records`), trusted after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

PromptKind = Literal["direct", "cot"]
Split = Literal["train", "dev", "test"]

# "error" is the judge's own failure (a time limit, a crash). It is never counted as wrong in silence.
Verdict = Literal["right", "wrong", "unread", "error"]

ModelKind = Literal["base", "instructed", "instructed-again", "refined", "control", "teacher"]


@dataclass(frozen=True, slots=True)
class Model:
    """One of the models that a run compares."""

    kind: ModelKind
    round: int = 0  # of stage 2 that made it, from 1; 0: none did
    is_last: bool = True  # whether that round is the run's last one
    control: str = ""  # of kind "control": which one

    def __str__(self) -> str:
        """Return the name in files, results and tables: "instructed", "refined-1", "control-right"."""
        if self.kind == "control":
            return f"control-{self.control}"
        return self.kind if self.is_last else f"{self.kind}-{self.round}"

    @classmethod
    def named(cls, name: str, round: int = 0) -> Model:
        """Return the model that a file or a table names, the inverse of `str`.

        Args:
            round: as its results record it; a name has only that of an earlier round.

        Raises:
            ValueError: no run has such a model.
        """
        kind, _, detail = name.partition("-")
        if name in get_args(ModelKind) and name != "control":
            return cls(cast(ModelKind, name), round)
        if kind == "refined" and detail.isascii() and detail.isdigit():
            return cls("refined", int(detail), is_last=False)
        if kind == "control" and detail:
            return cls("control", control=detail)
        raise ValueError(f"{name!r} is not a model of a run")


@dataclass(frozen=True, slots=True)
class Problem:
    """A question of a task and its gold answer."""

    id: str  # unique in its task; never used as a path
    task: str
    split: Split
    question: str
    answer: str  # a letter A… for choices, a number as text, else text or LaTeX
    choices: tuple[str, ...] | None = None
    rationale: str | None = None  # a worked solution, where the data has one


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A teacher's answer to one training problem, kept or refused."""

    problem_id: str
    task: str
    teacher: str
    text: str  # what is trained on: the teacher's own turn, without tokens that begin or end one; "" where it has none
    answer: str | None  # as the task read it
    verdict: Verdict
    kept: bool
    reason: str  # why it was kept or refused


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer that the student wrote to one prompt."""

    problem_id: str
    task: str
    prompt: PromptKind
    index: int  # 0 … n-1 among the answers to this prompt
    text: str
    token_ids: tuple[int, ...]  # as sampled; the end-of-turn token is the last unless truncated
    logp: float  # nats, summed over token_ids, under the sampling model at temperature 1
    truncated: bool  # stopped by max_new_tokens, or went on with another turn: never part of a pair
    answer: str | None
    verdict: Verdict
    reward: float  # 1.0 where the verdict is right, else 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference: for this problem's prompt, `chosen` over `rejected`."""

    problem_id: str
    task: str
    prompt: PromptKind  # the prompt both are conditioned on
    chosen: str
    rejected: str
    chosen_ids: tuple[int, ...]  # end-of-turn included
    rejected_ids: tuple[int, ...]
    chosen_from: str  # "cot 2", "direct 0" or "demonstration"
    rejected_from: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer to one problem in an evaluation."""

    problem_id: str
    task: str
    prompt: PromptKind
    index: int  # 0 for the greedy answer; 0 … n-1 among sampled ones
    text: str
    n_tokens: int
    truncated: bool
    answer: str | None
    span: tuple[int, int] | None  # characters of `text` the answer was read from
    reason: str  # the rule that read it, or why nothing was read
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class OptionScores:
    """How likely a model finds each option of one problem behind a prompt."""

    problem_id: str
    task: str
    prompt: PromptKind
    scored: Literal["text", "letter"]  # what was taken for an option: its words, or "(A)"
    logps: tuple[float, ...]  # nats, summed over an option's tokens, end of turn left out; option A first
    choice: str  # the letter of the likeliest
    choice_norm: str  # of the likeliest a character
    right: bool
    right_norm: bool
    probability: float  # of the right option, among the options
    confidence: float  # of the likeliest option, among the options
    margin: float  # nats: the right option before the likeliest other, negative behind it
