"""Acceptance sampling: what the review of a few random rows says about the whole dataset."""

from __future__ import annotations

from math import exp

import scipy

N_MAX = 10_000_000


def plan_size(bound: float, confidence: float = 0.95, bad: int = 0) -> int:
    """Fewest rows to review so that at most `bad` bad ones prove a good rate of at least `bound`.

    >>> [plan_size(0.95, bad=bad) for bad in range(5)]
    [59, 93, 124, 153, 181]
    """
    if not (0 < bound < 1 and 0 < confidence < 1 and bad >= 0):
        raise ValueError(f"expected rates in (0, 1) and bad >= 0, got {bound}, {confidence}, {bad}")
    lo, hi = bad, bad + 1
    while scipy.special.bdtr(bad, hi, 1 - bound) > 1 - confidence:
        lo, hi = hi, 2 * hi
    while hi - lo > 1:
        middle = (lo + hi) // 2
        lo, hi = (lo, middle) if scipy.special.bdtr(bad, middle, 1 - bound) <= 1 - confidence else (middle, hi)
    return hi


def operating_characteristic(n: int, accept_at: int, good_rate: float) -> float:
    """Chance that a dataset of this true good rate is accepted: at least `accept_at` good ones of n reviewed.

    >>> round(operating_characteristic(50, 48, 0.90), 2), round(operating_characteristic(50, 48, 0.95), 2)
    (0.11, 0.54)
    """
    if not 0 <= accept_at <= n:
        raise ValueError(f"expected 0 <= accept_at <= n, got {accept_at} of {n}")
    return float(scipy.special.bdtr(n - accept_at, n, 1 - good_rate))


def most_bad(population: int, n: int, bad: int, confidence: float = 0.95) -> int:
    """Most bad rows that a dataset of `population` rows may still hold after n were reviewed without replacement.

    The exact (hypergeometric) upper bound, the bad rows that were found included.

    >>> most_bad(900, 50, 0)
    50
    """
    if not 0 <= bad <= n <= population:
        raise ValueError(f"expected bad <= n <= population, got {bad}, {n}, {population}")
    lo, hi = bad, population - (n - bad)  # the good ones that were seen cannot be bad
    while lo < hi:
        middle = (lo + hi + 1) // 2
        lo, hi = (middle, hi) if _at_most(bad, population, middle, n) > 1 - confidence else (lo, middle - 1)
    return lo


def _at_most(bad: int, population: int, total_bad: int, n: int) -> float:
    """P(at most `bad` bad ones in a sample of n), hypergeometric."""
    first = max(0, n - (population - total_bad))
    whole = _log_choose(population, n)
    return sum(
        exp(_log_choose(total_bad, k) + _log_choose(population - total_bad, n - k) - whole)
        for k in range(first, bad + 1)
    )


def _log_choose(n: int, k: int) -> float:
    return float(scipy.special.gammaln(n + 1) - scipy.special.gammaln(k + 1) - scipy.special.gammaln(n - k + 1))
