"""Coverage of the intervals that decide, where cases share sources: `python -m scripts.simulations.clusters --seed 1`.

Clusters of equal and of very unequal sizes, at least 20 effective ones; cases of one cluster go alike to a degree of 0
to 1. Every interval is computed by the function that the product uses. `before` is the plain cluster-robust interval
with Student's t for the number of clusters, on the same draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import scipy

from tuneworthy.stats.difference import ratio_difference_interval
from tuneworthy.stats.intervals import effective_n, lower_bound, score_interval, upper_bound, wilson
from tuneworthy.stats.ratios import effective_groups

ALIKE = (0.0, 0.3, 0.7, 1.0)
SCORES = (0.5, 0.8, 0.9, 0.95)
# Shares of cases that only B, and only A, gets right.
CHANGES = ((0.05, 0.05), (0.15, 0.05), (0.05, 0.15), (0.3, 0.3))


def score_bound(num, den, groups=None, *, side, alpha=0.05):  # type: ignore[no-untyped-def]
    """Return the one-sided bound of ``sum(num) / sum(den)`` by which the verdict judges a target."""
    size = effective_n(num, den, groups, alpha=alpha)
    k = min(size, size * float(np.sum(num) / np.sum(den)))
    return lower_bound(k, size, alpha) if side == "lower" else upper_bound(k, size, alpha)


def designs() -> dict[str, np.ndarray]:
    """Return the sizes of the clusters of each design."""
    rng = np.random.default_rng(5)
    ones = np.ones(120, dtype=int)
    return {
        "40 x 5": np.full(40, 5),
        "20 x 10": np.full(20, 10),
        "60, log-normal": np.maximum(1, np.round(np.exp(rng.normal(1, 1, 60)))).astype(int),
        "120, log-normal": np.maximum(1, np.round(np.exp(rng.normal(0.7, 1.3, 120)))).astype(int),
        "1 x 20, 100 x 1": np.r_[20, ones[:100]],
        "4 x 20, 120 x 1": np.r_[np.full(4, 20), ones],
        "3 x 15, 60 x 2": np.r_[np.full(3, 15), np.full(60, 2)],
    }


def rates(rng: np.random.Generator, shares: tuple[float, ...], alike: float, n: int) -> np.ndarray:
    """Draw the shares of each cluster, `(n, len(shares))`, which vary the more the more alike its cases are."""
    if alike == 0:
        return np.tile(shares, (n, 1))
    if alike == 1:
        return np.eye(len(shares))[rng.choice(len(shares), p=shares, size=n)]
    return rng.dirichlet(np.array(shares) * (1 - alike) / alike + 1e-9, size=n)


def score_misses(sizes: np.ndarray, score: float, alike: float, rng: np.random.Generator) -> Iterator[bool]:
    """Yield whether the two-sided interval, the lower and the upper bound miss; then the first two as before."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    chance = rates(rng, (score, 1 - score), alike, len(sizes))[groups, 0]
    right = (rng.random(len(groups)) < chance).astype(float)
    ones = np.ones(len(groups))
    interval = score_interval(right, ones, groups)
    yield not interval.lo <= score <= interval.hi
    size = effective_n(right, ones, groups)
    yield lower_bound(right.mean() * size, size) > score
    yield upper_bound(right.mean() * size, size) < score
    low, high = wilson(right.mean() * plain_size(right, groups, 0.05), plain_size(right, groups, 0.05))
    yield not low <= score <= high
    size = plain_size(right, groups, 0.1)
    yield lower_bound(right.mean() * size, size) > score


def plain_size(right: np.ndarray, groups: np.ndarray, alpha: float) -> float:
    """Return the effective size by the plain cluster-robust variance."""
    sums, sizes = np.bincount(groups, right), np.bincount(groups)
    n, value = len(sums), right.mean()
    squares = float((((sums - value * sizes) / sizes.mean()) ** 2).sum())
    if squares <= 1e-12:
        return float(n)
    variance = squares / (n - 1) / n + (value**2 + (1 - value) ** 2) * (n / len(right)) ** 2 / (n + 2) ** 2
    t_over_z = scipy.special.stdtrit(n - 1, alpha / 2) / scipy.special.ndtri(alpha / 2)
    return float(max(1.0, value * (1 - value) / variance / t_over_z**2))


def difference_misses(
    sizes: np.ndarray, change: tuple[float, float], alike: float, rng: np.random.Generator
) -> Iterator[bool]:
    """Yield whether the two-sided interval of a paired difference misses, and its lower bound; then as before."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    gain, loss = change
    share = rates(rng, (gain, loss, 1 - gain - loss), alike, len(sizes))[groups]
    u = rng.random(len(groups))
    b = np.where(u < share[:, 0], 1.0, np.where(u < share[:, 0] + share[:, 1], 0.0, 1.0))
    a = np.where(u < share[:, 0], 0.0, 1.0)
    ones = np.ones(len(groups))
    cases, truth = np.stack([a, ones, b, ones], axis=1), gain - loss
    low, high = ratio_difference_interval(cases, groups)
    yield not low <= truth <= high
    yield ratio_difference_interval(cases, groups, 0.1)[0] > truth
    for alpha, two_sided in ((0.05, True), (0.1, False)):
        low, high = plain_difference(a, b, groups, alpha)
        yield not low <= truth <= high if two_sided else low > truth


def plain_difference(a: np.ndarray, b: np.ndarray, groups: np.ndarray, alpha: float) -> tuple[float, float]:
    """Return the interval by the plain cluster-robust variance."""
    sums, sizes = np.bincount(groups, b - a), np.bincount(groups)
    n, delta = len(sums), float((b - a).mean())
    influence = (sums - delta * sizes) / sizes.mean()
    spread = influence + delta
    added = max(float((spread**2).sum() + 1) / (int((np.abs(spread) > 1e-12).sum()) + 1), (n / len(a)) ** 2)
    error = np.sqrt(float((influence**2).sum()) / (n - 1) / n + 2 * added / (n + 2) ** 2)
    half = float(-scipy.special.stdtrit(n - 1, alpha / 2)) * error
    return delta - half, delta + half


def worst(sizes: np.ndarray, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the least coverage over all scores, and over all changes, of each interval."""
    rng = np.random.default_rng(seed)
    scores = [
        np.mean([[*score_misses(sizes, score, alike, rng)] for _ in range(draws)], axis=0)
        for score in SCORES
        for alike in ALIKE
    ]
    changes = [
        np.mean([[*difference_misses(sizes, change, alike, rng)] for _ in range(draws)], axis=0)
        for change in CHANGES
        for alike in ALIKE
    ]
    return 1 - np.max(scores, axis=0), 1 - np.max(changes, axis=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--design", choices=[*designs()], action="append")
    args = parser.parse_args()
    print("Least coverage over all scores or changes and degrees of likeness; before -> now.")
    print("| clusters | effective | score, 95% | lower bound, 95% | upper bound | difference, 95% | its lower bound |")
    print("|---|---|---|---|---|---|---|")
    for name, sizes in designs().items():
        if args.design is None or name in args.design:
            score, change = worst(sizes, args.draws, args.seed)
            groups = effective_groups(np.repeat(np.arange(len(sizes)), sizes))
            print(
                f"| {name} | {groups:.1f} | {score[3]:.3f} -> {score[0]:.3f} | {score[4]:.3f} -> {score[1]:.3f} "
                f"| {score[2]:.3f} | {change[2]:.3f} -> {change[0]:.3f} | {change[3]:.3f} -> {change[1]:.3f} |"
            )


if __name__ == "__main__":
    main()
