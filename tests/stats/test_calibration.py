"""What probabilities are worth: against scikit-learn, against known answers, and against a calibrated world."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from tuneworthy.stats.calibration import BINS, calibration


def drawn(n: int, labels: int = 4, sharpness: float = 3.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and right answers that follow them exactly."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(n, labels))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return shares, np.array([rng.choice(labels, p=row) for row in shares])


def test_the_brier_score_is_that_of_scikit_learn() -> None:
    shares, right = drawn(200)
    names = ["a", "b", "c", "d"]
    theirs = np.mean([
        brier_score_loss(right == label, shares[:, label]) for label in range(len(names))
    ]) * len(names)  # fmt: skip
    assert calibration(shares, right).brier == pytest.approx(theirs)


def test_the_error_is_the_mean_gap_over_the_bins() -> None:
    shares, right = drawn(500, sharpness=1.0)
    confidence, hits = shares.max(axis=1), shares.argmax(axis=1) == right
    edges, total = np.linspace(0, 1, BINS + 1), 0.0
    for low, high in pairwise(edges):
        inside = (confidence >= low) & (confidence < high if high < 1 else confidence <= 1)
        if inside.any():
            total += inside.sum() * abs(hits[inside].mean() - confidence[inside].mean())
    assert calibration(shares, right).ece == pytest.approx(total / len(right))


def test_a_calibrated_classifier_stays_below_chance_and_an_overconfident_one_does_not() -> None:
    below = [(found := calibration(*drawn(150, seed=seed))).ece < found.ece_by_chance for seed in range(200)]
    assert 0.9 <= np.mean(below) <= 0.99
    shares, right = drawn(150, sharpness=1.0)
    sure = shares**4 / (shares**4).sum(axis=1, keepdims=True)
    found = calibration(sure, right)
    assert found.ece > found.ece_by_chance
    assert found.confidence > found.coverage[-1].accuracy


@pytest.mark.slow
def test_the_interval_of_the_brier_score_covers_its_mean() -> None:
    truth = calibration(*drawn(40_000, seed=9)).brier
    covered = [
        low <= truth <= high for seed in range(300) for low, high in [calibration(*drawn(80, seed=seed)).brier_ci95]
    ]
    assert np.mean(covered) > 0.9


def test_accuracy_at_coverage_takes_the_surest_and_shares_out_ties() -> None:
    shares = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]]
    half, most, whole = calibration(shares, [0, 1, 0, 1]).coverage
    assert (half.n, half.accuracy) == (2, 0.5)
    assert (most.n, most.accuracy) == (4, 0.5)
    assert whole.accuracy == 0.5
    tied = calibration([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.6, 0.4]], [0, 0, 1, 1]).coverage[0]
    assert tied.accuracy == pytest.approx((1 + 1 / 3) / 2)


def test_a_right_answer_that_is_no_label_has_probability_zero() -> None:
    assert calibration([[0.7, 0.3]], [-1]).brier == pytest.approx(0.49 + 0.09 + 1)


def test_rows_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        calibration([[0.7, 0.7]], [0])
    with pytest.raises(ValueError, match="sum to 1"):
        calibration(np.zeros((0, 2)), [])
