"""A BERT of uncased word pieces in NumPy only: `export` copies this module.

Source: Devlin et al., arXiv 1810.04805; Reimers & Gurevych, arXiv 1908.10084 (the mean of the states); Wang et al.,
arXiv 2002.10957 (MiniLM).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Floating = TypeVar("Floating", NDArray[np.float32], NDArray[np.float64])
# Pieces of a text that are read, and characters that are cut into pieces.
MAX_PIECES, MAX_CHARS = 256, 10_000
CHARS_A_PIECE = 4
HEAD_WIDTH = 32
# Pieces of texts of one length that are encoded at a time: their states stay in the processor's cache.
BATCH = 512
LONGEST_WORD = 100
# Each of these characters is a word of its own, as in BERT.
_CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
# Abramowitz and Stegun, 7.1.26: largest error 1.5e-7.
ERF = (0.3275911, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


class WordPieces:
    """The tokenizer of uncased BERT, without its special tokens.

    Args:
        vocabulary: Piece to its number.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary, self.size = vocabulary, len(vocabulary)
        self._word = lru_cache(2**16)(self._of_word)

    def count(self, text: str) -> int:
        """Return how many pieces `text` has, uncut, without the marks."""
        return sum(len(self._word(word)) for word in split_words(text))

    def ids(self, text: str, most: int) -> list[int]:
        ids: list[int] = []
        for word in split_words(text):
            ids += self._word(word)
            if len(ids) >= most:
                break
        return ids[:most]

    def marked(self, text: str, most: int) -> list[int]:
        """Return the numbers of the pieces between the marks [CLS] and [SEP], at most `most` with these."""
        first, last = (self._vocabulary[mark] for mark in ("[CLS]", "[SEP]"))
        return [first, *self.ids(text, most - 2), last]

    def _of_word(self, word: str) -> tuple[int, ...]:
        """Return the longest pieces of a word from its beginning on; the unknown piece if one is missing."""
        unknown = (self._vocabulary["[UNK]"],)
        if len(word) > LONGEST_WORD:
            return unknown
        ids, start = [], 0
        while start < len(word):
            mark = "##" if start else ""
            end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in self._vocabulary), 0)
            if not end:
                return unknown
            ids.append(self._vocabulary[mark + word[start:end]])
            start = end
        return tuple(ids)


def about_pieces(text: str) -> int:
    return min(MAX_PIECES, 2 + len(text) // CHARS_A_PIECE)


class Bert:
    """Last states of texts as pieces, in float32.

    Args:
        weights: Arrays by their usual names.
        n_heads: Attention heads of a layer; by default as many as MiniLM has at this width.
        epsilon: Of the layer norms.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], n_heads: int = 0, epsilon: float = 1e-12) -> None:
        self.weights, self._epsilon = {name: np.asarray(one, np.float32) for name, one in weights.items()}, epsilon
        self.width = self.weights["embeddings.word_embeddings.weight"].shape[1]
        self._heads = n_heads or self.width // HEAD_WIDTH
        self._layers = sum(name.endswith(".intermediate.dense.weight") for name in weights)

    def states(self, ids: NDArray[np.int64]) -> Floats32:
        """Return the states, ``(n_rows, length, width)``, of ids, ``(n_rows, length)``."""
        weights, (rows, n) = self.weights, ids.shape
        x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][:n]
        x = self._norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        x = x.reshape(rows * n, -1)
        for layer in range(self._layers):
            at = f"encoder.layer.{layer}."
            q, k, v = (
                self.linear(x, f"{at}attention.self.{part}").reshape(rows, n, self._heads, -1).swapaxes(1, 2)
                for part in ("query", "key", "value")
            )
            shares = softmax(q @ k.swapaxes(2, 3) / q.shape[3] ** 0.5)  # (rows, heads, n, n)
            mixed = (shares @ v).swapaxes(1, 2).reshape(rows * n, -1)
            x = self._norm(x + self.linear(mixed, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm")
            inner = gelu(self.linear(x, f"{at}intermediate.dense"))
            x = self._norm(x + self.linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
        return x.reshape(rows, n, -1)

    def linear(self, x: Floats32, name: str) -> Floats32:
        return np.asarray(x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"])

    def _norm(self, x: Floats32, name: str) -> Floats32:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / ((centred**2).mean(axis=-1, keepdims=True) + self._epsilon) ** 0.5
        return np.asarray(scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])


class SentenceEncoder:
    """A BERT whose last states are averaged.

    A vector depends on the texts next to it by rounding only (about 1e-7).

    Args:
        vocabulary: Pieces; the position is the id.
        weights: Of the BERT, float16.

    Attributes:
        state: The arguments that make this encoder.
    """

    def __init__(self, *, vocabulary: Sequence[str], weights: Mapping[str, np.ndarray]) -> None:
        self.state = {"vocabulary": vocabulary, "weights": weights}
        self.pieces = WordPieces({piece: number for number, piece in enumerate(vocabulary)})
        self.bert = Bert(weights)

    def encode(self, texts: Sequence[str]) -> Floats32:
        """Return ``(n_texts, width)`` rows of length 1; a text is cut after `MAX_PIECES` pieces."""
        out = np.empty((len(texts), self.bert.width), np.float32)
        for rows, ids in self.batches(texts):
            out[rows] = unit(self.bert.states(ids).mean(axis=1))
        return out

    def encode_words(self, words: Sequence[str]) -> Floats32:
        """Return the mean state per word of a text, ``(n_words, width)``; 0 for words beyond `MAX_PIECES`."""
        parts = [self.pieces.ids(word, MAX_PIECES) for word in words]
        ends = np.cumsum([1, *map(len, parts)])
        ids = [self.pieces.marked("", 2)[0], *(piece for part in parts for piece in part)][: MAX_PIECES - 1]
        states = self.bert.states(np.array([[*ids, self.pieces.marked("", 2)[1]]]))[0]
        out = np.zeros((len(words), self.bert.width), np.float32)
        for word, (start, end) in enumerate(pairwise(ends.tolist())):
            if start < end <= len(ids):
                out[word] = unit(states[start:end].mean(axis=0))
        return out

    def batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
        """Yield the places of texts of one length, and their ids, ``(n_rows, length)``."""
        ids = [self.pieces.marked(text[:MAX_CHARS], MAX_PIECES) for text in texts]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length).tolist()
            step = max(1, BATCH // int(length))
            for first in range(0, len(rows), step):
                batch = rows[first : first + step]
                yield batch, np.array([ids[row] for row in batch])


def gelu(x: np.ndarray) -> np.ndarray:
    """Return the Gaussian error linear unit per number.

    >>> gelu(np.array([0.0, -1.0])).round(4).tolist()
    [0.0, -0.1587]
    """
    first, *terms = ERF
    sizes = np.abs(x) * 0.5**0.5
    t = 1 / (1 + first * sizes)
    tail = terms[-1] * t
    for term in terms[-2::-1]:
        tail += term
        tail *= t
    sizes *= sizes
    tail *= np.exp(-sizes)
    return np.asarray((x + np.abs(x) * (1 - tail)) / 2)


def softmax(scores: Floating) -> Floating:
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def unit(rows: Floats32) -> Floats32:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))


def split_words(text: str) -> list[str]:
    kept = (
        " " if one in "\t\n\r" or unicodedata.category(one) == "Zs" else one
        for one in text
        if one in "\t\n\r" or (one != "\ufffd" and not unicodedata.category(one).startswith("C"))
    )
    spaced = "".join(f" {one} " if any(low <= ord(one) <= high for low, high in _CHINESE) else one for one in kept)
    plain = (one for one in unicodedata.normalize("NFD", spaced.lower()) if unicodedata.category(one) != "Mn")
    return "".join(
        f" {one} " if (one.isascii() and not one.isalnum()) or unicodedata.category(one).startswith("P") else one
        for one in plain
    ).split()
