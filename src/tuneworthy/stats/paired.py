"""Compare two variants on the same cases: difference, interval, p-value, non-inferiority.

One rule decides everywhere: B is better if the one-sided test of "B is not better" rejects at alpha. Intervals are
two-sided at 95 %, whatever alpha is: they show how large a difference may be, and exclude gains of a margin.
"Not significant" is never read as "no worse"; that takes a margin.

The swap test: if A and B do not differ, the origin of a cluster's answers is a coin toss. Its statistic is studentised,
so that it is also valid for ratios whose denominators differ between A and B (micro F1).

Source: Janssen 1997 (Stat. Probab. Lett. 36:9); Phipson and Smyth 2010 (SAGMB 9:39) for the `+ 1`.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tuneworthy.arrays import Bounds, Floats

from .difference import ratio_difference_interval, tango_interval
from .ratios import as_ratio, cluster_sums, is_binary, shared_sources


@dataclass(frozen=True)
class PairedResult:
    """How B did against A on the same cases.

    Attributes:
        n: cases. n_groups: independent clusters (cases, where there are no groups).
        a, b: scores. delta: `b - a`.
        ci: two-sided 95 % interval of delta.
        p_value: one-sided, of "B is not better".
        p_worse: one-sided, of "B is not worse".
        alpha: one-sided error of either test; None where the difference is only described.
        method: `mcnemar_mid_p`, `swap_exact`, `swap_monte_carlo` or `ppi`.
        gains, losses: cases that only B, or only A, got right; None unless cases are right/wrong.
    """

    n: int
    n_groups: int
    a: float
    b: float
    delta: float
    ci: Bounds
    p_value: float
    p_worse: float
    alpha: float | None
    method: str
    gains: int | None = None
    losses: int | None = None

    @property
    def better(self) -> bool:
        return self.alpha is not None and self.p_value <= self.alpha

    @property
    def worse(self) -> bool:
        return self.alpha is not None and self.p_worse <= self.alpha


@dataclass(frozen=True)
class NonInferiority:
    """Whether B is worse than A by less than `margin`, one-sided at `alpha`.

    Attributes:
        n: cases. delta: `b - a`. lower: its one-sided lower bound.
    """

    n: int
    delta: float
    lower: float
    margin: float
    alpha: float

    @property
    def holds(self) -> bool:
        """B is non-inferior: the lower bound is above `-margin`."""
        return self.lower > -self.margin


def compare(
    a_num: ArrayLike,
    a_den: ArrayLike,
    b_num: ArrayLike,
    b_den: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    alpha: float | None = 0.05,
    seed: int = 0,
) -> PairedResult:
    """Compare B with A on the same cases.

    Right/wrong cases without groups: McNemar's mid-p test, Tango's interval. Everything else: permutation test that
    swaps A and B per cluster, cluster-robust interval.

    Args:
        a_num, a_den, b_num, b_den: `(n_cases,)` contributions, `0 <= num <= den`, averaged over repeats.
        groups: `(n_cases,)` labels of cases that share a source.
        alpha: one-sided error; None to describe the difference and test nothing.
        seed: of the Monte Carlo draws, which are only made if more than 14 clusters differ.

    >>> result = compare([1, 0, 0, 0] * 9, [1] * 36, [1, 1, 0, 0] * 9, [1] * 36, alpha=0.01)
    >>> result.better, result.delta, result.gains, result.losses
    (True, 0.25, 9, 0)
    """
    cases = _stack(a_num, a_den, b_num, b_den)
    groups = shared_sources(groups, len(cases))
    (a, b), (gains, losses) = _scores(cases), _discordant(cases)
    if groups is None and gains is not None and losses is not None:
        p_value, p_worse = mcnemar_p_value(gains, losses), mcnemar_p_value(losses, gains)
        ci, method, n_groups = tango_interval(gains, losses, len(cases)), "mcnemar_mid_p", len(cases)
    else:
        sums = cluster_sums(cases, groups)
        p_value, p_worse, method = swap_p_values(sums, alpha=alpha or 0.05, seed=seed)
        ci, n_groups = ratio_difference_interval(cases, groups), len(sums)
    return PairedResult(len(cases), n_groups, a, b, b - a, ci, p_value, p_worse, alpha, method, gains, losses)


def non_inferior(
    a_num: ArrayLike,
    a_den: ArrayLike,
    b_num: ArrayLike,
    b_den: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    margin: float,
    alpha: float = 0.05,
) -> NonInferiority:
    """Test whether B is worse than A by less than `margin` (one-sided).

    Args:
        margin: the largest harmless loss, in (0, 1).

    Source: Liu, Hsueh, Hsieh, Chen 2002 (Stat. Med. 21:231) for the score test of right/wrong cases.
    """
    if not 0 < margin < 1:
        raise ValueError(f"margin must lie between 0 and 1, got {margin}")
    cases = _stack(a_num, a_den, b_num, b_den)
    groups = shared_sources(groups, len(cases))
    (a, b), (gains, losses) = _scores(cases), _discordant(cases)
    if groups is None and gains is not None and losses is not None:
        lower = tango_interval(gains, losses, len(cases), 2 * alpha)[0]
    else:
        lower = ratio_difference_interval(cases, groups, 2 * alpha)[0]
    return NonInferiority(len(cases), b - a, lower, margin, alpha)


def mcnemar_p_value(gains: int, losses: int) -> float:
    """One-sided mid-p-value of McNemar's test, of "B is not better": half of the chance of the table itself counts.

    The exact test rejects too rarely. This one rejects at most 4 % more often than alpha says, where up to nine tenths
    of 30 to 300 cases differ (alpha from 0.001 to 0.05).

    Source: Fagerland, Lydersen, Laake 2013 (BMC Med. Res. Methodol. 13:91).

    >>> mcnemar_p_value(5, 0), mcnemar_p_value(6, 0)
    (0.015625, 0.0078125)
    """
    n = gains + losses
    if n == 0:
        return 1.0
    below = float(scipy.special.bdtr(losses - 1, n, 0.5)) if losses else 0.0
    return (below + float(scipy.special.bdtr(losses, n, 0.5))) / 2


def worst_case(
    a_num: ArrayLike,
    a_den: ArrayLike,
    b_num: ArrayLike,
    b_den: ArrayLike,
    *,
    a_unscored: int,
    b_unscored: int,
) -> bool:
    """Say whether the sign of `b - a` flips when unscored cases are filled against the better variant.

    All unscored cases of the better variant count 0 and all of the worse one count 1, each with the mean denominator.

    Args:
        a_num, a_den, b_num, b_den: the scored cases per variant; A and B may have different numbers of cases.
    """
    a_num, a_den = as_ratio(a_num, a_den)
    b_num, b_den = as_ratio(b_num, b_den)
    sign = np.sign(b_num.sum() / b_den.sum() - a_num.sum() / a_den.sum())
    fill_a, fill_b = (1.0, 0.0) if sign >= 0 else (0.0, 1.0)
    a, b = _filled(a_num, a_den, a_unscored, fill_a), _filled(b_num, b_den, b_unscored, fill_b)
    return bool(np.sign(b - a) != sign)


def _filled(num: Floats, den: Floats, unscored: int, value: float) -> float:
    weight = unscored * den.mean()
    return float((num.sum() + value * weight) / (den.sum() + weight))


def _stack(a_num: ArrayLike, a_den: ArrayLike, b_num: ArrayLike, b_den: ArrayLike) -> Floats:
    a, b = as_ratio(a_num, a_den), as_ratio(b_num, b_den)
    if a[0].shape != b[0].shape:
        raise ValueError(f"paired variants need the same cases, got {a[0].size} and {b[0].size}")
    return np.stack([*a, *b], axis=1)


def _scores(cases: Floats) -> Bounds:
    a_num, a_den, b_num, b_den = cases.sum(axis=0)
    return float(a_num / a_den), float(b_num / b_den)


def _discordant(cases: Floats) -> tuple[int, int] | tuple[None, None]:
    """Return the gains and the losses; None unless every case is right or wrong."""
    a_num, _, b_num, _ = cases.T
    if not is_binary(cases[:, ::2], cases[:, 1::2]):
        return None, None
    return int((b_num > a_num).sum()), int((b_num < a_num).sum())


def p_value(value: float) -> str:
    """Return a p-value as in a formula.

    >>> p_value(1e-9), p_value(0.0312)
    ('p < 0.0001', 'p = 0.0312')
    """
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.4f}"


EXACT_CLUSTERS = 14
# Most memory that one block of random swaps takes.
BLOCK_BYTES = 2**26
_PAIRS = [(i, j) for i in range(4) for j in range(i, 4)]
_SWAP = [2, 3, 0, 1]
# Bytes of a swap's moments and derived values, without its 9 bytes a cluster (a bit, and the same as a float).
_ROW_BYTES = 8 * 40


def swap_p_values(sums: Floats, *, alpha: float = 0.05, seed: int = 0) -> tuple[float, float, str]:
    """One-sided p-values of "B is not better" and of "B is not worse", and how they were computed.

    All swaps are enumerated if at most `EXACT_CLUSTERS` clusters differ; else enough random swaps are drawn for
    a Monte Carlo error of less than a tenth of a p-value near `alpha`.

    Args:
        sums: `(n_clusters, 4)` columns a_num, a_den, b_num, b_den.
    """
    differs = (sums[:, :2] != sums[:, 2:]).any(axis=1)
    k = int(differs.sum())
    if k <= EXACT_CLUSTERS:
        swaps = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
        better, worse = _reached(sums, differs, swaps) / 2**k
        return float(better), float(worse), "swap_exact"
    draws, rng, reached = int(max(10_000, 100 / alpha)), np.random.default_rng(seed), np.zeros(2)
    # the same swaps for any size of a block: the generator fills four bytes at a time
    rows = max(4, BLOCK_BYTES // (_ROW_BYTES + 9 * k) // 4 * 4)
    for start in range(0, draws, rows):
        bits = rng.integers(0, 256, size=(min(rows, draws - start), -(-k // 8)), dtype=np.uint8)
        reached += _reached(sums, differs, np.unpackbits(bits, axis=1, count=k))
    better, worse = (reached + 1) / (draws + 1)
    return float(better), float(worse), "swap_monte_carlo"


def _reached(sums: Floats, differs: np.ndarray, swaps: np.ndarray) -> Floats:
    """Count the swaps, `(n_swaps, n_differing)` of 0/1, whose statistic is at least, and at most, the observed one."""
    moments = _moments(sums)
    change = _moments(sums[differs][:, _SWAP]) - moments[differs]
    observed = float(_statistic(moments.sum(axis=0)[None, :])[0])
    swapped = _statistic(moments.sum(axis=0) + swaps.astype(np.float64) @ change)
    near = 1e-9 * abs(observed)
    return np.array([(swapped >= observed - near).sum(), (swapped <= observed + near).sum()], dtype=np.float64)


def _moments(sums: Floats) -> Floats:
    return np.concatenate([sums, np.stack([sums[:, i] * sums[:, j] for i, j in _PAIRS], axis=1)], axis=1)


def _statistic(moments: Floats) -> Floats:
    """Squared difference over itself plus its linearised variance, with its sign, from summed moments `(n, 14)`.

    It rises with Student's t, in [-1, 1], but has no pole where all clusters differ alike.
    """
    first, second = moments[:, :4], dict(zip(_PAIRS, moments[:, 4:].T, strict=True))
    a_den, b_den = (np.where(den > 0, den, 1.0) for den in (first[:, 1], first[:, 3]))  # 0 / 0 is 0
    a, b = first[:, 0] / a_den, first[:, 2] / b_den
    weights = [-1 / a_den, a / a_den, 1 / b_den, -b / b_den]
    variance = sum((1 if i == j else 2) * weights[i] * weights[j] * second[i, j] for i, j in _PAIRS)
    squared = (b - a) ** 2
    whole = squared + np.maximum(variance, 0.0)
    return np.asarray(np.sign(b - a) * squared / np.where(whole > 0, whole, 1.0))
