"""Scores as ratios: a case contributes a numerator and a denominator, clusters contribute their sums.

A mean score is `sum(num) / sum(den)` with `den = 1`; micro F1 is `sum(2tp) / sum(2tp + fp + fn)`. Both lie in
[0, 1], and everything in this package keeps `0 <= num <= den`.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuneworthy.arrays import Bounds, FloatPair, Floats

# Fewer effective groups than this show nothing: no interval of theirs can be trusted.
LEAST_GROUPS = 20


def as_ratio(num: ArrayLike, den: ArrayLike) -> FloatPair:
    """Check the contributions of one variant.

    Args:
        num: `(n_cases,)`, each in [0, den].
        den: `(n_cases,)`, each at least 0, not all 0.

    Raises:
        ValueError: if they are empty, of other shapes, not finite, outside [0, den], or if all of `den` is 0.
    """
    num, den = np.asarray(num, dtype=np.float64), np.asarray(den, dtype=np.float64)
    if num.ndim != 1 or num.shape != den.shape or num.size == 0:
        raise ValueError(f"expected two filled arrays of one shape (n_cases,), got {num.shape} and {den.shape}")
    if not (np.isfinite(num).all() and np.isfinite(den).all()):
        raise ValueError("scores must be finite; leave unscored cases out")
    if (num < -1e-9).any() or (num > den + 1e-9).any():
        raise ValueError("each score must lie between 0 and 1")
    if den.sum() <= 0:
        raise ValueError("all denominators are 0: the ratio is not defined")
    return np.clip(num, 0.0, den), den


def is_binary(num: Floats, den: Floats) -> bool:
    """Say whether every case is simply right (1) or wrong (0); arrays of one shape."""
    return bool((den == 1).all() and ((num == 0) | (num == 1)).all())


def shared_sources(groups: ArrayLike | None, n: int) -> NDArray[Any] | None:
    """Give the labels of the clusters of n cases, or None where every case has a source of its own.

    Raises:
        ValueError: `groups` is not `(n,)`.
    """
    if groups is None:
        return None
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must have shape {(n,)}, got {labels.shape}")
    return labels if len(np.unique(labels)) < labels.size else None


def effective_groups(groups: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return as how many clusters of one size these count: `(sum of sizes)**2 / sum of squared sizes`.

    Args:
        groups: `(n_cases,)` labels of cases that share a source.
        weights: `(n_cases,)` of the cases; equal if None.

    >>> effective_groups(["a", "b", "c", "d"]), effective_groups(["a", "a", "a", "b"])
    (4.0, 1.6)
    """
    _, places = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(places, weights=None if weights is None else np.asarray(weights))
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if sizes.size else 0.0


def clustered_variance(influence: Floats, groups: ArrayLike) -> Bounds:
    """Return the variance of the mean of `influence` over clusters of any sizes, and its degrees of freedom.

    It is the larger of two: that of the clusters' sums, and that of cases which all clusters correlate alike, as the
    spread within clusters shows. A large cluster that fails as a whole seldom does so in one test set: only the
    second variance can account for this. The correlation counts an additional cluster that fails as a whole, so
    that few failures do not prove independence. Large clusters count for less in the degrees of freedom.

    Args:
        influence: `(n_cases,)` of the cases on an estimate; their mean is 0.
        groups: `(n_cases,)` labels of cases that share a source.

    Source: Kish 1965, Survey Sampling, section 5.4, for the design effect.
    """
    _, index, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    n, k = influence.size, sizes.size
    sums, squares = np.bincount(index, influence), np.bincount(index, influence**2)
    total = float(squares.sum())
    df = max(1.0, effective_groups(groups) - 1)
    independent = float((sums**2).sum()) / n**2 * k / max(1, k - 1)
    if total <= 0 or k == n:
        return independent, df
    within = float((squares - sums**2 / sizes).sum()) / (n - k) * n / total
    telling = 1 / float(((squares / total) ** 2).sum())
    correlation = (min(1.0, max(0.0, 1 - within)) * telling + 1) / (telling + 1)
    alike = total / n * (n + correlation * float((sizes * (sizes - 1)).sum())) / n**2
    return max(independent, alike), df


def cluster_sums(columns: Floats, groups: ArrayLike | None) -> Floats:
    """Add up the cases by cluster: `(n_cases, k)` to `(n_clusters, k)`; without groups a case is a cluster."""
    if groups is None:
        return columns
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    return np.stack([np.bincount(index, weights=column) for column in columns.T], axis=1)
