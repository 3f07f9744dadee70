"""A fine-tuned encoder with a head for the labels of a task, in NumPy only: the measured model is the exported model.

    <folder>/model.safetensors   the weights of a BERT by their usual names, and `classifier.weight` and `.bias`
             classifier.json     labels, temperature, vocabulary, lengths

The head sees the mean of the last states of a text.

Invariant: probabilities are those of the model that was trained, but for rounding (`train` compares them).

Source: Devlin et al., arXiv 1810.04805; Reimers & Gurevych, arXiv 1908.10084 (the mean of the states).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from tuneworthy.classical.decision import LabelChooser
from tuneworthy.classical.linear import softmax
from tuneworthy.input_files import read_input
from tuneworthy.retrieval.encoder import read_safetensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTS: Final = "model.safetensors"
SETTINGS: Final = "classifier.json"
# Abramowitz and Stegun, 7.1.26: largest error 1.5e-7.
ERF: Final = (0.3275911, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


class EncoderClassifier(LabelChooser):
    """Chooses one of its labels; read it with `read_classifier`.

    Args:
        n_heads: Attention heads of a layer.
        epsilon: Of the layer norms.
        about: Training data and settings.
    """

    def __init__(self, *, n_heads: int, epsilon: float, about: Mapping[str, Any], **model: Any) -> None:
        super().__init__(**model)
        self.identity: Mapping[str, Any] = {"name": "encoder", **about}
        self._heads, self._epsilon, self._about = n_heads, epsilon, about
        self._layers = sum(name.endswith(".intermediate.dense.weight") for name in self._weights)

    def state(self) -> dict[str, Any]:
        """Return the arguments that make this model."""
        return {**super().state(), "n_heads": self._heads, "epsilon": self._epsilon, "about": self._about}

    def _row(self, question: str) -> NDArray[np.float64]:
        logits = self.logits(self._pieces.marked(question, self._max_tokens))
        return softmax(logits.astype("float64") / self._temperature)

    def logits(self, ids: list[int]) -> NDArray[Any]:
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
            inner = self._linear(x, f"{at}intermediate.dense")
            inner = inner * (1 + erf(inner * 0.5**0.5)) / 2
            x = self._norm(x + self._linear(inner, f"{at}output.dense"), f"{at}output.LayerNorm")
        return self._linear(x.mean(axis=0), "classifier")

    def _linear(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        out: NDArray[Any] = x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return out

    def _norm(self, x: NDArray[Any], name: str) -> NDArray[Any]:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / ((centred**2).mean(axis=-1, keepdims=True) + self._epsilon) ** 0.5
        out: NDArray[Any] = scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return out


def erf(x: NDArray[Any]) -> NDArray[Any]:
    """Return the error function per number.

    >>> import numpy as np
    >>> erf(np.array([0.0, -1.0])).round(5).tolist()
    [0.0, -0.8427]
    """
    import numpy as np

    first, *terms = ERF
    t, tail = 1 / (1 + first * np.abs(x)), np.zeros_like(x)
    for term in reversed(terms):
        tail = (tail + term) * t
    return np.asarray(np.sign(x) * (1 - tail * np.exp(-x * x)), x.dtype)


def read_classifier(folder: Path) -> EncoderClassifier:
    """Read a classifier that `train` wrote.

    Raises:
        ModelError: Its weights are not a complete safetensors file.
    """
    settings = orjson.loads(read_input(folder / SETTINGS))
    return EncoderClassifier(**settings, weights=read_safetensors(folder / WEIGHTS))
