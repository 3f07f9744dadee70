"""Pairs of rows whose rare words agree: the cheap stage of semantic deduplication, exact and without dense products.

A row is two vectors over its words, both of length 1: `all`, TF-IDF, and `rare`, TF-IDF with the square of the IDF.
The contrast of two rows is (rare cosine - 0.7 all cosine) / 0.3. It is 1 for equal rows, higher for rows that share the
rare words more than the common ones, and falls quickly where rare words differ. A pair is proposed if its rare cosine
and its contrast are high enough.

The search loses nothing: of a row only those words are looked up that carry its `rare` vector, up to a rest too short
to lift a pair over the line (the prefix filter of Bayardo et al., "Scaling Up All Pairs Similarity Search", 2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tuneworthy.cases.normalize import words

COMMON = 0.7
"""How much of the agreement of all words is taken off that of the rare ones."""
_HEAD = 0.25
"""What the looked-up words must add to the cosine at least; a smaller one looks up more words."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The rows as sparse vectors; the words of a row stand in the order of falling `rare`.

    Attributes:
        starts: (n + 1,) where each row begins.
        words: (m,) int32, numbers of words.
        rare, all: (m,) float32, the parts of the two vectors.
        n_words: Different words.
    """

    starts: NDArray[np.int64]
    words: NDArray[np.int32]
    rare: NDArray[np.float32]
    all: NDArray[np.float32]
    n_words: int


def similar_pairs(
    texts: Sequence[str], *, rare: float, contrast: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return (rows, others, contrasts), each row later than the other, sorted.

    Args:
        texts: The rows, (n,).
        rare: Least cosine of the rare words, above 0.
        contrast: Least contrast, see the module.
    """
    weights = weigh(texts)
    order = np.argsort(weights.words, kind="stable")  # rows ascend within a word
    row_of = np.repeat(np.arange(len(texts), dtype=np.int32), np.diff(weights.starts))
    at = np.zeros(weights.n_words + 1, np.int64)
    np.cumsum(np.bincount(weights.words, minlength=weights.n_words), out=at[1:])
    rows, others, contrasts = _search(
        weights.starts, weights.words, weights.rare, weights.all, at, row_of[order], weights.rare[order],
        rare, contrast,
    )  # fmt: skip
    order = np.lexsort((others, rows))
    return rows[order], others[order], contrasts[order]


def weigh(texts: Sequence[str]) -> Weights:
    """Return the two vectors of each row. IDF is log(1 + n / rows with the word), TF is 1 + log(count)."""
    numbers: dict[str, int] = {}
    found: list[int] = []
    counts: list[int] = []
    sizes = np.zeros(len(texts), np.int64)
    for row, text in enumerate(texts):
        own: dict[int, int] = {}
        for word in words(text):
            number = numbers.setdefault(word, len(numbers))
            own[number] = own.get(number, 0) + 1
        found += own.keys()
        counts += own.values()
        sizes[row] = len(own)
    ids, tf = np.array(found, np.int32), 1 + np.log(np.array(counts, np.float64))
    idf = np.log(1 + len(texts) / np.maximum(1, np.bincount(ids, minlength=len(numbers))))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    row_of = np.repeat(np.arange(len(texts)), sizes)
    rare, common = (_unit(tf * idf[ids] ** power, row_of, len(texts)) for power in (2, 1))
    order = np.lexsort((ids, -rare, row_of))
    return Weights(starts, ids[order], rare[order], common[order], len(numbers))


def plain_pairs(texts: Sequence[str], *, rare: float, contrast: float) -> dict[tuple[int, int], float]:
    """Return what `similar_pairs` returns, by comparing every row with every other one."""
    weights = weigh(texts)
    dense = np.zeros((2, len(texts), weights.n_words))
    row_of = np.repeat(np.arange(len(texts)), np.diff(weights.starts))
    dense[0, row_of, weights.words], dense[1, row_of, weights.words] = weights.rare, weights.all
    close, alike = (one @ one.T for one in dense)
    found = (close - COMMON * alike) / (1 - COMMON)
    rows, others = np.nonzero(np.tril((close >= rare) & (found >= contrast), -1))
    return {(row, other): found[row, other] for row, other in zip(rows.tolist(), others.tolist(), strict=True)}


def _unit(values: NDArray[np.float64], row_of: NDArray[np.int64], n: int) -> NDArray[np.float32]:
    """Return `values` with each row scaled to length 1."""
    lengths = np.sqrt(np.bincount(row_of, values * values, minlength=n))
    return (values / np.maximum(lengths[row_of], 1e-12)).astype(np.float32)


@njit(cache=True, nogil=True)
def _head(rare: NDArray[np.float32], least: float) -> tuple[int, float]:
    """Return how many of a row's words are looked up, and the length of the rest."""
    rest, n = 0.0, len(rare)
    while n > 0 and np.sqrt(rest + float(rare[n - 1]) ** 2) <= least:
        n -= 1
        rest += float(rare[n]) ** 2
    return n, np.sqrt(rest)


@njit(cache=True, nogil=True)
def _search(
    starts: NDArray[np.int64],
    words: NDArray[np.int32],
    rare: NDArray[np.float32],
    common: NDArray[np.float32],
    at: NDArray[np.int64],
    posted: NDArray[np.int32],
    weight: NDArray[np.float32],
    least: float,
    contrast: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Propose the pairs; `posted` holds for each word (from `at`) the rows that have it, `weight` their `rare`."""
    n = len(starts) - 1
    total = np.zeros(n)
    touched = np.empty(n, np.int64)
    own_rare, own_common = np.zeros(len(at)), np.zeros(len(at))
    rows, others, contrasts, n_pairs = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024), 0
    for row in range(n):
        first, last = starts[row], starts[row + 1]
        head, rest = _head(rare[first:last], max(least - _HEAD, 0.5 * least))
        n_touched = 0
        for i in range(first, first + head):
            for p in range(at[words[i]], at[words[i] + 1]):
                other = posted[p]
                if other >= row:
                    break
                if total[other] == 0:
                    touched[n_touched] = other
                    n_touched += 1
                total[other] += float(rare[i]) * weight[p]
        for i in range(first, last):
            own_rare[words[i]], own_common[words[i]] = rare[i], common[i]
        for t in range(n_touched):
            other = touched[t]
            reached, total[other] = total[other], 0.0
            if reached < least - rest - 1e-6:
                continue
            close, alike = 0.0, 0.0
            for i in range(starts[other], starts[other + 1]):
                close += own_rare[words[i]] * rare[i]
                alike += own_common[words[i]] * common[i]
            found = (close - COMMON * alike) / (1 - COMMON)
            if close >= least and found >= contrast:
                if n_pairs == len(rows):
                    rows, others = np.append(rows, rows), np.append(others, others)
                    contrasts = np.append(contrasts, contrasts)
                rows[n_pairs], others[n_pairs], contrasts[n_pairs] = row, other, found
                n_pairs += 1
        for i in range(first, last):
            own_rare[words[i]], own_common[words[i]] = 0.0, 0.0
    return rows[:n_pairs], others[:n_pairs], contrasts[:n_pairs]
