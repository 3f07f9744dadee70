"""Paired comparisons: what they decide and refuse (error rates are in test_coverage)."""

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneworthy.stats.difference import tango_interval
from tuneworthy.stats.paired import compare, mcnemar_p_value, non_inferior, worst_case


def pair(gains, losses, n):
    """Right/wrong cases with so many gains and losses."""
    a, b = np.zeros(n), np.zeros(n)
    b[:gains] = 1
    a[gains : gains + losses] = 1
    return a, np.ones(n), b, np.ones(n)


def test_right_wrong_cases_get_mcnemar_and_tango():
    result = compare(*pair(16, 2, 50))
    assert (result.gains, result.losses, result.method) == (16, 2, "mcnemar_mid_p")
    assert result.p_value == mcnemar_p_value(16, 2)
    assert result.ci == tango_interval(16, 2, 50)
    assert result.delta == pytest.approx(0.28)
    assert result.better
    assert not result.worse


def test_the_test_decides_and_the_interval_is_of_95_percent_whatever_alpha_is():
    strict, loose, described = (compare(*pair(8, 1, 100), alpha=alpha) for alpha in (0.01, 0.05, None))
    assert strict.p_value == loose.p_value == pytest.approx(0.0107, abs=1e-4)
    assert strict.ci == loose.ci == described.ci == tango_interval(8, 1, 100)
    assert [one.better for one in (strict, loose, described)] == [False, True, False]
    back = compare(*pair(1, 8, 100))
    assert back.worse
    assert not back.better


@pytest.mark.parametrize("alpha", [0.05, 0.0067])
def test_better_and_worse_are_the_two_sides_of_one_test(alpha):
    for gains in range(31):
        for losses in range(31):
            result = compare(*pair(gains, losses, 60), alpha=alpha)
            assert result.better == (gains > losses and result.p_value <= alpha)
            assert result.worse == (gains < losses and result.p_worse <= alpha)


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 2, st.integers(0, 20)), min_size=2, max_size=40), st.booleans())
def test_swapping_the_variants_mirrors_the_result(cases, grouped):
    a, b, groups = (np.array(column) for column in zip(*cases, strict=True))
    ones = np.ones(len(a))
    there = compare(a, ones, b, ones, groups if grouped else None)
    back = compare(b, ones, a, ones, groups if grouped else None)
    np.testing.assert_allclose(there.ci, (-back.ci[1], -back.ci[0]), atol=1e-7)
    if there.method != "swap_monte_carlo":
        assert (there.p_value, there.p_worse) == pytest.approx((back.p_worse, back.p_value), abs=1e-12)
    assert there.ci[0] <= there.delta + 1e-9
    assert there.delta - 1e-9 <= there.ci[1]


def test_the_same_seed_gives_the_same_result():
    rng = np.random.default_rng(0)
    a, b, ones = rng.random(80), rng.random(80), np.ones(80)
    assert compare(a, ones, b, ones, seed=5) == compare(a, ones, b, ones, seed=5)
    assert compare(a, ones, b, ones, seed=5).p_value != compare(a, ones, b, ones, seed=6).p_value


def test_the_fewest_clusters_bound_the_p_value():
    a, ones = np.zeros(50), np.ones(50)
    assert compare(a, ones, ones, ones, np.arange(50) // 10).p_value == 1 / 2**5
    assert compare(a, ones, ones, ones, np.arange(50) // 5).p_value == 1 / 2**10


def test_ten_documents_that_all_gain_are_a_finding():
    rng = np.random.default_rng(1)
    groups = np.arange(100) // 10
    a = rng.uniform(0.2, 0.6, 100)
    b = a + np.repeat(rng.uniform(0.2, 0.35, 10), 10)
    assert compare(a, np.ones(100), b, np.ones(100), groups).better


def test_identical_answers_show_nothing_but_leave_doubt():
    scores = np.random.default_rng(2).random(100)
    for groups in (None, np.arange(100) // 5):
        result = compare(scores, np.ones(100), scores, np.ones(100), groups)
        assert (result.delta, result.p_value) == (0, 1)
        assert result.ci[0] < -0.02 < 0.02 < result.ci[1]


def test_non_inferiority_needs_its_n():
    assert not non_inferior(*pair(3, 3, 60), margin=0.05).holds
    assert non_inferior(*pair(10, 10, 400), margin=0.05).holds
    assert not non_inferior(*pair(0, 20, 400), margin=0.05).holds


def test_no_significant_difference_is_not_no_harm():
    arrays = pair(0, 5, 50)
    assert compare(*arrays).p_value > 0.05
    assert not non_inferior(*arrays, margin=0.05).holds


def test_unscored_cases_can_turn_the_sign():
    a, ones, b, _ = pair(6, 2, 100)
    assert not worst_case(a, ones, b, ones, a_unscored=0, b_unscored=0)
    assert not worst_case(a, ones, b, ones, a_unscored=1, b_unscored=1)
    assert worst_case(a, ones, b, ones, a_unscored=5, b_unscored=0)
    assert worst_case(b, ones, a, ones, a_unscored=0, b_unscored=5)
    assert worst_case(a, ones, a, ones, a_unscored=0, b_unscored=1)


def test_pairs_of_different_cases_and_a_margin_of_zero_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        compare([1, 0], [1, 1], [1], [1])
    with pytest.raises(ValueError, match="margin"):
        non_inferior(*pair(1, 1, 50), margin=0)


def test_a_comparison_of_300_cases_is_quick():
    rng = np.random.default_rng(3)
    a, b, ones = rng.random(300), rng.random(300), np.ones(300)
    for arrays, limit_s in [(pair(30, 20, 300), 0.1), ((a, ones, b, ones), 2.0)]:
        seconds = []
        for _ in range(5):
            start = time.perf_counter()
            compare(*arrays, alpha=0.0067)
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < limit_s


def test_importing_the_statistics_loads_no_scipy_stats():
    code = "import sys, tuneworthy.stats; print('scipy.stats' in sys.modules, 'scipy.optimize' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
