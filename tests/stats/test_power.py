"""Power and sample sizes: sums over all tables, and what they gave once."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from tuneworthy.stats import non_inferiority, power
from tuneworthy.stats.paired import mcnemar_p_value
from tuneworthy.stats.power import (
    detectable_gain,
    n_for_gain,
    n_for_non_inferiority,
    paired_power,
    sample_size,
)


def chance(n, loss, gain, alpha):
    """Chance that the one-sided mid-p test rejects, by scipy alone."""
    found = 0.0
    for m in range(1, n + 1):
        k = np.arange(m + 1)
        p_values = binom.sf(k, m, 0.5) + binom.pmf(k, m, 0.5) / 2
        found += binom.pmf(m, n, loss + gain) * binom.pmf(k, m, gain / (loss + gain))[p_values <= alpha].sum()
    return found


@pytest.mark.parametrize(
    ("n", "loss", "gain", "alpha"), [(200, 0.05, 0.13, 0.008), (60, 0.1, 0.3, 0.05), (20, 0, 0.2, 0.01)]
)
def test_power_equals_that_of_scipys_binomial(n, loss, gain, alpha):
    assert paired_power(n, loss, gain, alpha) == pytest.approx(chance(n, loss, gain, alpha), abs=1e-12)


@pytest.mark.parametrize(
    ("n", "facts"), [(50, (19, 23, 28.5)), (100, (11, 14.5, 18)), (200, (7, 9, 11.5)), (400, (4.5, 6, 8))]
)
def test_mid_p_detects_a_little_less_than_the_exact_test_of_the_facts(n, facts):
    """The facts are of the exact two-sided test at 5 %, and rounded up to half a point."""
    found = [100 * detectable_gain(n, 0.025, loss=loss) for loss in (0.02, 0.05, 0.10)]
    assert all(0.85 * theirs < ours < theirs for ours, theirs in zip(found, facts, strict=True))


def test_power_equals_a_sum_over_all_tables():
    n, loss, gain, alpha = 40, 0.1, 0.25, 0.02
    chance = sum(
        binom.pmf(m, n, loss + gain) * binom.pmf(k, m, gain / (loss + gain))
        for m in range(n + 1)
        for k in range(m + 1)
        if mcnemar_p_value(k, m - k) <= alpha
    )
    assert paired_power(n, loss, gain, alpha) == pytest.approx(chance, abs=1e-12)


def test_without_a_difference_the_power_is_at_most_alpha():
    for alpha in (0.05, 0.0067):
        for rate in (0.01, 0.05, 0.2, 0.5):
            assert paired_power(300, rate, rate, alpha) <= alpha * 1.02


@pytest.mark.parametrize("rate", [0.01, 0.025, 0.05])
def test_a_size_for_no_worse_has_the_power_of_the_test_of_no_worse(rate):
    n, found = sample_size(rate, rate, margin=0.05), 0.0
    assert n == n_for_non_inferiority(0.05, 2 * rate)
    counts = range(int(n * rate + 6 * np.sqrt(n * rate)) + 2)
    for gains, losses in product(counts, counts):
        a = np.r_[np.zeros(gains), np.ones(losses), np.zeros(n - gains - losses)]
        b = np.r_[np.ones(gains), np.zeros(losses), np.zeros(n - gains - losses)]
        if losses - gains < 0.05 * n and non_inferiority(a, b, 0.05).holds:
            found += multinomial.pmf([gains, losses, n - gains - losses], n, [rate, rate, 1 - 2 * rate])
    assert 0.78 < found < 0.88  # counts are whole numbers, so that power jumps by a few points


def test_without_cases_that_differ_no_worse_needs_the_rows_that_show_it():
    n = sample_size(0.0, 0.0, margin=0.05)
    same = [np.ones(size) for size in (n, n - 3)]
    assert [non_inferiority(one, one, 0.05).holds for one in same] == [True, False]


def test_n_for_difference_has_the_power_and_one_less_has_not():
    n = sample_size(loss=0.05, gain=0.15)
    assert paired_power(n, 0.05, 0.15) >= 0.8 > paired_power(n - 1, 0.05, 0.15)


@pytest.mark.parametrize(
    ("loss", "gain", "alpha", "n"),
    [(0.05, 0.1, 0.05, 363), (0.02, 0.05, 0.0067, 828), (0.05, 0.08, 1e-4, 2977), (0.1, 0.12, 0.05, 3396)],
)
def test_sizes_are_those_that_sums_over_all_counts_gave(loss, gain, alpha, n):
    assert sample_size(loss, gain, alpha) == n


def test_a_size_has_its_power_by_scipy_and_one_case_less_has_not():
    assert chance(363, 0.05, 0.1, 0.05) >= 0.8 > chance(362, 0.05, 0.1, 0.05)


def test_the_power_of_many_cases_takes_the_likely_counts_alone(monkeypatch):
    counts = []
    monkeypatch.setattr(power, "_most_losses", lambda m, alpha: counts.append(len(m)) or np.full(len(m), -1))
    paired_power(1_000_000, 0.05, 0.06)
    assert counts[0] < 10_000


def test_detectable_grows_with_the_design_effect_and_may_be_infinite():
    assert detectable_gain(300, 0.0067) == pytest.approx(0.08, abs=0.001)
    assert detectable_gain(300, 0.0067, design_effect=7.3) == detectable_gain(41, 0.0067) > 0.25
    assert detectable_gain(5, 0.0067) == float("inf")


@pytest.mark.parametrize(("n", "difference"), [(50, 0.208), (100, 0.131), (200, 0.083), (400, 0.054)])
def test_detectable_differences_are_those_of_the_one_sided_test(n, difference):
    assert detectable_gain(n, 0.025) == pytest.approx(difference, abs=0.001)


def test_a_larger_margin_needs_fewer_cases_for_a_gain_and_a_tiny_one_more_than_anyone_labels():
    assert n_for_gain(0.05, 0.05) == sample_size(0.05, 0.1, 0.05) > n_for_gain(0.1, 0.05)
    assert n_for_gain(0.001, 0.05) is None


def test_impossible_rates_are_refused():
    with pytest.raises(ValueError, match="at most 1"):
        paired_power(50, 0.6, 0.6)
    with pytest.raises(ValueError, match="above loss"):
        sample_size(0.1, 0.1)
    with pytest.raises(ValueError, match="above loss"):
        sample_size(0.2, 0.1)
    with pytest.raises(ValueError, match="margin"):
        n_for_non_inferiority(0, 0.1)
    with pytest.raises(ValueError, match="margin"):
        sample_size(0.2, 0.1, margin=0.05)
    assert sample_size(0.05, 0.06, margin=0.05) < sample_size(0.05, 0.05, margin=0.05)
