"""How many cases a question needs, and how small a gain n cases can show; all for paired right/wrong cases.

`loss` is the share of cases that only A gets right, `gain` the share that only B does; together the discordance.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil, floor, isfinite, log1p, sqrt
from typing import Any

import numpy as np
import scipy

from .ratios import Floats

N_MAX = 1_000_000
POWER = 0.8
# Share of cases that a change makes wrong, where it was not observed.
LOSS = 0.05
# No one labels more cases than this; larger numbers are reported as "more".
MOST_CASES = 100_000


@cache
def mcnemar_power(n: int, loss: float, gain: float, alpha: float = 0.05) -> float:
    """Exact chance that McNemar's one-sided mid-p test finds B better.

    Args:
        n: cases. loss, gain: rates in [0, 1], together at most 1. alpha: one-sided error.

    >>> round(mcnemar_power(50, loss=0.02, gain=0.07, alpha=0.025), 2)
    0.13
    """
    _check_rates(n, loss, gain)
    discordance = loss + gain
    if discordance == 0:
        return 0.0
    m = _likely(n, discordance)
    most = _most_losses(m, alpha)
    shown = np.where(most >= 0, scipy.special.bdtr(np.maximum(most, 0), m, loss / discordance), 0.0)
    return float((_binomial_pmf(m, n, discordance) * shown).sum())


def mcnemar_mde(n: int, loss: float = 0.05, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest `gain - loss` that the test finds with this power, to 1e-4; inf if there is no such gain.

    >>> round(mcnemar_mde(50, loss=0.05, alpha=0.025), 2)
    0.21
    """
    lo, hi = 0.0, 1.0 - 2 * loss
    if hi <= 0 or mcnemar_power(n, loss, loss + hi, alpha) < power:
        return float("inf")
    while hi - lo > 1e-4:
        middle = (lo + hi) / 2
        lo, hi = (lo, middle) if mcnemar_power(n, loss, loss + middle, alpha) >= power else (middle, hi)
    return hi


def detectable(n: int, alpha: float, *, loss: float = 0.05, power: float = 0.8, design_effect: float = 1.0) -> float:
    """Smallest difference that n cases at this alpha can be expected to show.

    Args:
        design_effect: `1 + (mean cluster size - 1) * ICC` where cases share sources; divides n.

    >>> round(detectable(300, 0.0067), 2)
    0.08
    """
    return mcnemar_mde(max(1, int(n / design_effect)), loss, alpha, power)


def n_for_difference(loss: float, gain: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Smallest n from which the test finds B better with this power (and keeps it for ten n more).

    Source: Connor 1987 (Biometrics 43:207) for the start of the search.
    """
    _check_rates(1, loss, gain)
    delta, discordance = gain - loss, loss + gain
    if delta <= 0:
        raise ValueError("without a gain no n has power: it must be above the loss")
    z_alpha, z_power = -scipy.special.ndtri(alpha), scipy.special.ndtri(power)
    high = 2 * ceil(float(z_alpha * sqrt(discordance) + z_power * sqrt(discordance - delta**2)) ** 2 / delta**2)
    n = bisect_left(range(1, high), power, key=lambda size: mcnemar_power(size, loss, gain, alpha))
    n, kept = max(1, n - 20), 0  # power falls a little here and there as n grows
    while kept < 10 and n < N_MAX:
        kept = kept + 1 if mcnemar_power(n, loss, gain, alpha) >= power else 0
        n += 1
    return n - kept


def n_for_non_inferiority(margin: float, discordance: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Cases needed to show "no worse by `margin`" if there is no difference; one-sided alpha.

    Source: Nam 1997 (Biometrics 53:1422), equation for a true difference of 0.

    >>> n_for_non_inferiority(0.05, 0.05)
    124
    """
    if not (0 < margin < 1 and 0 < discordance <= 1):
        raise ValueError(f"margin and discordance are rates in (0, 1), got {margin} and {discordance}")
    return ceil(float(scipy.special.ndtri(1 - alpha) + scipy.special.ndtri(power)) ** 2 * discordance / margin**2)


def _most_losses(m: np.ndarray, alpha: float) -> np.ndarray:
    """Most of m cases that differ which may be losses where the mid-p test rejects; -1 if it never does."""

    def p_value(losses: np.ndarray) -> np.ndarray:
        at = [np.where(k >= 0, scipy.special.bdtr(np.maximum(k, 0), m, 0.5), 0.0) for k in (losses - 1, losses)]
        return np.asarray(at[0] + at[1]) / 2

    k = np.floor(np.nan_to_num(scipy.special.bdtrik(alpha, np.maximum(m, 1), 0.5), nan=-1.0)).clip(-1) + 1
    for _ in range(2):  # the inverse of the exact tail is at most one off, and is rounded
        k -= np.where((k >= 0) & (p_value(k) > alpha), 1, 0)
    return np.asarray(np.where(m > 0, k, -1), dtype=np.int64)


def _likely(n: int, p: float) -> np.ndarray:
    """Counts of a binomial; those whose chance is below 1e-20 together are left out."""
    far = 10 * sqrt(n * p * (1 - p)) + 50
    return np.arange(max(0, floor(n * p - far)), min(n, ceil(n * p + far)) + 1)


def _binomial_pmf(k: np.ndarray, n: int, p: float) -> Floats:
    choose = -scipy.special.betaln(1 + n - k, 1 + k) - np.log(n + 1)
    rest = np.where(n == k, 0.0, (n - k) * log1p(-min(p, 1 - 1e-16)))
    return np.asarray(np.exp(choose + scipy.special.xlogy(k, p) + rest))


def _check_rates(n: int, loss: float, gain: float) -> None:
    if n < 1 or min(loss, gain) < 0 or loss + gain > 1 + 1e-12:
        raise ValueError(f"expected n >= 1 and rates that add up to at most 1, got {n}, {loss}, {gain}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """An answer about size.

    Attributes:
        sentence: The answer in words.
        numbers: Inputs of the estimate, JSON-able.
    """

    sentence: str
    numbers: Mapping[str, Any]


@cache
def shows(n: int, alpha: float, *, loss: float | None = None, design_effect: float = 1.0) -> Sizing:
    """Say how small a difference n cases can show at the alpha of one test comparison.

    Args:
        n: Test cases, at least 1.
        alpha: One-sided error of the comparison.
        loss: Share of cases that only the older variant gets right, as observed; 5 % if it is not known.
        design_effect: ``1 + (mean group size - 1) * ICC`` where cases share sources.

    >>> shows(50, 0.025).numbers["detectable"]
    0.208
    """
    rate = LOSS if loss is None else loss
    found = detectable(n, alpha, loss=rate, power=POWER, design_effect=design_effect)
    numbers = {
        "n": n,
        "alpha": alpha,
        "loss": rate,
        "power": POWER,
        "design_effect": design_effect,
        "detectable": round(found, 3) if isfinite(found) else None,
    }
    if not isfinite(found):
        return Sizing(
            sentence=f"With {n} cases, no difference can be significant at alpha {alpha:.3g}.", numbers=numbers
        )
    sentence = (
        f"With {n} cases at alpha {alpha:.3g}, the smallest detectable difference is {100 * found:.1f} points. "
        f"This assumes {POWER:.0%} power and that {rate:.1%} of the cases get worse."
    )
    return Sizing(sentence=sentence, numbers=numbers)


def cases_for_margin(margin: float, alpha: float, *, loss: float | None = None, gain: float | None = None) -> Sizing:
    """Say how many cases the margin needs: to show a gain of that size, and to show "no worse by it".

    Args:
        margin: The smallest difference that matters, in (0, 1).
        alpha: One-sided error of the comparison; non-inferiority is tested at 5 %.
        loss: Observed share of cases that only the older variant gets right; 5% where it is not known.
        gain: Observed share that only the newer one gets right; 5% and the margin where it is not known.

    >>> cases_for_margin(0.05, 0.05, loss=0.025, gain=0.025).numbers["n_non_inferior"]
    124
    """
    observed = loss is not None and gain is not None and loss + gain > 0
    discordance = (loss or 0.0) + (gain or 0.0) if observed else 2 * LOSS
    worse = (max(discordance, margin) - margin) / 2 if observed else min(LOSS, (1 - margin) / 2)
    better, n_gain = min(1 - worse, worse + margin), None
    if mcnemar_power(MOST_CASES, worse, better, alpha) >= POWER:
        n_gain = n_for_difference(worse, better, alpha, POWER)
    n_same = n_for_non_inferiority(margin, discordance, power=POWER)
    sentence = (
        "Detecting a gain of {margin:.1f} points takes {n_gain} cases if {worse:.1%} of them get worse. Showing "
        "non-inferiority within {margin:.1f} points takes {n_same:,} cases if the two variants disagree on "
        "{discordance:.1%} of them ({how}). Both figures assume {power:.0%} power and one-sided tests, at alpha "
        "{alpha:.3g} for the gain and 0.05 for non-inferiority."
    ).format(
        margin=100 * margin,
        n_gain=f"{n_gain:,}" if n_gain is not None else f"more than {MOST_CASES:,}",
        worse=worse,
        n_same=n_same,
        discordance=discordance,
        how="as observed" if observed else "an assumption, because nothing has been observed yet",
        alpha=alpha,
        power=POWER,
    )
    numbers = {
        "margin": margin,
        "alpha": alpha,
        "power": POWER,
        "discordance": discordance,
        "observed": observed,
        "n_gain": n_gain,
        "n_non_inferior": n_same,
    }
    return Sizing(sentence=sentence, numbers=numbers)
