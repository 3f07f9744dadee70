"""Near duplicates: MinHash bands propose, the exact Jaccard similarity of the word shingles decides.

Three steps, each a pure function of arrays. `sign` makes a signature of each row. `band_pairs` compares the rows that
agree in one band: in order, each with the latest rows of its bucket that resemble no earlier row of it. `resolve` takes
the pairs of all bands: a row that is similar enough to an earlier row that was kept repeats it; else it is kept. So a
kept row never represents a chain of rows that grow apart, and the result depends neither on the order in which bands
are compared nor on buffers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tuneworthy.arrays import Bools, Floats, Hashes, Ints
from tuneworthy.dataset.dedup.minhash import band_keys, pack, shingles
from tuneworthy.types import Texts, positional

# Rows of one bucket that a row is compared with, the latest first: a template in every row stays affordable.
LIMIT = 256
# Of a signature.
BANDS = 20
# Rows after which the pages of shingles that were read leave memory; the system maps up to 2 MB for each.
_RELEASED = 1 << 9
_U = np.uint64
Sets = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class NearDuplicates:
    """Which rows repeat an earlier one.

    Attributes:
        of: (n,) int64, the number of the kept row that each row repeats, or -1 for a row that is unique.
        score: (n,) float64, the similarity to that row, 0 for a row that is unique.
        cut: Searches of buckets with more than `LIMIT` rows.
    """

    of: Ints
    score: Floats
    cut: int = 0


@positional
class SignedRows:
    """Signatures of rows.

    Attributes:
        sets: (n_shingles,) the shingles of each row, sorted, each once.
        starts: (n_rows + 1,) where each row begins.
        bands: (bands, n_rows) keys.
    """

    sets: Sets
    starts: Ints
    bands: Hashes


@positional
class BandPairs:
    """Rows that resemble an earlier row in the same bucket of a band.

    Attributes:
        pairs: (n_pairs, 2) a row, and the earlier row.
        scores: (n_pairs,) their similarity.
        cut: See `NearDuplicates`.
    """

    pairs: NDArray[np.int32]
    scores: Floats
    cut: int


def sign(
    texts: Texts, keys: Hashes | None = None, *, shingle: int = 3, bands: int = BANDS, rows: int = 6, seed: int = 7
) -> SignedRows:
    """Return the signatures of rows.

    With 20 bands of 6 a pair of similarity 0.7 is compared with probability 0.92, one of 0.8 with 0.998. Texts
    without words repeat nothing.

    Args:
        texts: The rows, (n,).
        keys: (n,) hashes; only rows with one key have shingles in common.
        shingle: Words a shingle.
        bands: Of the signature.
        rows: Hash functions a band.
        seed: Of the hash functions.
    """
    parts, ends, columns = [np.empty(0, np.uint32)], [np.zeros(1, np.int64)], [np.empty((0, bands), np.uint64)]
    for packed in pack(texts):
        hashes, starts = shingles(packed, shingle)
        if keys is not None:
            hashes ^= np.repeat(keys[packed.first : packed.first + len(packed)], np.diff(starts))
        columns.append(band_keys(hashes, starts, bands, rows, seed))
        own, own_ends = np.empty(len(hashes), np.uint32), np.empty(len(packed), np.int64)
        _sets(hashes, starts, own, own_ends)
        parts.append(own[: own_ends[-1]])
        ends.append(own_ends + ends[-1][-1])
    return SignedRows(np.concatenate(parts), np.concatenate(ends), np.ascontiguousarray(np.concatenate(columns).T))


def band_pairs(
    keys: Hashes,
    compared: Bools,
    sets: Sets,
    starts: Ints,
    threshold: float,
    release: Callable[[], object] = lambda: None,
) -> BandPairs:
    """Compare the rows whose keys of one band are equal.

    Args:
        keys: (n_rows,) of the band.
        compared: (n_rows,) whether each row takes part.
        sets: See `SignedRows`.
        starts: See `SignedRows`.
        threshold: Least similarity of a pair.
        release: Called now and then, to free memory of `sets`.
    """
    n = len(keys)
    slots = 1 << max(6, math.ceil(math.log2(max(1, 1.5 * n))))
    tags, heads, before = np.zeros(slots, np.uint32), np.empty(slots, np.int32), np.empty(n, np.int32)
    found, cut = [(np.empty((0, 2), np.int32), np.empty(0))], 0
    for first in range(0, n, _RELEASED):
        last = min(n, first + _RELEASED)
        pairs, scores, n_cut = _match(first, last, keys, compared, sets, starts, threshold, LIMIT, tags, heads, before)
        found.append((pairs, scores))
        cut += n_cut
        release()
    pairs, scores = (np.concatenate(some) for some in zip(*found, strict=True))
    return BandPairs(pairs, scores, cut)


def resolve(n: int, bands: Sequence[BandPairs]) -> NearDuplicates:
    """Take the rows in order: each repeats the most similar kept row (of equal ones the first), or is kept.

    Args:
        n: Number of rows.
        bands: The pairs of each band.
    """
    pairs = np.concatenate([np.empty((0, 2), np.int32), *(band.pairs for band in bands)])
    scores = np.concatenate([np.empty(0), *(band.scores for band in bands)])
    of, score = np.full(n, -1, np.int64), np.zeros(n)
    _resolve(pairs, scores, np.lexsort((pairs[:, 1], pairs[:, 0])), of, score)
    return NearDuplicates(of, score, sum(band.cut for band in bands))


@njit(cache=True, nogil=True)
def _sets(hashes: Hashes, starts: Ints, out: Sets, ends: Ints) -> None:
    """Write the set of each row's hashes, sorted, and where it ends; 32 bits tell those of two rows apart.

    A hash table by the first bits is almost sorted.
    """
    n = 0
    for row in range(len(starts) - 1):
        bits, first = 6, n
        while 1 << bits < 2 * (starts[row + 1] - starts[row]):
            bits += 1
        table = np.zeros(1 << bits, np.uint32)
        for k in range(starts[row], starts[row + 1]):
            value = np.uint32(hashes[k] >> _U(32)) | np.uint32(1)
            place = np.int64(value) >> (32 - bits)
            while table[place] != 0 and table[place] != value:
                place = (place + 1) & (len(table) - 1)
            table[place] = value
        for value in table:
            if value != 0:
                place = np.int64(n)
                while place > first and out[place - 1] > value:
                    out[place] = out[place - 1]
                    place -= 1
                out[place] = value
                n += 1
        ends[row] = n


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
def _jaccard(one: Sets, other: Sets, threshold: float) -> float:
    """Return the similarity of two sorted sets; 0 if their sizes exclude `threshold`."""
    if min(len(one), len(other)) < threshold * max(len(one), len(other)):
        return 0.0
    i = j = common = 0
    while i < len(one) and j < len(other):
        a, b = one[i], other[j]
        common += a == b
        i += a <= b
        j += b <= a
    return common / (len(one) + len(other) - common)


@njit(cache=True, nogil=True)
def _match(
    first: int,
    last: int,
    keys: Hashes,
    compared: Bools,
    sets: Sets,
    starts: Ints,
    threshold: float,
    limit: int,
    tags: NDArray[np.uint32],
    heads: NDArray[np.int32],
    before: NDArray[np.int32],
) -> tuple[NDArray[np.int32], Floats, int]:
    """Compare rows `first` to `last` with the earlier rows of their buckets; return pairs, scores and cut searches.

    Args:
        tags: (slots,) part of a key, an open hash table; 0 is free. A wrong candidate shows by its similarity.
        heads: (slots,) the latest row of the bucket that resembles no earlier one.
        before: (n_rows,) for each such row the one before it.
    """
    pairs, scores = np.empty((64, 2), np.int32), np.empty(64)
    n = cut = 0
    for row in range(first, last):
        own = sets[starts[row] : starts[row + 1]]
        if len(own) == 0 or not compared[row]:
            continue
        slot = _slot(tags, keys[row])
        latest = heads[slot] if tags[slot] != 0 else -1
        other, steps, begin = latest, 0, n
        while other >= 0:
            if steps == limit:
                cut += 1
                break
            steps += 1
            similarity = _jaccard(own, sets[starts[other] : starts[other + 1]], threshold)
            if similarity >= threshold:
                if n == len(scores):
                    more_pairs, more_scores = np.empty((2 * n, 2), np.int32), np.empty(2 * n)
                    more_pairs[:n], more_scores[:n] = pairs, scores
                    pairs, scores = more_pairs, more_scores
                pairs[n, 0], pairs[n, 1], scores[n] = row, other, similarity
                n += 1
            other = before[other]
        if n == begin:
            before[row], heads[slot], tags[slot] = latest, row, _tag(keys[row])
    return pairs[:n].copy(), scores[:n].copy(), cut


@njit(cache=True, nogil=True)
def _resolve(pairs: NDArray[np.int32], scores: Floats, order: Ints, of: Ints, score: Floats) -> None:
    """Fill in `of` and `score` from pairs in the order of their rows."""
    for place in order:
        row, other = pairs[place, 0], pairs[place, 1]
        if of[other] < 0 and scores[place] > score[row]:
            of[row], score[row] = other, scores[place]
