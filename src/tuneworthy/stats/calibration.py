"""Calibration of a classifier's probabilities, and its accuracy at coverage.

Sources: Guo et al. 2017, "On Calibration of Modern Neural Networks" (expected calibration error, 15 bins of equal
width); Brier 1950; Bröcker and Smith 2007 (the error of a calibrated classifier at this n); El-Yaniv
and Wiener 2010 (accuracy at coverage).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from tuneworthy.arrays import Bounds, Floats

from .intervals import wilson

BINS = 15
COVERAGES = (0.5, 0.8, 1.0)
DRAWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Accuracy among the cases that a classifier is most sure of.

    Attributes:
        share: Of all cases, 0..1.
        n: Cases.
        accuracy: Cases at the edge that are equally sure count in proportion.
        ci95: Its 95 % interval (Wilson).
    """

    share: float
    n: int
    accuracy: float
    ci95: Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCalibration:
    """Calibration of the probabilities of all labels.

    Attributes:
        n: Cases.
        confidence: Mean probability of the label that was answered.
        ece: Expected calibration error: mean distance of confidence and accuracy over the bins.
        ece_by_chance: 95% quantile of a calibrated classifier with these confidences at this sample size.
        brier: Mean squared distance of the probabilities to the right answer, summed over the labels: 0 to 2.
        brier_ci95: Its 95 % interval.
        coverage: Accuracy at each share of `COVERAGES`.
    """

    n: int
    confidence: float
    ece: float
    ece_by_chance: float
    brier: float
    brier_ci95: Bounds
    coverage: Sequence[Coverage]


def calibration(probabilities: ArrayLike, right: ArrayLike, seed: int = 0) -> LabelCalibration:
    """Return what probabilities are worth, given the right labels.

    Args:
        probabilities: ``(n_cases, n_labels)``; rows sum to 1.
        right: ``(n_cases,)``, column of the right label; -1 if it is not among them, which counts as probability 0.
        seed: Of the draws for `ece_by_chance`.

    Raises:
        ValueError: There is no case, or a row does not sum to 1.

    >>> found = calibration([[0.9, 0.1], [0.6, 0.4]], [0, 1])
    >>> round(found.ece, 3), round(found.brier, 3), [row.accuracy for row in found.coverage]
    (0.35, 0.37, [1.0, 0.5, 0.5])
    """
    shares, at = np.asarray(probabilities, dtype=float), np.asarray(right, dtype=int)
    if not len(shares) or not np.allclose(shares.sum(axis=1), 1, atol=1e-6):
        raise ValueError("expected rows of probabilities that sum to 1")
    n = len(shares)
    confidence = shares.max(axis=1)
    hits = (shares.argmax(axis=1) == at).astype(float)
    brier = (shares**2).sum(axis=1) - 2 * np.where(at >= 0, shares[np.arange(n), at], 0.0) + 1
    half = 1.96 * float(brier.std(ddof=1)) / n**0.5 if n > 1 else 2.0
    drawn = np.random.default_rng(seed).random((DRAWS, n)) < confidence
    return LabelCalibration(
        n=n,
        confidence=float(confidence.mean()),
        ece=float(_ece(confidence, hits[None])[0]),
        ece_by_chance=float(np.quantile(_ece(confidence, drawn.astype(float)), 0.95)),
        brier=float(brier.mean()),
        brier_ci95=(max(0.0, float(brier.mean()) - half), min(2.0, float(brier.mean()) + half)),
        coverage=[_at(share, confidence, hits) for share in COVERAGES],
    )


def _ece(confidence: Floats, hits: Floats) -> Floats:
    """Return the expected calibration error per row of `hits`, ``(n_rows, n_cases)``."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.stack([(hits - confidence)[:, bins == one].sum(axis=1) for one in np.unique(bins)])
    return np.asarray(np.abs(gaps).sum(axis=0) / len(confidence))


def _at(share: float, confidence: Floats, hits: Floats) -> Coverage:
    n = ceil(share * len(confidence) - 1e-9)
    edge = np.sort(confidence)[-n]
    above, level = confidence > edge, confidence == edge
    right = float(hits[above].sum() + (n - above.sum()) * hits[level].mean())
    return Coverage(share=share, n=n, accuracy=right / n, ci95=wilson(right, n))
