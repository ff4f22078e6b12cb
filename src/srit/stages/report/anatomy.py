"""anatomy.json and effect.json → what the page shows about each round's pairs."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from srit.records.anatomy import PROBABILITIES, Anatomy, Effect, PairCounts, SampleCounts
from srit.stages.anatomy.effect import read_effects
from srit.stages.anatomy.stage import read_anatomy


class Round(NamedTuple):
    """A round's samples and pairs by task, with those of all tasks last, and what training did to the pairs."""

    title: str
    samples: tuple[SampleCounts, ...]
    pairs: tuple[PairCounts, ...]
    effects: tuple[Effect, ...]


class Share(NamedTuple):
    """A figure of a round's pairs."""

    label: str
    values: list[str]  # by task


def rounds(folder: Path) -> list[Round]:
    """Read the anatomy of every round that has one.

    Raises:
        DataError: a file of the run is damaged.
    """
    paths = sorted(folder.glob("round-*/anatomy.json"), key=lambda path: int(path.parent.name.removeprefix("round-")))
    return [_round(path, read_anatomy(path)) for path in paths]


def of_first_round(folder: Path) -> Anatomy | None:
    """Read the anatomy of the first round; None if there is none. Errors as in `rounds`."""
    path = folder / "round-1/anatomy.json"
    return read_anatomy(path) if path.exists() else None


def _round(path: Path, anatomy: Anatomy) -> Round:
    effects = path.with_name("effect.json")
    read = read_effects(effects).trainings if effects.exists() else ()
    return Round(path.parent.name.replace("-", " ").capitalize(), anatomy.samples, anatomy.pairs, read)


def differences(pairs: tuple[PairCounts, ...]) -> list[tuple[str, str]]:
    """Return the kinds of first differences over all pairs, the most frequent first, with their shares."""
    found = sorted(pairs[-1].differences.items(), key=lambda item: (-item[1], item[0]))
    return [(kinds or "blanks only", _of(n, pairs[-1].pairs)) for kinds, n in found]


def shares(pairs: tuple[PairCounts, ...]) -> list[Share]:
    """Return the figures of a round's pairs, each by task."""
    above = [
        Share(f"rejected likelier than {probability:g}", [_of(p.rejected_above[i], p.scored) for p in pairs])
        for i, probability in enumerate(PROBABILITIES)
    ]
    return [
        Share("pairs", [f"{p.pairs:,}" for p in pairs]),
        Share("chosen likelier already", [_of(p.chosen_likelier, p.scored) for p in pairs]),
        Share("log-probability of chosen, nats", [_nats(p.chosen_logp) for p in pairs]),
        Share("log-probability of rejected, nats", [_nats(p.rejected_logp) for p in pairs]),
        *above,
        Share("rejected is its problem's likeliest answer", [_of(p.rejected_likeliest, p.pairs) for p in pairs]),
        Share("rejected answers the direct prompt", [_of(p.rejected_direct, p.pairs) for p in pairs]),
        Share("chosen is the teacher's", [_of(p.demonstrated, p.pairs) for p in pairs]),
        Share("tokens of chosen, mean", [f"{p.chosen_tokens:.1f}" for p in pairs]),
        Share("tokens of rejected, mean", [f"{p.rejected_tokens:.1f}" for p in pairs]),
        Share("tokens of chosen that rejected shares", [f"{100 * p.shared:.0f} %" for p in pairs]),
        Share(
            "tokens of rejected after the first difference that chosen shares",
            [f"{100 * p.shared_after:.0f} %" for p in pairs],
        ),
        Share("tokens before the first difference, mean", [f"{p.first_difference:.1f}" for p in pairs]),
        Share("same text but for numbers", [_of(p.same_but_numbers, p.pairs) for p in pairs]),
    ]


def _of(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _nats(mean: float | None) -> str:
    return "–" if mean is None else f"{mean:.2f}".replace("-", "−")
