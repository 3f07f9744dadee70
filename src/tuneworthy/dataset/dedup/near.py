"""Near duplicates: MinHash bands propose, the exact Jaccard similarity of the word shingles decides.

Rows are taken in order. A row that is similar enough to an earlier row that was kept repeats it; else it is unique.
So a kept row never represents a chain of rows that grow apart, and the result does not depend on buffers or threads.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tuneworthy.arrays import Floats, Hashes, Ints
from tuneworthy.dataset.dedup.minhash import band_keys, pack, shingles
from tuneworthy.types import Texts

# Kept rows of one bucket that a row is compared with, the latest first: a template in every row stays affordable.
LIMIT = 256
# Places in `UniqueRows.counts`.
ROWS, SHINGLES, CUT = 0, 1, 2
_U = np.uint64


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
    shingle: int = 3,
    bands: int = 20,
    rows: int = 6,
    seed: int = 7,
) -> NearDuplicates:
    """Find the rows that repeat an earlier kept row but for a few words.

    With 20 bands of 6 a pair of similarity 0.7 is compared with probability 0.92, one of 0.8 with 0.998. Texts
    without words repeat nothing.

    Args:
        texts: The rows, (n,).
        keys: (n,) hashes; only rows with one key have shingles in common.
        threshold: Least Jaccard similarity of the shingles, above 0, at most 1.
        shingle: Words a shingle.
        bands: Of the signature.
        rows: Hash functions a band.
        seed: Of the hash functions.

    >>> near_duplicates(["a b c d e f g h", "x", "A b, c d e f g h!"]).of.tolist()
    [-1, -1, 0]
    """
    if not 0 < threshold <= 1 or min(shingle, bands, rows) < 1:
        raise ValueError(f"expected 0 < threshold <= 1 and at least 1 of the others, got {threshold}, "
                         f"{shingle}, {bands}, {rows}")  # fmt: skip
    n = len(texts)
    slots = 1 << max(6, math.ceil(math.log2(max(1, 1.5 * bands * n))))
    unique = UniqueRows(
        tags=np.zeros(slots, np.uint32),
        heads=np.empty(slots, np.int32),
        before=np.empty((n, bands), np.int32),
        shingles=np.empty(0, np.uint64),  # grows with the rows
        starts=np.zeros(n + 1, np.int64),
        numbers=np.empty(n, np.int64),
        compared=np.full(n, -1, np.int64),
        counts=np.zeros(3, np.int64),
        limit=LIMIT,
    )
    of, score = np.full(n, -1, np.int64), np.zeros(n)
    for packed in pack(texts):
        hashes, starts = shingles(packed, shingle)
        if keys is not None:
            hashes ^= np.repeat(keys[packed.first : packed.first + len(packed)], np.diff(starts))
        need = int(unique.counts[SHINGLES]) + len(hashes)
        if need > len(unique.shingles):
            unique.shingles.resize(max(need, len(unique.shingles) * 5 // 4), refcheck=False)  # in place: no second copy
        batch = HashedRows(packed.first, hashes, starts, band_keys(hashes, starts, bands, rows, seed))
        here = slice(packed.first, packed.first + len(packed))
        _match(batch, unique, threshold, of[here], score[here])
    return NearDuplicates(of, score, int(unique.counts[CUT]))


class HashedRows(NamedTuple):
    """Some rows.

    Attributes:
        first: Number of the first one.
        hashes: Shingles, one row after the other.
        starts: (n_rows + 1,) where each row begins.
        keys: (n_rows, bands).
    """

    first: int
    hashes: Hashes
    starts: Ints
    keys: Hashes


class UniqueRows(NamedTuple):
    """The kept rows, findable by the key of each band.

    Attributes:
        tags: (slots,) part of a key, an open hash table; 0 is free. A wrong candidate shows by its Jaccard similarity.
        heads: (slots,) the latest kept row of the bucket.
        before: (n, bands) for each kept row the one before it in its buckets.
        shingles: Of the kept rows, one row after the other.
        starts: (n + 1,) where each kept row begins.
        numbers: (n,) the number of each kept row.
        compared: (n,) the last row that each kept row was compared with.
        counts: Kept rows, their shingles, and searches that were cut; see `ROWS`, `SHINGLES`, `CUT`.
        limit: Kept rows of one bucket that a row is compared with.
    """

    tags: NDArray[np.uint32]
    heads: NDArray[np.int32]
    before: NDArray[np.int32]
    shingles: Hashes
    starts: Ints
    numbers: Ints
    compared: Ints
    counts: Ints
    limit: int


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
    """Return where `value` is in the open hash table, or the free place (0) where it belongs."""
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
    for shingle in hashes:
        value = shingle | _U(1)
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
def _nearest(row: int, keys: Hashes, table: Hashes, n: int, unique: UniqueRows) -> tuple[int, float]:
    """Return the most similar kept row among those in the buckets of `keys` (of equal ones the first); -1 if none."""
    best, best_score = -1, 0.0
    for band in range(len(keys)):
        slot = _slot(unique.tags, keys[band])
        other, steps = unique.heads[slot] if unique.tags[slot] != 0 else -1, 0
        while other >= 0:
            if steps == unique.limit:
                unique.counts[CUT] += 1
                break
            steps += 1
            if unique.compared[other] != row:
                unique.compared[other] = row
                similarity = _jaccard(table, n, unique.shingles[unique.starts[other] : unique.starts[other + 1]])
                if similarity > best_score or (similarity == best_score and other < best):
                    best, best_score = other, similarity
            other = unique.before[other, band]
        if best_score == 1.0:
            break
    return best, best_score


@njit(cache=True, nogil=True)
def _match(
    batch: HashedRows,
    unique: UniqueRows,
    threshold: float,
    of: Ints,
    score: Floats,
) -> None:
    """Compare each row with the kept rows of its buckets, then drop or keep it.

    Args:
        batch: The rows.
        unique: Those that are kept so far; those of the batch are added.
        threshold: See `near_duplicates`.
        of: (n_rows,) filled in as in `NearDuplicates`.
        score: (n_rows,) likewise.
    """
    table = np.zeros(64, np.uint64)  # the row's shingles
    for row in range(len(of)):
        own = batch.hashes[batch.starts[row] : batch.starts[row + 1]]
        if len(own) == 0:
            continue
        size = len(table)
        while size < 4 * len(own):
            size *= 2
        if size > len(table):
            table = np.zeros(size, np.uint64)
        n = _set(table, own, unique.shingles[unique.counts[SHINGLES] :])
        best, score[row] = _nearest(batch.first + row, batch.keys[row], table, n, unique)
        if score[row] >= threshold:
            of[row] = unique.numbers[best]
            continue
        number = unique.counts[ROWS]
        for band in range(batch.keys.shape[1]):
            slot = _slot(unique.tags, batch.keys[row, band])
            unique.before[number, band] = unique.heads[slot] if unique.tags[slot] != 0 else -1
            unique.tags[slot], unique.heads[slot] = _tag(batch.keys[row, band]), number
        unique.numbers[number] = batch.first + row
        unique.counts[ROWS] += 1
        unique.counts[SHINGLES] += n
        unique.starts[number + 1] = unique.counts[SHINGLES]
