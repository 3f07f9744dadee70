"""Near duplicates: MinHash bands propose, the exact Jaccard similarity of the word shingles decides.

Rows are taken in order. A row that is similar enough to an earlier row that was kept repeats it; else it is kept.
So a kept row never stands for a chain of rows that grow apart, and the result does not depend on buffers or threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tuneworthy.dataset.dedup.minhash import Hashes, band_keys, shingles
from tuneworthy.dataset.dedup.packed import pack

LIMIT = 256
"""Kept rows of one bucket that a row is compared with, the latest first: a template in every row stays affordable."""
_U = np.uint64


@dataclass(frozen=True, slots=True, eq=False)
class Duplicates:
    """Which rows repeat an earlier one.

    Attributes:
        of: (n,) int64, the number of the kept row that each row repeats, or -1 for a row that is kept.
        score: (n,) float64, the highest similarity to an earlier kept row among those compared (0 if none was);
            that to `of` for a row that repeats one.
        cut: Buckets that held more than `LIMIT` rows when a row was looked up in them.
    """

    of: NDArray[np.int64]
    score: NDArray[np.float64]
    cut: int = 0


def near_duplicates(
    texts: Sequence[str], *, threshold: float = 0.7, shingle: int = 3, bands: int = 20, rows: int = 6, seed: int = 7
) -> Duplicates:
    """Find the rows that repeat an earlier kept row but for a few words.

    With 20 bands of 6 a pair of similarity 0.7 is compared with probability 0.92, one of 0.8 with 0.998. Texts
    without words repeat nothing.

    Args:
        texts: The rows, (n,).
        threshold: Least Jaccard similarity of the shingles, above 0, at most 1.
        shingle: Words a shingle.
        bands, rows: Bands of the signature, and hash functions a band.
        seed: Of the hash functions.

    >>> near_duplicates(["a b c d e f g h", "x", "A b, c d e f g h!"]).of.tolist()
    [-1, -1, 0]
    """
    if not 0 < threshold <= 1 or min(shingle, bands, rows) < 1:
        raise ValueError(f"expected 0 < threshold <= 1 and at least 1 of the others, got {threshold}, "
                         f"{shingle}, {bands}, {rows}")  # fmt: skip
    index = _Index(len(texts), bands, threshold)
    for packed in pack(texts):
        hashes, starts = shingles(packed, shingle)
        index.add(packed.first, hashes, starts, band_keys(hashes, starts, bands, rows, seed))
    return Duplicates(index.of, index.score, int(index.counts[2]))


class _Index:
    """The kept rows, findable by the key of each band.

    Args:
        n: How many rows there will be.
        bands: Keys a row.
        threshold: See `near_duplicates`.
    """

    def __init__(self, n: int, bands: int, threshold: float) -> None:
        self.threshold = threshold
        slots = 1 << max(6, math.ceil(math.log2(max(1, 1.5 * bands * n))))
        self.tags = np.zeros(slots, np.uint32)  # part of the key; 0 is free. A wrong candidate is seen by its Jaccard
        self.heads = np.empty(slots, np.int32)  # the latest kept row of the bucket, and for each the one before it
        self.before = np.empty((n, bands), np.int32)
        self.store = np.empty(0, np.uint64)  # the shingles of the kept rows, one after the other
        self.starts = np.zeros(n + 1, np.int64)
        self.kept = np.empty(n, np.int64)
        self.met = np.full(n, -1, np.int64)  # the last row that each kept row was compared with
        self.counts = np.zeros(3, np.int64)  # kept rows, stored shingles, cut searches
        self.of = np.full(n, -1, np.int64)
        self.score = np.zeros(n)

    def add(self, first: int, hashes: Hashes, starts: NDArray[np.int64], keys: Hashes) -> None:
        """Compare and keep the rows from number `first` on."""
        need = int(self.counts[1]) + len(hashes)
        if need > len(self.store):
            self.store.resize(max(need, len(self.store) * 5 // 4), refcheck=False)  # in place: no second copy
        there = slice(first, first + len(keys))
        _match(
            first, hashes, starts, keys, self.threshold, LIMIT, self.tags, self.heads, self.before, self.store,
            self.starts, self.kept, self.met, self.counts, self.of[there], self.score[there],
        )  # fmt: skip


@njit(cache=True, nogil=True)
def _tag(key: np.uint64) -> np.uint32:
    """Return the part of `key` that a slot keeps, never 0."""
    return np.uint32(np.uint32(key >> _U(32)) | np.uint32(1))


@njit(cache=True, nogil=True)
def _slot(tags: NDArray[np.uint32], key: np.uint64) -> np.uint64:
    """Return the slot of `key`, or the free one where it belongs."""
    mask, tag = _U(len(tags) - 1), _tag(key)
    slot = key & mask
    while tags[slot] != 0 and tags[slot] != tag:
        slot = (slot + _U(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def _place(table: Hashes, value: np.uint64) -> np.uint64:
    """Return where `value` stands in the open hash table, or the free place (0) where it belongs."""
    mask = _U(len(table) - 1)
    place = (value >> _U(20)) & mask
    while table[place] != _U(0) and table[place] != value:
        place = (place + _U(1)) & mask
    return place


@njit(cache=True, nogil=True)
def _set(table: Hashes, hashes: Hashes, out: Hashes) -> int:
    """Make `table` the set of `hashes`, write its members to `out` and return how many they are."""
    table[:] = _U(0)
    n = 0
    for given in hashes:
        value = given | _U(1)
        place = _place(table, value)
        if table[place] == _U(0):
            table[place] = out[n] = value
            n += 1
    return n


@njit(cache=True, nogil=True)
def _jaccard(table: Hashes, n: int, other: Hashes) -> float:
    """Return the similarity of the set in `table`, of `n` members, and the set `other`."""
    common = 0
    for value in other:
        if table[_place(table, value)] == value:
            common += 1
    return common / (n + len(other) - common)


@njit(cache=True, nogil=True)
def _nearest(
    row: int,
    keys: Hashes,
    table: Hashes,
    n: int,
    limit: int,
    tags: NDArray[np.uint32],
    heads: NDArray[np.int32],
    before: NDArray[np.int32],
    store: Hashes,
    starts: NDArray[np.int64],
    met: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> tuple[int, float]:
    """Return the most similar kept row among those in the buckets of `keys` (of equal ones the first); -1 if none."""
    best, best_score = -1, 0.0
    for band in range(len(keys)):
        slot = _slot(tags, keys[band])
        other, steps = heads[slot] if tags[slot] != 0 else -1, 0
        while other >= 0:
            if steps == limit:
                counts[2] += 1
                break
            steps += 1
            if met[other] != row:
                met[other] = row
                similarity = _jaccard(table, n, store[starts[other] : starts[other + 1]])
                if similarity > best_score or (similarity == best_score and other < best):
                    best, best_score = other, similarity
            other = before[other, band]
        if best_score == 1.0:
            break
    return best, best_score


@njit(cache=True, nogil=True)
def _match(
    first: int,
    hashes: Hashes,
    bounds: NDArray[np.int64],
    keys: Hashes,
    threshold: float,
    limit: int,
    tags: NDArray[np.uint32],
    heads: NDArray[np.int32],
    before: NDArray[np.int32],
    store: Hashes,
    starts: NDArray[np.int64],
    kept: NDArray[np.int64],
    met: NDArray[np.int64],
    counts: NDArray[np.int64],
    of: NDArray[np.int64],
    score: NDArray[np.float64],
) -> None:
    """Compare each row with the kept rows of its buckets, then drop or keep it; see `_Index` for the arrays."""
    table = np.zeros(64, np.uint64)  # the row's shingles
    for row in range(len(of)):
        own = hashes[bounds[row] : bounds[row + 1]]
        if len(own) == 0:
            continue
        size = len(table)
        while size < 4 * len(own):
            size *= 2
        if size > len(table):
            table = np.zeros(size, np.uint64)
        n = _set(table, own, store[counts[1] :])
        best, score[row] = _nearest(
            first + row, keys[row], table, n, limit, tags, heads, before, store, starts, met, counts
        )
        if score[row] >= threshold:
            of[row] = kept[best]
            continue
        number = counts[0]
        for band in range(keys.shape[1]):
            slot = _slot(tags, keys[row, band])
            before[number, band] = heads[slot] if tags[slot] != 0 else -1
            tags[slot], heads[slot] = _tag(keys[row, band]), number
        kept[number] = first + row
        counts[0] += 1
        counts[1] += n
        starts[number + 1] = counts[1]
