"""What an oracle hands over: the documents that a case names, or, of long ones, the passages nearest to the answer.

Invariant: what is handed over fits into `ROOM` tokens, and how much of the documents that is, is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from tuneworthy.cases.normalize import words
from tuneworthy.retrieval.chunking import Chunk, about_tokens, chunk_documents
from tuneworthy.retrieval.documents import Document
from tuneworthy.types import Passage

ROOM = 1024
"""Tokens that are handed over, at most."""
PIECE_TOKENS = 128
"""Size of the passages of documents that are too long."""


@dataclass(frozen=True, slots=True)
class Handed:
    """What a case is handed.

    Attributes:
        share: Of the named documents' tokens, 0..1; 1 if they fit whole.
    """

    passages: tuple[Passage, ...] = ()
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class _Piece:
    """A passage of a document: its place there, and its words between spaces."""

    chunk: Chunk
    place: int
    tokens: int
    text: str


class Oracle:
    """Hands documents over.

    Args:
        documents: By id.
    """

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self._documents = documents
        self._cut: dict[str, list[_Piece]] = {}

    def hand_over(self, named: Sequence[frozenset[str]], sought: str) -> Handed:
        """Return the named documents whole where they fit, else those of their passages that are nearest to `sought`.

        Args:
            named: The ids that each named document stands for. They take turns: the best passage of each, then the
                second of each, and so on.
            sought: The question and its right answer.
        """
        ids = sorted(set().union(*named))
        texts = {one: self._documents[one].text for one in ids}
        total = sum(map(about_tokens, texts.values()))
        if total <= ROOM:
            return Handed(tuple(Passage(document=one, text=text) for one, text in texts.items()))
        chosen, left = dict[tuple[str, int], _Piece](), ROOM
        for piece in self._in_turn(named, set(words(sought))):
            key = (piece.chunk.document, piece.place)
            if key not in chosen and piece.tokens <= left:
                chosen[key] = piece
                left -= piece.tokens
        chunks = [chosen[key].chunk for key in sorted(chosen)]
        passages = tuple(Passage(document=one.document, text=one.text, heading=one.heading) for one in chunks)
        return Handed(passages, min(1.0, (ROOM - left) / total))

    def _in_turn(self, named: Sequence[frozenset[str]], sought: set[str]) -> Iterator[_Piece]:
        """Yield the pieces of each named document, nearest first, in turn."""
        pieces = [[piece for one in sorted(ids) for piece in self._pieces(one)] for ids in named]
        every = [piece for of in pieces for piece in of]
        counts = {word: sum(f" {word} " in piece.text for piece in every) for word in sought}
        weights = {word: math.log((len(every) + 1) / count) for word, count in counts.items() if count}

        def distance(piece: _Piece) -> float:
            return -sum(weight for word, weight in weights.items() if f" {word} " in piece.text)

        for turn in zip_longest(*(sorted(of, key=distance) for of in pieces)):
            yield from filter(None, turn)

    def _pieces(self, identity: str) -> list[_Piece]:
        """Return a document in pieces, in its order."""
        if identity not in self._cut:
            chunks = chunk_documents([self._documents[identity]], PIECE_TOKENS, 0, about_tokens)
            self._cut[identity] = [
                _Piece(chunk, place, about_tokens(chunk.indexed), f" {' '.join(words(chunk.indexed))} ")
                for place, chunk in enumerate(chunks)
            ]
        return self._cut[identity]
