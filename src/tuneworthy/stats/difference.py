"""Intervals of a paired difference: Tango's for right/wrong cases, a cluster-robust one for ratios.

Both are score-like: they behave as if about `z^2 / 2` more observations had been seen, half for A and half for B,
so that they stay honest when few cases differ, and have a width when none does.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from .ratios import Floats


def tango_interval(gains: int, losses: int, n: int, alpha: float = 0.05) -> tuple[float, float]:
    """Score interval of `(gains - losses) / n`, the paired difference of two proportions.

    Source: Tango 1998 (Stat. Med. 17:891); recommended by Fagerland, Lydersen, Laake 2014 (Stat. Med. 33:2850).

    >>> [round(x, 4) for x in tango_interval(16, 2, 50)]
    [0.1285, 0.4296]
    """
    z = -float(ndtri(alpha / 2))
    estimate = (gains - losses) / n

    def reaches(delta: float, target: float) -> bool:
        return _tango_z(gains, losses, n, delta) > target

    lo = _bisect(lambda delta: reaches(delta, z), -1.0, estimate)
    hi = _bisect(lambda delta: reaches(delta, -z), estimate, 1.0)
    return lo, hi


def tango_p_value(gains: int, losses: int, n: int, null: float) -> float:
    """One-sided p-value of "the difference is at most `null`", by Tango's score statistic."""
    return float(ndtr(-_tango_z(gains, losses, n, null)))


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
    """Linearise the difference of two ratios: the influence of each cluster on `b - a`, mean 0.

    Args:
        sums: `(n_clusters, 4)` columns a_num, a_den, b_num, b_den.

    Returns:
        `(n_clusters,)`; the variance of the difference is their variance over `n_clusters`.
    """
    a_num, a_den, b_num, b_den = sums.T
    a, b = a_num.sum() / a_den.sum(), b_num.sum() / b_den.sum()
    return np.asarray((b_num - b * b_den) / b_den.mean() - (a_num - a * a_den) / a_den.mean())


def ratio_difference_interval(sums: Floats, alpha: float = 0.05) -> tuple[float, float]:
    """Student-t interval of the difference of two ratios, after adding pseudo-clusters.

    `z^2 / 4` clusters in which B has all and A nothing, and as many the other way round (one each at 95 %).

    Args:
        sums: `(n_clusters, 4)` columns a_num, a_den, b_num, b_den.

    Source: Bonett and Price 2012 (J. Educ. Behav. Stat. 37:479), carried over to clusters and ratios.
    """
    centre, error, df = _adjusted(sums, alpha)
    half = float(-stdtrit(df, alpha / 2)) * error
    return max(-1.0, centre - half), min(1.0, centre + half)


def ratio_difference_p_value(sums: Floats, null: float, alpha: float = 0.05) -> float:
    """One-sided p-value of "the difference is at most `null`", dual to the interval at `2 alpha`."""
    centre, error, df = _adjusted(sums, 2 * alpha)
    return float(stdtr(df, (null - centre) / error))


def _adjusted(sums: Floats, alpha: float) -> tuple[float, float, int]:
    """Give centre, standard error and degrees of freedom after adding the pseudo-clusters."""
    n = len(sums)
    pseudo = float(ndtri(alpha / 2)) ** 2 / 4
    a_num, a_den, b_num, b_den = sums.sum(axis=0)
    delta = b_num / b_den - a_num / a_den
    total = n + 2 * pseudo
    centre = delta * n / total
    influence = linearised(sums) + delta
    variance = ((influence**2).sum() + 2 * pseudo) / total - centre**2
    return float(centre), sqrt(max(variance, 0.0) / total), max(1, n - 1)
