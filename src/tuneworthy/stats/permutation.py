"""The swap test: if A and B do not differ, which of the two a cluster's answers came from is a coin toss.

The statistic is studentised, so that the test is also valid for ratios whose denominators differ between A and B
(micro F1). For mean scores it orders the swaps as the plain difference does.

Source: Janssen 1997 (Stat. Probab. Lett. 36:9); Phipson and Smyth 2010 (SAGMB 9:39) for the `+ 1`.
"""

from collections.abc import Iterator

import numpy as np

from .ratios import Floats

EXACT_CLUSTERS = 14
# Most memory that one block of random swaps takes.
BLOCK_BYTES = 2**26
_PAIRS = [(i, j) for i in range(4) for j in range(i, 4)]
_SWAP = [2, 3, 0, 1]
# Bytes of a swap's moments and derived values, without its 9 bytes a cluster (a bit, and the same as a float).
_ROW_BYTES = 8 * 40


def swap_p_values(sums: Floats, *, alpha: float = 0.05, seed: int = 0) -> tuple[float, float, str]:
    """One-sided p-values of "B is not better" and of "B is not worse", and how they were computed.

    All swaps are enumerated if at most `EXACT_CLUSTERS` clusters differ; else enough random swaps are drawn for
    a Monte Carlo error of less than a tenth of a p-value near `alpha`.

    Args:
        sums: `(n_clusters, 4)` columns a_num, a_den, b_num, b_den.
    """
    differs = (sums[:, :2] != sums[:, 2:]).any(axis=1)
    k = int(differs.sum())
    if k == 0:
        return 1.0, 1.0, "swap_exact"
    if k <= EXACT_CLUSTERS:
        swaps = (np.arange(2**k)[:, None] >> np.arange(k)) & 1
        better, worse = _reached(sums, differs, swaps) / 2**k
        return float(better), float(worse), "swap_exact"
    draws = int(max(10_000, 100 / alpha))
    reached = np.zeros(2)
    for swaps in _random_swaps(draws, k, seed, BLOCK_BYTES):
        reached += _reached(sums, differs, swaps)
    better, worse = (reached + 1) / (draws + 1)
    return float(better), float(worse), "swap_monte_carlo"


def _random_swaps(draws: int, k: int, seed: int, block_bytes: int) -> Iterator[np.ndarray]:
    """Draw `draws` swaps of `k` clusters in blocks, `(n_swaps, k)` of 0/1; the same swaps for any block size."""
    rng = np.random.default_rng(seed)
    rows = max(4, block_bytes // (_ROW_BYTES + 9 * k) // 4 * 4)  # the generator fills four bytes at a time
    for start in range(0, draws, rows):
        size = (min(rows, draws - start), -(-k // 8))
        yield np.unpackbits(rng.integers(0, 256, size=size, dtype=np.uint8), axis=1, count=k)


def _reached(sums: Floats, differs: np.ndarray, swaps: np.ndarray) -> Floats:
    """Count the swaps, `(n_swaps, n_differing)` of 0/1, whose statistic is at least, and at most, the observed one."""
    moments = _moments(sums)
    change = _moments(sums[differs][:, _SWAP]) - moments[differs]
    observed = float(_statistic(moments.sum(axis=0)[None, :])[0])
    swapped = _statistic(moments.sum(axis=0) + swaps.astype(np.float64) @ change)
    near = 1e-9 * abs(observed)
    return np.array([(swapped >= observed - near).sum(), (swapped <= observed + near).sum()], dtype=np.float64)


def _moments(sums: Floats) -> Floats:
    """First and second moments per cluster: `(n_clusters, 4 + 10)`."""
    return np.concatenate([sums, np.stack([sums[:, i] * sums[:, j] for i, j in _PAIRS], axis=1)], axis=1)


def _statistic(moments: Floats) -> Floats:
    """Squared difference over itself plus its linearised variance, with its sign, from summed moments `(n, 14)`.

    It rises with Student's t, in [-1, 1], but has no pole where all clusters differ alike.
    """
    first, second = moments[:, :4], dict(zip(_PAIRS, moments[:, 4:].T, strict=True))
    a_den, b_den = (np.where(den > 0, den, 1.0) for den in (first[:, 1], first[:, 3]))  # 0 / 0 is 0
    a, b = first[:, 0] / a_den, first[:, 2] / b_den
    weights = [-1 / a_den, a / a_den, 1 / b_den, -b / b_den]
    variance = sum((1 if i == j else 2) * weights[i] * weights[j] * second[i, j] for i, j in _PAIRS)
    squared = (b - a) ** 2
    whole = squared + np.maximum(variance, 0.0)
    return np.asarray(np.sign(b - a) * squared / np.where(whole > 0, whole, 1.0))
