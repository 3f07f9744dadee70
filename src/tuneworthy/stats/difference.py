"""Intervals of a paired difference: Tango's for right/wrong cases, a cluster-robust one for ratios.

Both stay honest when few cases differ, and have a width even if no case does. The second is a Student-t interval whose
variance counts two more observations than were made, one case that only B gets right and one that only A does: a
plain t or bootstrap interval cannot know of the rare collapse that it has not yet seen.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tuneworthy.arrays import Bounds, Floats

from .ratios import cluster_sums, clustered_variance


def tango_interval(gains: int, losses: int, n: int, alpha: float = 0.05) -> Bounds:
    """Score interval of `(gains - losses) / n`, the paired difference of two proportions.

    Source: Tango 1998 (Stat. Med. 17:891); recommended by Fagerland, Lydersen, Laake 2014 (Stat. Med. 33:2850).

    >>> [round(x, 4) for x in tango_interval(16, 2, 50)]
    [0.1285, 0.4296]
    """
    z = -float(scipy.special.ndtri(alpha / 2))
    estimate = (gains - losses) / n

    lo = _bisect(lambda delta: _tango_z(gains, losses, n, delta) > z, -1.0, estimate)
    return lo, _bisect(lambda delta: _tango_z(gains, losses, n, delta) > -z, estimate, 1.0)


def _tango_z(gains: int, losses: int, n: int, delta: float) -> float:
    """Score statistic of `difference = delta`; falls as delta grows."""
    b = -gains - losses + (2 * n - gains + losses) * delta
    c = -losses * delta * (1 - delta)
    loss_rate = (sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * loss_rate + delta * (1 - delta))
    excess = gains - losses - n * delta
    if variance <= 1e-15:
        return 0.0 if abs(excess) < 1e-12 else np.copysign(np.inf, excess)
    return excess / sqrt(variance)


def _bisect(below: Callable[[float], bool], lo: float, hi: float) -> float:
    """Find where `below` turns from true to false, to 1e-9."""
    while hi - lo > 1e-9:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if below(middle) else (lo, middle)
    return (lo + hi) / 2


def linearised(sums: Floats) -> Floats:
    """Linearise the difference of two ratios: the influence per cluster on `b - a`, mean 0.

    Args:
        sums: `(n_clusters, 4)` columns a_num, a_den, b_num, b_den; or those of the cases.

    Returns:
        `(n_clusters,)`; the variance of the difference is their variance over `n_clusters`.
    """
    a_num, a_den, b_num, b_den = sums.T
    a, b = a_num.sum() / a_den.sum(), b_num.sum() / b_den.sum()
    return np.asarray((b_num - b * b_den) / b_den.mean() - (a_num - a * a_den) / a_den.mean())


def ratio_difference_interval(cases: Floats, groups: ArrayLike | None, alpha: float = 0.05) -> Bounds:
    """Two-sided interval of the difference of two ratios over clusters (see `ratios.clustered_variance`).

    The two observations that are added are one case in an average cluster, or as large as the clusters' differences
    typically are (with one whole cluster counted among them) if that is more.

    Args:
        cases: `(n_cases, 4)` columns a_num, a_den, b_num, b_den.
        groups: `(n_cases,)` labels of cases that share a source; None without groups.

    Source: Bonett and Price 2012 (J. Educ. Behav. Stat. 37:479), carried over to clusters and ratios.
    """
    sums, n_cases = cluster_sums(cases, groups), len(cases)
    n = len(sums)
    a_num, a_den, b_num, b_den = sums.sum(axis=0)
    delta = float(b_num / b_den - a_num / a_den)
    difference = linearised(sums) + delta
    n_differing = int((np.abs(difference) > 1e-12).sum())
    added = max(float((difference**2).sum() + 1) / (n_differing + 1), (n / n_cases) ** 2)
    variance, df = clustered_variance(linearised(cases), np.arange(n_cases) if groups is None else groups)
    half = float(-scipy.special.stdtrit(df, alpha / 2)) * sqrt(variance + 2 * added / (n + 2) ** 2)
    return max(-1.0, delta - half), min(1.0, delta + half)
