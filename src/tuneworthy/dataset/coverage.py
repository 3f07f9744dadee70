"""Which rows cover a case or are one word apart from one: the compiled kernels of `checks.contamination`.

They work on hashes of words. The same in plain Python, and what the tests compare with, are
`cases.overlaps.LeakIndex.coverage` and `checks.contamination.one_word_apart`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_U = np.uint64
_BASE = _U(0x9E3779B97F4A7C15)
_PREFIX = 3


@njit(cache=True, nogil=True)
def _look_up(keys: NDArray[np.uint64], key: np.uint64) -> np.int64:
    """Return where `key` stands in an open hash table, or -1."""
    mask = _U(len(keys) - 1)
    key = key if key != _U(0) else _U(1)
    place = (key >> _U(20)) & mask
    while keys[place] != _U(0):
        if keys[place] == key:
            return np.int64(place)
        place = (place + _U(1)) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _sums(words: NDArray[np.uint64], n_words: int, sums: NDArray[np.uint64]) -> None:
    """Write the hash of the first k words to ``sums[k]``."""
    sums[0] = _U(0)
    for k in range(n_words):
        sums[k + 1] = sums[k] * _BASE + words[k]


@njit(cache=True, nogil=True)
def _cut(  # noqa: PLR0917
    words: NDArray[np.uint64],
    n_words: int,
    sums: NDArray[np.uint64],
    power: np.uint64,
    n: int,
    common: NDArray[np.uint64],
) -> int:
    """Take the words out that stand in a common n-gram; return how many are left."""
    kept, cut_up_to = 0, 0
    for k in range(n_words):
        if k + n <= n_words and _look_up(common, sums[k + n] - sums[k] * power) >= 0:
            cut_up_to = k + n
        if k >= cut_up_to:
            words[kept] = words[k]
            kept += 1
    return kept


@njit(cache=True, nogil=True)
def covering(  # noqa: PLR0912, PLR0917
    hashes: NDArray[np.uint64],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    prefixes: NDArray[np.uint8],
    keys: NDArray[np.uint64],
    ranges: NDArray[np.int64],
    postings: NDArray[np.int64],
    lengths: NDArray[np.int64],
    offsets: NDArray[np.int64],
    common: NDArray[np.uint64],
    n: int,
    threshold: float,
    out: NDArray[np.bool_],
) -> None:
    """Mark the rows that hold more than `threshold` of the words of one case.

    Args:
        hashes, starts: The words of the rows, and where each row begins, ``(n_rows + 1,)``.
        sizes: Words an n-gram, for each size that occurs.
        prefixes: Flags of the first three words of the cases' n-grams, by the upper 18 bits of their hash.
        keys, ranges: Open hash table from n-gram to its stretch of `postings`.
        postings: Case and position of the first word, ``(n, 2)``.
        lengths, offsets: Words of each case, and of all cases before it.
        common: Open hash table of the n-grams of `n` words that are cut out.
        out: ``(n_rows,)``.
    """
    longest = 0
    for row in range(len(starts) - 1):
        longest = max(longest, starts[row + 1] - starts[row])
    words, sums = np.empty(longest, np.uint64), np.empty(longest + 1, np.uint64)
    covered = np.full(lengths.sum(), -1, np.int64)  # the last row that covered each word of each case
    counts, counted = np.zeros(len(lengths), np.int64), np.full(len(lengths), -1, np.int64)
    powers = np.ones(max(sizes.max(), n, _PREFIX) + 1, np.uint64)
    for k in range(1, len(powers)):
        powers[k] = powers[k - 1] * _BASE
    cuts = common.max() > _U(0)
    for row in range(len(starts) - 1):
        n_words = starts[row + 1] - starts[row]
        words[:n_words] = hashes[starts[row] : starts[row + 1]]
        _sums(words, n_words, sums)
        if cuts:
            left = _cut(words, n_words, sums, powers[n], n, common)
            if left < n_words:
                n_words = left
                _sums(words, n_words, sums)
        for k in range(n_words - _PREFIX + 1):
            if not prefixes[(sums[k + _PREFIX] - sums[k] * powers[_PREFIX]) >> _U(46)]:
                continue
            for size in sizes:
                if k + size > n_words:
                    break
                place = _look_up(keys, sums[k + size] - sums[k] * powers[size])
                if place < 0:
                    continue
                for posting in range(ranges[place, 0], ranges[place, 1]):
                    case, position = postings[posting]
                    if counted[case] != row:
                        counted[case], counts[case] = row, 0
                    for word in range(offsets[case] + position, offsets[case] + position + size):
                        if covered[word] != row:
                            covered[word] = row
                            counts[case] += 1
                    if counts[case] / lengths[case] > threshold:
                        out[row] = True
            if out[row]:
                break


SUBSTITUTED, EXTRA, MISSING = _U(1), _U(2), _U(3)


@njit(cache=True, nogil=True)
def _edit_key(kind: np.uint64, value: np.uint64, place: int) -> np.uint64:
    """Return the key of words with the hash `value`, of which the one at `place` (if it is told) is left out."""
    key = (value ^ (_U(place) * _U(4) + kind)) * _BASE
    key ^= key >> _U(31)
    return key if key != _U(0) else _U(1)


@njit(cache=True, nogil=True)
def _without_each(words: NDArray[np.uint64], out: NDArray[np.uint64]) -> np.uint64:
    """Write the hash of the words without the k-th to ``out[k]``; return the hash of all of them."""
    tail, power = _U(0), _U(1)
    for k in range(len(words) - 1, -1, -1):  # the hash of what follows, and the power for its length
        out[k] = tail
        tail += words[k] * power
        power *= _BASE
    head = _U(0)
    powers = np.ones(len(words) + 1, np.uint64)
    for k in range(len(words)):
        powers[k + 1] = powers[k] * _BASE
    for k in range(len(words)):
        out[k] += head * powers[len(words) - 1 - k]
        head = head * _BASE + words[k]
    return head


@njit(cache=True, nogil=True)
def case_keys(words: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Write the ``2 * len(words) + 1`` keys by which rows one word apart from a case find it."""
    n = len(words)
    whole = _without_each(words, out[:n])
    for k in range(n):
        less = out[k]
        out[k] = _edit_key(SUBSTITUTED, less, k + 1)
        out[n + k] = _edit_key(MISSING, less, 0)
    out[2 * n] = _edit_key(EXTRA, whole, 0)


@njit(cache=True, nogil=True)
def edits(  # noqa: PLR0917
    hashes: NDArray[np.uint64],
    starts: NDArray[np.int64],
    keys: NDArray[np.uint64],
    cases: NDArray[np.int64],
    flags: NDArray[np.uint8],
    longest: int,
    n: int,
    common: NDArray[np.uint64],
    out: NDArray[np.int64],
) -> None:
    """Write the number of a case that each row is one word apart from, or -1.

    Args:
        hashes, starts: The words of the rows, and where each row begins, ``(n_rows + 1,)``.
        keys, cases: Open hash table from `case_keys` to ``(case, 0)``.
        flags: Of the keys, by their upper 18 bits.
        longest: Words of the longest case.
        n, common: As in `covering`.
        out: ``(n_rows,)``.
    """
    size = 0
    for row in range(len(starts) - 1):
        size = max(size, starts[row + 1] - starts[row])
    words, sums, less = np.empty(size, np.uint64), np.empty(size + 1, np.uint64), np.empty(longest + 2, np.uint64)
    power = _U(1)
    for _ in range(n):
        power *= _BASE
    cuts = common.max() > _U(0)
    for row in range(len(starts) - 1):
        out[row] = -1
        n_words = starts[row + 1] - starts[row]
        if n_words == 0 or (n_words > longest + 1 and not cuts):
            continue
        words[:n_words] = hashes[starts[row] : starts[row + 1]]
        if cuts:
            _sums(words, n_words, sums)
            n_words = _cut(words, n_words, sums, power, n, common)
        if n_words > longest + 1:
            continue
        whole = _without_each(words[:n_words], less)
        for k in range(-1, 2 * n_words):
            if k < 0:
                key = _edit_key(MISSING, whole, 0)
            elif k < n_words:
                key = _edit_key(SUBSTITUTED, less[k], k + 1)
            else:
                key = _edit_key(EXTRA, less[k - n_words], 0)
            if flags[key >> _U(46)]:
                place = _look_up(keys, key)
                if place >= 0:
                    out[row] = cases[place, 0]
                    break
