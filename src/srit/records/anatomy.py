"""The records of anatomy.json and effect.json: what a round's pairs leave to learn, and what training does to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from srit.records import ModelName

PROBABILITIES = (0.5, 0.2, 0.05, 0.01)  # that `PairCounts.rejected_above` counts by


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """The samples of one task's problems, or of all.

    The likeliest sample stands for the greedy answer. It is the likeliest answer to the CoT prompt, or to the direct
    one where none was given to the CoT prompt.
    """

    task: str | None  # None: all tasks
    problems: int
    samples: int
    right: int  # samples
    all_right: int  # problems
    all_wrong: int
    mixed: int
    distinct: float  # texts among a problem's samples, mean
    likeliest_right: int  # problems
    can_flip: int  # problems whose likeliest sample is wrong while another one is right


@dataclass(frozen=True, slots=True)
class PairCounts:
    """The pairs of one task, or of all.

    Log-probabilities are those of the samples, each after the prompt that it was given to; a demonstration has none.
    Tokens are shared where both sides have them in the same order (a longest common subsequence).
    """

    task: str | None  # None: all tasks
    pairs: int
    scored: int  # pairs of two samples
    chosen_likelier: int  # of those scored, before training
    chosen_logp: float | None  # mean of those scored, nats; None: there are none
    rejected_logp: float | None
    rejected_above: tuple[int, ...]  # of those scored: likelier than each of `PROBABILITIES`
    rejected_likeliest: int  # that reject their problem's likeliest sample
    rejected_direct: int  # that reject an answer to the direct prompt
    demonstrated: int  # whose chosen answer is the teacher's
    chosen_tokens: float  # means per pair
    rejected_tokens: float
    shared: float  # of chosen's tokens, the share that rejected has too
    shared_after: float  # of rejected's tokens after the first different one, the share that chosen has too
    first_difference: float  # tokens before the first different one
    same_but_numbers: int  # whose texts differ in numbers alone
    differences: dict[str, int]  # what the first difference is between, such as "number, number"


Learned = Literal["pairs", "samples", "right answers"]  # what a loss is of


@dataclass(frozen=True, slots=True)
class Anatomy:
    """round-N/anatomy.json: counts by task, and then of all tasks together.

    In a round that is made in parts, each sample has the log-probability that the model of its own part gave it.
    """

    samples: tuple[SampleCounts, ...]
    pairs: tuple[PairCounts, ...]  # (): there are no pairs
    learned: Learned = "pairs"


Side = Literal["chosen", "rejected"]
# Before the first token that differs; that token; the tokens after it that both sides have; those that only one has.
Place = Literal["beginning", "first difference", "shared", "own"]
PairsOf = Literal["likeliest rejected", "others rejected", "no pairs"]  # what the pairs of a problem reject


@dataclass(frozen=True, slots=True)
class PlaceLogps:
    """The tokens at one place of one side of all pairs."""

    side: Side
    place: Place
    tokens: int
    before: float  # mean log-probability of a token under the model that was sampled from, nats
    after: float  # under the trained model


@dataclass(frozen=True, slots=True)
class Flips:
    """How the verdicts of greedy answers to some training problems changed."""

    pairs: PairsOf
    problems: int
    wrong_before: int
    fixed: int  # of those wrong before
    broken: int  # of those right before
    # The chance that the margin of a problem that was fixed grew by more than that of one that stayed wrong: 0.5 where
    # margins say nothing about answers. None: there are no two such problems.
    auc: float | None


@dataclass(frozen=True, slots=True)
class Effect:
    """What one training did to a round's pairs, and to greedy answers to its problems under the CoT prompt."""

    model: ModelName
    pairs: int
    margins_grew: int  # pairs
    places: tuple[PlaceLogps, ...]
    flips: tuple[Flips, ...]


@dataclass(frozen=True, slots=True)
class Effects:
    """round-N/effect.json."""

    trainings: tuple[Effect, ...]  # of the round, and of the controls in the first
