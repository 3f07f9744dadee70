"""Intervals over clusters of very unequal size cover what they say; plain cluster-robust ones do not."""

import numpy as np
import pytest
from scripts.simulations.clusters import designs, score_misses, worst

from tuneworthy.stats.ratios import effective_groups


def test_a_large_cluster_that_seldom_fails_is_reckoned_with() -> None:
    sizes, rng = designs()["4 x 20, 120 x 1"], np.random.default_rng(4)
    missed = np.mean([[*score_misses(sizes, 0.8, 1.0, rng)] for _ in range(500)], axis=0)
    interval, lower, upper, plain, plain_lower = missed
    assert max(interval, lower, upper) < 0.06
    assert plain > 0.12 and plain_lower > 0.15  # so this check can fail


@pytest.mark.slow
@pytest.mark.parametrize("name", [*designs()])
def test_intervals_that_decide_cover_94_percent_of_the_time(name: str) -> None:
    sizes = designs()[name]
    assert effective_groups(np.repeat(np.arange(len(sizes)), sizes)) >= 20
    score, change = worst(sizes, 2_000, seed=2)
    # the least of sixteen estimates, each with a standard error of half a point
    assert min(score[0], score[1], change[0], change[1]) > 0.94 - 0.01
