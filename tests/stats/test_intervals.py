"""Intervals of one score: golden values and edges (coverage is in test_coverage)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts.simulations.clusters import score_bound

from tuneworthy.stats.intervals import (
    clopper_pearson,
    effective_n,
    lower_bound,
    score_interval,
    upper_bound,
    wilson,
)


@pytest.mark.parametrize(("n", "points"), [(50, 11.1), (100, 7.8), (200, 5.5), (400, 3.9), (800, 2.8)])
def test_half_widths_at_four_fifths_are_those_of_the_facts(n, points):
    lo, hi = wilson(0.8 * n, n)
    assert 100 * (hi - lo) / 2 == pytest.approx(points, abs=0.3)  # the facts give Wald's


def test_bounds_of_a_review_of_fifty():
    assert [round(100 * lower_bound(k, 50), 1) for k in (50, 49, 48, 47, 45)] == [94.2, 90.9, 87.9, 85.2, 80.1]
    two_sided = [round(100 * clopper_pearson(k, 50)[0], 1) for k in (50, 49, 48, 47, 45)]
    assert two_sided == [92.9, 89.4, 86.3, 83.5, 78.2]


def test_rule_of_three():
    assert [round(100 * upper_bound(0, n), 2) for n in (50, 100, 300)] == [5.82, 2.95, 0.99]


def test_right_wrong_cases_get_wilson_and_all_else_the_effective_size():
    right = np.repeat([1.0, 0.0], [40, 10])
    plain = score_interval(right, np.ones(50))
    assert (plain.lo, plain.hi) == wilson(40, 50)
    assert plain.method == "wilson"
    assert score_interval(right, np.ones(50), np.arange(50)) == plain  # a source each is no cluster
    clustered = score_interval(right, np.ones(50), np.arange(50) // 5)
    assert (clustered.method, clustered.n_groups) == ("korn_graubard", 10)
    assert clustered.hi - clustered.lo > 1.5 * (plain.hi - plain.lo)


def test_graded_scores_are_more_precise_than_right_or_wrong():
    scores = np.tile([0.6, 0.7, 0.8, 0.9], 25)
    graded = score_interval(scores, np.ones(100))
    assert graded.hi - graded.lo < 0.5 * np.ptp(wilson(75, 100))


@pytest.mark.parametrize("groups", [None, np.arange(117) // 2])
def test_a_case_that_does_better_lowers_no_bound(groups):
    def limits(last):
        scores = np.append(np.ones(116), last)
        return score_interval(scores, np.ones(117), groups).lo, score_bound(scores, np.ones(117), groups, side="lower")

    worse, better = (np.array([limits(last) for last in column]) for column in ((0.0, 0.5, 0.8), (0.5, 0.8, 0.95)))
    assert (better >= worse).all()


def test_a_large_source_that_failed_as_a_whole_widens_the_bound_above():
    groups = np.r_[np.zeros(20), np.arange(1, 101)]
    right = np.ones(120)
    right[:30] = 0  # at a true score of 0.9 the large source fails once in ten times
    assert score_bound(right, np.ones(120), groups, side="upper") > 0.9


def test_sources_that_agree_but_for_one_case_count_at_most_once_each():
    groups, right = np.repeat(np.arange(40), 5), np.ones(200)
    right[-1] = 0.95
    assert effective_n(right, np.ones(200), groups) <= 40


def test_a_ratio_weighs_cases_by_their_denominator():
    interval = score_interval([0, 8], [2, 8])
    assert interval.value == 0.8


def test_cases_that_all_agree_still_leave_doubt():
    for value in (0.0, 0.5, 1.0):
        interval = score_interval(np.full(40, value), np.ones(40), np.arange(40) // 2)
        assert interval.hi - interval.lo > 0.1
        assert 0 <= interval.lo <= value <= interval.hi <= 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 5), st.integers(0, 9)), min_size=1, max_size=40))
def test_every_interval_holds_its_estimate_and_stays_in_range(cases):
    share, den, groups = (np.array(column) for column in zip(*cases, strict=True))
    for labels in (None, groups):
        interval = score_interval(share * den, den, labels, alpha=0.01)
        assert 0 <= interval.lo <= interval.value + 1e-9
        assert interval.value - 1e-9 <= interval.hi <= 1
        low, high = (score_bound(share * den, den, labels, side=side) for side in ("lower", "upper"))
        assert low - 1e-9 <= interval.value <= high + 1e-9


@pytest.mark.parametrize(
    ("num", "den", "message"),
    [
        ([], [], "filled"),
        ([1], [1, 1], "one shape"),
        ([np.nan], [1], "finite"),
        ([2], [1], "between"),
        ([0], [0], "not defined"),
    ],
)
def test_what_is_not_a_ratio_is_refused(num, den, message):
    with pytest.raises(ValueError, match=message):
        score_interval(num, den)


def test_impossible_counts_and_groups_are_refused():
    with pytest.raises(ValueError, match="k <= n"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="alpha"):
        lower_bound(1, 2, 1.5)
    with pytest.raises(ValueError, match="groups"):
        score_interval([1, 0, 1], [1, 1, 1], [0, 0])
