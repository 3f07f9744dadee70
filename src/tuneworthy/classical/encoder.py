"""Models of labels over word pieces, in NumPy only: a zero-shot decision model and a fine-tuned encoder.

The measured model is the exported model.

Source: sparrow-decider 0.2.0 (`static.py`, `wordpiece.py`), https://github.com/sparrow-decider/sparrow-decider; Devlin
et al., arXiv 1810.04805; Reimers & Gurevych, arXiv 1908.10084 (the mean of the states).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneworthy.retrieval.bert import Bert, Floats, WordPieces, gelu, softmax, unit

QUESTION = "Select the label that fits the text."
# The row of the table of kinds of question, and the name of its temperature.
CHOICE = (1, "choice")


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
        self._question = unit(self._mean(QUESTION) + self._dense("kind.weight")[CHOICE[0]])
        self._labels = unit(np.stack([self._mean(text) for text in texts]))
        self._layers = [(self._dense(f"mlp.{n}.weight"), self._weights[f"mlp.{n}.bias"]) for n in (0, 2, 4)]

    def _row(self, question: str) -> Floats:
        labels, asked, text = self._labels, self._question, unit(self._mean(question))
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
        self._bert = Bert(self._weights, n_heads, epsilon)

    def _row(self, question: str) -> Floats:
        ids = self._pieces.marked(question, self._max_tokens)
        return softmax(self.logits(ids).astype(np.float64) / self._temperature)

    def logits(self, ids: list[int]) -> np.ndarray:
        """Return the head's output per label for a text of these pieces, ``(n_labels,)``."""
        return self._bert.linear(self._bert.states(np.array([ids]))[0].mean(axis=0), "classifier")
