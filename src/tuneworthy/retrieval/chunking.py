"""Cut documents into chunks of so many tokens, at sentence ends where there are any; a chunk stays below one heading.

Invariant: every word of a document is in at least one chunk, no chunk is longer than asked for in tokens or in
characters, and the work is linear in the length of the text.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tuneworthy.retrieval.documents import SourceDocument

# Raised whenever chunks come out otherwise: indexes are then built again.
VERSION = 2
BYTES_A_TOKEN = 4
# A token counts for as many characters at most: text without words of the vocabulary is long as well.
CHARACTERS_A_TOKEN = 8
_ENDS = re.compile(r"(?:[\n\v\f\x85\u2028\u2029]|[.!?][\"'”’)\]]*(?=\s)|[。！？][”’」』）]*)\s*")
_WORD = re.compile(r"\S{1,200}\s{0,200}|\s{1,200}")

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
    """Return about how many tokens `text` has, where no tokenizer is at hand."""
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

    def weigh(text: str) -> int:
        return max(count(text), -(-len(text) // CHARACTERS_A_TOKEN))

    for document in documents:
        for section in document.sections:
            heading, *more = [text for text, _ in _fitting(section.heading, size // 2, weigh)] or [""]
            heading, text = heading.strip(), section.text
            if more:  # the end of a long heading moves before the text
                text = "".join(more) + "\n" + text
            for piece in _cut(text, size - weigh(heading), overlap, weigh):
                yield Chunk(document.id, heading, piece)


def _cut(text: str, room: int, overlap: int, weigh: Count) -> Iterator[str]:
    """Pack sentences until the chunk is full; the next begins with its last sentences, as far as overlap allows."""
    units: list[tuple[str, int]] = []
    total, fresh = 0, False
    for unit, tokens in _units(text, room, weigh):
        if total + tokens > room and fresh:
            yield "".join(text for text, _ in units).strip()
            most = min(overlap, room - tokens)
            tail, total = _last(units, most)
            if not tail and units and most > 0:  # the last words; the first may be cut
                parts = _WORD.findall(units[-1][0][-most * CHARACTERS_A_TOKEN :])[1:]
                tail, total = _last([(part, weigh(part)) for part in parts], most)
            units, fresh = tail, False
        units.append((unit, tokens))
        total, fresh = total + tokens, fresh or not unit.isspace()
    if fresh:
        yield "".join(text for text, _ in units).strip()


def _last(parts: Sequence[tuple[str, int]], most: int) -> tuple[list[tuple[str, int]], int]:
    """Return the last of `parts` that have `most` tokens together, and how many they have."""
    first, total = len(parts), 0
    while first and total + parts[first - 1][1] <= most:
        first -= 1
        total += parts[first][1]
    return list(parts[first:]), total


def _units(text: str, room: int, weigh: Count) -> Iterator[tuple[str, int]]:
    """Yield sentences and lines with what follows them; one that is too long is cut between words."""
    start = 0
    for match in _ENDS.finditer(text):
        yield from _fitting(text[start : match.end()], room, weigh)
        start = match.end()
    if start < len(text):
        yield from _fitting(text[start:], room, weigh)


def _fitting(unit: str, room: int, weigh: Count) -> Iterator[tuple[str, int]]:
    """Yield `unit`, if it has at most `room` tokens; else runs of its words that have."""
    if len(unit) <= room * CHARACTERS_A_TOKEN and (tokens := weigh(unit)) <= room:
        yield unit, tokens
        return
    run: list[str] = []
    total = 0
    for match in _WORD.finditer(unit):
        for word, tokens in _halved(match[0], room, weigh):
            if run and total + tokens > room:
                yield "".join(run), total
                run, total = [], 0
            run.append(word)
            total += tokens
    if run:
        yield "".join(run), total


def _halved(word: str, room: int, weigh: Count) -> Iterator[tuple[str, int]]:
    """Yield `word`, or its parts of at most `room` tokens."""
    tokens = weigh(word)
    if tokens <= room or len(word) == 1:
        yield word, tokens
        return
    middle = len(word) // 2
    yield from _halved(word[:middle], room, weigh)
    yield from _halved(word[middle:], room, weigh)
