"""The wager: it grows where it should, and seldom where it should not, however often one looks."""

from __future__ import annotations

import numpy as np
import pytest

from tuneworthy.stats.betting import (
    BETS,
    confidence_sequence,
    log_capital,
    log_capital_of_any_start,
    start_of_rise,
    wager,
)

X = np.array([1, -1, 0, 0.5, -0.25, 1, 0, 0, -1, 1, 0.75, 0])


def test_a_steady_difference_makes_it_grow() -> None:
    assert wager(np.ones(10)) > 100
    assert wager(np.full(200, 0.2)) > 1000


@pytest.mark.slow
def test_looking_after_every_case_it_is_seldom_large_where_there_is_no_difference() -> None:
    rng = np.random.default_rng(7)
    ever = 0
    for _ in range(500):
        draws = rng.choice([-1.0, 0.0, 1.0], 150)
        ever += any(wager(draws[: n + 1]) >= 10 for n in range(0, 150, 3))
    assert ever / 500 <= 0.1


def test_a_test_that_peeks_at_a_fixed_level_is_fooled_where_the_wager_is_not() -> None:
    rng = np.random.default_rng(7)
    fooled = 0
    for _ in range(500):
        draws = rng.choice([-1.0, 0.0, 1.0], 150)
        heads = [draws[:n] for n in range(20, 151, 3)]
        fooled += any(head.mean() > 1.28 * head.std() / np.sqrt(len(head)) for head in heads)
    assert fooled / 500 > 0.2


def test_the_capital_is_that_of_another_implementation() -> None:
    """expectation 0.6.1 (which needs Python 3.12): the mean of `EProcessUpdater` with `ConservativeCombiner(bet)` over
    the bets, on the e-values `u / m` of a mean of at most m in [0, 1]."""
    assert np.exp(log_capital(X, -0.05)[-1]) == pytest.approx(1.2654811552493481, rel=1e-12)
    assert np.exp(log_capital(-X, -0.1)[-1]) == pytest.approx(0.3320446791142135, rel=1e-12)


def test_the_capital_is_the_mean_over_bets_of_a_product_at_each_time() -> None:
    by_hand = np.mean([np.cumprod(1 + b * 0.5 * (X + 0.2) / (1 - 0.2)) for b in BETS], axis=0)
    assert np.exp(log_capital(X, -0.2, 0.5)) == pytest.approx(by_hand)
    assert wager(X) == pytest.approx(np.mean([np.prod(1 + b * X) for b in BETS]))


def test_the_capital_depends_on_no_order_and_the_sequence_only_comes_closer() -> None:
    weights = np.linspace(0.2, 1, len(X))
    order = np.random.default_rng(1).permutation(len(X))
    assert log_capital(X, 0.1, weights)[-1] == pytest.approx(log_capital(X[order], 0.1, weights[order])[-1])
    many, places = np.tile(X, 40), np.array([10, 100, 300, 480])
    low, high = confidence_sequence(many, np.ones(480), places, 0.05)
    assert (np.diff(low) >= 0).all() and (np.diff(high) <= 0).all() and low[-1] < many.mean() < high[-1]


def test_the_ends_are_where_a_bet_reaches_its_level() -> None:
    many, places = np.tile(X, 40), np.array([480])
    low, high = confidence_sequence(many, np.ones(480), places, 0.05)
    level = np.log(2 / 0.05)
    assert log_capital(many, low[0])[-1] >= level > log_capital(many, low[0] + 2e-4)[-1]
    assert log_capital(-many, -high[0])[-1] >= level > log_capital(-many, 2e-4 - high[0])[-1]


def test_a_bet_on_what_is_not_so_is_seldom_won_at_any_time() -> None:
    """Differences of a mean of exactly the null: at most 5% of 1,000 bettors ever reach 20, whatever the weights."""
    rng = np.random.default_rng(3)
    values = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=(1000, 600))
    weights = rng.choice([0.25, 0.5, 1.0], size=values.shape)
    for one in (values, -values):
        assert (log_capital(one, 0.0, weights) >= np.log(20)).any(axis=-1).mean() <= 0.05
    assert (log_capital(values, -0.05, weights) >= np.log(20)).any(axis=-1).mean() > 0.2


def test_bets_of_any_start_are_the_parts_of_bets_that_begin_at_each_observation() -> None:
    n = len(X)
    parts = [np.exp(log_capital(X[j:], 0.1)) / ((j + 1) * (j + 2)) for j in range(n)]
    by_hand = [sum(parts[j][t - j] for j in range(t + 1)) for t in range(n)]
    assert np.exp(log_capital_of_any_start(X, 0.1)) == pytest.approx(by_hand)


def test_a_late_rise_is_found_soon_and_its_start_is_named() -> None:
    values = np.r_[-np.ones(500), np.ones(40)]
    assert log_capital(values, -0.5)[-1] < 0 < np.log(40) < log_capital_of_any_start(values, -0.5)[-1]
    assert start_of_rise(values, -0.5) == 500
