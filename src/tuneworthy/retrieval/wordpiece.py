"""The tokenizer of BERT (uncased): words, then the longest pieces of them that the vocabulary holds.

Source: Devlin et al., arXiv 1810.04805, and google-research/bert `tokenization.py`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

_MAX_WORD = 100


class _Table(dict[int, int | str | None]):
    """A table for `str.translate`, filled as characters are met: punctuation and Han stand alone, marks go."""

    def __missing__(self, code: int) -> int | str | None:
        character = chr(code)
        category = unicodedata.category(character)
        kept: int | str | None = code
        if character.isspace() or category == "Zs":
            kept = " "
        elif category in {"Mn", "Cc", "Cf", "Cs", "Co", "Cn"} or character == "\ufffd":
            kept = None
        elif category[0] == "P" or (character.isascii() and not character.isalnum()) or _is_han(code):
            kept = f" {character} "
        self[code] = kept
        return kept


def _is_han(code: int) -> bool:
    return (
        0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x2FA1F
    )


_TABLE = _Table()


def _words(text: str) -> list[str]:
    return unicodedata.normalize("NFD", text.lower()).translate(_TABLE).split()


class WordPiece:
    """Texts to token ids.

    Args:
        pieces: The vocabulary; the position of a piece is its id.
        max_tokens: Where a text is cut, the two marks at its ends included.
    """

    def __init__(self, pieces: Sequence[str], max_tokens: int) -> None:
        self.ids = {piece: number for number, piece in enumerate(pieces)}
        self.max_tokens = max_tokens
        self.unknown, self.first, self.last = self.ids["[UNK]"], self.ids["[CLS]"], self.ids["[SEP]"]
        self._known: dict[str, list[int]] = {}

    @classmethod
    def load(cls, path: Path, max_tokens: int) -> WordPiece:
        """Read a `vocab.txt`: a piece a line."""
        return cls(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"), max_tokens)

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text` between the marks, at most `max_tokens`."""
        ids = [self.first]
        for word in _words(text):
            ids += self._pieces(word)
            if len(ids) >= self.max_tokens:
                break
        return [*ids[: self.max_tokens - 1], self.last]

    def count(self, text: str) -> int:
        """Return how many pieces `text` has, uncut, without the marks."""
        return sum(len(self._pieces(word)) for word in _words(text))

    def _pieces(self, word: str) -> list[int]:
        known = self._known.get(word)
        if known is None:
            known = self._split(word)
            if len(self._known) < 1_000_000 and len(word) <= _MAX_WORD:
                self._known[word] = known
        return known

    def _split(self, word: str) -> list[int]:
        """Return the longest piece that `word` begins with, and so on; one unknown if that fails anywhere."""
        if len(word) > _MAX_WORD:
            return [self.unknown]
        found: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                number = self.ids.get(("##" if start else "") + word[start:end])
                if number is not None:
                    break
            else:
                return [self.unknown]
            found.append(number)
            start = end
        return found
