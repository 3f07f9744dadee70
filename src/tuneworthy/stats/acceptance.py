"""Acceptance sampling: from the review of a few random rows to a claim on the whole dataset."""

from bisect import bisect_left
from math import floor
from typing import Any

import scipy


def operating_characteristic(n: int, accept_at: int, good_rate: float) -> float:
    """Chance that a dataset of this true good rate is accepted: at least `accept_at` good rows among n reviewed.

    >>> round(operating_characteristic(50, 48, 0.90), 2), round(operating_characteristic(50, 48, 0.95), 2)
    (0.11, 0.54)
    """
    if not 0 <= accept_at <= n:
        raise ValueError(f"expected 0 <= accept_at <= n, got {accept_at} of {n}")
    return float(scipy.special.bdtr(n - accept_at, n, 1 - good_rate))


def attempt_alpha(attempt: int, alpha: float = 0.05) -> float:
    """Error that the attempt of this number (from 1) may make, so that all attempts together make at most `alpha`.

    Attempt k gets ``alpha / 2**k``: however many there are, the shares sum to less than `alpha`.

    Source: Bonferroni for a sequence without end: Tian and Ramdas 2021 (Stat. Methods Med. Res. 30:976, arXiv
    1910.04900), alpha-spending with weights 1/2, 1/4, ...; it asks for no independence of the attempts.

    >>> [attempt_alpha(k) for k in (1, 2, 3)]
    [0.025, 0.0125, 0.00625]
    """
    if attempt < 1:
        raise ValueError(f"expected an attempt from 1 on, got {attempt}")
    return alpha / 2.0**attempt


def most_allowed(rows: int, bound: float) -> int:
    """Most bad rows that a dataset of `rows` rows with a good rate of at least `bound` can have.

    >>> most_allowed(1000, 0.95), most_allowed(19, 0.95)
    (50, 0)
    """
    return floor(rows * (1 - bound) + 1e-9)


def lot_plan_size(lot: int, allowed: int, bad: int, alpha: float = 0.05) -> int | None:
    """Fewest rows to review of `lot` so that at most `bad` bad rows prove that the lot has at most `allowed`.

    Exact, without replacement: of a lot with ``allowed + 1`` bad rows or more, the sample has at most `bad` with a
    chance of at most `alpha`.

    Returns:
        None if no sample proves that, because `bad` is more than `allowed`.

    >>> lot_plan_size(900, 45, 0), lot_plan_size(10_000_000, 500_000, 0), lot_plan_size(100, 5, 6)
    (56, 59, None)
    """
    if not (bad >= 0 and 0 <= allowed < lot and 0 < alpha < 1):
        raise ValueError(f"expected bad >= 0, 0 <= allowed < lot, 0 < alpha < 1, got {bad}, {allowed}, {lot}, {alpha}")
    if bad > allowed:
        return None
    sizes = range(bad + 1, lot)  # a sample of `bad` proves nothing; one of all rows proves it
    proves = bisect_left(sizes, True, key=lambda n: scipy.stats.hypergeom.cdf(bad, lot, allowed + 1, n) <= alpha)
    return bad + 1 + proves


def is_rejected(bad: Any, max_bad: Any) -> Any:
    """Whether a plan has failed: more bad rows than it allows. Counts, or arrays."""
    return bad > max_bad


def is_accepted(good: Any, n: Any, max_bad: Any) -> Any:
    """Whether a plan has passed: even if all remaining rows were bad. Counts, or arrays."""
    return good >= n - max_bad
