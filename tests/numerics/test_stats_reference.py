"""Intervals and tests against scipy, statsmodels and brute force; tolerances are beside each comparison."""

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, binomtest, norm, permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from tuneworthy.stats.difference import tango_interval
from tuneworthy.stats.intervals import clopper_pearson, lower_bound, upper_bound, wilson
from tuneworthy.stats.paired import compare, mcnemar_p_value, swap_p_values
from tuneworthy.stats.power import paired_power

COUNTS = [(0, 1), (1, 1), (0, 50), (3, 50), (25, 50), (49, 50), (50, 50), (640, 800)]
ALPHAS = [0.05, 0.0067, 0.2]


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_binomial_intervals_equal_scipy_and_statsmodels(k, n, alpha):
    for ours, scipy_name, sm_name in [(wilson, "wilson", "wilson"), (clopper_pearson, "exact", "beta")]:
        theirs = binomtest(k, n).proportion_ci(1 - alpha, method=scipy_name)
        np.testing.assert_allclose(ours(k, n, alpha), (theirs.low, theirs.high), atol=1e-9)
        np.testing.assert_allclose(ours(k, n, alpha), proportion_confint(k, n, alpha, method=sm_name), atol=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_one_sided_bounds_equal_scipy(k, n, alpha):
    low = binomtest(k, n, alternative="greater").proportion_ci(1 - alpha).low
    high = binomtest(k, n, alternative="less").proportion_ci(1 - alpha).high
    np.testing.assert_allclose((lower_bound(k, n, alpha), upper_bound(k, n, alpha)), (low, high), atol=1e-9)


@pytest.mark.parametrize(("gains", "losses"), [(5, 0), (6, 0), (9, 3), (3, 9), (40, 21)])
def test_mcnemar_equals_statsmodels_and_scipy_less_half_of_the_table_itself(gains, losses):
    table = binom.pmf(gains, gains + losses, 0.5)
    exact = binomtest(gains, gains + losses, alternative="greater").pvalue
    assert mcnemar_p_value(gains, losses) == pytest.approx(exact - table / 2, abs=1e-12)
    two_sided = mcnemar([[10, gains], [losses, 20]], exact=True).pvalue
    one_sided = min(mcnemar_p_value(gains, losses), mcnemar_p_value(losses, gains))
    assert 2 * one_sided == pytest.approx(two_sided - table, abs=1e-12)


def test_mcnemar_equals_the_published_mid_p_values():
    """Fagerland, Lydersen, Laake 2013, table 1: airway hyper-responsiveness of 21 children, 7 against 1: 0.039."""
    assert round(2 * mcnemar_p_value(7, 1), 3) == 0.039


def test_mcnemar_keeps_its_level_within_four_per_cent_of_it():
    """Exact sizes over all shares of cases that differ; the exact test stays more than a tenth below its level."""
    for alpha in (0.05, 0.02, 0.0133, 0.008, 0.0067, 0.0025, 0.001):
        sizes = [
            paired_power(n, d / 2, d / 2, alpha) for n in (30, 50, 80, 200, 300) for d in np.arange(0.02, 0.92, 0.04)
        ]
        assert 0.96 * alpha < max(sizes) < 1.04 * alpha


def tango_by_likelihood(gains, losses, n, delta):
    """Tango's statistic with the nuisance rate found by maximising the trinomial likelihood."""

    def minus_log_likelihood(loss):
        cells = np.array([loss + delta, loss, 1 - 2 * loss - delta])
        return -(np.array([gains, losses, n - gains - losses]) * np.log(np.maximum(cells, 1e-300))).sum()

    bounds = (max(0.0, -delta), (1 - delta) / 2)
    loss = minimize_scalar(minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    return (gains - losses - n * delta) / np.sqrt(n * (2 * loss + delta - delta**2))


@pytest.mark.parametrize(("gains", "losses", "n"), [(16, 2, 50), (2, 16, 50), (9, 5, 44), (1, 0, 300), (30, 31, 100)])
def test_tango_equals_the_score_statistic_at_the_maximised_likelihood(gains, losses, n):
    z, estimate = norm.isf(0.025), (gains - losses) / n
    lo = brentq(lambda d: tango_by_likelihood(gains, losses, n, d) - z, -0.9, estimate)
    hi = brentq(lambda d: tango_by_likelihood(gains, losses, n, d) + z, estimate, 0.9)
    np.testing.assert_allclose(tango_interval(gains, losses, n, 0.05), (lo, hi), atol=1e-5)


def test_tango_without_discordant_cases_has_its_closed_form():
    z2 = norm.isf(0.025) ** 2
    np.testing.assert_allclose(tango_interval(0, 0, 100), (-z2 / (100 + z2), z2 / (100 + z2)), atol=1e-8)


def test_the_exact_swap_test_equals_scipys_permutation_test():
    rng = np.random.default_rng(3)
    a, b = rng.random(12), rng.random(12) + 0.15
    a, b = np.minimum(a, 1), np.minimum(b, 1)
    ours = compare(a, np.ones(12), b, np.ones(12))
    for p_value, side in ((ours.p_value, "greater"), (ours.p_worse, "less")):
        theirs = permutation_test(
            (b, a), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf, alternative=side
        )
        assert p_value == pytest.approx(theirs.pvalue, abs=1e-12)


def test_the_monte_carlo_swap_test_nears_the_exact_one(monkeypatch):
    rng = np.random.default_rng(4)
    ones = np.ones(13)
    sums = np.stack([rng.random(13), ones, np.minimum(1, rng.random(13) + 0.2), ones], axis=1)
    *exact, method = swap_p_values(sums)
    monkeypatch.setattr("tuneworthy.stats.paired.EXACT_CLUSTERS", 0)
    *near, monte_carlo = swap_p_values(sums)
    assert (method, monte_carlo) == ("swap_exact", "swap_monte_carlo")
    assert near == pytest.approx(exact, abs=4 * np.sqrt(max(exact) / 10_000))
