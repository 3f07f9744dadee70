"""The swap test draws in blocks: bounded memory, and the same p-value whatever the block."""

import tracemalloc

import numpy as np
import pytest

from tuneworthy.stats import paired as permutation
from tuneworthy.stats.paired import swap_p_values


def differing(n_clusters):
    """Sums of clusters that all differ a little between A and B."""
    rng = np.random.default_rng(2)
    a = rng.random(n_clusters)
    ones = np.ones(n_clusters)
    return np.stack([a, ones, np.clip(a + rng.normal(0.02, 0.2, n_clusters), 0, 1), ones], axis=1)


@pytest.mark.parametrize("n_clusters", [15, 16, 17, 41])
def test_the_p_value_does_not_depend_on_the_block(n_clusters, monkeypatch):
    sums = differing(n_clusters)
    whole = swap_p_values(sums, alpha=0.01, seed=3)
    monkeypatch.setattr(permutation, "BLOCK_BYTES", 100_000)
    assert swap_p_values(sums, alpha=0.01, seed=3) == whole
    assert whole != swap_p_values(sums, alpha=0.01, seed=4)


def test_a_tiny_alpha_takes_no_more_memory_than_a_block(monkeypatch):
    monkeypatch.setattr(permutation, "BLOCK_BYTES", 2**22)
    sums = differing(300)
    tracemalloc.start()
    swap_p_values(sums, alpha=0.0005)  # 200,000 draws: 540 MB at once
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 2**22
