"""Whether a score meets its target, and the chance that more cases settle it."""

from bisect import bisect_left
from math import floor
from typing import Literal

import scipy

from .intervals import lower_bound, upper_bound

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


def target_status(
    score: float, n: float, target: float, margin: float, *, options: int = 1, additions: int = 0
) -> Literal["met", "missed", "unresolved"]:
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
    k, least = min(n, score * n), target - margin + ROUNDING
    if score >= target - ROUNDING and lower_bound(k, n, target_level(additions) / options) > least:
        return "met"
    return "missed" if upper_bound(k, n, LEVEL) < target else "unresolved"


def settling_targets(
    score: float, n: float, margin: float, *, options: int = 1, additions: int = 0
) -> tuple[float, float]:
    """Return the highest target that a score is shown to meet, and the lowest that it is shown to miss, in hundredths.

    Nothing is shown to miss a target of 1 as long as the upper bound is 1: the second is then above 1.

    Args:
        score: In [0, 1], like the result.
        n: Effective cases.
        margin: See `target_status`, like the others.

    >>> settling_targets(0.85, 200, 0.05)
    (0.85, 0.89)
    """
    k = min(n, score * n)
    met = min(score, lower_bound(k, n, target_level(additions) / options) + margin - 2 * ROUNDING)
    return floor(100 * met + 1e-9) / 100, (floor(100 * upper_bound(k, n, LEVEL)) + 1) / 100


def chance_of_status(
    score: float, n: float, more: int, target: float, margin: float, *, options: int = 1, additions: int = 0
) -> tuple[float, float]:
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
