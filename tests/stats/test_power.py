"""Power and sample sizes: the table of facts.md section D, recomputed."""

import numpy as np
import pytest
from scipy.stats import binom

from tuneworthy.stats import mcnemar_p_value, power
from tuneworthy.stats.power import (
    detectable,
    mcnemar_mde,
    mcnemar_power,
    n_for_difference,
    n_for_non_inferiority,
)


@pytest.mark.parametrize(
    ("n", "points"), [(50, (19, 23, 28.5)), (100, (11, 14.5, 18)), (200, (7, 9, 11.5)), (400, (4.5, 6, 8))]
)
def test_detectable_differences_are_those_of_the_facts(n, points):
    found = [100 * mcnemar_mde(n, loss) for loss in (0.02, 0.05, 0.10)]
    half_points = [np.ceil(2 * (x - 0.02)) / 2 for x in found]  # the facts round up to half a point
    assert half_points == list(points)


@pytest.mark.parametrize(("n", "percent"), [(50, 6), (100, 26), (200, 60), (400, 91)])
def test_power_for_a_regression_of_five_points(n, percent):
    assert round(100 * mcnemar_power(n, loss=0.07, gain=0.02)) == percent


def test_power_equals_a_sum_over_all_tables():
    n, loss, gain, alpha = 40, 0.1, 0.25, 0.02
    chance = sum(
        binom.pmf(m, n, loss + gain) * binom.pmf(k, m, gain / (loss + gain))
        for m in range(n + 1)
        for k in range(m + 1)
        if mcnemar_p_value(k, m - k) <= alpha
    )
    assert mcnemar_power(n, loss, gain, alpha) == pytest.approx(chance, abs=1e-12)


def test_without_a_difference_the_power_is_at_most_alpha():
    for alpha in (0.05, 0.0067):
        for rate in (0.01, 0.05, 0.2, 0.5):
            assert mcnemar_power(300, rate, rate, alpha) <= alpha


def test_non_inferiority_sizes_are_those_of_the_facts():
    sizes = [[n_for_non_inferiority(margin, d) for d in (0.05, 0.1, 0.2)] for margin in (0.05, 0.03, 0.02)]
    assert sizes == [[124, 248, 495], [344, 687, 1374], [773, 1546, 3092]]  # the facts round 687 and 1374 up


def test_n_for_difference_has_the_power_and_one_less_has_not():
    n = n_for_difference(loss=0.05, gain=0.15)
    assert mcnemar_power(n, 0.05, 0.15) >= 0.8 > mcnemar_power(n - 1, 0.05, 0.15)


@pytest.mark.parametrize(
    ("loss", "gain", "alpha", "n"),
    [(0.05, 0.1, 0.05, 498), (0.02, 0.05, 0.0067, 1007), (0.05, 0.08, 1e-4, 3263), (0.1, 0.12, 0.05, 4407)],
)
def test_sizes_are_those_that_sums_over_all_counts_gave(loss, gain, alpha, n):
    assert n_for_difference(loss, gain, alpha) == n


def test_the_power_of_many_cases_takes_the_likely_counts_alone(monkeypatch):
    counts = []
    monkeypatch.setattr(power, "_largest_rejected", lambda m, alpha: counts.append(len(m)) or np.full(len(m), -1))
    mcnemar_power(1_000_000, 0.05, 0.06)
    assert counts[0] < 10_000


def test_detectable_grows_with_the_design_effect_and_may_be_infinite():
    assert detectable(300, 0.0067) == pytest.approx(0.09, abs=0.001)
    assert detectable(300, 0.0067, design_effect=7.3) == detectable(41, 0.0067) > 0.25
    assert detectable(5, 0.0067) == float("inf")


def test_impossible_rates_are_refused():
    with pytest.raises(ValueError, match="at most 1"):
        mcnemar_power(50, 0.6, 0.6)
    with pytest.raises(ValueError, match="no n has power"):
        n_for_difference(0.1, 0.1)
    with pytest.raises(ValueError, match="margin"):
        n_for_non_inferiority(0, 0.1)
