"""Semantic duplicates: rows that say the same in other words; in two stages, or by SemDeDup as published.

Two stages: TF-IDF proposes pairs, at next to no cost, and a sentence encoder is asked about the rows of these pairs
only. A pair is proposed if its rare words agree, and agree more than all its words do: texts made from one template
share the common words whatever they are about, a paraphrase shares the rare ones. The score of a pair is 5/8 of the
encoder's cosine and 3/8 of that contrast. Neither deletes rows alone: words take other facts about one subject for the
same, and an encoder takes the same template for the same meaning.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneworthy.dataset.dedup.pairs import similar_pairs
from tuneworthy.retrieval.encoder import Encoder

THRESHOLD, CONTRAST, RARE = 0.895, 0.8, 0.7
ENCODER_SHARE = 0.625
_BLOCK = 65_536


@dataclass(frozen=True, slots=True, eq=False)
class SemanticDuplicates:
    """Which rows say what another row says.

    Attributes:
        of: (n,) int64, the number of the kept row that each row repeats, or -1 for a row that is kept.
        score: (n,) float64, the score (of SemDeDup, the cosine) that dropped the row; of a kept row, its highest one
            to a row that could have dropped it (0 without such a row).
        cosine: (n,) float64, that of the encoder, to the row of `score`.
        encoded: Rows that the encoder saw.
    """

    of: NDArray[np.int64]
    score: NDArray[np.float64]
    cosine: NDArray[np.float64]
    encoded: int


def semantic_duplicates(
    texts: Sequence[str],
    encoder: Encoder,
    *,
    threshold: float = THRESHOLD,
    contrast: float = CONTRAST,
    rare: float = RARE,
) -> SemanticDuplicates:
    """Find the rows that say what an earlier kept row says, in two stages.

    Give it the rows that `near_duplicates` kept: every pair of copies is a pair to score.

    Args:
        texts: The rows, (n,).
        encoder: Decides; sees only rows of proposed pairs.
        threshold: Least score; the default fits MiniLM and chats.
        contrast: Least contrast of a pair that the encoder decides on, see `similar_pairs`.
        rare: Least cosine, above 0, of the rare words of such a pair.
    """
    rows, others, contrasts = similar_pairs(texts, rare=rare, contrast=contrast)
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


def semdedup(
    vectors: NDArray[np.float32],
    *,
    epsilon: float = 0.1,
    clusters: int | None = None,
    seed: int = 7,
) -> SemanticDuplicates:
    """Find duplicates among encoded rows by SemDeDup: k-means, then all pairs within a cluster.

    In each cluster the rows are ranked by their distance from its centre, the farthest first (the published default),
    and a row is dropped if its cosine to one that ranks before it is above 1 - epsilon.

    Args:
        vectors: (n, width), of length 1.
        epsilon: See above. Which one fits depends on the encoder.
        clusters: How many; by default the root of n.
        seed: Of k-means.

    Source: Abbas et al., arXiv 2303.09540.
    """
    n = len(vectors)
    rng = np.random.default_rng(seed)
    labels, nearness = _spherical_k_means(vectors, min(n, clusters or round(math.sqrt(n))), rng)
    of, score = np.full(n, -1, np.int64), np.zeros(n)
    for label in range(labels.max(initial=-1) + 1):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(nearness[members], kind="stable")]
        for place in range(1, len(members)):
            cosines = (vectors[members[:place]] @ vectors[members[place]]).astype(np.float64)
            best = int(cosines.argmax())
            row = members[place]
            score[row] = cosines[best]
            if cosines[best] > 1 - epsilon:
                of[row] = members[best] if of[members[best]] < 0 else of[members[best]]
    return SemanticDuplicates(of, score, score, n)


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


def _spherical_k_means(
    vectors: NDArray[np.float32], k: int, rng: np.random.Generator, rounds: int = 20
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    n = len(vectors)
    labels, nearness = np.zeros(n, np.int64), np.zeros(n)
    centres = vectors[np.sort(rng.choice(n, k, replace=False))]
    for _ in range(rounds if n else 0):
        for first in range(0, n, _BLOCK):
            part = vectors[first : first + _BLOCK] @ centres.T
            labels[first : first + _BLOCK], nearness[first : first + _BLOCK] = part.argmax(axis=1), part.max(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        moved = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return labels, nearness
