"""The oracle: the documents that a case names, or, if they are long, the passages nearest to the answer.

Invariant: it fits into `ROOM` tokens, and its share of the documents is reported.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from tuneworthy.cases.normalize import words
from tuneworthy.retrieval.chunking import Chunk, about_tokens, chunk_documents
from tuneworthy.retrieval.documents import SourceDocument
from tuneworthy.types import Passage

# Most tokens of all passages together.
ROOM = 1024
# Size of the passages of documents that are too long.
PIECE_TOKENS = 128


@dataclass(frozen=True, slots=True)
class OraclePassages:
    """The passages that a case is shown.

    Attributes:
        passages: In the order of the documents.
        share: Of the named documents' tokens, 0..1; 1 if they fit whole.
    """

    passages: tuple[Passage, ...] = ()
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class _Piece:
    """A passage of a document.

    Attributes:
        chunk: The passage.
        place: In the document.
        tokens: Of the passage.
        text: Its words between spaces.
    """

    chunk: Chunk
    place: int
    tokens: int
    text: str


class Oracle:
    """Chooses from the documents that cases name.

    Args:
        documents: By id.
    """

    def __init__(self, documents: Mapping[str, SourceDocument]) -> None:
        self._documents = documents
        self._cut: dict[str, list[_Piece]] = {}

    def choose(self, named: Sequence[frozenset[str]], query: str) -> OraclePassages:
        """Return the named documents whole where they fit, else those of their passages that are nearest to `query`.

        Args:
            named: The ids behind each document name. They take turns: their best passages, then their second passages,
                and so on.
            query: The question and its right answer.
        """
        texts = {identity: self._documents[identity].text for identity in sorted(set().union(*named))}
        total = sum(map(about_tokens, texts.values()))
        if total <= ROOM:
            return OraclePassages(tuple(Passage(document=name, text=text) for name, text in texts.items()))
        chosen, room = dict[tuple[str, int], _Piece](), ROOM
        for piece in self._in_turn(named, set(words(query))):
            key = (piece.chunk.document, piece.place)
            if key not in chosen and piece.tokens <= room:
                chosen[key] = piece
                room -= piece.tokens
        chunks = [chosen[key].chunk for key in sorted(chosen)]
        return OraclePassages(
            tuple(Passage(document=c.document, text=c.text, heading=c.heading) for c in chunks),
            min(1.0, (ROOM - room) / total),
        )

    def _in_turn(self, named: Sequence[frozenset[str]], query: set[str]) -> Iterator[_Piece]:
        pieces = [[piece for identity in sorted(ids) for piece in self._pieces(identity)] for ids in named]
        every = [piece for of in pieces for piece in of]
        counts = {word: sum(f" {word} " in piece.text for piece in every) for word in query}
        weights = {word: math.log((len(every) + 1) / count) for word, count in counts.items() if count}

        def distance(piece: _Piece) -> float:
            return -sum(weight for word, weight in weights.items() if f" {word} " in piece.text)

        for turn in zip_longest(*(sorted(of, key=distance) for of in pieces)):
            yield from filter(None, turn)

    def _pieces(self, identity: str) -> list[_Piece]:
        if identity not in self._cut:
            chunks = chunk_documents([self._documents[identity]], PIECE_TOKENS, 0, about_tokens)
            self._cut[identity] = [
                _Piece(chunk, place, about_tokens(chunk.indexed), f" {' '.join(words(chunk.indexed))} ")
                for place, chunk in enumerate(chunks)
            ]
        return self._cut[identity]
