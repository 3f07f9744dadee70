"""The rule of the target: how often "met" is wrong, and whether a stated chance to settle is what happens."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from tuneworthy.stats.intervals import chance_of_status, target_level, target_status


def wrongly_met(n: int, target: float, margin: float, options: int, counted: int) -> float:
    """Exact chance that one of so many independent options, all truly at target - margin, is called met."""
    right = np.arange(n + 1)
    met = [target_status(k / n, n, target, margin, options=counted) == "met" for k in right]
    one = float(binom.pmf(right, n, target - margin)[met].sum())
    return 1 - (1 - one) ** options


@pytest.mark.parametrize("target", [0.7, 0.85, 0.95])
@pytest.mark.parametrize("n", [50, 100, 200, 300])
def test_met_is_wrong_at_most_one_time_in_twenty(n: int, target: float) -> None:
    for options in (1, 4, 8):
        for margin in (0.02, 0.05, 0.1):
            assert wrongly_met(n, target, margin, options, options) <= 0.05
    assert wrongly_met(n, target, 0.02, 8, 1) > 0.08  # without the options counted


def test_levels_after_additions_stay_below_the_whole() -> None:
    assert target_level(0) == 0.05
    assert sum(target_level(times) for times in range(1, 60)) <= 0.05 + 1e-12


@pytest.mark.parametrize("more", [150, 600])
@pytest.mark.parametrize("target", [0.8, 0.9])
def test_a_stated_chance_to_settle_is_what_happens(target: float, more: int) -> None:
    n, margin, draws = 150, 0.05, 60_000
    rng = np.random.default_rng(3)
    truth = rng.beta(0.5, 0.5, draws)  # what is assumed before anything was measured
    truth = truth[(truth > target - 0.15) & (truth < target + 0.1)]
    k = rng.binomial(n, truth)
    after = k + rng.binomial(more, truth)

    @cache
    def stated(right: int) -> tuple[float, float]:
        return chance_of_status(right / n, n, more, target, margin)

    @cache
    def status(right: int) -> str:
        return target_status(right / (n + more), n + more, target, margin, additions=1)

    near = np.array([target_status(right / n, n, target, margin) == "unresolved" for right in k])
    said = np.array([stated(int(right)) for right in k[near]])
    seen = np.array([status(int(right)) for right in after[near]])
    assert near.sum() > 300
    for said_so, name in ((said[:, 0], "met"), (said[:, 1], "missed")):
        assert said_so.mean() == pytest.approx((seen == name).mean(), abs=0.04)
    settled, chance = seen != "unresolved", said.sum(axis=1)
    for low in (0.0, 0.25, 0.5, 0.75):
        here = (chance >= low) & (chance < low + 0.25)
        if here.sum() > 150:
            assert settled[here].mean() == pytest.approx(chance[here].mean(), abs=0.09)
