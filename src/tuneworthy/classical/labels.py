"""Classical baselines that repeat a training answer: the majority class, and the nearest neighbour's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer, TaskKind, make_identity
from tuneworthy.classical.features import TextFeatures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 256  # questions whose similarities to all rows are held at once
TIE = 1e-5  # similarities closer than this are equal (float32)


def most_frequent(answers: Iterable[str]) -> str:
    """Return the most frequent answer; of equally frequent answers the first in alphabetical order.

    >>> most_frequent(["b", "a", "b", "a"])
    'a'
    """
    counts = Counter(answers)
    return min(counts, key=lambda answer: (-counts[answer], answer))


@CLASSICAL_MODELS.register("majority")
class MajorityClass:
    """Answers every question with the most frequent answer."""

    kinds: ClassVar[tuple[TaskKind, ...]] = (
        "label",
        "short_answer",
    )

    def __init__(self, rows: Sequence[QuestionAnswer], seed: int, name: str = "majority") -> None:
        counts = Counter(r.answer.strip() for r in rows)
        self.identity = make_identity(name, rows, seed)
        self.labels = sorted(counts)
        self._shares = [counts[label] / counts.total() for label in self.labels]
        self._answer = most_frequent(r.answer.strip() for r in rows)

    def state(self) -> dict[str, Any]:
        """Return what `runtime.FixedAnswer` needs."""
        return {"answer": self._answer, "probabilities": dict(zip(self.labels, self._shares, strict=True))}

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return the majority answer for each question."""
        return [self._answer] * len(questions)

    def probabilities(self, questions: Sequence[str]) -> NDArray[np.float64]:
        """Return label shares in training, ``(n_questions, n_labels)``."""
        import numpy as np

        return np.tile(np.array(self._shares), (len(questions), 1))


class NearestIndex:
    """Finds the training rows whose question is most like a new one (cosine of TF-IDF n-grams)."""

    def __init__(self, questions: Sequence[str]) -> None:
        self.features = TextFeatures()
        self._matrix = self.features.fit_transform(questions)

    def state(self) -> dict[str, Any]:
        """Return what `runtime.NearestRows` needs."""
        columns = self._matrix.tocsc()
        places = {"starts": columns.indptr, "rows": columns.indices, "values": columns.data}
        return {"features": self.features.state(), "n_rows": columns.shape[0], **places}

    def nearest(self, questions: Sequence[str]) -> list[list[int]]:
        """Return, for each question, the indices of all rows that share the highest similarity."""
        import numpy as np

        found: list[list[int]] = []
        for start in range(0, len(questions), BLOCK):
            similarity = (self.features.transform(questions[start : start + BLOCK]) @ self._matrix.T).toarray()
            top = similarity.max(axis=1, keepdims=True)
            found += [np.flatnonzero(row).tolist() for row in similarity >= top - TIE]
        return found


@CLASSICAL_MODELS.register("nearest")
class NearestNeighbour:
    """Answers with the answer of the nearest example; ties (duplicates, no overlap) go to their majority."""

    kinds: ClassVar[tuple[TaskKind, ...]] = (
        "label",
        "short_answer",
        "free_text",
    )

    def __init__(self, rows: Sequence[QuestionAnswer], seed: int) -> None:
        self._answers = [r.answer.strip() for r in rows]
        self._index = NearestIndex([r.question for r in rows])
        self.identity: dict[str, Any] = make_identity("nearest", rows, seed, **self._index.features.parameters)

    def state(self) -> dict[str, Any]:
        """Return what `runtime.NearestAnswer` needs."""
        return {"index": self._index.state(), "answers": self._answers}

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return the nearest example's answer for each question."""
        return [most_frequent(self._answers[i] for i in near) for near in self._index.nearest(questions)]
