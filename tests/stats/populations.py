"""Populations with a known truth, to draw test sets from: pools of clusters, `(n_pool, cases_per_cluster, 4)`.

Columns: a_num, a_den, b_num, b_den. A test set is a sample of clusters with replacement, so the pool's own ratio is
the exact truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POOL = 40_000


@dataclass(frozen=True)
class Population:
    """A pool of clusters, how many make a test set, and what holds in the pool."""

    name: str
    pool: np.ndarray
    n_clusters: int

    @property
    def scores(self) -> tuple[float, float]:
        a_num, a_den, b_num, b_den = self.pool.sum(axis=(0, 1))
        return a_num / a_den, b_num / b_den

    @property
    def delta(self) -> float:
        return self.scores[1] - self.scores[0]

    def exchangeable(self) -> Population:
        """Make A and B equals: each cluster once as it is and once with A and B swapped."""
        pool = np.concatenate([self.pool, self.pool[:, :, [2, 3, 0, 1]]])
        return Population(f"{self.name}, equals", pool, self.n_clusters)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Give the cases `(n_cases, 4)` and their groups, None where a cluster is a case."""
        sample = self.pool[rng.integers(len(self.pool), size=self.n_clusters)]
        size = sample.shape[1]
        return sample.reshape(-1, 4), np.repeat(np.arange(self.n_clusters), size) if size > 1 else None


def _pool(a, b, a_den=None, b_den=None):
    a, b = np.atleast_2d(a.T).T, np.atleast_2d(b.T).T
    ones = np.ones_like(a, dtype=float)
    a_den = ones if a_den is None else a_den[:, None]
    b_den = ones if b_den is None else b_den[:, None]
    return np.stack([a, a_den, b, b_den], axis=2).astype(float)


def binary(n: int, loss: float, gain: float, right: float = 0.75) -> Population:
    """Right/wrong; `loss` and `gain` of the cases are discordant."""
    u = np.arange(POOL) / POOL
    a = (u < loss) | (u >= 1 - right)
    b = ((u >= loss) & (u < loss + gain)) | (u >= 1 - right)
    return Population(f"binary, {loss:.0%}/{gain:.0%} discordant", _pool(a, b), n)


def graded(n: int, lift: float) -> Population:
    """Scores of a rubric, 0 to 1 in quarters, correlated .64."""
    rng = np.random.default_rng(1)
    hard = 0.8 * rng.normal(size=POOL)
    a, b = (
        np.clip(np.round((hard + 0.6 * rng.normal(size=POOL) + up) * 2) / 4 + 0.5, 0, 1) for up in (0.5, 0.5 + lift)
    )
    return Population("graded", _pool(a, b), n)


def collapse(n: int) -> Population:
    """B is a little better nearly always and has a 3 % chance of a score of 0."""
    rng = np.random.default_rng(2)
    a = rng.beta(8, 2, POOL)
    b = np.where(rng.random(POOL) < 0.03, 0.0, np.clip(a + rng.normal(0.02, 0.02, POOL), 0, 1))
    return Population("graded, rare collapse", _pool(a, b), n)


def micro_f1(n: int, false_positives: float) -> Population:
    """2tp / (2tp + fp + fn) over about two entities a case; A and B have denominators of their own.

    At `false_positives = 5 / 9` the expected F1 of A and B is equal, though B finds more and invents more.
    """
    rng = np.random.default_rng(3)
    entities, ease = rng.poisson(2, POOL), rng.beta(2, 1, POOL)
    columns = []
    for recall, invented in ((0.9, 0.3), (1.0, false_positives)):
        tp, fp = rng.binomial(entities, ease * recall), rng.poisson(invented, POOL)
        columns += [2 * tp, tp + fp + entities]
    a_num, a_den, b_num, b_den = columns
    return Population("micro F1", _pool(a_num, b_num, a_den, b_den), n)


def clustered(n_clusters: int, a: float, b: float, icc: float = 0.7, size: int = 10) -> Population:
    """Right/wrong in clusters: the chance to be right is a cluster's own (beta), so that the ICC is `icc`."""
    rng = np.random.default_rng(4)
    spread = (1 - icc) / icc
    right = [rng.random((POOL, size)) < rng.beta(rate * spread, (1 - rate) * spread, POOL)[:, None] for rate in (a, b)]
    return Population(f"clustered {n_clusters}x{size}, ICC {icc}", _pool(*right), n_clusters)


def steady(n_clusters: int, size: int = 10) -> Population:
    """Graded clusters, all of which gain about .15."""
    rng = np.random.default_rng(5)
    a = np.clip(rng.beta(2, 2, POOL)[:, None] + rng.normal(0, 0.25, (POOL, size)), 0, 1)
    gain = 0.18 + rng.normal(0, 0.1, (POOL, 1)) + rng.normal(0, 0.2, (POOL, size))
    return Population(f"clustered {n_clusters}x{size}, steady gain", _pool(a, np.clip(a + gain, 0, 1)), n_clusters)
