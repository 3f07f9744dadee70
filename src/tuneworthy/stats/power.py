"""How many cases a question needs, and how small a gain n cases can show; all for paired right/wrong cases.

`loss` is the share of cases that only A gets right, `gain` the share that only B does; together the discordance.
"""

from bisect import bisect_left
from functools import cache
from math import ceil, floor, log1p, sqrt

import numpy as np
import scipy

from tuneworthy.arrays import Floats

from .arguments import checked

N_MAX = 1_000_000
POWER = 0.8
# Share of cases that a change makes wrong, where it was not observed.
LOSS = 0.05
# No one labels more cases than this; larger numbers are reported as "more".
MOST_CASES = 100_000


@checked
@cache
def paired_power(n: int, loss: float, gain: float, alpha: float = 0.05) -> float:
    """Return the exact chance that McNemar's one-sided mid-p test finds B better.

    Args:
        n: Cases.
        loss: Share of the cases that only A gets right, in [0, 1].
        gain: Share that only B gets right; with `loss` at most 1.
        alpha: Level of the one-sided test.

    Raises:
        ValueError: A number is out of its range.

    Source: Fagerland, Lydersen, Laake 2013 (BMC Med. Res. Methodol. 13:91) for the test.

    >>> round(stats.paired_power(50, loss=0.02, gain=0.07, alpha=0.025), 2)
    0.13
    """
    if loss + gain > 1 + 1e-12:
        raise ValueError(f"loss and gain must add up to at most 1, got {loss} and {gain}")
    discordance = loss + gain
    if discordance == 0:
        return 0.0
    far = 10 * sqrt(n * discordance * (1 - discordance)) + 50  # the chance of counts beyond it is below 1e-20 together
    m = np.arange(max(0, floor(n * discordance - far)), min(n, ceil(n * discordance + far)) + 1)
    most = _most_losses(m, alpha)
    shown = np.where(most >= 0, scipy.special.bdtr(np.maximum(most, 0), m, loss / discordance), 0.0)
    return float((_binomial_pmf(m, n, discordance) * shown).sum())


@checked
def detectable_gain(n: int, alpha: float, *, loss: float = LOSS, design_effect: float = 1.0) -> float:
    """Return the smallest difference that n cases show with a power of 80%, to 1e-4; inf if there is no such gain.

    Args:
        n: Cases, right or wrong.
        alpha: Level of the one-sided test.
        loss: Share of the cases that only A gets right, in [0, 0.5).
        design_effect: `1 + (mean cluster size - 1) * ICC` where cases share sources; divides n. Above 0.

    Raises:
        ValueError: A number is out of its range.

    Source: `paired_power`, inverted.

    >>> round(stats.detectable_gain(300, 0.0067), 2), round(stats.detectable_gain(50, 0.025), 2)
    (0.08, 0.21)
    """
    n = max(1, int(n / design_effect))
    lo, hi = 0.0, 1.0 - 2 * loss
    if hi <= 0 or paired_power(n, loss, loss + hi, alpha) < POWER:
        return float("inf")
    while hi - lo > 1e-4:
        middle = (lo + hi) / 2
        lo, hi = (lo, middle) if paired_power(n, loss, loss + middle, alpha) >= POWER else (middle, hi)
    return hi


def n_for_gain(margin: float, alpha: float) -> int | None:
    """Cases needed to show a gain of `margin` if a share `LOSS` gets worse; None above `MOST_CASES`.

    Args:
        margin: The smallest difference that matters, in (0, 1).
        alpha: One-sided error of the comparison.
    """
    worse = min(LOSS, (1 - margin) / 2)
    better = min(1 - worse, worse + margin)
    shown = paired_power(MOST_CASES, worse, better, alpha) >= POWER
    return sample_size(worse, better, alpha) if shown else None


@checked
def sample_size(loss: float, gain: float, alpha: float = 0.05, *, margin: float = 0.0) -> int:
    """Return the cases from which B is found better, or no worse by `margin`, with a power of 80%.

    Better: by McNemar's one-sided mid-p test. The next ten numbers of cases have that power as well: it falls a little
    here and there.

    Args:
        loss: Share of the cases that only A gets right, in [0, 1].
        gain: Share that only B gets right; with `loss` at most 1.
        alpha: Level of the one-sided test.
        margin: Largest loss that does not matter, in [0, 1); at 0, B has to be better.

    Raises:
        ValueError: A number is out of its range, or the difference is not above `-margin`.

    Source: Connor 1987 (Biometrics 43:207) for the start of the search; Nam 1997 (Biometrics 53:1422) with a margin.

    >>> stats.sample_size(loss=0.05, gain=0.10), stats.sample_size(loss=0.025, gain=0.025, margin=0.05)
    (363, 167)
    """
    delta, discordance = gain - loss, loss + gain
    if delta + margin <= 0:
        raise ValueError(f"gain must be above loss - margin, got {gain}, {loss} and {margin}")
    z_alpha, z_power = -scipy.special.ndtri(alpha), scipy.special.ndtri(POWER)
    if margin:
        # the variance where B is worse by just the margin, at the rate of losses that is likeliest then
        b = (gain - loss - 2) * margin - discordance
        rate = (sqrt(b**2 - 8 * loss * margin * (1 + margin)) - b) / 4
        spread = z_alpha * sqrt(2 * rate - margin * (1 + margin)) + z_power * sqrt(discordance - delta**2)
        return ceil(float(spread) ** 2 / (margin + delta) ** 2)
    high = 2 * ceil(float(z_alpha * sqrt(discordance) + z_power * sqrt(discordance - delta**2)) ** 2 / delta**2)
    n = bisect_left(range(1, high), POWER, key=lambda size: paired_power(size, loss, gain, alpha))
    n, kept = max(1, n - 20), 0  # power falls a little here and there as n grows
    while kept < 10 and n < N_MAX:
        kept = kept + 1 if paired_power(n, loss, gain, alpha) >= POWER else 0
        n += 1
    return n - kept


def n_for_non_inferiority(margin: float, discordance: float, alpha: float = 0.05) -> int:
    """Cases needed to show "no worse by `margin`" if there is no difference, and `discordance` of the cases differ."""
    return sample_size(discordance / 2, discordance / 2, alpha, margin=margin)


def _most_losses(m: np.ndarray, alpha: float) -> np.ndarray:
    """Most of m cases that differ which may be losses where the mid-p test rejects; -1 if it never does."""

    def p_value(losses: np.ndarray) -> np.ndarray:
        at = [np.where(k >= 0, scipy.special.bdtr(np.maximum(k, 0), m, 0.5), 0.0) for k in (losses - 1, losses)]
        return np.asarray(at[0] + at[1]) / 2

    k = np.floor(np.nan_to_num(scipy.special.bdtrik(alpha, np.maximum(m, 1), 0.5), nan=-1.0)).clip(-1) + 1
    for _ in range(2):  # the inverse of the exact tail is at most one off, and is rounded
        k -= np.where((k >= 0) & (p_value(k) > alpha), 1, 0)
    return np.asarray(np.where(m > 0, k, -1), dtype=np.int64)


def _binomial_pmf(k: np.ndarray, n: int, p: float) -> Floats:
    choose = -scipy.special.betaln(1 + n - k, 1 + k) - np.log(n + 1)
    rest = np.where(n == k, 0.0, (n - k) * log1p(-min(p, 1 - 1e-16)))
    return np.asarray(np.exp(choose + scipy.special.xlogy(k, p) + rest))
