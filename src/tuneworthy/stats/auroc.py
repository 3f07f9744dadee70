"""The area under the ROC curve with an interval: of one score in groups, and of several that were cross-validated.

The area is the chance that a row of the one class has a higher score than a row of the other; ties count half.

Sources: DeLong, DeLong and Clarke-Pearson 1988 (variance and covariance from placements); Obuchowski 1997 (the same
where cases come in groups); Pepe 2003, section 5.2.5 (the interval on the logit scale, which stays inside 0 and 1 and
covers well at small n); LeDell, Petersen and van der Laan 2015 (mean over folds); Nadeau and Bengio 2003 (variance
over folds).
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from tuneworthy.arrays import Bools, Bounds, Floats, Ints

from .arguments import checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Auroc:
    """An area with its interval.

    Attributes:
        area: Share of pairs (a case with the property, one without) that the number orders rightly; ties count half.
        lo: Lower end of the interval.
        hi: Upper end.
        n_yes: Cases with the property.
        n_no: Cases without it.
        alpha: 1 less the coverage.
    """

    area: float
    lo: float
    hi: float
    n_yes: int
    n_no: int
    alpha: float


@checked
def roc_area(values: ArrayLike, yes: ArrayLike, *, groups: ArrayLike | None = None, alpha: float = 0.05) -> Auroc:
    """Return the area under the ROC curve of `values`, higher for the cases that are `yes`, with its interval.

    Args:
        values: `(n,)`, finite.
        yes: `(n,)` of bool.
        groups: Group per case, `(n,)`; cases of a group vary together. None: every case varies independently.
        alpha: 1 less the coverage.

    Raises:
        ValueError: A value is not finite, the lengths differ, or all cases are of one kind.

    Source: DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44:837); Obuchowski 1997 (Biometrics 53:567).

    >>> stats.roc_area([0.1, 0.4, 0.35, 0.8], [False, False, True, True]).area
    0.75
    """
    values, yes = np.asarray(values, dtype=float), np.asarray(yes, dtype=bool)
    a, b = values[yes], values[~yes]
    m, n = len(a), len(b)
    if not m or not n:
        raise ValueError(f"yes must have both kinds of rows, got {m} True and {n} False")
    above_a = _placements(a, b)
    above_b = 1 - _placements(b, a)
    area = float(above_a.mean())
    _, numbers = np.unique(np.arange(m + n) if groups is None else groups, return_inverse=True)
    variance = _variance(above_a - area, above_b - area, numbers[yes], numbers[~yes])
    pairs = len(np.unique(numbers[yes])) * len(np.unique(numbers[~yes]))
    inside = min(max(area, 0.5 / pairs), 1 - 0.5 / pairs)
    least = inside * (1 - inside) / pairs  # where no pair is out of order the sample shows no variance
    error = math.sqrt(max(variance, least)) / (inside * (1 - inside))
    centre, z = math.log(inside / (1 - inside)), float(scipy.special.ndtri(1 - alpha / 2))
    lo, hi = (1 / (1 + math.exp(-(centre + sign * z * error))) for sign in (-1, 1))
    return Auroc(area=area, lo=min(lo, area), hi=max(hi, area), n_yes=m, n_no=n, alpha=alpha)


@dataclass(frozen=True, slots=True)
class Areas:
    """Areas of several scores of the same rows.

    Attributes:
        values: ``(n_scores,)``.
        covariance: Covariance of the estimates, ``(n_scores, n_scores)``.
    """

    values: Floats
    covariance: Floats

    def interval(self, score: int = 0, alpha: float = 0.05) -> Bounds:
        """Return the two-sided interval of one area, inside 0..1."""
        return _interval(float(self.values[score]), float(self.covariance[score, score]), alpha, 0.0)

    def difference(self, one: int, other: int, alpha: float = 0.05) -> Bounds:
        """Return the two-sided interval of the area of `one` minus that of `other`, inside -1..1."""
        c = self.covariance
        variance = float(c[one, one] + c[other, other] - 2 * c[one, other])
        return _interval(float(self.values[one] - self.values[other]), variance, alpha, -1.0)


def _interval(value: float, variance: float, alpha: float, lowest: float) -> Bounds:
    half = float(scipy.special.ndtri(1 - alpha / 2)) * max(0.0, variance) ** 0.5
    return max(lowest, value - half), min(1.0, value + half)


def areas(scores: Floats, positive: Bools) -> Areas:
    """Return the areas of `scores` and the covariance of their estimates.

    Args:
        scores: ``(n_scores, n_rows)``, higher for the positive class.
        positive: ``(n_rows,)``; both classes must have at least two rows.

    >>> areas(np.array([[1.0, 2, 3, 4]]), np.array([False, True, False, True])).values.tolist()
    [0.75]
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        raise ValueError(f"expected at least 2 rows of each class, got {m} and {n}")
    above = np.array([_placements(row[positive], row[~positive]) for row in scores])
    below = np.array([1 - _placements(row[~positive], row[positive]) for row in scores])
    return Areas(above.mean(axis=1), np.atleast_2d(np.cov(above)) / m + np.atleast_2d(np.cov(below)) / n)


def fold_areas(scores: Floats, positive: Bools, folds: Ints) -> Areas:
    """Return the areas of out-of-fold `scores`: means over the folds, weighted by their pairs.

    The models of the folds share most of their training rows, so the folds vary together: the variance of their mean
    is corrected as Nadeau and Bengio do (by 1 + k / (k - 1) for k folds).

    Args:
        scores: ``(n_scores, n_rows)``.
        positive: ``(n_rows,)``.
        folds: Fold number per row, ``(n_rows,)``; one with fewer than two rows of a class does not count.

    Raises:
        ValueError: No fold counts.
    """
    found, weights = [], []
    for fold in np.unique(folds):
        inside = folds == fold
        m, n = int(positive[inside].sum()), int((~positive[inside]).sum())
        if min(m, n) >= 2:
            found.append(areas(scores[:, inside], positive[inside]))
            weights.append(m * n)
    if not found:
        raise ValueError("expected a fold with at least 2 rows of each class, got none")
    share = np.array(weights) / sum(weights)
    values = sum(w * one.values for w, one in zip(share, found, strict=True))
    covariance = sum(w * w * one.covariance for w, one in zip(share, found, strict=True))
    k = len(found)
    return Areas(np.asarray(values), np.asarray(covariance) * (1 + k / max(1, k - 1)))


def _placements(a: np.ndarray, b: np.ndarray) -> np.ndarray:
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
