"""Near duplicates: MinHash bands propose, the exact Jaccard similarity of the word shingles decides.

Rows are taken in order. A row that is similar enough to an earlier row that was kept repeats it; else it is unique.
So a kept row never represents a chain of rows that grow apart, and the result does not depend on buffers or threads.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tuneworthy.arrays import Floats, Hashes, Ints
from tuneworthy.dataset.dedup.minhash import band_keys, pack, shingles
from tuneworthy.types import Texts

# Kept rows of one bucket that a row is compared with, the latest first: a template in every row stays affordable.
LIMIT = 256
# Words of a shingle.
_SHINGLE = 3
# Of the hash functions.
_SEED = 7


@dataclass(frozen=True, slots=True, eq=False)
class NearDuplicates:
    """Which rows repeat an earlier one.

    Attributes:
        of: (n,) int64, the number of the kept row that each row repeats, or -1 for a row that is unique.
        score: (n,) float64, the highest similarity to an earlier kept row among those compared (0 if none was);
            that to `of` for a row that repeats one.
        cut: Buckets that held more than `LIMIT` rows when a row was looked up in them.
    """

    of: Ints
    score: Floats
    cut: int = 0


def near_duplicates(
    texts: Texts,
    *,
    keys: Hashes | None = None,
    threshold: float = 0.7,
    bands: int = 20,
    rows: int = 6,
) -> NearDuplicates:
    """Find the rows that repeat an earlier kept row but for a few words.

    With 20 bands of 6 a pair of similarity 0.7 is compared with probability 0.92, one of 0.8 with 0.998. Texts
    without words repeat nothing.

    Args:
        texts: The rows, (n,).
        keys: (n,) hashes; only rows with one key have shingles in common.
        threshold: Least Jaccard similarity of the shingles, above 0, at most 1.
        bands: Of the signature.
        rows: Hash functions a band.

    >>> near_duplicates(["a b c d e f g h", "x", "A b, c d e f g h!"]).of.tolist()
    [-1, -1, 0]
    """
    found, ends, of_bands = np.zeros(0, np.uint64), [np.zeros(1, np.int64)], np.empty((len(texts), bands), np.uint64)
    for packed in pack(texts):
        here = slice(packed.first, packed.first + len(packed))
        hashes, starts = shingles(packed, _SHINGLE)
        if keys is not None:
            hashes ^= np.repeat(keys[here], np.diff(starts))
        of_bands[here] = band_keys(hashes, starts, bands, rows, _SEED)
        n, known = _as_sets(hashes, starts), int(ends[-1][-1])
        if known + n > len(found):
            found.resize(max(known + n, len(found) * 5 // 4), refcheck=False)  # in place: no second copy
        found[known : known + n] = hashes[:n]
        ends.append(known + starts[1:])
    buckets = np.empty((bands, len(texts)), np.int32)
    for own, key in zip(buckets, of_bands.T, strict=True):
        own[:] = np.unique(key, return_inverse=True)[1]
    return NearDuplicates(*_match(found, np.concatenate(ends), buckets, threshold, LIMIT))


@njit(cache=True, nogil=True)
def _as_sets(hashes: Hashes, starts: Ints) -> int:
    """Make a sorted set of the shingles of each row, in place; return how many there are."""
    n = 0
    for row in range(len(starts) - 1):
        own = np.sort(hashes[starts[row] : starts[row + 1]])
        starts[row] = n
        for k in range(len(own)):
            if k == 0 or own[k] != own[k - 1]:
                hashes[n] = own[k]
                n += 1
    starts[-1] = n
    return n


@njit(cache=True, nogil=True)
def _jaccard(one: Hashes, other: Hashes) -> float:
    """Return the similarity of two sorted sets."""
    common = i = k = 0
    while i < len(one) and k < len(other):
        a, b = one[i], other[k]
        common += a == b
        i += a <= b
        k += b <= a
    return common / (len(one) + len(other) - common)


@njit(cache=True, nogil=True)
def _match(
    hashes: Hashes,
    starts: Ints,
    buckets: NDArray[np.int32],
    threshold: float,
    limit: int,
) -> tuple[Ints, Floats, int]:
    """Compare each row with the kept rows of its buckets (of equal ones the first counts), then drop or keep it.

    Args:
        hashes: The rows' shingles, a sorted set after the other.
        starts: (n + 1,) where each set begins.
        buckets: (bands, n), the bucket of each row.
        threshold: See `near_duplicates`.
        limit: See `LIMIT`.

    Returns:
        The fields of `NearDuplicates`.
    """
    n = buckets.shape[1]
    of, score = np.full(n, -1, np.int64), np.zeros(n)
    latest, before = np.full(buckets.shape, -1, np.int32), np.empty(buckets.shape, np.int32)  # kept rows of a bucket
    compared, cut = np.full(n, -1, np.int64), 0
    for row in range(n):
        own, best = hashes[starts[row] : starts[row + 1]], -1
        if len(own) == 0:
            continue
        for band in range(len(buckets)):
            other, steps = latest[band, buckets[band, row]], 0
            while other >= 0 and steps < limit:
                steps += 1
                if compared[other] != row:
                    compared[other] = row
                    similarity = _jaccard(own, hashes[starts[other] : starts[other + 1]])
                    if similarity > score[row] or (similarity == score[row] and other < best):
                        best, score[row] = other, similarity
                other = before[band, other]
            cut += other >= 0
            if score[row] == 1.0:
                break
        if score[row] >= threshold:
            of[row] = best
            continue
        for band in range(len(buckets)):
            before[band, row] = latest[band, buckets[band, row]]
            latest[band, buckets[band, row]] = row
    return of, score, cut
