"""Word shingles, their hashes and their MinHash keys, in plain Python and numpy: what `minhash` computes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from tuneworthy.cases.normalize import words
from tuneworthy.dataset.dedup.minhash import _A as A

ALL = (1 << 64) - 1


def plain_shingles(text: str, size: int) -> set[tuple[str, ...]]:
    """Return the shingles of `text`: what `shingles` hashes.

    >>> sorted(plain_shingles("Where is my card?", 3))
    [('is', 'my', 'card'), ('where', 'is', 'my')]
    """
    found = words(text)
    size = min(size, len(found))
    return {tuple(found[start : start + size]) for start in range(len(found) - size + 1)} if found else set()


def plain_jaccard(one: str, other: str, size: int) -> float:
    """Return the share of the shingles of two texts that both have."""
    a, b = plain_shingles(one, size), plain_shingles(other, size)
    return len(a & b) / len(a | b) if a or b else 0.0


def plain_hash(shingle: tuple[str, ...], size: int) -> int:
    """Return the hash of a shingle, as `shingles` computes it."""
    total = 0
    for k in range(size):
        word = xxh3_64_intdigest(shingle[k].encode("utf-8", "surrogatepass")) if k < len(shingle) else 0
        total = (total ^ word) * int(A) & ALL
        total ^= total >> 31
    return total


def plain_band_keys(hashes: NDArray[np.uint64], bands: int, rows: int, seed: int) -> NDArray[np.uint64]:
    """Return the (bands,) keys of one row, as `band_keys` computes them."""
    factors, summands = np.random.default_rng(seed).integers(0, 2**32, (2, bands * rows), np.uint32)
    low = (hashes >> np.uint64(32)).astype(np.uint32)
    signature = (low[:, None] * (factors | np.uint32(1)) + summands).min(axis=0)
    keys = np.zeros(bands, np.uint64)
    for column in signature.reshape(bands, rows).T:
        keys = (keys ^ column.astype(np.uint64)) * A
        keys ^= keys >> np.uint64(32)
    return keys
