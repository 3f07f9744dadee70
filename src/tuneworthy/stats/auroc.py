"""How well a number tells two kinds of cases apart: the area under the ROC curve, with an interval.

Source: DeLong, DeLong, Clarke-Pearson 1988 (variance from placements); Obuchowski 1997 (the same where cases come in
groups); the interval is taken on the logit scale, where it stays inside 0 and 1 and covers well at small n (Pepe 2003,
section 5.2.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Auroc:
    """An area with its interval.

    Attributes:
        area: Share of pairs (a case with the property, one without) that the number orders rightly; ties count half.
        lo, hi: Ends of the interval. n_yes, n_no: Cases with and without the property.
    """

    area: float
    lo: float
    hi: float
    n_yes: int
    n_no: int
    alpha: float


def auroc(values: np.ndarray, yes: np.ndarray, *, groups: np.ndarray | None = None, alpha: float = 0.05) -> Auroc:
    """Return the area of `values` for telling the cases that are `yes` (higher values) from the others.

    Args:
        values: `(n,)`, finite.
        yes: `(n,)` of bool.
        groups: Group of each case, `(n,)`; cases of one group vary together. None: each varies alone.
        alpha: 1 less the coverage.

    Raises:
        ValueError: All cases are of one kind.

    >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).area
    0.75
    """
    values, yes = np.asarray(values, dtype=float), np.asarray(yes, dtype=bool)
    a, b = values[yes], values[~yes]
    m, n = len(a), len(b)
    if not m or not n:
        raise ValueError(f"expected cases of both kinds, got {m} and {n}")
    above_a = _placements(a, b)
    above_b = 1 - _placements(b, a)
    area = float(above_a.mean())
    _, numbers = np.unique(np.arange(m + n) if groups is None else groups, return_inverse=True)
    variance = _variance(above_a - area, above_b - area, numbers[yes], numbers[~yes])
    pairs = len(np.unique(numbers[yes])) * len(np.unique(numbers[~yes]))
    inside = min(max(area, 0.5 / pairs), 1 - 0.5 / pairs)
    least = inside * (1 - inside) / pairs  # where no pair is out of order the sample shows no variance
    error = math.sqrt(max(variance, least)) / (inside * (1 - inside))
    centre, z = math.log(inside / (1 - inside)), _normal_quantile(1 - alpha / 2)
    lo, hi = (1 / (1 + math.exp(-(centre + sign * z * error))) for sign in (-1, 1))
    return Auroc(area=area, lo=min(lo, area), hi=max(hi, area), n_yes=m, n_no=n, alpha=alpha)


def _placements(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return for each of `a` the share of `b` below it, ties counted half, `(len(a),)`."""
    ranked = np.sort(b)
    return np.asarray((np.searchsorted(ranked, a, "left") + np.searchsorted(ranked, a, "right")) / (2 * len(b)))


def _variance(off_a: np.ndarray, off_b: np.ndarray, of_a: np.ndarray, of_b: np.ndarray) -> float:
    """Return the variance of an area from placements less their mean, summed by group, and the groups they are of."""
    n_groups = int(max(of_a.max(), of_b.max())) + 1
    a = np.bincount(of_a, off_a, n_groups) / len(off_a)
    b = np.bincount(of_b, off_b, n_groups) / len(off_b)
    parts = [0.25 if k < 2 else k / (k - 1) * float(sums @ sums)
             for k, sums in ((len(np.unique(of_a)), a), (len(np.unique(of_b)), b))]  # fmt: skip
    return sum(parts) + 2 * n_groups / max(1, n_groups - 1) * float(a @ b)


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))
