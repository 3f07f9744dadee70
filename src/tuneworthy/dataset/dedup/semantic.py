"""Semantic duplicates: rows that say the same in other words.

TF-IDF proposes pairs at next to no cost, and a sentence encoder scores only the rows of these pairs. A pair is proposed
if its rare words agree, and agree more than all its words do: texts from one template share the common words whatever
they are about, a paraphrase shares the rare words. The score of a pair is 5/8 of the encoder's cosine and 3/8 of that
contrast. Neither drops rows without the other: words take other facts about one subject for the same, and an encoder
takes the same template for the same meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneworthy.dataset.dedup.pairs import similar_pairs
from tuneworthy.retrieval.encoder import Encoder

# Lowest score of a duplicate, and lowest contrast and lowest cosine of the rare words of a proposed pair.
THRESHOLD, CONTRAST, RARE = 0.895, 0.8, 0.7
ENCODER_SHARE = 0.625
_BLOCK = 65_536


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
    for first in range(0, len(rows), _BLOCK):
        part = slice(first, first + _BLOCK)
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
