"""One index, searched: a list by words and a list by vectors, fused, and the head of the result reranked.

Source: Bruch, Gai, Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", ACM TOIS 2023 (a convex sum of
normalised scores); Khattab, Zaharia, "ColBERT", arXiv 2004.12832 (the largest similarity per question token).
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np

from tuneworthy.arrays import Floats, Floats32
from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.bert import MAX_PIECES
from tuneworthy.retrieval.chunking import Chunk
from tuneworthy.retrieval.cross_encoder import CrossEncoder
from tuneworthy.retrieval.encoder import TokenVectors, VectorEncoder
from tuneworthy.retrieval.index import ChunkEncoder, ChunkIndex, RankedChunks
from tuneworthy.retrieval.servers import ServerReranker
from tuneworthy.types import NamedFloats, Passage, Retrieval, Texts

# Chunks at the head of the fused list that a reranker orders.
RERANKED = 20
# Most bytes of token vectors in memory; above it all are dropped.
TOKEN_BYTES = 512 * 2**20


# Of token vectors, and of scores.
Rerankers = tuple[Callable[[], VectorEncoder], Callable[[], CrossEncoder | ServerReranker]]


class Searcher:
    """Searches one index, and remembers the lists and token vectors that further forms of the search need again.

    Args:
        index: Opened.
        encoder: Of questions; None for a search by words only.
        rerankers: Returns the local encoder, and the model or server, that rerank; called when first needed.
        account: Of the servers, if there are any.
    """

    def __init__(
        self, index: ChunkIndex, encoder: ChunkEncoder | None, rerankers: Rerankers, account: Account | None = None
    ) -> None:
        self.index = index
        self._encoder, self._rerankers, self._account = encoder, rerankers, account
        self._questions: dict[str, Floats32] = {}
        self._lists: dict[tuple[str, str, int], RankedChunks] = {}
        self._scores: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        self._chunk_tokens: dict[int, TokenVectors] = {}
        self._question_tokens: dict[str, TokenVectors] = {}
        self._chunks: dict[int, Chunk] = {}

    async def search(self, retrieval: Retrieval, questions: Texts, depth: int) -> list[list[Passage]]:
        if retrieval.encoder:
            await self.encode(questions)
        hits = [(await self._search(retrieval, question))[:depth] for question in questions]
        chunks = self.chunks([number for numbers in hits for number in numbers])
        return [
            [Passage(document=c.document, text=c.text, heading=c.heading) for c in map(chunks.__getitem__, numbers)]
            for numbers in hits
        ]

    async def timed(self, retrieval: Retrieval, question: str, repeat: int = 1) -> NamedFloats:
        """Search for one question without caches, and return the seconds per stage.

        Servers are called again, one call at a time; a stored answer counts with its seconds.
        """
        fresh = Searcher(self.index, self._encoder, self._rerankers, self._account)
        ends: dict[str, float] = {}

        def end(stage: str) -> None:
            ends[stage] = time.perf_counter() + (self._account.saved_s if self._account else 0.0)

        end("start")
        if retrieval.encoder:
            await fresh.encode([question], repeat)
            end("encode")
        lexical, dense = fresh._ranked("words", retrieval, question), None
        end("words")
        if retrieval.encoder:
            dense = fresh._ranked("vectors", retrieval, question)
            end("vectors")
        fused = fuse(lexical, dense, retrieval.bm25_weight)
        end("fuse")
        if retrieval.reranker:
            await fresh._reranked(retrieval, question, fused, repeat)
            end("rerank")
        return {stage: until - since for (_, since), (stage, until) in pairwise(ends.items())}

    async def encode(self, questions: Texts, repeat: int = 0) -> None:
        new = [question for question in dict.fromkeys(questions) if question not in self._questions]
        if new and self._encoder is not None:
            self._questions |= dict(zip(new, await self._encoder.encode_questions(new, repeat), strict=True))

    def chunks(self, numbers: Sequence[int]) -> Mapping[int, Chunk]:
        self._chunks |= self.index.chunks([number for number in numbers if number not in self._chunks])
        return self._chunks

    async def _search(self, retrieval: Retrieval, question: str) -> list[int]:
        fused = fuse(
            self._ranked("words", retrieval, question),
            self._ranked("vectors", retrieval, question) if retrieval.encoder else None,
            retrieval.bm25_weight,
        )
        return list(await self._reranked(retrieval, question, fused) if retrieval.reranker else fused)

    def _ranked(self, kind: Literal["words", "vectors"], retrieval: Retrieval, question: str) -> RankedChunks:
        key = (kind, question, retrieval.pool)
        if key not in self._lists:
            self._lists[key] = (
                self.index.search_words(question, retrieval.pool)
                if kind == "words"
                else self.index.search_vectors(self._questions[question], retrieval.pool)
            )
        return self._lists[key]

    async def _reranked(
        self, retrieval: Retrieval, question: str, fused: Mapping[int, float], repeat: int = 0
    ) -> dict[int, float]:
        head = list(fused)[:RERANKED]
        kind = str(retrieval.reranker["type"])
        scores = self._scores[kind, question]
        if new := [number for number in head if number not in scores]:
            if kind == "maxsim":
                values = self._max_sim(question, new)
            else:
                chunks = self.chunks(new)
                values = await self._rerankers[1]().score(question, [chunks[number].indexed for number in new], repeat)
            scores |= dict(zip(new, values, strict=True))
        return blend(fused, {number: scores[number] for number in head}, float(retrieval.reranker.get("weight", 1.0)))

    def _max_sim(self, question: str, numbers: Sequence[int]) -> list[float]:
        if new := [number for number in numbers if number not in self._chunk_tokens]:
            if sum(tokens.vectors.nbytes for tokens in self._chunk_tokens.values()) > TOKEN_BYTES:
                self._chunk_tokens.clear()
                new = list(numbers)
            chunks = self.chunks(new)
            self._chunk_tokens |= dict(
                zip(new, self._rerankers[0]().encode_tokens([chunks[number].indexed for number in new]), strict=True)
            )
        if question not in self._question_tokens:
            (self._question_tokens[question],) = self._rerankers[0]().encode_tokens([question])
        return max_sim(
            self._question_tokens[question], [self._chunk_tokens[number] for number in numbers], self._rarity
        )

    @cached_property
    def _rarity(self) -> Floats:
        """Inverse document frequency of BM25 per piece of the vocabulary, from a sample of the chunks."""
        pieces = self._rerankers[0]().pieces
        texts = self.index.sample()
        counts = np.zeros(pieces.size, np.int64)
        for text in texts:
            counts[np.unique(pieces.marked(text, MAX_PIECES))] += 1
        return np.log1p((len(texts) - counts + 0.5) / (counts + 0.5))


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


def max_sim(question: TokenVectors, chunks: Sequence[TokenVectors], rarity: Floats) -> list[float]:
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
