"""The sequence on block means: its formula, its error, and the forecast of its length."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import nct, norm, t

from tuneworthy.stats.blocks import block_sequence, blocks_until, relative_width, running_mean


@pytest.mark.parametrize("n", [7, 14, 40])
def test_the_end_is_where_the_mixture_of_t_likelihood_ratios_reaches_its_level(n: int) -> None:
    """By numeric integration of noncentral t densities over the mixture, independent of the closed form."""
    alpha, mixture = 0.05, 1.569  # the parameter that is narrowest after 14 blocks
    width = float(relative_width(n, alpha, 14))
    statistic = width * np.sqrt(n - 1)  # of a mean that is `width` standard deviations (divisor n) away
    deviation = mixture**-0.5
    ratio, _ = quad(
        lambda d: nct.pdf(statistic, n - 1, d * np.sqrt(n)) * norm.pdf(d, scale=deviation),
        -8 * deviation,
        8 * deviation,
    )
    assert ratio / t.pdf(statistic, n - 1) == pytest.approx(1 / (2 * alpha), rel=0.02)


def test_few_blocks_show_nothing_and_the_horizon_is_where_it_is_narrowest() -> None:
    assert np.isinf(relative_width(1, 0.05, 14)) and relative_width(5, 0.05, 28) == np.inf
    for horizon in (7, 14, 60):
        widths = [float(relative_width(horizon, 0.01, other)) for other in (7, 14, 60)]
        assert min(widths) == widths[(7, 14, 60).index(horizon)]
    low, high = block_sequence(np.ones(9), np.ones(9), 0.05, 14, first=7, least_errors=0.01)
    assert np.isinf(low[:6]).all() and np.isinf(high[:6]).all() and 0.9 < low[6] < 1 < high[6]


def test_the_running_mean_is_a_ratio_with_its_error() -> None:
    values, weights = np.array([1.0, -1.0, 0.5]), np.array([1.0, 0.5, 0.25])
    mean, error = running_mean(values, weights)
    by_hand = (weights * values).sum() / weights.sum()
    assert mean[-1] == pytest.approx(by_hand)
    assert error[-1] == pytest.approx(np.sqrt((weights**2 * (values - by_hand) ** 2).sum()) / weights.sum())


@pytest.mark.parametrize("effect", [0.0, 0.6])
def test_normal_means_are_seldom_excluded_at_any_look_and_half_are_found_when_forecast(effect: float) -> None:
    rng = np.random.default_rng(5)
    means = effect + rng.standard_normal((1000, 90))
    low, high = block_sequence(means, np.exp(rng.normal(0, 0.3, means.shape)), 0.05, 14, first=7)
    if not effect:
        assert (low > 0).any(axis=-1).mean() <= 0.06 and (high < 0).any(axis=-1).mean() <= 0.06
        peeking = np.cumsum(means, axis=-1) / np.sqrt(np.arange(1, 91))
        assert (peeking[:, 6:] > 1.645).any(axis=-1).mean() > 0.2
        return
    median = np.median(np.where((low > 0).any(axis=-1), (low > 0).argmax(axis=-1) + 1, np.inf))
    assert blocks_until(effect, 1.0, 0.05, 14) == pytest.approx(median, rel=0.25)
    assert blocks_until(0.001, 1.0, 0.05, 14) is None
