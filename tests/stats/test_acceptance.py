"""Acceptance plans: the figures of docs/evidence/facts.md#data, recomputed."""

import pytest
from scipy.stats import hypergeom

from tuneworthy.stats.acceptance import (
    attempt_alpha,
    lot_plan_size,
    most_allowed,
    operating_characteristic,
)


def test_the_articles_rule_of_48_of_50_rejects_good_data_half_the_time():
    rates = [operating_characteristic(50, 48, rate) for rate in (0.85, 0.90, 0.93, 0.95, 0.97, 0.99)]
    assert rates == pytest.approx([0.014, 0.11, 0.31, 0.54, 0.81, 0.986], abs=0.005)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="accept_at"):
        operating_characteristic(50, 51, 0.9)


def test_a_lot_plan_proves_its_bound_and_one_row_less_does_not():
    for lot, allowed, bad, alpha in [(900, 45, 0, 0.05), (120, 6, 2, 0.025), (5000, 250, 1, 0.003), (30, 1, 1, 0.05)]:
        n = lot_plan_size(lot, allowed, bad, alpha)
        assert hypergeom.cdf(bad, lot, allowed + 1, n) <= alpha < hypergeom.cdf(bad, lot, allowed + 1, n - 1)


def test_a_lot_plan_is_never_larger_than_that_of_an_endless_lot_and_meets_it():
    for bad, endless in enumerate((59, 93, 124, 153, 181)):
        sizes = [lot_plan_size(lot, lot // 20, bad) for lot in (200, 1000, 10_000, 10_000_000)]
        assert sizes == sorted(sizes) and sizes[-1] == endless


def test_what_no_sample_proves_has_no_plan():
    assert lot_plan_size(100, 5, 6) is None
    assert lot_plan_size(15, 0, 0) == 15  # one bad row is found for certain only in all of them
    with pytest.raises(ValueError, match="allowed"):
        lot_plan_size(10, 10, 0)


def test_the_most_bad_rows_allowed_are_counted_without_rounding_faults():
    assert [most_allowed(rows, 0.95) for rows in (100, 1000, 1020, 19)] == [5, 50, 51, 0]
    assert [most_allowed(100, bound) for bound in (0.9, 0.8, 0.7)] == [10, 20, 30]


def test_the_shares_of_all_attempts_stay_below_alpha():
    shares = [attempt_alpha(k) for k in range(1, 50)]
    assert sum(shares) < 0.05 and shares == sorted(shares, reverse=True)
    with pytest.raises(ValueError, match="attempt"):
        attempt_alpha(0)
