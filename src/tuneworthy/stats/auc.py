"""The area under the ROC curve, with intervals that hold for scores that were cross-validated.

The area is the chance that a row of the one class has a higher score than a row of the other, ties as halves. Within a
fold the scores come from a model that has seen none of its rows, so the mean of the folds' areas is 1/2 where nothing
tells the classes apart; scores of several folds are never compared with one another.

Sources: DeLong, DeLong and Clarke-Pearson 1988 (variance of correlated areas); Sun and Xu 2014 (by ranks); LeDell,
Petersen and van der Laan 2015 (mean over folds); Nadeau and Bengio 2003 (variance over folds).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Areas:
    """Areas of several scores of the same rows.

    Attributes:
        values: ``(n_scores,)``. covariance: Of their estimates, ``(n_scores, n_scores)``.
    """

    values: Floats
    covariance: Floats

    def interval(self, score: int = 0, alpha: float = 0.05) -> tuple[float, float]:
        """Return the two-sided interval of one area, inside 0..1."""
        return _interval(float(self.values[score]), float(self.covariance[score, score]), alpha, 0.0)

    def difference(self, one: int, other: int, alpha: float = 0.05) -> tuple[float, float]:
        """Return the two-sided interval of the area of `one` minus that of `other`, inside -1..1."""
        c = self.covariance
        variance = float(c[one, one] + c[other, other] - 2 * c[one, other])
        return _interval(float(self.values[one] - self.values[other]), variance, alpha, -1.0)


def _interval(value: float, variance: float, alpha: float, lowest: float) -> tuple[float, float]:
    half = float(ndtri(1 - alpha / 2)) * max(0.0, variance) ** 0.5
    return max(lowest, value - half), min(1.0, value + half)


def areas(scores: Floats, positive: NDArray[np.bool_]) -> Areas:
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
    above = np.array([(_ranks(row)[positive] - _ranks(row[positive])) / n for row in scores])
    below = np.array([1 - (_ranks(row)[~positive] - _ranks(row[~positive])) / m for row in scores])
    covariance = np.atleast_2d(np.cov(above)) / m + np.atleast_2d(np.cov(below)) / n
    return Areas(above.mean(axis=1), covariance)


def fold_areas(scores: Floats, positive: NDArray[np.bool_], folds: NDArray[np.int64]) -> Areas:
    """Return the areas of out-of-fold `scores`: means over the folds, weighted by their pairs.

    The models of the folds share most of their training rows, so the folds vary together: the variance of their mean
    is corrected as Nadeau and Bengio do (by 1 + k / (k - 1) for k folds).

    Args:
        scores: ``(n_scores, n_rows)``.
        positive: ``(n_rows,)``.
        folds: Number of the fold of each row, ``(n_rows,)``; one with fewer than two rows of a class does not count.

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


def _ranks(values: Floats) -> Floats:
    """Return the ranks from 1, ties by their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: Floats = (ends - (counts - 1) / 2)[place]
    return means
