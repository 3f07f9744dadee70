"""From two ranked lists to one, and that one reranked by token vectors. Pure.

Source: Bruch, Gai, Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 2023 (a convex sum of
normalised scores); Khattab, Zaharia, "ColBERT", arXiv 2004.12832 (the largest similarity per question token).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tuneworthy.retrieval.encoder import TokenVectors
from tuneworthy.retrieval.index import RankedChunks

# By number of chunk.
Scores = Mapping[int, float]


def fuse(lexical: RankedChunks, dense: RankedChunks | None, weight: float) -> dict[int, float]:
    """Return chunks with their fused scores, best first.

    Each list is scaled to 0..1, its last chunk being 0; a chunk that only one list has counts 0 in the other.

    Args:
        lexical: By BM25.
        dense: By dense vectors; None if there are no vectors.
        weight: Share of BM25, 0..1; all of the score where there are no vectors.
    """
    if dense is None:
        return _ordered(_scaled(lexical))
    total = dict.fromkeys((*lexical.chunks.tolist(), *dense.chunks.tolist()), 0.0)
    for ranked, share in ((lexical, weight), (dense, 1 - weight)):
        for chunk, score in _scaled(ranked).items():
            total[chunk] += share * score
    chunks = lexical.chunks if weight == 1 else dense.chunks if weight == 0 else list(total)
    return _ordered({int(chunk): total[int(chunk)] for chunk in chunks})


def blend(fused: Scores, scores: Scores, weight: float) -> dict[int, float]:
    """Order the chunks of `scores`, the head of `fused`, by both; those behind keep their places.

    Args:
        fused: Best first.
        scores: Of a reranker.
        weight: Share of the reranker, 0..1.
    """
    head = {chunk: score for chunk, score in fused.items() if chunk in scores}
    low, span = _span(list(head.values()))
    bottom, width = _span(list(scores.values()))
    mixed = {
        chunk: (1 - weight) * (score - low) / span + weight * (scores[chunk] - bottom) / width
        for chunk, score in head.items()
    }
    return _ordered(mixed) | {chunk: score - 1e3 for chunk, score in fused.items() if chunk not in scores}


def max_sim(question: TokenVectors, chunks: Sequence[TokenVectors], rarity: NDArray[np.float64]) -> list[float]:
    """Return for each chunk the mean, over the question's tokens, of the cosine to the chunk's nearest token.

    Args:
        question: Its tokens.
        chunks: Their tokens.
        rarity: Weight per piece of the vocabulary, (n_pieces,): ubiquitous words say little.
    """
    if not len(question.ids):
        return [0.0] * len(chunks)
    weights = rarity[question.ids]
    weights = weights / weights.sum()
    query = question.vectors.astype(np.float32)  # (m, width)
    return [
        float((query @ chunk.vectors.astype(np.float32).T).max(axis=1) @ weights) if len(chunk.ids) else 0.0
        for chunk in chunks
    ]


def rarity_of(counts: NDArray[np.int64], n_chunks: int) -> NDArray[np.float64]:
    """Return the inverse document frequency of BM25 for pieces that occur in `counts` of `n_chunks` chunks."""
    return np.log1p((n_chunks - counts + 0.5) / (counts + 0.5))


def _scaled(ranked: RankedChunks) -> dict[int, float]:
    if not len(ranked.chunks):
        return {}
    low, span = _span(ranked.scores.tolist())
    return {int(chunk): (float(score) - low) / span for chunk, score in zip(ranked.chunks, ranked.scores, strict=True)}


def _span(scores: Sequence[float]) -> tuple[float, float]:
    low = min(scores, default=0.0)
    return low, (max(scores, default=0.0) - low) or 1.0


def _ordered(scores: Mapping[int, float]) -> dict[int, float]:
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
