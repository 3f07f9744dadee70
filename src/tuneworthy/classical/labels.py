"""Classical baselines that answer with an answer seen in training: the majority, and that of the nearest example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tuneworthy.classical.base import CLASSICAL_MODELS, Row, make_identity, suits
from tuneworthy.classical.features import TextFeatures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 256  # questions whose similarities to all rows are held at once
TIE = 1e-5  # similarities closer than this are equal (float32)


def most_frequent(answers: Iterable[str]) -> str:
    """Return the most frequent answer; of equally frequent ones the first in alphabetical order.

    >>> most_frequent(["b", "a", "b", "a"])
    'a'
    """
    counts = Counter(answers)
    return min(counts, key=lambda answer: (-counts[answer], answer))


class Majority:
    """Answers every question with the most frequent answer."""

    def __init__(self, rows: Sequence[Row], seed: int, name: str = "majority") -> None:
        counts = Counter(r.answer.strip() for r in rows)
        self.identity = make_identity(name, rows, seed)
        self.labels = sorted(counts)
        self._shares = [counts[label] / counts.total() for label in self.labels]
        self._answer = most_frequent(r.answer.strip() for r in rows)

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return the majority answer for each question."""
        return [self._answer] * len(questions)

    def probabilities(self, questions: Sequence[str]) -> NDArray[np.float64]:
        """Return the share of each label in training, ``(n_questions, n_labels)``."""
        import numpy as np

        return np.tile(np.array(self._shares), (len(questions), 1))


class NearestIndex:
    """Finds the training rows whose question is most like a new one (cosine of TF-IDF n-grams)."""

    def __init__(self, questions: Sequence[str]) -> None:
        self.features = TextFeatures()
        self._matrix = self.features.fit_transform(questions)

    def nearest(self, questions: Sequence[str]) -> list[list[int]]:
        """Return, for each question, the indices of all rows that share the highest similarity."""
        import numpy as np

        found: list[list[int]] = []
        for start in range(0, len(questions), BLOCK):
            block = self.features.transform(questions[start : start + BLOCK])
            similarity = (block @ self._matrix.T).toarray()
            top = similarity.max(axis=1, keepdims=True)
            found += [np.flatnonzero(row).tolist() for row in similarity >= top - TIE]
        return found


class Nearest:
    """Answers with the answer of the nearest example; ties (duplicates, no overlap) go to the majority of them."""

    def __init__(self, rows: Sequence[Row], seed: int) -> None:
        self._answers = [r.answer.strip() for r in rows]
        self._index = NearestIndex([r.question for r in rows])
        self.identity: dict[str, Any] = make_identity("nearest", rows, seed, **self._index.features.parameters)

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return the nearest example's answer for each question."""
        return [most_frequent(self._answers[i] for i in near) for near in self._index.nearest(questions)]


@CLASSICAL_MODELS.register("majority")
@suits("label", "short_answer")
def majority(rows: Sequence[Row], seed: int) -> Majority:
    """Fit `Majority`."""
    return Majority(rows, seed)


@CLASSICAL_MODELS.register("nearest")
@suits("label", "short_answer", "free_text")
def nearest(rows: Sequence[Row], seed: int) -> Nearest:
    """Fit `Nearest`."""
    return Nearest(rows, seed)
