"""Means over seeds and problems, with intervals; paired tests over seeds; a family of comparisons.

All take one row of numbers a seed, in problem order: 1 and 0 for right and wrong, or the difference of two models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from srit.intervals import Interval, mcnemar_exact

RESAMPLES = 4000  # the ends of a 95 % interval then vary by about 2 % of its width

Rows = Sequence[Sequence[int]]  # by seed; each by problem


class Unit(NamedTuple):
    """What one trained model, with several seeds, did on several tasks: seeds are drawn once for all of them."""

    tasks: Sequence[Rows]
    crossed: bool  # every seed has the same problems


def mean_of(units: Sequence[Unit]) -> float:
    """Of the tasks' means over seeds and problems, each task counting alike."""
    return float(np.mean([np.mean([np.mean(row) for row in rows]) for unit in units for rows in unit.tasks]))


def hierarchical_interval(units: Sequence[Unit], *, seed: int = 0) -> Interval:
    """95 % percentile interval of `mean_of`: seeds are drawn with replacement, then problems within them.

    Where all seeds have the same problems, these are drawn once for all seeds: a problem that is hard for one seed
    is hard for the others, and drawing it anew for each would count it several times. Differences are those of two
    models on the same problem, so the bootstrap is paired. With few seeds the interval is too narrow: by a factor
    sqrt((s - 1) / s) in the part that comes from s seeds, and with one seed it knows nothing of them.

    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8.
    """
    draw = np.random.default_rng(seed)
    means = [mean for unit in units for mean in _resampled(unit, draw)]
    low, high = np.quantile(np.mean(means, axis=0), [0.025, 0.975])
    return Interval(float(low), float(high))


def _resampled(unit: Unit, draw: np.random.Generator) -> list[Any]:
    """[resamples] means for each task."""
    n_seeds = len(unit.tasks[0])
    seeds = draw.integers(0, n_seeds, (RESAMPLES, n_seeds))
    return [_crossed(rows, seeds, draw) if unit.crossed else _nested(rows, seeds, draw) for rows in unit.tasks]


def _crossed(rows: Rows, seeds: Any, draw: np.random.Generator) -> Any:
    # Drawing problems is drawing how many have each pattern over the seeds: few numbers, whatever n is.
    patterns, counts = np.unique(np.asarray(rows).T, axis=0, return_counts=True)
    n = counts.sum()
    by_seed = draw.multinomial(n, counts / n, size=RESAMPLES) @ patterns / n
    return np.take_along_axis(by_seed, seeds, axis=1).mean(axis=1)


def _nested(rows: Rows, seeds: Any, draw: np.random.Generator) -> Any:
    total = np.zeros(RESAMPLES)
    for column in seeds.T:  # a seed that is drawn twice has its problems drawn twice
        means = [_crossed([row], np.zeros((RESAMPLES, 1), dtype=int), draw) for row in rows]
        total += np.take_along_axis(np.stack(means, axis=1), column[:, None], axis=1)[:, 0]
    return total / seeds.shape[1]


class Paired(NamedTuple):
    """Two models on the same problems, over seeds: a minus b."""

    delta: float
    ci95: Interval
    p: float  # McNemar, exact, two-sided, all seeds' problems together
    only_a: int
    only_b: int
    odds_ratio: float  # of the problems that just one model has right
    cohen_h: float
    n: int  # problems, over seeds


def paired(a: Rows, b: Rows, *, crossed: bool) -> Paired:
    """Model a against model b, seed by seed and problem by problem.

    The test pools the seeds: it takes a problem that comes again with another seed for another problem. Where seeds
    share their problems p is therefore somewhat too small; the interval is not.
    """
    differences = [[x - y for x, y in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]
    flat = [d for row in differences for d in row]
    only_a, only_b = flat.count(1), flat.count(-1)
    unit = [Unit([differences], crossed)]
    shares = [mean_of([Unit([rows], crossed)]) for rows in (a, b)]
    return Paired(
        delta=mean_of(unit),
        ci95=hierarchical_interval(unit),
        p=mcnemar_exact(only_a, only_b),
        only_a=only_a,
        only_b=only_b,
        odds_ratio=discordant_odds(only_a, only_b),
        cohen_h=cohen_h(*shares),
        n=len(flat),
    )


def discordant_odds(only_a: int, only_b: int) -> float:
    """Effect size of a paired comparison: how often a alone is right for each time that b alone is.

    Half a problem is added to both, so that none is divided by 0.

    Source: the matched odds ratio of McNemar 1947, with the correction of Haldane 1956.
    """
    return (only_a + 0.5) / (only_b + 0.5)


def cohen_h(a: float, b: float) -> float:
    """Effect size of two shares, alike along the whole scale: 0.2 is called small, 0.5 medium, 0.8 large.

    Source: Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, section 6.2.
    """
    return 2 * math.asin(math.sqrt(a)) - 2 * math.asin(math.sqrt(b))


def holm(ps: Sequence[float]) -> list[float]:
    """p values adjusted for being several: the chance that any true null hypothesis falls is held at 5 %.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6.
    """
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted
