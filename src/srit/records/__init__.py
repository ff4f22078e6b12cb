"""The records that flow through a run, from a problem to a prediction; `srit.records.scores` has those of its results.

They are frozen and flat. Their types are checked where a file is read, and trusted after that.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Annotated, Literal, cast, get_args

from pydantic import PlainSerializer, PlainValidator
from pydantic_core import PydanticCustomError

PromptKind = Literal["direct", "cot"]
Split = Literal["train", "dev", "test"]

# "error" is the judge's own failure (a time limit, a crash). It is never silently counted as wrong.
Verdict = Literal["right", "wrong", "unread", "error"]

Domain = Literal["in", "out"]  # whether the student was trained on a task
ScoredBy = Literal["text", "letter"]  # what stands for an option: its words, or "(A)"

ModelKind = Literal["base", "instructed", "instructed-again", "refined", "control", "teacher"]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One of the models that a run compares.

    Two are equal when their names are: a name identifies a model within its run, and files do not always say which
    round made the last one.
    """

    kind: ModelKind
    round: int = 0  # of stage 2 that made it, from 1; 0: none did, or the file that names it does not say
    is_last: bool = True  # whether that round is the run's last one
    control: str = ""  # of kind "control": which one

    def __str__(self) -> str:
        """Return the name in files, results and tables: "instructed", "refined-1", "control-right"."""
        if self.kind == "control":
            return f"control-{self.control}"
        return self.kind if self.is_last else f"{self.kind}-{self.round}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def named(cls, name: str, round: int = 0) -> Model:
        """Return the model that a file or a table names, the inverse of `str`.

        Args:
            round: as its results record it; a name has only that of an earlier round.

        Raises:
            ValueError: no run has such a model; the message names the nearest one.
        """
        kind, _, detail = name.partition("-")
        if name in get_args(ModelKind) and name != "control":
            return cls(cast(ModelKind, name), round)
        if kind == "refined" and detail.isascii() and detail.isdigit():
            return cls("refined", int(detail), is_last=False)
        if kind == "control" and detail:
            return cls("control", control=detail)
        near = difflib.get_close_matches(name, get_args(ModelKind), n=1)
        raise ValueError(f"{name!r} is not a model of a run" + (f"; did you mean {near[0]}?" if near else ""))


def _model_named(name: object) -> Model:
    if isinstance(name, Model):
        return name
    try:
        return Model.named(str(name))
    except ValueError as error:
        raise PydanticCustomError("model_name", "{reason}", {"reason": str(error)}) from None


# A model that a file gives by its name.
ModelName = Annotated[Model, PlainValidator(_model_named), PlainSerializer(str, return_type=str)]


@dataclass(frozen=True, slots=True)
class Problem:
    """A question of a task and its gold answer."""

    id: str  # unique in its task; never used as a path
    task: str
    split: Split
    question: str
    answer: str  # a letter A… for choices, a number as text, else text or LaTeX
    choices: tuple[str, ...] | None = None
    rationale: str | None = None  # a worked solution, if the data has one


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A teacher's answer to one training problem, kept or refused."""

    problem_id: str
    task: str
    teacher: str
    text: (
        str  # what is trained on: the teacher's own turn, without the tokens that begin or end it; "" if there is none
    )
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
    reward: float  # 1.0 if the verdict is right, else 0.0


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
    """How likely a model finds each option of one problem after a prompt."""

    problem_id: str
    task: str
    prompt: PromptKind
    scored: ScoredBy
    logps: tuple[float, ...]  # nats, summed over an option's tokens without the end of turn; option A first
    choice: str  # the letter of the likeliest
    choice_norm: str  # of the one likeliest per character
    right: bool
    right_norm: bool
    probability: float  # of the right option, among the options
    confidence: float  # of the likeliest option, among the options
    margin: float  # nats: the right option before the likeliest other, negative if behind


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must be true of a run, and whether it was."""

    name: str
    ok: bool
    line: str  # for a reader


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """What a training kept next to its weights."""

    history: tuple[dict[str, float], ...] = ()  # by step: each figure by its name
    invariants: tuple[Check, ...] = ()
