"""The tokenizer of BERT (uncased), as the package `tokenizers` has it.

Source: Devlin et al., arXiv 1810.04805; https://huggingface.co/docs/tokenizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class WordPiece:
    """Texts to token ids.

    Args:
        pieces: The vocabulary; the position of a piece is its id.
        max_tokens: Where a text is cut, the two marks at its ends included.
    """

    def __init__(self, pieces: Sequence[str], max_tokens: int) -> None:
        from tokenizers.implementations import BertWordPieceTokenizer

        ids = {piece: number for number, piece in enumerate(pieces)}
        self.size, self.max_tokens = len(ids), max_tokens
        self._first, self._last = ids["[CLS]"], ids["[SEP]"]
        self._tokenizer = BertWordPieceTokenizer(ids, lowercase=True)

    @classmethod
    def load(cls, path: Path, max_tokens: int) -> WordPiece:
        """Read a `vocab.txt`: a piece a line."""
        return cls(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"), max_tokens)

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text` between the marks, at most `max_tokens`."""
        return [self._first, *self._ids(text)[: self.max_tokens - 2], self._last]

    def count(self, text: str) -> int:
        """Return how many pieces `text` has, uncut, without the marks."""
        return len(self._ids(text))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids
