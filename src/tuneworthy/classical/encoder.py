"""Models of labels over word pieces, in NumPy only: a zero-shot decision model and a fine-tuned encoder.

The measured model is the exported model.

Source: sparrow-decider 0.2.0 (`static.py`, `wordpiece.py`), https://github.com/sparrow-decider/sparrow-decider; Devlin
et al., arXiv 1810.04805; Reimers & Gurevych, arXiv 1908.10084 (the mean of the states).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
QUESTION = "Select the label that fits the text."
LONGEST_WORD = 100
# The row of the table of kinds of question, and the name of its temperature.
CHOICE = (1, "choice")
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
        self._vocabulary = vocabulary
        self._word = lru_cache(2**16)(self._of_word)

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


class LabelChooser:
    """Answers with the most probable of its labels; a subclass gives their probabilities in `_row`.

    Attributes:
        labels: In the order of the probabilities.
        identity: See `ClassicalModel`.
        state: The arguments that make this model.
    """

    labels: Sequence[str]
    identity: Mapping[str, Any]
    state: Mapping[str, Any]

    def predict(self, questions: Sequence[str]) -> list[str]:
        return [self.labels[i] for i in self.probabilities(questions).argmax(axis=1)] if questions else []

    def probabilities(self, questions: Sequence[str]) -> Floats:
        rows = [self._row(question) for question in questions]
        return np.stack(rows) if rows else np.zeros((0, len(self.labels)))

    def _row(self, question: str) -> Floats:
        raise NotImplementedError


class PieceModel(LabelChooser):
    """A model over word pieces.

    Args:
        labels: In the order of the probabilities.
        vocabulary: Piece to its number.
        weights: Arrays by name.
        max_tokens: Pieces of a text that are read.
        temperature: Calibrates the probabilities.
    """

    def __init__(
        self,
        labels: Sequence[str],
        vocabulary: Mapping[str, int],
        weights: Mapping[str, np.ndarray],
        max_tokens: int,
        temperature: float,
    ) -> None:
        self.labels, self._weights, self._pieces = labels, weights, WordPieces(vocabulary)
        self._max_tokens, self._temperature = max_tokens, temperature


class DecisionModel(PieceModel):
    """Chooses a label by a small network over products of the vectors of text, question and label.

    A text's vector is the mean of its word pieces'. Read it with `read_decision_model`.

    Args:
        descriptions: Meaning per label, in words.
    """

    def __init__(self, *, descriptions: Sequence[str], **model: Any) -> None:
        super().__init__(**model)
        texts = [f"{label} {about}" for label, about in zip(self.labels, descriptions, strict=True)]
        self._question = _unit(self._mean(QUESTION) + self._dense("kind.weight")[CHOICE[0]])
        self._labels = _unit(np.stack([self._mean(text) for text in texts]))
        self._layers = [(self._dense(f"mlp.{n}.weight"), self._weights[f"mlp.{n}.bias"]) for n in (0, 2, 4)]

    def _row(self, question: str) -> Floats:
        labels, asked, text = self._labels, self._question, _unit(self._mean(question))
        centre = labels.mean(axis=0)
        products = [labels, text * labels, asked * labels, text * asked * labels, labels - centre]
        hidden = np.concatenate([*products, (text - centre) * labels], axis=1)
        *inner, (weight, bias) = self._layers
        for inner_weight, inner_bias in inner:
            hidden = gelu(hidden @ inner_weight.T + inner_bias)
        return softmax((hidden @ weight.T + bias)[:, 0].astype(np.float64) / self._temperature)

    def _mean(self, text: str) -> NDArray[np.float32]:
        rows = self._pieces.ids(text, self._max_tokens) or [0]
        table, scale = self._weights["emb.weight.q8"], self._weights["emb.weight.scale"]
        return (table[rows] * scale[rows][:, None]).mean(axis=0)  # type: ignore[no-any-return]

    def _dense(self, name: str) -> Any:
        return self._weights[f"{name}.q8"] * self._weights[f"{name}.scale"][:, None]


class EncoderClassifier(PieceModel):
    """A fine-tuned BERT whose head sees the mean of the last states; read it with `read_classifier`.

    Args:
        n_heads: Attention heads of a layer.
        epsilon: Of the layer norms.
    """

    def __init__(self, *, n_heads: int, epsilon: float, **model: Any) -> None:
        super().__init__(**model)
        self._heads, self._epsilon = n_heads, epsilon
        self._layers = sum(name.endswith(".intermediate.dense.weight") for name in self._weights)

    def _row(self, question: str) -> Floats:
        ids = self._pieces.marked(question, self._max_tokens)
        return softmax(self.logits(ids).astype(np.float64) / self._temperature)

    def logits(self, ids: list[int]) -> np.ndarray:
        """Return the head's output per label for a text of these pieces, ``(n_labels,)``."""
        weights, n = self._weights, len(ids)
        x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][:n]
        x = self._norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")  # (n, width)
        for layer in range(self._layers):
            at = f"encoder.layer.{layer}."
            q, k, v = (
                self._linear(x, f"{at}attention.self.{part}").reshape(n, self._heads, -1).swapaxes(0, 1)
                for part in ("query", "key", "value")
            )
            shares = softmax(q @ k.swapaxes(1, 2) / q.shape[2] ** 0.5).astype(x.dtype)  # (heads, n, n)
            mixed = (shares @ v).swapaxes(0, 1).reshape(n, -1)
            x = self._norm(x + self._linear(mixed, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm")
            inner = gelu(self._linear(x, f"{at}intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
        return self._linear(x.mean(axis=0), "classifier")

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return np.asarray(x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"])

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / ((centred**2).mean(axis=-1, keepdims=True) + self._epsilon) ** 0.5
        return np.asarray(scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"])


def gelu(x: np.ndarray) -> np.ndarray:
    """Return the Gaussian error linear unit per number.

    >>> gelu(np.array([0.0, -1.0])).round(4).tolist()
    [0.0, -0.1587]
    """
    first, *terms = ERF
    scaled = x * 0.5**0.5
    t, tail = 1 / (1 + first * np.abs(scaled)), np.zeros_like(x)
    for term in reversed(terms):
        tail = (tail + term) * t
    erf = np.sign(x) * (1 - tail * np.exp(-scaled * scaled))
    return np.asarray(x * (1 + erf) / 2, x.dtype)


def softmax(scores: Floats) -> Floats:
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), dtype=np.float64)


def split_words(text: str) -> list[str]:
    kept = (
        " " if one in "\t\n\r" or unicodedata.category(one) == "Zs" else one
        for one in text
        if one in "\t\n\r" or (one != "\ufffd" and not unicodedata.category(one).startswith("C"))
    )
    spaced = "".join(f" {one} " if any(low <= ord(one) <= high for low, high in _CHINESE) else one for one in kept)
    plain = (one for one in unicodedata.normalize("NFD", spaced.lower()) if unicodedata.category(one) != "Mn")
    return "".join(f" {one} " if _is_sign(one) else one for one in plain).split()


def _is_sign(one: str) -> bool:
    return (one.isascii() and not one.isalnum()) or unicodedata.category(one).startswith("P")


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))
