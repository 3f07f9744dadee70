"""Areas under the ROC curve against scikit-learn and DeLong's own definition; intervals by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tuneworthy.stats.auroc import areas, fold_areas


def drawn(n: int, gap: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 3 == 0
    one = rng.normal(size=n) + gap * positive
    return np.stack([one, np.round(one + rng.normal(size=n))]), positive


def test_the_areas_are_those_of_scikit_learn_ties_included() -> None:
    scores, positive = drawn(200, 0.8, 1)
    expected = [roc_auc_score(positive, row) for row in scores]
    assert areas(scores, positive).values == pytest.approx(expected, abs=1e-12)


def test_the_covariance_is_that_of_delong_written_out() -> None:
    scores, positive = drawn(60, 0.8, 2)

    def wins(a: float, b: float) -> float:
        return 1.0 if a > b else 0.5 if a == b else 0.0

    above = [[np.mean([wins(x, y) for y in row[~positive]]) for x in row[positive]] for row in scores]
    below = [[np.mean([wins(x, y) for x in row[positive]]) for y in row[~positive]] for row in scores]
    expected = np.cov(above) / positive.sum() + np.cov(below) / (~positive).sum()
    assert areas(scores, positive).covariance == pytest.approx(expected, abs=1e-12)


def test_the_interval_covers_the_true_area_about_95_times_in_100() -> None:
    true = 0.7602  # two normals one standard deviation apart: Phi(1 / sqrt 2)
    hits = [
        low <= true <= high
        for seed in range(400)
        for low, high in [areas(drawn(120, 1.0, seed)[0], drawn(120, 1.0, seed)[1]).interval()]
    ]
    assert 0.92 <= np.mean(hits) <= 0.975


def test_folds_are_never_compared_with_one_another() -> None:
    scores, positive = drawn(200, 1.0, 3)
    folds = np.arange(200) % 5
    shifted = scores + 100 * folds
    assert fold_areas(shifted, positive, folds).values == pytest.approx(fold_areas(scores, positive, folds).values)
    assert areas(shifted, positive).values[0] < areas(scores, positive).values[0]


def test_a_score_does_not_differ_from_itself_and_a_worse_one_does() -> None:
    scores, positive = drawn(400, 1.5, 4)
    noise = np.random.default_rng(5).normal(size=400)
    found = areas(np.stack([scores[0], scores[0], noise]), positive)
    assert found.difference(0, 1) == (0.0, 0.0)
    assert found.difference(0, 2)[0] > 0.2


def test_a_class_of_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 rows of each class, got 1 and 3"):
        areas(np.zeros((1, 4)), np.array([True, False, False, False]))
    with pytest.raises(ValueError, match="expected a fold"):
        fold_areas(np.zeros((1, 4)), np.array([True, False, False, False]), np.zeros(4, np.int64))
