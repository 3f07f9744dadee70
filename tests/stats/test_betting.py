"""The wager: it grows where it should, and seldom where it should not, however often one looks."""

from __future__ import annotations

import numpy as np

from tuneworthy.stats.betting import wager


def test_a_steady_difference_makes_it_grow() -> None:
    assert wager(np.ones(10)) > 100
    assert wager(np.full(200, 0.2)) > 1000


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
