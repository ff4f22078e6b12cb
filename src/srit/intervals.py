"""Intervals for accuracies, and paired comparisons of two models on the same problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from srit.records.scores import Interval

# numpy and scipy are imported where they are used, so a run with nothing to compute ends sooner.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Verdicts: TypeAlias = "Sequence[bool] | NDArray[np.bool_]"  # whether each problem is answered right

SIGNIFICANT = 0.05
POWER = 0.8
DIFFERENCE_STEP = 1e-4


class PairedDifference(NamedTuple):
    """Two models on the same problems: a minus b."""

    delta: float
    ci95: Interval  # of `paired_bootstrap`
    p: float  # McNemar, exact, two-sided
    only_a: int  # problems that only a has right
    only_b: int
    detectable: float | None  # the smallest difference that this many problems can show; None: none


def wilson(correct: int, n: int) -> Interval:
    """Return the 95 % interval of a share.

    Source: Wilson 1927, doi 10.1080/01621459.1927.10502953.
    """
    from scipy.stats import binomtest

    low, high = binomtest(correct, n).proportion_ci(method="wilson")
    return Interval(float(low), float(high))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the two-sided p value for each model being the only right one equally often: a binomial test at 1/2.

    Source: McNemar 1947, doi 10.1007/BF02295996, with the exact distribution.
    """
    from scipy.stats import binomtest

    n = only_a + only_b
    return float(binomtest(only_a, n).pvalue) if n else 1.0  # scipy refuses n = 0


def paired_bootstrap(a: Verdicts, b: Verdicts, *, seed: int = 0, resamples: int = 10_000) -> Interval:
    """Return the 95 % percentile interval of mean(a) - mean(b), with problems drawn with replacement.

    If all problems have the same difference, every draw is alike, and `interval_of_equals` is returned instead.
    """
    import numpy as np

    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if difference.min() == difference.max():
        return interval_of_equals(float(difference[0]), len(difference))
    # Drawing problems amounts to drawing how many are +1, 0 and -1: three numbers per resample, whatever n is.
    shares = [np.mean(difference == value) for value in (1, 0, -1)]
    counts = np.random.default_rng(seed).multinomial(len(difference), shares, size=resamples)
    low, high = np.quantile((counts[:, 0] - counts[:, 2]) / len(difference), [0.025, 0.975])
    return Interval(float(low), float(high))


def interval_of_equals(difference: float, n: int) -> Interval:
    """Return a 95 % interval of the mean difference where n problems were observed and all have the same difference.

    At 95 % confidence, at most 1 - 0.05^(1/n) of all problems have another one: about 3 in n, the rule of three. Theirs
    may be anything from -1 to 1, so the interval is the widest that such a share allows.

    Source: Louis 1981, The American Statistician 35, 154.
    """
    alike = 0.05 ** (1 / n)
    return Interval(difference * alike - (1 - alike), difference * alike + (1 - alike))


def smallest_difference(n: int, discordant: float) -> float | None:
    """Return the smallest true difference that `mcnemar_exact` finds (p < 0.05) in 80 of 100 samples of n problems.

    Args:
        discordant: observed share of problems that only one of the models has right. A difference needs as
            many as itself, so a larger one is sought with as many.

    Returns:
        The difference, to a hundredth of a point; None if n problems can show none: fewer than six never do.

    Source: the exact power of the conditional test, as in Duffy 1984, Biometrics 40, 1005-1015.
    """
    if _power(n, 1.0, 1.0) < POWER:
        return None
    low, high = 0.0, 1.0
    while high - low > DIFFERENCE_STEP:
        middle = (low + high) / 2
        enough = _power(n, max(discordant, middle), middle) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def _power(n: int, discordant: float, difference: float) -> float:
    """Return the chance that McNemar's exact test finds a true difference."""
    import numpy as np
    from scipy.stats import binom

    low, high = binom.interval(1 - 1e-9, n, discordant)
    sizes = np.arange(low, high + 1)  # of the discordant problems, which alone decide
    most = binom.isf(SIGNIFICANT / 2, sizes, 0.5)  # that one model may have, with p at 0.05 or above
    found = binom.sf(most, sizes, (discordant + difference) / (2 * discordant))
    return float(np.sum(binom.pmf(sizes, n, discordant) * found))


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Estimate without bias the chance that one of k samples is right, from n samples of one problem.

    Source: Chen et al. 2021, arXiv 2107.03374, eq. 1.
    """
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def compare(a: Verdicts, b: Verdicts, *, seed: int = 0) -> PairedDifference:
    """Compare model a with model b, problem by problem.

    Raises:
        ValueError: the two did not answer the same number of problems.
    """
    import numpy as np

    if len(a) != len(b):
        raise ValueError(f"{len(a)} answers cannot be paired with {len(b)}")
    right_a, right_b = (np.asarray(right, dtype=bool) for right in (a, b))
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return PairedDifference(
        delta=(only_a - only_b) / len(a),
        ci95=paired_bootstrap(a, b, seed=seed),
        p=mcnemar_exact(only_a, only_b),
        only_a=only_a,
        only_b=only_b,
        detectable=smallest_difference(len(a), (only_a + only_b) / len(a)),
    )


def p_value(p: float) -> str:
    """Write a p-value; none is 0."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
