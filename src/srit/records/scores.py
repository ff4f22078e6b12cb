"""The records of results.json: the outcome of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

from pydantic import Field

from srit.records import Domain, ModelName, PromptKind, ScoredBy


class Interval(NamedTuple):
    """Both ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Score:
    """One model's greedy answers under one prompt, to one task or to all tasks of a domain."""

    model: ModelName
    round: int  # of stage 2 that made the model; 0: none did
    prompt: PromptKind
    domain: Domain
    n: int
    correct: int
    accuracy: float  # 0 to 1
    ci95: Interval  # of the accuracy
    unread: int
    errors: int
    truncated: int
    mean_tokens: float
    task: Annotated[str | None, Field(exclude_if=lambda task: task is None)] = None  # None: all tasks of the domain


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the problems that both answered: a minus b."""

    a: ModelName
    b: ModelName
    task: str  # or "all in-domain", "all out-of-domain"
    domain: Domain
    prompt: PromptKind
    n: int
    delta: float  # of the accuracies, -1 to 1
    ci95: Interval  # paired bootstrap; exact if no verdict differs
    p: float  # McNemar, exact, two-sided
    only_a: int  # problems that only a has right
    only_b: int
    detectable: float | None  # the smallest difference that this many problems can show; None: none

    @property
    def changed(self) -> bool:
        """Whether any problem is right by one model alone."""
        return self.only_a + self.only_b > 0


@dataclass(frozen=True, slots=True)
class Overlap:
    """How two trainings changed the verdicts of the same model, and how far they agree.

    A problem is newly right if the model is right and instructed was not, and no longer right in the opposite case.
    """

    a: ModelName
    b: ModelName
    task: str  # or "all in-domain", "all out-of-domain"
    domain: Domain
    prompt: PromptKind
    n: int
    agree: int  # problems that both have right, or both wrong
    wrong_before: int  # problems that instructed has wrong
    newly_a: int
    newly_b: int
    newly_both: int
    lost_a: int
    lost_b: int
    lost_both: int


@dataclass(frozen=True, slots=True)
class PassAtK:
    """The chance that at least one of k samples is right, estimated from more samples."""

    model: ModelName
    task: str
    prompt: PromptKind
    k: int
    n: int  # problems
    samples: int  # per problem
    pass_at_k: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class OptionAccuracy:
    """How often a model's likeliest option is the right one; means over problems, in 0 to 1 unless noted.

    The fields that end in `_norm` take the option that is likeliest per character.
    """

    model: ModelName
    task: str
    prompt: PromptKind
    scored: ScoredBy
    n: int
    correct: int
    accuracy: float
    ci95: Interval
    correct_norm: int
    accuracy_norm: float
    ci95_norm: Interval
    probability: float  # of the right option, among the options
    confidence: float  # of the likeliest option, among the options
    margin: float  # nats: the right option minus the likeliest other


@dataclass(frozen=True, slots=True)
class Results:
    """results.json: the outcome of a run."""

    rows: tuple[Score, ...]  # by prompt, model and task
    pooled: tuple[Score, ...]  # by prompt, model and domain, each problem once
    comparisons: tuple[Comparison, ...]
    pass_at_k: tuple[PassAtK, ...]
    # (): there are no two trainings of instructed to compare.
    overlaps: Annotated[tuple[Overlap, ...], Field(exclude_if=lambda overlaps: not overlaps)] = ()
    # None: the recipe did not ask for them.
    options: Annotated[tuple[OptionAccuracy, ...] | None, Field(exclude_if=lambda options: options is None)] = None
    timings: dict[str, float] = field(default_factory=dict)  # seconds of each stage
    environment: dict[str, str] = field(default_factory=dict)
    finished: Annotated[str, Field(exclude_if=lambda finished: not finished)] = ""  # when, in UTC: "2026-03-01 12:30"
