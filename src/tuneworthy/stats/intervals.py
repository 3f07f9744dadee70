"""Confidence intervals of one score: binomial for right/wrong, cluster-robust for every other ratio.

No interval has width 0 or leaves [0, 1]: where all cases agree it still says how little was seen.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from tuneworthy.arrays import Bounds, Floats, OpenBounds

from .arguments import checked
from .ratios import as_ratio, cluster_sums, clustered_variance, is_binary, shared_sources


@dataclass(frozen=True)
class Interval:
    """An estimate in [0, 1] with its two-sided interval at `1 - alpha`.

    Attributes:
        n: cases. n_groups: independent clusters (cases, where there are no groups).
        method: `wilson`, `clopper_pearson`, `korn_graubard` or `betting`.
    """

    value: float
    lo: float
    hi: float
    n: int
    n_groups: int
    alpha: float
    method: str


def wilson(k: float, n: float, alpha: float = 0.05) -> Bounds:
    """Wilson's score interval of a proportion; `n` may be an effective size.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001, section 4.1.

    >>> [round(x, 3) for x in wilson(40, 50)]
    [0.67, 0.888]
    """
    _check_counts(k, n, alpha)
    z2 = float(scipy.special.ndtri(alpha / 2)) ** 2
    p = k / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return (
        0.0 if k == 0 else max(0.0, float(centre - half)),
        1.0 if k == n else min(1.0, float(centre + half)),
    )


def clopper_pearson(k: float, n: float, alpha: float = 0.05) -> Bounds:
    """Exact two-sided interval of a proportion; covers at least `1 - alpha` everywhere; `n` may be an effective size.

    Source: Clopper and Pearson 1934.

    >>> [round(x, 3) for x in clopper_pearson(48, 50)]
    [0.863, 0.995]
    """
    return lower_bound(k, n, alpha / 2), upper_bound(k, n, alpha / 2)


def lower_bound(k: float, n: float, alpha: float = 0.05) -> float:
    """Exact one-sided lower bound of a proportion.

    >>> round(lower_bound(50, 50), 3)
    0.942
    """
    _check_counts(k, n, alpha)
    return 0.0 if k == 0 else float(scipy.special.betaincinv(k, n - k + 1, alpha))


def upper_bound(k: float, n: float, alpha: float = 0.05) -> float:
    """Exact one-sided upper bound of a proportion; with `k = 0` the rule of three.

    >>> round(upper_bound(0, 100), 4)
    0.0295
    """
    _check_counts(k, n, alpha)
    return 1.0 if k == n else float(scipy.special.betaincinv(k + 1, n - k, 1 - alpha))


@checked
def quantile_interval(values: ArrayLike, q: float, alpha: float = 0.05) -> OpenBounds:
    """Return the distribution-free two-sided interval of a quantile, such as the 95th percentile of a latency.

    Args:
        values: Independent measurements, `(n,)`, at or above 0, in any unit.
        q: The quantile, in (0, 1).
        alpha: 1 less the coverage.

    Returns:
        Lower and upper end, two of the values; the lower one is 0, the upper one None, where `n` is too small.

    Raises:
        ValueError: There are no values, one is negative or not finite, or `q` is not in (0, 1).

    Source: David and Nagaraja 2003, Order Statistics, section 7.1.

    >>> stats.quantile_interval(range(1, 101), 0.5), stats.quantile_interval(range(1, 33), 0.95)
    ((40.0, 61.0), (28.0, None))
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    n = ordered.size
    if ordered[0] < 0:
        raise ValueError(f"values must be at or above 0, got {ordered[0]}")
    below = scipy.special.bdtr(np.arange(n + 1), n, q)  # chance that at most so many lie below the quantile
    lower = int((below <= alpha / 2).sum())  # the lower end is the `lower`-th smallest
    upper = int((1 - below > alpha / 2).sum()) + 1
    return (float(ordered[lower - 1]) if lower else 0.0), (float(ordered[upper - 1]) if upper <= n else None)


def score_interval(num: ArrayLike, den: ArrayLike, groups: ArrayLike | None = None, *, alpha: float = 0.05) -> Interval:
    """Two-sided interval of `sum(num) / sum(den)`.

    Right/wrong cases without groups get Wilson's interval; everything else Clopper-Pearson's with the effective sample
    size that the cluster-robust variance of the ratio implies, and Student's t for the effective number of clusters:
    with few clusters Wilson's is too bold near 0 and 1.

    Args:
        num, den: `(n_cases,)` contributions, `0 <= num <= den`, averaged over repeats.
        groups: `(n_cases,)` labels of cases that share a source.
        alpha: two-sided error.

    Source: Korn and Graubard 1998 (Survey Methodology 24:193); Franco, Little, Louis, Slud 2019 (J. Survey Stat.
    Methodol. 7:334), section 2.
    """
    num, den = as_ratio(num, den)
    groups = shared_sources(groups, num.size)
    value = float(num.sum() / den.sum())
    if groups is None and is_binary(num, den):
        lo, hi = wilson(float(num.sum()), num.size, alpha)
        return Interval(value, lo, hi, num.size, num.size, alpha, "wilson")
    size, n_groups = effective_size(num, den, groups, alpha)
    lo, hi = clopper_pearson(value * size, size, alpha)
    return Interval(value, lo, hi, num.size, n_groups, alpha, "korn_graubard")


def effective_n(num: ArrayLike, den: ArrayLike, groups: ArrayLike | None = None, *, alpha: float = 0.05) -> float:
    """Return how many independent right/wrong cases are as precise as these, as the basis of a one-sided bound.

    Args:
        num, den: `(n_cases,)` contributions, as in `score_interval`.
        groups: `(n_cases,)` labels of cases that share a source.
        alpha: one-sided error.

    Source: Cai 2005 (J. Stat. Plan. Inference 131:63); Korn and Graubard 1998 (Survey Methodology 24:193).

    >>> effective_n([1, 0, 1, 1], [1, 1, 1, 1])
    4.0
    """
    num, den = as_ratio(num, den)
    groups = shared_sources(groups, num.size)
    if groups is None and is_binary(num, den):
        return float(num.size)
    return effective_size(num, den, groups, 2 * alpha)[0]


def effective_size(num: Floats, den: Floats, groups: NDArray[Any] | None, alpha: float) -> tuple[float, int]:
    """Return how many independent right/wrong cases would be as precise as these, and how many clusters they are.

    The variance (see `ratios.clustered_variance`) counts two more observations than were made, a right case and a
    wrong one, for the rare failures that have not been seen yet.

    Args:
        num, den: `(n_cases,)` contributions.
        groups: `(n_cases,)` labels of cases that share a source; None without groups.
        alpha: two-sided error.
    """
    labels = np.arange(num.size) if groups is None else groups
    value, n = num.sum() / den.sum(), len(np.unique(labels))
    influence = (num - value * den) / den.mean()
    sums = cluster_sums(influence[:, None], groups)
    if n < 2 or float((sums**2).sum()) * (n / num.size) ** 2 <= 1e-12:
        return float(n), n
    variance, df = clustered_variance(influence, labels)
    variance += (value**2 + (1 - value) ** 2) * (n / num.size) ** 2 / (n + 2) ** 2
    variance *= (scipy.special.stdtrit(df, alpha / 2) / scipy.special.ndtri(alpha / 2)) ** 2
    share = (value * n + 1) / (n + 2)  # near 0 and 1 the two more make most of the variance
    return float(max(1.0, value * (1 - value) / variance, min(n, share * (1 - share) / variance))), n


def _check_counts(k: float, n: float, alpha: float) -> None:
    if not (n > 0 and 0 <= k <= n):
        raise ValueError(f"expected 0 <= k <= n and n > 0, got k={k}, n={n}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")


# Whether a score reaches a target.
Target = Literal["met", "missed", "unresolved"]
LEVEL = 0.05
# Of the first test after cases were added; each later test has half of the rest of `LEVEL`.
FIRST_LEVEL = 0.03
# 0.85 - 0.05 is not 0.80 in floating point.
ROUNDING = 1e-12


def target_level(additions: int) -> float:
    """Return the one-sided level of "met", after cases were added to the test set so many times.

    >>> [round(target_level(times), 4) for times in range(4)]
    [0.05, 0.03, 0.01, 0.005]
    """
    return LEVEL if additions == 0 else FIRST_LEVEL if additions == 1 else (LEVEL - FIRST_LEVEL) / 2 ** (additions - 1)


def target_bounds(score: float, n: float, *, options: int = 1, additions: int = 0) -> Bounds:
    """Return the one-sided lower and upper bounds that `target_status` compares; arguments as there."""
    k = min(n, score * n)
    return lower_bound(k, n, target_level(additions) / options), upper_bound(k, n, LEVEL)


def target_status(
    score: float, n: float, target: float, margin: float, *, options: int = 1, additions: int = 0
) -> Target:
    """Say whether `target` is met.

    Met if the point is at or above it and the one-sided lower bound at level 0.05 / options (see `target_level`) is
    above ``target - margin``, so that of several options at ``target - margin`` hardly one is called met; missed if the
    upper bound is below the target; else unresolved.

    Args:
        score: In [0, 1].
        n: Effective cases (`intervals.effective_n`).
        target: In [0, 1].
        margin: In (0, 1).
        options: Options that were measured on the same cases.
        additions: How often cases were added to them.

    >>> target_status(0.96, 200, 0.85, 0.05), target_status(0.6, 200, 0.85, 0.05)
    ('met', 'missed')
    >>> target_status(0.86, 200, 0.85, 0.05), target_status(0.86, 200, 0.85, 0.05, options=8)
    ('met', 'unresolved')
    """
    lower, upper = target_bounds(score, n, options=options, additions=additions)
    if score >= target - ROUNDING and lower > target - margin + ROUNDING:
        return "met"
    return "missed" if upper < target else "unresolved"


def chance_of_status(
    score: float, n: float, more: int, target: float, margin: float, *, options: int = 1, additions: int = 0
) -> Bounds:
    """Return the chances that a score is shown to meet and to miss the target once `more` cases are added.

    Predictive: the true score is drawn from the posterior of the cases so far (Jeffreys' prior), the new answers from
    that score.

    Args:
        score: So far, like `n`.
        n: Effective cases.
        more: Cases to add, each as precise as one so far.
        target: See `target_status`, like the others.
        additions: How often cases were added before.

    >>> met, missed = chance_of_status(0.85, 150, 600, 0.9, 0.05)
    >>> missed > 0.6 and met < 0.1
    True
    """

    def status(right: int) -> str:
        value, size = (score * n + right) / (n + more), n + more
        return target_status(value, size, target, margin, options=options, additions=additions + 1)

    # More right answers never turn "met" into "unresolved", nor "unresolved" into "missed".
    first_met = bisect_left(range(more + 1), 1, key=lambda right: status(right) == "met")
    first_not_missed = bisect_left(range(more + 1), 1, key=lambda right: status(right) != "missed")
    drawn = scipy.stats.betabinom(more, score * n + 0.5, (1 - score) * n + 0.5)
    return float(drawn.sf(first_met - 1)), float(drawn.cdf(first_not_missed - 1))
