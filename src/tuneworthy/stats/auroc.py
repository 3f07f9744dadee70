"""How well a number tells two kinds of cases apart: the area under the ROC curve, with an interval.

Source: DeLong, DeLong, Clarke-Pearson 1988 (variance from placements); the interval is taken on the logit scale, where
it stays inside 0 and 1 and covers well at small n (Pepe 2003, section 5.2.5).
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


def auroc(values: np.ndarray, yes: np.ndarray, *, alpha: float = 0.05) -> Auroc:
    """Return the area of `values` for telling the cases that are `yes` (higher values) from the others.

    Args:
        values: `(n,)`, finite.
        yes: `(n,)` of bool.
        alpha: 1 less the coverage.

    Raises:
        ValueError: All cases are of one kind.

    >>> auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).area
    0.75
    """
    a, b = np.asarray(values, dtype=float)[yes], np.asarray(values, dtype=float)[~yes]
    m, n = len(a), len(b)
    if not m or not n:
        raise ValueError(f"expected cases of both kinds, got {m} and {n}")
    above_a = _placements(a, b)
    above_b = 1 - _placements(b, a)
    area = float(above_a.mean())
    variance = (above_a.var(ddof=1) / m if m > 1 else 0.25) + (above_b.var(ddof=1) / n if n > 1 else 0.25)
    inside = min(max(area, 0.5 / (m * n)), 1 - 0.5 / (m * n))
    least = inside * (1 - inside) / (m * n)  # where no pair is out of order the sample shows no variance
    error = math.sqrt(max(float(variance), least)) / (inside * (1 - inside))
    centre, z = math.log(inside / (1 - inside)), _normal_quantile(1 - alpha / 2)
    lo, hi = (1 / (1 + math.exp(-(centre + sign * z * error))) for sign in (-1, 1))
    return Auroc(area=area, lo=min(lo, area), hi=max(hi, area), n_yes=m, n_no=n, alpha=alpha)


def _placements(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return for each of `a` the share of `b` below it, ties counted half, `(len(a),)`."""
    ranked = np.sort(b)
    return np.asarray((np.searchsorted(ranked, a, "left") + np.searchsorted(ranked, a, "right")) / (2 * len(b)))


def _normal_quantile(p: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(p))
