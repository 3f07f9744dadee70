"""Semantic duplicates: rows that say the same in other words; in two stages, or by SemDeDup as published.

Two stages: TF-IDF proposes pairs, at next to no cost, and a sentence encoder is asked about the rows of these pairs
only. A pair is proposed if its rare words agree, and agree more than all its words do: texts made from one template
share the common words whatever they are about, a paraphrase shares the rare ones. The score of a pair is 5/8 of the
encoder's cosine and 3/8 of that contrast. Neither deletes rows alone: words take other facts about one subject for the
same, and an encoder takes the same template for the same meaning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuneworthy.dataset.dedup.pairs import similar_pairs
from tuneworthy.retrieval.encoder import Encoder

THRESHOLD, CONTRAST, RARE = 0.895, 0.8, 0.7
ENCODER_SHARE = 0.625
EDGES = np.round(np.arange(0, 1.005, 0.01), 2)
N_CLOSE = 20
_BLOCK = 65_536
Keep = Literal["hard", "easy", "random"]


@dataclass(frozen=True, slots=True, eq=False)
class SemanticDuplicates:
    """Which rows say what another row says, and how clear the cut is.

    Attributes:
        of: (n,) int64, the number of the kept row that each row repeats, or -1 for a row that is kept.
        score: (n,) float64, the score (of SemDeDup, the cosine) that dropped the row; of a kept row, its highest one
            to a row that could have dropped it (0 if there was none).
        encoded: Rows that the encoder saw.
        histogram: (100,) how many pairs scored between `EDGES`; a cut in a valley is a clear one.
        close: The pairs nearest to the cut (row, other row, score), to look at.
    """

    of: NDArray[np.int64]
    score: NDArray[np.float64]
    encoded: int
    histogram: NDArray[np.int64]
    close: tuple[tuple[int, int, float], ...]


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
        threshold: Least score. It fits MiniLM and chats; for other ones look at `histogram` and `close`.
        contrast, rare: Least contrast and least cosine (above 0) of the rare words of a pair that the encoder is asked
            about, see `similar_pairs`.
    """
    rows, others, contrasts = similar_pairs(texts, rare=rare, contrast=contrast)
    seen = np.union1d(rows, others)
    vectors = encoder.encode([texts[row] for row in seen]) if len(seen) else np.empty((0, 1), np.float32)
    a, b = np.searchsorted(seen, rows), np.searchsorted(seen, others)
    scores = np.empty(len(rows))
    for first in range(0, len(rows), _BLOCK):
        part = slice(first, first + _BLOCK)
        scores[part] = np.einsum("ij,ij->i", vectors[a[part]], vectors[b[part]], dtype=np.float64)
    scores = ENCODER_SHARE * scores + (1 - ENCODER_SHARE) * contrasts
    of, best = _earliest_kept(len(texts), rows, others, scores, threshold)
    return SemanticDuplicates(of, best, len(seen), _histogram(scores), _close(rows, others, scores, threshold))


def semdedup(
    vectors: NDArray[np.float32],
    *,
    epsilon: float = 0.1,
    clusters: int | None = None,
    keep: Keep = "hard",
    seed: int = 7,
) -> SemanticDuplicates:
    """Find duplicates among encoded rows by SemDeDup: k-means, then all pairs within a cluster.

    In each cluster the rows are ranked by their distance from its centre, and a row is dropped if its cosine to one
    that ranks before it is above 1 - epsilon.

    Args:
        vectors: (n, width), of length 1.
        epsilon: See above. A fit one depends on the encoder: look at `histogram` and `close`.
        clusters: How many; by default the root of n.
        keep: Which of two like rows ranks first: the one far from the centre (`hard`, the published default), the
            one near it (`easy`), or any (`random`).
        seed: Of k-means, and of the order if it is random.

    Source: Abbas et al., arXiv 2303.09540.
    """
    n = len(vectors)
    rng = np.random.default_rng(seed)
    labels, nearness = _spherical_k_means(vectors, min(n, clusters or round(math.sqrt(n))), rng)
    shuffled = rng.permutation(n)
    rank = {"hard": nearness, "easy": -nearness, "random": shuffled}[keep]
    of, score = np.full(n, -1, np.int64), np.zeros(n)
    histogram, close = np.zeros(len(EDGES) - 1, np.int64), []
    for label in range(labels.max(initial=-1) + 1):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(rank[members], kind="stable")]
        for place in range(1, len(members)):
            cosines = (vectors[members[:place]] @ vectors[members[place]]).astype(np.float64)
            best = int(cosines.argmax())
            row = members[place]
            score[row] = cosines[best]
            histogram += _histogram(cosines)
            close.append((int(row), int(members[best]), float(cosines[best])))
            if cosines[best] > 1 - epsilon:
                of[row] = members[best] if of[members[best]] < 0 else of[members[best]]
    close.sort(key=lambda pair: (abs(pair[2] - (1 - epsilon)), pair))
    return SemanticDuplicates(of, score, n, histogram, tuple(close[:N_CLOSE]))


def _earliest_kept(
    n: int, rows: NDArray[np.int64], others: NDArray[np.int64], scores: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Take the rows in order; drop one that is like an earlier kept one, and name the likest of these."""
    of, best = np.full(n, -1, np.int64), np.zeros(n)
    for pair in np.lexsort((others, -scores, rows)):
        row, other, score = rows[pair], others[pair], scores[pair]
        if of[row] < 0 and of[other] < 0:
            best[row] = max(best[row], score)
            if score >= threshold:
                of[row] = other
    return of, best


def _histogram(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.histogram(np.clip(scores, 0, 1), EDGES)[0].astype(np.int64)


def _close(
    rows: NDArray[np.int64], others: NDArray[np.int64], scores: NDArray[np.float64], threshold: float
) -> tuple[tuple[int, int, float], ...]:
    order = np.lexsort((others, rows, np.abs(scores - threshold)))[:N_CLOSE]
    return tuple((int(rows[pair]), int(others[pair]), float(scores[pair])) for pair in order)


def _spherical_k_means(
    vectors: NDArray[np.float32], k: int, rng: np.random.Generator, rounds: int = 20
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the cluster of each row, and its cosine to the centre."""
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
