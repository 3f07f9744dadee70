"""Semantic duplicates: rows that say the same in other words.

TF-IDF proposes pairs at next to no cost, and a sentence encoder scores only the rows of these pairs. A pair is proposed
if its rare words agree, and agree more than all its words do: texts from one template share the common words whatever
they are about, a paraphrase shares the rare words. The score of a pair is 5/8 of the encoder's cosine and 3/8 of that
contrast. Neither drops rows without the other: words take other facts about one subject for the same, and an encoder
takes the same template for the same meaning.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tuneworthy.cases.normalize import words
from tuneworthy.retrieval.encoder import Encoder

# How much of the agreement of all words is taken off that of the rare ones.
COMMON = 0.7
# What the looked-up words must add to the cosine at least; a smaller one looks up more words.
_HEAD = 0.25
_BLOCK = 4096
_PAIRS = 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The rows as sparse vectors; the words of a row are in the order of falling `rare`.

    Attributes:
        starts: (n + 1,) where each row begins.
        words: (m,) int32, numbers of words.
        rare: (m,) float32, the parts of the one vector.
        all: (m,) float32, the parts of the other.
        n_words: Different words.
    """

    starts: NDArray[np.int64]
    words: NDArray[np.int32]
    rare: NDArray[np.float32]
    all: NDArray[np.float32]
    n_words: int

    def matrix(self, values: NDArray[np.float32]) -> csr_matrix:
        """Return one of the vectors of all rows, (n, n_words)."""
        shape = len(self.starts) - 1, self.n_words
        return csr_matrix((values.astype(np.float64), self.words, self.starts), shape=shape, copy=True)


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
    close, alike = weights.matrix(weights.rare), weights.matrix(weights.all)
    looked_up, rests = _heads(weights, max(rare - _HEAD, 0.5 * rare))
    heads = weights.matrix(np.where(looked_up, weights.rare, 0))
    heads.eliminate_zeros()
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for first in range(0, len(texts), _BLOCK):
        columns = close[first : first + _BLOCK].T.tocsr()
        for start in range(first, len(texts), _BLOCK):
            reached = (heads[start : start + _BLOCK] @ columns).tocoo()
            rows, others = reached.row.astype(np.int64) + start, reached.col.astype(np.int64) + first
            near = (others < rows) & (reached.data >= rare - rests[rows] - 1e-6)
            rows, others = rows[near], others[near]
            cosines = _dots(close, rows, others)
            contrasts = (cosines - COMMON * _dots(alike, rows, others)) / (1 - COMMON)
            good = (cosines >= rare) & (contrasts >= contrast)
            parts.append((rows[good], others[good], contrasts[good]))
    rows, others, contrasts = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((others, rows))
    return rows[order], others[order], contrasts[order]


def _heads(weights: Weights, least: float) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which words of the rows are looked up, (m,), and the length of each row's rest, (n,)."""
    n = len(weights.starts) - 1
    row_of = np.repeat(np.arange(n), np.diff(weights.starts))
    squares = weights.rare.astype(np.float64) ** 2
    behind = np.append(np.cumsum(squares[::-1])[::-1], 0)  # of each word and all that follow it, in any row
    looked_up = behind[:-1] - behind[weights.starts[1:]][row_of] > least**2
    return looked_up, np.sqrt(np.bincount(row_of, np.where(looked_up, 0, squares), minlength=n))


def _dots(matrix: csr_matrix, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    parts = [np.zeros(0)]
    for first in range(0, len(rows), _PAIRS):
        some = slice(first, first + _PAIRS)
        parts.append(np.asarray(matrix[rows[some]].multiply(matrix[others[some]]).sum(axis=1)).ravel())
    return np.concatenate(parts)


def weigh(texts: Sequence[str]) -> Weights:
    """Return the two vectors of each row. IDF is log(1 + n / rows with the word), TF is 1 + log(count)."""
    numbers: dict[str, int] = {}
    listed: list[int] = []
    counts: list[int] = []
    sizes = np.zeros(len(texts), np.int64)
    for row, text in enumerate(texts):
        own = Counter(words(text))
        listed += [numbers.setdefault(word, len(numbers)) for word in own]
        counts += own.values()
        sizes[row] = len(own)
    ids, tf = np.array(listed, np.int32), 1 + np.log(np.array(counts, np.float64))
    idf = np.log(1 + len(texts) / np.maximum(1, np.bincount(ids, minlength=len(numbers))))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    row_of = np.repeat(np.arange(len(texts)), sizes)
    rare, common = (_unit(tf * idf[ids] ** power, row_of, len(texts)) for power in (2, 1))
    order = np.lexsort((ids, -rare, row_of))
    return Weights(starts, ids[order], rare[order], common[order], len(numbers))


def _unit(values: NDArray[np.float64], row_of: NDArray[np.int64], n: int) -> NDArray[np.float32]:
    """Return `values` with each row scaled to length 1."""
    lengths = np.sqrt(np.bincount(row_of, values * values, minlength=n))
    return (values / np.maximum(lengths[row_of], 1e-12)).astype(np.float32)


# Lowest score of a duplicate, and lowest contrast and lowest cosine of the rare words of a proposed pair.
THRESHOLD, CONTRAST, RARE = 0.895, 0.8, 0.7
ENCODER_SHARE = 0.625


@dataclass(frozen=True, slots=True, eq=False)
class SemanticDuplicates:
    """Rows that say the same as an earlier row.

    Attributes:
        of: (n,) int64, the number of the kept row that each row repeats, or -1 for a row that is kept.
        score: (n,) float64, the score that dropped the row; of a kept row, its highest score with a row that could
            have dropped it (0 without such a row).
        cosine: (n,) float64, cosine of the encoder with the row of `score`.
        encoded: Rows that the encoder saw.
    """

    of: NDArray[np.int64]
    score: NDArray[np.float64]
    cosine: NDArray[np.float64]
    encoded: int


def semantic_duplicates(texts: Sequence[str], encoder: Encoder, *, threshold: float = THRESHOLD) -> SemanticDuplicates:
    """Find the rows that say the same as an earlier kept row.

    Pass the rows that `near_duplicates` kept: every pair of copies is a pair to score.

    Args:
        texts: The rows, (n,).
        encoder: Decides; sees only rows of proposed pairs.
        threshold: Lowest score; the default fits MiniLM and chats.
    """
    rows, others, contrasts = similar_pairs(texts, rare=RARE, contrast=CONTRAST)
    encoded = np.union1d(rows, others)
    vectors = encoder.encode([texts[row] for row in encoded]) if len(encoded) else np.empty((0, 1), np.float32)
    a, b = np.searchsorted(encoded, rows), np.searchsorted(encoded, others)
    cosines = np.empty(len(rows))
    for first in range(0, len(rows), _PAIRS):
        part = slice(first, first + _PAIRS)
        cosines[part] = np.einsum("ij,ij->i", vectors[a[part]], vectors[b[part]], dtype=np.float64)
    scores = ENCODER_SHARE * cosines + (1 - ENCODER_SHARE) * contrasts
    of, best, pair = _earliest_kept(len(texts), rows, others, scores, threshold)
    return SemanticDuplicates(of, best, np.where(pair >= 0, np.append(cosines, 0.0)[pair], 0.0), len(encoded))


def _earliest_kept(
    n: int, rows: NDArray[np.int64], others: NDArray[np.int64], scores: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Take the rows in order; drop one that is like an earlier kept one, and name the likest of these and its pair."""
    of, best, likest = np.full(n, -1, np.int64), np.zeros(n), np.full(n, -1, np.int64)
    for pair in np.lexsort((others, -scores, rows)):
        row, other, score = rows[pair], others[pair], scores[pair]
        if of[row] < 0 and of[other] < 0:
            if score > best[row]:
                best[row], likest[row] = score, pair
            if score >= threshold:
                of[row] = other
    return of, best, likest
