"""A zero-shot decision model: which of given labels fits a text, with probabilities, from no example at all.

sparrow-nano-general (2.2 MB): texts are the mean of the vectors of their word pieces, and a small network scores each
label from products of the vectors of text, question and label. Its weights come in a wheel, are pinned by hash and are
read as plain arrays; nothing of the wheel is executed.

Invariant: probabilities are those of the package's own runtime (tests compare them).

Source: sparrow-decider 0.2.0 (`static.py`, `wordpiece.py`), https://github.com/sparrow-decider/sparrow-decider.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from tuneworthy.classical.linear import softmax

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPEC: Final = "pypi:sparrow-decider"
QUESTION: Final = "Select the label that fits the text."
LONGEST_WORD: Final = 100
# The row of the table of kinds of question, and the name of its temperature.
CHOICE: Final = (1, "choice")
# Each of these characters is a word of its own, as in BERT.
_CHINESE: Final = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class WordPieces:
    """The tokenizer of uncased BERT, without its special tokens.

    Args:
        vocabulary: Piece to its number.
    """

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._vocabulary = vocabulary
        self._word = lru_cache(2**16)(self._of_word)

    def ids(self, text: str, most: int) -> list[int]:
        """Return the numbers of the first pieces of `text`, at most `most`."""
        ids: list[int] = []
        for word in _words(text):
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

    Args:
        labels: In the order of the probabilities.
        vocabulary: Piece to its number.
        weights: Arrays by name.
        max_tokens: Pieces of a text that are read.
        temperature: Calibrates the probabilities.
    """

    def __init__(
        self,
        *,
        labels: list[str],
        vocabulary: Mapping[str, int],
        weights: Mapping[str, NDArray[Any]],
        max_tokens: int,
        temperature: float,
    ) -> None:
        self.labels, self._vocabulary, self._weights = labels, vocabulary, weights
        self._max_tokens, self._temperature = max_tokens, temperature
        self._pieces = WordPieces(vocabulary)

    def state(self) -> dict[str, Any]:
        """Return the arguments that make this model."""
        return {
            "labels": self.labels,
            "vocabulary": self._vocabulary,
            "weights": dict(self._weights),
            "max_tokens": self._max_tokens,
            "temperature": self._temperature,
        }

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return the most probable label for each question."""
        return [self.labels[i] for i in self.probabilities(questions).argmax(axis=1)] if questions else []

    def probabilities(self, questions: Sequence[str]) -> NDArray[np.float64]:
        """Return label probabilities, ``(n_questions, n_labels)``; rows sum to 1."""
        import numpy as np

        rows = [self._row(question) for question in questions]
        return np.stack(rows) if rows else np.zeros((0, len(self.labels)))

    def _row(self, question: str) -> NDArray[np.float64]:
        """Return label probabilities, ``(n_labels,)``."""
        raise NotImplementedError


class DecisionModel(LabelChooser):
    """Chooses one of its labels; read it with `read_decision_model`.

    Args:
        descriptions: Meaning of each label, in words.
    """

    def __init__(self, *, descriptions: Sequence[str], **model: Any) -> None:
        import numpy as np

        super().__init__(**model)
        self._descriptions = descriptions
        self.identity: Mapping[str, Any] = {"name": "decision", "question": QUESTION, "labels": self.labels}
        texts = [f"{label} {about}" for label, about in zip(self.labels, descriptions, strict=True)]
        kind = self._dense("kind.weight")[CHOICE[0]]
        self._question = _unit(self._mean(QUESTION) + kind)
        self._labels = _unit(np.stack([self._mean(text) for text in texts]))
        self._layers = [(self._dense(f"mlp.{n}.weight"), self._weights[f"mlp.{n}.bias"]) for n in (0, 2, 4)]

    def state(self) -> dict[str, Any]:
        """Return the arguments that make this model."""
        return {**super().state(), "descriptions": self._descriptions}

    def _row(self, question: str) -> NDArray[np.float64]:
        import numpy as np

        erf = np.vectorize(math.erf)
        labels, asked = self._labels, self._question
        text = _unit(self._mean(question))
        contrast = labels - labels.mean(axis=0)
        hidden = np.concatenate(
            [
                labels,
                text * labels,
                asked * labels,
                text * asked * labels,
                contrast,
                (text - labels.mean(axis=0)) * labels,
            ],
            axis=1,
        )
        for number, (weight, bias) in enumerate(self._layers):
            hidden = hidden @ weight.T + bias
            if number < len(self._layers) - 1:
                hidden = 0.5 * hidden * (1 + erf(hidden / np.sqrt(2)))
        return softmax(hidden[:, 0].astype(np.float64) / self._temperature)

    def _mean(self, text: str) -> NDArray[np.float32]:
        """Return the mean vector of the pieces of a text, ``(dim,)``."""
        rows = self._pieces.ids(text, self._max_tokens) or [0]
        table, scale = self._weights["emb.weight.q8"], self._weights["emb.weight.scale"]
        return (table[rows] * scale[rows][:, None]).mean(axis=0)  # type: ignore[no-any-return]

    def _dense(self, name: str) -> Any:
        """Return a matrix that is stored as bytes with a scale a row."""
        return self._weights[f"{name}.q8"] * self._weights[f"{name}.scale"][:, None]


def read_decision_model(
    path: Path, labels: Sequence[str], descriptions: Mapping[str, str] | None = None
) -> DecisionModel:
    """Read the model.

    Args:
        path: Its file.
        labels: At least two.
        descriptions: Meaning of a label, in words; by default its name with blanks.
    """
    import numpy as np

    about = descriptions or {}
    with zipfile.ZipFile(path) as archive:
        settings = orjson.loads(archive.read("config.json"))
        with np.load(io.BytesIO(archive.read("model.npz")), allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
        return DecisionModel(
            labels=list(labels),
            descriptions=[about.get(label) or re.sub("[_-]+", " ", label) for label in labels],
            vocabulary=orjson.loads(archive.read("tokenizer.json"))["vocab"],
            max_tokens=settings["max_len"],
            temperature=settings["temperature_by_kind"][CHOICE[1]],
            weights=weights,
        )


def _words(text: str) -> Iterator[str]:
    """Split as BERT does, without case and accents."""
    kept = (
        " " if one in "\t\n\r" or unicodedata.category(one) == "Zs" else one
        for one in text
        if one in "\t\n\r" or (one != "\ufffd" and not unicodedata.category(one).startswith("C"))
    )
    spaced = "".join(f" {one} " if any(low <= ord(one) <= high for low, high in _CHINESE) else one for one in kept)
    plain = "".join(one for one in unicodedata.normalize("NFD", spaced.lower()) if unicodedata.category(one) != "Mn")
    word = ""
    for one in plain:
        symbol = one.isascii() and not one.isalnum()  # a blank too
        alone = one.isspace() or symbol or unicodedata.category(one).startswith("P")
        if alone and word:
            yield word
            word = ""
        if not alone:
            word += one
        elif not one.isspace():
            yield one
    if word:
        yield word


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))
