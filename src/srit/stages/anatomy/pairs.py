"""What a round's pairs have to teach."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from srit.records import Pair
from srit.records.anatomy import PROBABILITIES, PairCounts
from srit.stages.anatomy.differences import first_difference, n_alike, places, same_but_numbers, shared_tokens
from srit.stages.anatomy.samples import ByProblem, likeliest


class SidesLogps(NamedTuple):
    """How likely both sides of a pair are, each after the prompt that it was sampled after, in nats."""

    chosen: float
    rejected: float


def count_pairs(pairs: Sequence[Pair], samples: ByProblem) -> tuple[PairCounts, ...]:
    """Count by task, and then over all tasks; nothing where there are no pairs."""
    tasks = dict.fromkeys(pair.task for pair in pairs)
    counted = [_counts(task, [pair for pair in pairs if pair.task == task], samples) for task in tasks]
    return (*counted, _counts(None, pairs, samples)) if counted else ()


def pooled(counts: Sequence[PairCounts]) -> PairCounts | None:
    """Add up counts of several rounds or runs, as of all tasks; None of nothing.

    A mean counts each pair alike, or each pair that is scored.
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
    found = samples.get((pair.task, pair.problem_id))  # a file's pairs have none
    return bool(found) and pair.rejected == likeliest(found or ()).text


def _counts(task: str | None, pairs: Sequence[Pair], samples: ByProblem) -> PairCounts:
    scored = [logps for pair in pairs if (logps := _logps(pair, samples)) is not None]
    differences = Counter(first_difference(pair.chosen, pair.rejected) for pair in pairs)
    return PairCounts(
        task=task,
        pairs=len(pairs),
        scored=len(scored),
        chosen_likelier=sum(logps.chosen > logps.rejected for logps in scored),
        chosen_logp=_mean([logps.chosen for logps in scored]),
        rejected_logp=_mean([logps.rejected for logps in scored]),
        rejected_above=tuple(sum(logps.rejected > math.log(p) for logps in scored) for p in PROBABILITIES),
        rejected_likeliest=sum(rejects_likeliest(pair, samples) for pair in pairs),
        rejected_direct=sum(pair.rejected_from.startswith("direct") for pair in pairs),
        demonstrated=sum(pair.chosen_from == "demonstration" for pair in pairs),
        chosen_tokens=sum(len(pair.chosen_ids) for pair in pairs) / len(pairs),
        rejected_tokens=sum(len(pair.rejected_ids) for pair in pairs) / len(pairs),
        shared=_mean([_shared(pair) for pair in pairs]) or 0.0,
        shared_after=_mean([_shared_after(pair) for pair in pairs]) or 0.0,
        first_difference=sum(n_alike(pair.chosen_ids, pair.rejected_ids) for pair in pairs) / len(pairs),
        same_but_numbers=sum(same_but_numbers(pair.chosen, pair.rejected) for pair in pairs),
        differences=dict(differences.most_common()),
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
    """Return the share of rejected's tokens after the first different one that chosen has too."""
    found = Counter(places(pair.rejected_ids, pair.chosen_ids))
    after = found["shared"] + found["own"]
    return found["shared"] / after if after else 0.0


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
