"""Cut documents into chunks of so many tokens, at sentence ends where there are any; a chunk stays below one heading.

Invariant: every word of a document is in at least one chunk, no chunk is longer than asked for in tokens or in
characters, and the work is linear in the length of the text.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tuneworthy.retrieval.documents import SourceDocument

# Raised whenever chunks come out otherwise: indexes are then built again.
VERSION = 3
BYTES_A_TOKEN = 4
# A token counts for as many characters at most: text without words of the vocabulary is long as well.
CHARACTERS_A_TOKEN = 8
_END = re.compile(r"(?:[\n\v\f\x85\u2028\u2029]|[.!?][\"'”’)\]]*\s|[。！？][”’」』）]*)\s*$")
_WORD = re.compile(r"[^\s。！？]{0,200}[。！？][”’」』）]*\s{0,200}|[^\s。！？]{1,200}\s{0,200}|\s{1,200}")

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document.

    Attributes:
        document: Id of the document.
        heading: Above it, or "".
        text: Without the heading.
    """

    document: str
    heading: str
    text: str

    @property
    def indexed(self) -> str:
        """The searched text: the text below its heading."""
        return f"{self.heading}\n{self.text}" if self.heading else self.text


def about_tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_A_TOKEN)


def chunk_documents(documents: Sequence[SourceDocument], size: int, overlap: int, count: Count) -> Iterator[Chunk]:
    """Yield the chunks of all documents.

    Args:
        documents: To be cut.
        size: Tokens of a chunk, at most, its heading included; it has `CHARACTERS_A_TOKEN` times as many characters
            at most.
        overlap: Tokens that a chunk repeats of the one before, at most.
        count: Says how many tokens a text has.
    """
    for document in documents:
        for section in document.sections:
            heading, *more = list(_cut(section.heading, size // 2, 0, count)) or [""]
            text = "\n".join([*more, section.text])  # the end of a long heading moves before the text
            for piece in _cut(text, size - _weigh(heading, count), overlap, count):
                yield Chunk(document.id, heading, piece)


def _cut(text: str, room: float, overlap: int, count: Count) -> Iterator[str]:
    """Fill chunks with words; where a sentence ends in the second half of a chunk, the chunk ends with it."""
    words = [part for word in _WORD.findall(text) for part in _halved(word, room, count)]
    first = end = 0
    while end < len(words):
        total, sentence = 0.0, 0
        end = first
        while end < len(words) and (total + words[end][1] <= room or end == first):
            total += words[end][1]
            end += 1
            if total > room / 2 and _END.search(words[end - 1][0]):
                sentence = end
        if end < len(words) and sentence:
            end = sentence
        if piece := "".join(word for word, _ in words[first:end]).strip():
            yield piece
        repeated, start = 0.0, end
        while start - 1 > first and (repeated := repeated + words[start - 1][1]) <= overlap:
            start -= 1
        first = start


def _halved(word: str, room: float, count: Count) -> Iterator[tuple[str, float]]:
    """Yield `word` with its tokens, or its parts of at most `room` tokens."""
    tokens = _weigh(word, count)
    if tokens <= room or len(word) == 1:
        yield word, tokens
        return
    middle = len(word) // 2
    yield from _halved(word[:middle], room, count)
    yield from _halved(word[middle:], room, count)


def _weigh(text: str, count: Count) -> float:
    tokens = len(text.encode()) / BYTES_A_TOKEN if count is about_tokens else count(text)
    return max(tokens, len(text) / CHARACTERS_A_TOKEN)
