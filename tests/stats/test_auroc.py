"""Areas with intervals where cases come in groups: against the formula written out, and a bootstrap over groups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri

from tuneworthy.stats.auroc import Auroc, roc_area


def clustered(rng: np.random.Generator, n_groups: int, size: int, alike: float) -> tuple[np.ndarray, ...]:
    """Values, kinds and groups: cases of a group share kind and level by `alike`, and effect is half a deviation."""
    groups = np.repeat(np.arange(n_groups), size)
    n = len(groups)
    yes = np.where(rng.random(n) < alike, (rng.random(n_groups) < 0.5)[groups], rng.random(n) < 0.5)
    noise = math.sqrt(alike) * rng.normal(size=n_groups)[groups] + math.sqrt(1 - alike) * rng.normal(size=n)
    return noise + 0.5 * yes, yes, groups


def error(found: Auroc) -> float:
    """The standard error that an interval was made with."""
    width = math.log(found.hi / (1 - found.hi)) - math.log(found.lo / (1 - found.lo))
    return float(width / (2 * ndtri(1 - found.alpha / 2)) * found.area * (1 - found.area))


def test_the_variance_is_that_of_obuchowski_written_out() -> None:
    values, yes, groups = clustered(np.random.default_rng(1), 12, 5, 0.4)
    values = np.round(values, 1)  # some ties

    def wins(a: float, b: float) -> float:
        return 1.0 if a > b else 0.5 if a == b else 0.0

    m, n = int(yes.sum()), int((~yes).sum())
    area = sum(wins(a, b) for a in values[yes] for b in values[~yes]) / (m * n)
    in_a, in_b, in_both = [], [], []
    for group in range(12):
        a, b = values[yes & (groups == group)], values[~yes & (groups == group)]
        off_a = sum(sum(wins(x, y) for y in values[~yes]) / n for x in a) - len(a) * area
        off_b = sum(sum(wins(x, y) for x in values[yes]) / m for y in b) - len(b) * area
        in_a += [off_a] if len(a) else []
        in_b += [off_b] if len(b) else []
        in_both.append((off_a, off_b))
    s_10 = len(in_a) / ((len(in_a) - 1) * m) * sum(x * x for x in in_a)
    s_01 = len(in_b) / ((len(in_b) - 1) * n) * sum(x * x for x in in_b)
    s_11 = 12 / 11 * sum(x * y for x, y in in_both)
    found = roc_area(values, yes, groups=groups)
    assert found.area == pytest.approx(area)
    assert error(found) == pytest.approx(math.sqrt(s_10 / m + s_01 / n + 2 * s_11 / (m * n)))


def test_groups_of_one_case_change_nothing() -> None:
    values, yes, _ = clustered(np.random.default_rng(2), 60, 1, 0.0)
    found, alone = roc_area(values, yes, groups=np.arange(60)[::-1]), roc_area(values, yes)
    assert (found.area, found.lo, found.hi) == pytest.approx((alone.area, alone.lo, alone.hi), abs=1e-12)


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9])
def test_the_error_is_that_of_a_bootstrap_over_groups(alike: float) -> None:
    rng = np.random.default_rng(3)
    values, yes, groups = clustered(rng, 100, 5, alike)
    drawn = []
    for _ in range(600):
        rows = (rng.integers(100, size=100)[:, None] * 5 + np.arange(5)).ravel()
        drawn.append(roc_area(values[rows], yes[rows]).area)
    assert error(roc_area(values, yes, groups=groups)) == pytest.approx(np.std(drawn), rel=0.12)
    if alike == 0.9:
        assert error(roc_area(values, yes)) < 0.6 * np.std(drawn)


def test_the_interval_covers_where_groups_are_strongly_alike() -> None:
    rng = np.random.default_rng(4)
    truth = 0.6382  # Phi(0.5 / sqrt 2)
    inside = alone = 0
    for _ in range(400):
        values, yes, groups = clustered(rng, 40, 6, 0.9)
        found, other = roc_area(values, yes, groups=groups), roc_area(values, yes)
        inside += found.lo <= truth <= found.hi
        alone += other.lo <= truth <= other.hi
    assert 0.92 <= inside / 400 <= 0.98 and alone / 400 < 0.75
