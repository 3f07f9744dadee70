"""Cut documents into chunks of so many tokens, at sentence ends where there are any; a chunk stays below one heading.

Invariant: every word of a document stands in at least one chunk, and the work is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tuneworthy.retrieval.documents import Document
from tuneworthy.retrieval.parsing import Section

VERSION = 1
"""Raised whenever chunks come out otherwise: indexes are then built again."""
BYTES_A_TOKEN = 4
LEAST_TOKENS = 16
"""Room that a long heading leaves for the text."""
_UNITS = re.compile(r"\S.*?(?:(?<=[.!?。！？])[\"'”’)\]]*(?=\s)|\n|\Z|(?<=[。！？]))", re.DOTALL)
_WORDS = re.compile(r"\S+\s*")
_LONGEST_WORD = 200
_LONGEST_TOKEN = 12

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document.

    Attributes:
        document: Id of the document. heading: What stands above it; "" if nothing does.
    """

    document: str
    heading: str
    text: str

    @property
    def indexed(self) -> str:
        """What is searched: the text below its heading."""
        return f"{self.heading}\n{self.text}" if self.heading else self.text


def about_tokens(text: str) -> int:
    """Return about how many tokens `text` has, where no tokenizer is at hand."""
    return -(-len(text.encode()) // BYTES_A_TOKEN)


def chunk_documents(documents: Sequence[Document], size: int, overlap: int, count: Count) -> Iterator[Chunk]:
    """Yield the chunks of all documents.

    Args:
        documents: To be cut.
        size: Tokens of a chunk, at most, its heading included.
        overlap: Tokens that a chunk repeats of the one before, at most.
        count: Says how many tokens a text has.
    """
    for document in documents:
        for section in document.sections:
            for text in _cut(section, size, overlap, count):
                yield Chunk(document.id, section.heading, text)


def _cut(section: Section, size: int, overlap: int, count: Count) -> Iterator[str]:
    """Pack sentences until the chunk is full; the next one begins with the last of them, as far as overlap allows."""
    room = max(LEAST_TOKENS, size - (count(section.heading) if section.heading else 0))
    held: list[tuple[str, int]] = []
    total, fresh = 0, False
    for unit, tokens in _units(section.text, room, count):
        if total + tokens > room and fresh:
            yield "".join(text for text, _ in held).strip()
            held, total, fresh = *_tail(held, min(overlap, room - tokens), count), False
        held.append((unit, tokens))
        total, fresh = total + tokens, True
    if fresh:
        yield "".join(text for text, _ in held).strip()


def _tail(held: Sequence[tuple[str, int]], overlap: int, count: Count) -> tuple[list[tuple[str, int]], int]:
    """Return the last units that fit into `overlap` tokens (or the end of the very last), and their tokens."""
    kept: list[tuple[str, int]] = []
    total = 0
    for unit, tokens in reversed(held):
        if total + tokens > overlap:
            break
        kept.append((unit, tokens))
        total += tokens
    if not kept and held and overlap > 0:
        words = _WORDS.findall(held[-1][0][-overlap * _LONGEST_TOKEN :])[1:]  # the first may be cut
        while words and (total := count("".join(words))) > overlap:
            words = words[1:]
        return ([("".join(words), total)], total) if words else ([], 0)
    return kept[::-1], total


def _units(text: str, room: int, count: Count) -> Iterator[tuple[str, int]]:
    """Yield sentences and lines with what follows them; one that is too long is cut between words."""
    starts = [match.start() for match in _UNITS.finditer(text)]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        unit = text[start:end]
        tokens = count(unit)
        if tokens <= room:
            yield unit, tokens
        else:
            yield from _words(unit, room, count)


def _words(unit: str, room: int, count: Count) -> Iterator[tuple[str, int]]:
    """Yield runs of words of at most `room` tokens; a word without end is cut as well."""
    held, total = "", 0
    for match in _WORDS.finditer(unit):
        for start in range(0, len(match[0]), _LONGEST_WORD):
            word = match[0][start : start + _LONGEST_WORD]
            tokens = max(1, count(word))
            if held and total + tokens > room:
                yield held, total
                held, total = "", 0
            held, total = held + word, total + tokens
    if held:
        yield held, total
