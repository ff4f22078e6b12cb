"""The records that flow through a run; each is one line of a JSON Lines file.

Frozen, flat and without behavior: checked where a file is read (`run.read_records`), trusted after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PromptKind = Literal["direct", "cot"]
Split = Literal["train", "dev", "test"]

# "error" is the judge's own failure (a time limit, a crash). It is never counted as wrong in silence.
Verdict = Literal["right", "wrong", "unread", "error"]


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
