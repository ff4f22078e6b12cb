"""Means over seeds and problems, with intervals; paired tests over seeds; a family of comparisons."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srit.intervals import interval_of_equals
from srit.records.scores import Interval

DIGITS = 9  # of an interval's ends: more are noise of float32, and would make a 0 differ from 0
RESAMPLES = 4000  # the ends of a 95 % interval then vary by about 2 % of its width


class Observations(NamedTuple):
    """One model's results on one task with several seeds: right or wrong, or the difference from another model."""

    seeds: tuple[int, ...]
    problems: tuple[str, ...]  # by seed: a name of the set of problems
    rows: Sequence[Sequence[float]]  # by seed, by problem: 1 and 0, the difference of two such, or a chance

    @property
    def crossed(self) -> bool:
        """Whether every seed has the same problems."""
        return len(set(self.problems)) == 1


def minus(a: Observations, b: Observations) -> Observations:
    """Subtract problem by problem; both have the same seeds and problems."""
    both = zip(a.rows, b.rows, strict=True)
    return a._replace(rows=[[x - y for x, y in zip(*rows, strict=True)] for rows in both])


def mean_of(observed: Sequence[Observations]) -> float:
    """Return the mean of the means over seeds and problems, each task counting equally."""
    return float(np.mean([np.mean([np.mean(row) for row in one.rows]) for one in observed]))


def hierarchical_interval(observed: Sequence[Observations]) -> Interval:
    """Return the 95 % percentile interval of `mean_of`: seeds are drawn with replacement, then problems within them.

    For observations with the same seeds, the same seeds are drawn, and for those on the same problems, the same
    problems: a model that two cells share, or a problem that is hard for all of them, is drawn once and counts once. If
    all seeds have the same problems, these are drawn once for all seeds; otherwise a seed that is drawn twice has its
    problems drawn twice. Differences are between two models on the same problem, so the bootstrap is paired. With few
    seeds the interval is too narrow, and with one it knows nothing about seeds: if these differ by more than problems
    do, the interval of three seeds runs from the lowest to the highest and contains the mean 3 times in 4. This is why
    a claim also needs `t_test`.

    Source: Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8.
    """
    low, high = np.quantile(np.mean([_resampled(one) for one in observed], axis=0), [0.025, 0.975])
    return Interval(round(float(low), DIGITS), round(float(high), DIGITS))


def difference_interval(observed: Sequence[Observations]) -> Interval:
    """Return the `hierarchical_interval` of differences; if all are equal, that of as many problems that are equal."""
    values = {value for one in observed for row in one.rows for value in row}
    if len(values) > 1:
        return hierarchical_interval(observed)
    return interval_of_equals(values.pop(), n_problems(observed))


def n_problems(observed: Sequence[Observations]) -> int:
    """Return how many problems were observed; one that recurs with every seed counts once."""
    return sum({one.problems[0]: len(one.rows[0]) for one in observed}.values())


def _resampled(observed: Observations) -> npt.NDArray[np.float64]:
    """[resamples] means."""
    total = np.zeros(RESAMPLES)
    for slot, drawn in enumerate(_seeds(observed.seeds).T):
        draw = 0 if observed.crossed else slot
        means = [
            _problems(problems, len(row), draw).astype(np.float32) @ np.asarray(row, dtype=np.float32) / len(row)
            for problems, row in zip(observed.problems, observed.rows, strict=True)
        ]
        total += np.stack(means)[drawn, np.arange(RESAMPLES)]
    return total / len(observed.seeds)


# The draws depend only on what is drawn, so equal things are drawn equally in all figures of a study.
@lru_cache(maxsize=64)
def _seeds(seeds: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """[resamples, seeds] indices of seeds."""
    return _generator(f"seeds {seeds}").integers(0, len(seeds), (RESAMPLES, len(seeds)))


@lru_cache(maxsize=32)
def _problems(problems: str, n: int, draw: int) -> npt.NDArray[np.uint8]:
    """[resamples, n] how often each problem is drawn."""
    counts = _generator(f"problems {problems} {draw}").multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return counts.astype(np.uint8)  # in 4000 draws of many problems none is drawn 256 times


def _generator(of_what: str) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(of_what.encode()).digest()))


class Paired(NamedTuple):
    """Two models on the same problems, over seeds: a minus b."""

    delta: float
    ci95: Interval
    p: float  # of `sign_flip_test`
    only_a: int
    only_b: int
    odds_ratio: float  # of the problems that only one model has right
    cohen_h: float
    n: int  # problems, over seeds


def paired(a: Observations, b: Observations) -> Paired:
    """Compare model a with model b, on the same problems with the same seeds."""
    change = minus(a, b)
    flat = [round(d) for row in change.rows for d in row]
    only_a, only_b = flat.count(1), flat.count(-1)
    return Paired(
        delta=mean_of([change]),
        ci95=difference_interval([change]),
        # A problem that recurs with every seed is one problem, whatever its result with each seed.
        p=sign_flip_test([round(sum(column)) for column in zip(*change.rows, strict=True)] if change.crossed else flat),
        only_a=only_a,
        only_b=only_b,
        odds_ratio=discordant_odds(only_a, only_b),
        cohen_h=cohen_h(mean_of([a]), mean_of([b])),
        n=len(flat),
    )


def sign_flip_test(differences: Sequence[int]) -> float:
    """Return the exact two-sided p value for each problem's difference being equally likely to have either sign.

    For differences of 1, 0 and -1 this is McNemar's exact test. It takes the trained models as given: the effect of
    another seed on all problems at once is in the interval, not in p.

    Source: Fisher 1935, The Design of Experiments, section 21 (randomization of a paired experiment).
    """
    sizes = [abs(d) for d in differences if d]
    chance = np.ones(1)  # of each sum, from -sum(sizes) on
    for size in sizes:
        flipped = np.zeros(len(chance) + 2 * size)
        flipped[: len(chance)] += chance / 2
        flipped[2 * size :] += chance / 2
        chance = flipped
    sums = np.abs(np.arange(len(chance)) - sum(sizes))
    return float(min(1.0, chance[sums >= abs(sum(differences))].sum()))


def t_test(values: Sequence[float]) -> float:
    """Return the two-sided p value of Student's t test for two or more values, such as seeds' differences, averaging 0.

    Source: Student 1908.
    """
    from scipy.stats import ttest_1samp  # here, because its import takes a second

    if np.std(values, ddof=1) / math.sqrt(len(values)) < 10**-DIGITS:  # all alike
        return float(abs(np.mean(values)) < 10**-DIGITS)
    return float(ttest_1samp(values, 0).pvalue)


def discordant_odds(only_a: int, only_b: int) -> float:
    """Return the effect size of a paired comparison: how often only a is right for each time that only b is.

    Half a problem is added to both, to avoid a division by 0.

    Source: the matched odds ratio of McNemar 1947, with the correction of Haldane 1956.
    """
    return (only_a + 0.5) / (only_b + 0.5)


def cohen_h(a: float, b: float) -> float:
    """Return the effect size of two shares, comparable along the whole scale: 0.2 is small, 0.5 medium, 0.8 large.

    Source: Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, section 6.2.
    """
    return 2 * math.asin(math.sqrt(a)) - 2 * math.asin(math.sqrt(b))


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p values for their number: at 5 %, the chance of rejecting any true null hypothesis is at most 5 %.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6.
    """
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted
