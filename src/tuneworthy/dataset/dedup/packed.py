"""Texts as one buffer of folded UTF-8, with a class for each character: what the compiled kernels read."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneworthy.cases.normalize import folded, spaced

# What `cases.normalize.words` makes of a character: nothing, a gap, a word of its own, a part of a word.
DROP, GAP, ALONE, LETTER = 1, 2, 3, 4
# Rows a buffer. No result depends on it.
CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Packed:
    """Some rows.

    Attributes:
        first: The number of the first one.
        buffer: (n_bytes,) uint8, folded UTF-8.
        starts: (n_rows + 1,) int64, where each row begins, and the end.
        classes: (1_114_112,) uint8, the class of each character that occurs.
    """

    first: int
    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    classes: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.starts) - 1


def pack(texts: Sequence[str], rows: int = CHUNK) -> Iterator[Packed]:
    """Yield `texts` in buffers of at most `rows` rows."""
    classes = np.zeros(0x110000, np.uint8)
    _classify(map(chr, range(128)), classes)
    for first in range(0, len(texts), rows):
        plain = [folded(text) for text in texts[first : first + rows]]
        _classify(set().union(*(text for text in plain if not text.isascii())), classes)
        encoded = [text.encode("utf-8", "surrogatepass") for text in plain]
        starts = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=starts[1:])
        yield Packed(first, np.frombuffer(b"".join(encoded), np.uint8), starts, classes)


def _classify(characters: Iterable[str], classes: NDArray[np.uint8]) -> None:
    for character in characters:
        text = spaced(character)
        classes[ord(character)] = DROP if not text else GAP if text == " " else LETTER if len(text) == 1 else ALONE
