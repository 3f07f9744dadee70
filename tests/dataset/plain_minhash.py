"""Word shingles, their hashes and their MinHash keys, in plain Python and numpy: what the kernels compute."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tuneworthy.cases.normalize import words
from tuneworthy.dataset.dedup.minhash import _A as A
from tuneworthy.dataset.dedup.minhash import _B as B
from tuneworthy.dataset.dedup.minhash import coefficients

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
    total = 0 if len(shingle) == size else len(shingle)
    for word in shingle:
        value = 0
        for character in word:
            value = (value ^ ord(character)) * int(A) & ALL
            value ^= value >> 29
        value ^= value >> 32
        value = value * int(B) & ALL
        value ^= value >> 29
        total = (total ^ value) * int(A) & ALL
        total ^= total >> 31
    return total


def plain_band_keys(hashes: NDArray[np.uint64], bands: int, rows: int, seed: int) -> NDArray[np.uint64]:
    """Return the (bands,) keys of one row, as `band_keys` computes them."""
    factors, summands = coefficients(bands * rows, seed)
    low = (hashes >> np.uint64(32)).astype(np.uint32)
    signature = (low[:, None] * factors + summands).min(axis=0, initial=0xFFFFFFFF)
    keys = np.arange(1, bands + 1, dtype=np.uint64)
    for column in signature.reshape(bands, rows).T:
        keys = (keys ^ column.astype(np.uint64)) * A
        keys ^= keys >> np.uint64(32)
    return keys
