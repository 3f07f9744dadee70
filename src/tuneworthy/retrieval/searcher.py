"""One index, searched: lists by words and by vectors, fused, the head of them ordered anew."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tuneworthy.retrieval.account import Account
from tuneworthy.retrieval.chunking import Chunk
from tuneworthy.retrieval.encoder import SentenceEncoder, TokenVectors
from tuneworthy.retrieval.fuse import blend, fuse, max_sim, rarity_of
from tuneworthy.retrieval.index import Encoder, Found, Index
from tuneworthy.retrieval.llama import LlamaEncoder
from tuneworthy.retrieval.servers import ServerEncoder
from tuneworthy.types import Passage, Retrieval

RERANKED = 20
"""Chunks at the head of the fused list that a reranker orders."""
TOKEN_BYTES = 512 * 2**20
"""Token vectors that are held, at most; then all are let go."""


class Reranker(Protocol):
    """Scores chunks."""

    def score(self, question: str, texts: Sequence[str], repeat: int = 0) -> list[float]:
        """Return how well each text answers `question`; another repeat is asked for anew."""
        ...


class Rerankers(Protocol):
    """What a `Searcher` reranks with."""

    @property
    def local(self) -> SentenceEncoder:
        """Gives token vectors."""
        ...

    @property
    def reranker(self) -> Reranker:
        """Scores chunks."""
        ...


class Searcher:
    """Searches one index, and remembers the lists and token vectors that further forms of the search need again.

    Args:
        index: Opened.
        encoder: Of questions; None for words alone.
        rerankers: Has the local encoder, and the model or server, that order chunks anew, opened when first needed.
        account: Of the servers, if there are any.
    """

    def __init__(
        self, index: Index, encoder: Encoder | None, rerankers: Rerankers, account: Account | None = None
    ) -> None:
        self.index = index
        self._encoder, self._rerankers, self._account = encoder, rerankers, account
        self._questions: dict[str, NDArray[np.float32]] = {}
        self._lists: dict[tuple[str, str, int], Found] = {}
        self._scores: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        self._tokens: dict[int, TokenVectors] = {}
        self._asked: dict[str, TokenVectors] = {}
        self._chunks: dict[int, Chunk] = {}

    def search(self, retrieval: Retrieval, questions: Sequence[str], depth: int) -> list[list[Passage]]:
        """Return the best `depth` chunks for each question."""
        if retrieval.encoder:
            self.encode(questions)
        found = [self._search(retrieval, question)[:depth] for question in questions]
        chunks = self.chunks([number for one in found for number in one])
        return [
            [Passage(document=c.document, text=c.text, heading=c.heading) for c in map(chunks.__getitem__, one)]
            for one in found
        ]

    def timed(self, retrieval: Retrieval, question: str, repeat: int = 1) -> dict[str, float]:
        """Search for one question with nothing remembered of it, and return the seconds of each stage.

        Servers are asked another time, alone; what they answered so before counts with the seconds that it took.
        """
        self._forget(question)
        seconds: dict[str, float] = {}

        def now() -> float:
            return time.perf_counter() + (self._account.saved_s if self._account else 0.0)

        def lap(stage: str, since: float) -> float:
            seconds[stage] = now() - since
            return now()

        at = now()
        if retrieval.encoder:
            self.encode([question], repeat)
            at = lap("encode", at)
        words, vectors = self._words(retrieval, question), None
        at = lap("words", at)
        if retrieval.encoder:
            vectors = self._vectors(retrieval, question)
            at = lap("vectors", at)
        fused = fuse(words, vectors, retrieval.bm25_weight)
        at = lap("fuse", at)
        if retrieval.reranker:
            self._reranked(retrieval, question, fused, repeat)
            lap("rerank", at)
        return seconds

    def encode(self, questions: Sequence[str], repeat: int = 0) -> None:
        """Encode the questions that were not yet."""
        new = [one for one in dict.fromkeys(questions) if one not in self._questions]
        if not new or self._encoder is None:
            return
        if isinstance(self._encoder, ServerEncoder | LlamaEncoder):
            vectors = self._encoder.encode_questions(new, repeat)
        else:
            vectors = self._encoder.encode(new, steady=False)
        self._questions |= dict(zip(new, vectors, strict=True))

    def vector(self, question: str) -> NDArray[np.float32]:
        """Return the vector of a question that was encoded."""
        return self._questions[question]

    def chunks(self, numbers: Sequence[int]) -> Mapping[int, Chunk]:
        """Return chunks by number."""
        new = [number for number in numbers if number not in self._chunks]
        self._chunks |= self.index.chunks(new)
        return self._chunks

    def _search(self, retrieval: Retrieval, question: str) -> list[int]:
        vectors = self._vectors(retrieval, question) if retrieval.encoder else None
        fused = fuse(self._words(retrieval, question), vectors, retrieval.bm25_weight)
        return list(self._reranked(retrieval, question, fused) if retrieval.reranker else fused)

    def _words(self, retrieval: Retrieval, question: str) -> Found:
        key = ("words", question, retrieval.pool)
        if key not in self._lists:
            self._lists[key] = self.index.words(question, retrieval.pool)
        return self._lists[key]

    def _vectors(self, retrieval: Retrieval, question: str) -> Found:
        key = ("vectors", question, retrieval.pool)
        if key not in self._lists:
            self._lists[key] = self.index.vectors(self._questions[question], retrieval.pool)
        return self._lists[key]

    def _reranked(
        self, retrieval: Retrieval, question: str, fused: Mapping[int, float], repeat: int = 0
    ) -> dict[int, float]:
        """Order the head of the list by the reranker (and, for MaxSim, by the fused score as well)."""
        head = list(fused)[:RERANKED]
        kind = str(retrieval.reranker["type"])
        known = self._scores[kind, question]
        if new := [number for number in head if number not in known]:
            scored = self._maxsim(question, new) if kind == "maxsim" else self._scored(question, new, repeat)
            known |= dict(zip(new, scored, strict=True))
        scores = {number: known[number] for number in head}
        return blend(fused, scores, float(retrieval.reranker.get("weight", 1.0)))

    def _scored(self, question: str, numbers: Sequence[int], repeat: int) -> list[float]:
        chunks = self.chunks(numbers)
        return self._rerankers.reranker.score(question, [chunks[number].indexed for number in numbers], repeat)

    def _maxsim(self, question: str, numbers: Sequence[int]) -> list[float]:
        if new := [number for number in numbers if number not in self._tokens]:
            if sum(one.vectors.nbytes for one in self._tokens.values()) > TOKEN_BYTES:
                self._tokens.clear()
                new = list(numbers)
            chunks = self.chunks(new)
            vectors = self._rerankers.local.encode_tokens([chunks[number].indexed for number in new])
            self._tokens |= dict(zip(new, vectors, strict=True))
        if question not in self._asked:
            (self._asked[question],) = self._rerankers.local.encode_tokens([question])
        return max_sim(self._asked[question], [self._tokens[number] for number in numbers], self._rarity)

    @cached_property
    def _rarity(self) -> NDArray[np.float64]:
        """Weight of each piece of the vocabulary, from a sample of the chunks."""
        words = self._rerankers.local.words
        texts = self.index.sample()
        counts = np.zeros(len(words.ids), np.int64)
        for text in texts:
            counts[np.unique(words.encode(text))] += 1
        return rarity_of(counts, len(texts))

    def _forget(self, question: str) -> None:
        self._questions.pop(question, None)
        self._asked.pop(question, None)
        for key in [key for key in self._lists if key[1] == question]:
            del self._lists[key]
        for pair in [pair for pair in self._scores if pair[1] == question]:
            for number in self._scores.pop(pair):
                self._tokens.pop(number, None)
