"""What a round's pairs can teach."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from srit.records import Pair
from srit.records.anatomy import PROBABILITIES, PairCounts
from srit.stages.anatomy.differences import first_difference, n_alike, places, same_but_numbers, shared_tokens
from srit.stages.anatomy.samples import ByProblem, likeliest


class SidesLogps(NamedTuple):
    """How likely both sides of a pair are, each after the prompt that it was sampled after, in nats."""

    chosen: float
    rejected: float


def count_pairs(pairs: Iterable[Pair], samples: ByProblem) -> tuple[PairCounts, ...]:
    """Count by task, and then over all tasks; nothing if there are no pairs."""
    found: dict[str, _Tally] = {}
    together = _Tally()
    for pair in pairs:
        looked = _look(pair, samples)
        for tally in (found.setdefault(pair.task, _Tally()), together):
            tally.add(looked)
    return (*(tally.counts(task) for task, tally in found.items()), together.counts(None)) if found else ()


def pooled(counts: Sequence[PairCounts]) -> PairCounts | None:
    """Add up counts of several rounds or runs, as counts of all tasks; None if there are none.

    In a mean, each pair counts equally, or each pair that is scored.
    """
    if not counts:
        return None
    n, scored = sum(one.pairs for one in counts), sum(one.scored for one in counts)

    def added(field: str) -> int:
        return sum(getattr(one, field) for one in counts)

    def averaged(field: str) -> float:
        return float(sum(getattr(one, field) * one.pairs for one in counts) / n)

    def of_scored(field: str) -> float | None:
        return sum((getattr(one, field) or 0.0) * one.scored for one in counts) / scored if scored else None

    differences: Counter[str] = Counter()
    for one in counts:
        differences.update(one.differences)
    return PairCounts(
        task=None,
        pairs=n,
        scored=scored,
        chosen_likelier=added("chosen_likelier"),
        chosen_logp=of_scored("chosen_logp"),
        rejected_logp=of_scored("rejected_logp"),
        rejected_above=tuple(map(sum, zip(*(one.rejected_above for one in counts), strict=True))),
        rejected_likeliest=added("rejected_likeliest"),
        rejected_direct=added("rejected_direct"),
        demonstrated=added("demonstrated"),
        chosen_tokens=averaged("chosen_tokens"),
        rejected_tokens=averaged("rejected_tokens"),
        shared=averaged("shared"),
        shared_after=averaged("shared_after"),
        first_difference=averaged("first_difference"),
        same_but_numbers=added("same_but_numbers"),
        differences=dict(differences.most_common()),
    )


def rejects_likeliest(pair: Pair, samples: ByProblem) -> bool:
    """Return whether a pair rejects the likeliest sample of its problem."""
    found = samples.get((pair.task, pair.problem_id))  # pairs from a file have none
    return bool(found) and pair.rejected == likeliest(found or ()).text


class _Looked(NamedTuple):
    """What is counted of a pair."""

    counts: dict[str, int]
    logps: SidesLogps | None
    shared: float
    shared_after: float
    difference: str


def _look(pair: Pair, samples: ByProblem) -> _Looked:
    counts = {
        "pairs": 1,
        "rejected_likeliest": int(rejects_likeliest(pair, samples)),
        "rejected_direct": int(pair.rejected_from.startswith("direct")),
        "demonstrated": int(pair.chosen_from == "demonstration"),
        "chosen_tokens": len(pair.chosen_ids),
        "rejected_tokens": len(pair.rejected_ids),
        "first_difference": n_alike(pair.chosen_ids, pair.rejected_ids),
        "same_but_numbers": int(same_but_numbers(pair.chosen, pair.rejected)),
    }
    difference = first_difference(pair.chosen, pair.rejected)
    return _Looked(counts, _logps(pair, samples), _shared(pair), _shared_after(pair), difference)


class _Tally:
    """Counts pairs one by one; values that are not whole numbers are kept, for an exact sum."""

    def __init__(self) -> None:
        self._n: Counter[str] = Counter()
        self._above = [0] * len(PROBABILITIES)
        self._differences: Counter[str] = Counter()
        self._figures = {name: array("d") for name in ("chosen", "rejected", "shared", "shared_after")}

    def add(self, looked: _Looked) -> None:
        """Count a pair."""
        if (logps := looked.logps) is not None:
            self._n.update({"scored": 1, "chosen_likelier": int(logps.chosen > logps.rejected)})
            self._figures["chosen"].append(logps.chosen)
            self._figures["rejected"].append(logps.rejected)
            self._above = [n + (logps.rejected > math.log(p)) for n, p in zip(self._above, PROBABILITIES, strict=True)]
        self._n.update(looked.counts)
        self._figures["shared"].append(looked.shared)
        self._figures["shared_after"].append(looked.shared_after)
        self._differences[looked.difference] += 1

    def counts(self, task: str | None) -> PairCounts:
        """Return the counts of all pairs that were added."""
        n, pairs = self._n, self._n["pairs"]
        return PairCounts(
            task=task,
            pairs=pairs,
            scored=n["scored"],
            chosen_likelier=n["chosen_likelier"],
            chosen_logp=_mean(self._figures["chosen"]),
            rejected_logp=_mean(self._figures["rejected"]),
            rejected_above=tuple(self._above),
            rejected_likeliest=n["rejected_likeliest"],
            rejected_direct=n["rejected_direct"],
            demonstrated=n["demonstrated"],
            chosen_tokens=n["chosen_tokens"] / pairs,
            rejected_tokens=n["rejected_tokens"] / pairs,
            shared=_mean(self._figures["shared"]) or 0.0,
            shared_after=_mean(self._figures["shared_after"]) or 0.0,
            first_difference=n["first_difference"] / pairs,
            same_but_numbers=n["same_but_numbers"],
            differences=dict(self._differences.most_common()),
        )


def _logps(pair: Pair, samples: ByProblem) -> SidesLogps | None:
    """Return the log-probabilities of a pair of two samples; None if one side is the teacher's."""
    found: Mapping[str, float] = {
        f"{c.prompt} {c.index}": c.logp for c in samples.get((pair.task, pair.problem_id), ())
    }
    if pair.chosen_from not in found or pair.rejected_from not in found:
        return None
    return SidesLogps(found[pair.chosen_from], found[pair.rejected_from])


def _shared(pair: Pair) -> float:
    return len(shared_tokens(pair.chosen_ids, pair.rejected_ids)) / len(pair.chosen_ids)


def _shared_after(pair: Pair) -> float:
    """Return the share of rejected's tokens after the first difference that chosen has too."""
    found = Counter(places(pair.rejected_ids, pair.chosen_ids))
    after = found["shared"] + found["own"]
    return found["shared"] / after if after else 0.0


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
