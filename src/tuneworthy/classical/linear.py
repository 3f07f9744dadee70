"""The strongest baseline for labels: a linear SVM over TF-IDF n-grams, with calibrated probabilities.

One-against-rest, with a softmax of the margins at one temperature. C and the temperature are chosen by
cross-validation inside the examples. Measured on banking77 (10,003 rows, 77 labels, one core):

    classifier (C by 3-fold CV)             accuracy   log loss   seconds a fit
    LinearSVC, softmax, temperature           0.912      0.353      1.2
    LogisticRegression lbfgs (C = 10)         0.912      0.381      5
    one-against-rest liblinear (C = 100)      0.914      0.327      7

so the SVM pays for its whole cross-validation with the time of one logistic regression.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tuneworthy.arrays import Floats
from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer, fitted
from tuneworthy.classical.features import TextFeatures, fit_quietly
from tuneworthy.classical.runtime import LabelPredictor, spread
from tuneworthy.retrieval.bert import softmax
from tuneworthy.types import JsonObject, Texts

C_GRID = (0.1, 1.0, 10.0)
TEMPERATURE_GRID = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0, 23.0)  # factor on the margins
DEFAULT_C, DEFAULT_TEMPERATURE = 1.0, 4.0  # where there are too few rows to choose
N_FOLDS = 3
MAX_CV_ROWS = 6_000
MIN_CV_ROWS = 10
MAX_CV_WORK = 500_000_000  # labels x non-zero features: above this (about 5 s a fit) C is not chosen
MAX_FIT_WORK = 1_500_000_000  # above this only the most frequent labels are learnt


class LinearSvmClassifier:
    """Any feature matrix to one of several labels, with probabilities; constant if there is one label.

    Args:
        seed: Seed of the folds and the subsample that C is chosen on.
        c_grid: Inverse regularisation strengths to choose from; with one, nothing is cross-validated.
    """

    def __init__(self, seed: int, c_grid: Sequence[float] = C_GRID) -> None:
        self.seed = seed
        self.c_grid = c_grid
        self.labels: list[str] = []
        self.c, self.temperature = DEFAULT_C, DEFAULT_TEMPERATURE
        self._model: Any = None

    @property
    def parameters(self) -> JsonObject:
        return {"C": self.c, "temperature": self.temperature, "C_grid": list(self.c_grid), "folds": N_FOLDS}

    def fit(self, matrix: Any, answers: Texts, groups: Texts) -> LinearSvmClassifier:
        """Choose C and temperature, then fit on all rows.

        Args:
            matrix: Features, ``(n_rows, n_features)``, sparse.
            answers: A label a row.
            groups: Rows of one group (duplicate questions) stay in one fold.
        """
        self.labels, targets = sorted(set(answers)), np.array(answers, dtype=object)
        if len(self.labels) < 2:
            return self
        rows = affordable_rows(answers, matrix.nnz)
        if len(self.c_grid) > 1 and matrix.nnz * len(set(targets[rows].tolist())) <= MAX_CV_WORK:
            self._choose(matrix[rows], targets[rows], [groups[i] for i in rows])
        elif len(self.c_grid) == 1:
            self.c = self.c_grid[0]
        self._model = _train(matrix[rows], targets[rows], self.c)
        return self

    def probabilities(self, matrix: Any) -> Floats:
        if self._model is None:
            return np.ones((matrix.shape[0], 1))
        return softmax(_margins(self._model, matrix, self.labels) * self.temperature)

    def state(self) -> JsonObject:
        if self._model is None:
            return {"labels": self.labels, "columns": [], "temperature": 1.0}
        weights, intercept = self._model.coef_, self._model.intercept_
        if len(weights) == 1:
            weights, intercept = np.concatenate([-weights, weights]), np.concatenate([-intercept, intercept])
        return {
            "labels": self.labels,
            "columns": columns_of(self._model.classes_.tolist(), self.labels),
            "temperature": self.temperature,
            "weights": weights.T.astype(np.float32),
            "intercept": intercept,
        }

    def _choose(self, matrix: Any, targets: np.ndarray, groups: Texts) -> None:
        folds = assign_folds(targets.tolist(), groups, self.seed)
        known = np.flatnonzero(folds >= 0)
        if len(known) < MIN_CV_ROWS:
            return
        codes = np.searchsorted(np.array(self.labels, dtype=object), targets[known])
        best: tuple[float, float] | None = None
        for c in self.c_grid:
            margins = self.out_of_fold(matrix[known], targets[known], folds[known], c)
            accuracy = float(np.mean(margins.argmax(axis=1) == codes))
            losses = [log_loss(softmax(margins * t), codes) for t in TEMPERATURE_GRID]
            rank = (-accuracy, min(losses))
            if best is None or rank < best:
                best, self.c = rank, c
                self.temperature = TEMPERATURE_GRID[int(np.argmin(losses))]

    def out_of_fold(self, matrix: Any, targets: np.ndarray, folds: np.ndarray, c: float) -> Floats:
        """Return the margins of all labels, ``(n_rows, n_labels)``, by models that have not seen the row's fold."""
        margins = np.full((len(targets), len(self.labels)), -1.0)
        for fold in range(N_FOLDS):
            train, held_out = folds != fold, folds == fold
            if held_out.any() and len(set(targets[train])) > 1:
                margins[held_out] = _margins(_train(matrix[train], targets[train], c), matrix[held_out], self.labels)
        return margins


def affordable_rows(answers: Texts, n_nonzero: int) -> list[int]:
    """Return the rows whose labels are learnt: all, or those of the most frequent labels (at least 2)."""
    counts = Counter(answers)
    n_labels = max(2, MAX_FIT_WORK // max(1, n_nonzero))
    usual = set(sorted(counts, key=lambda label: (-counts[label], label))[:n_labels])
    return [i for i, answer in enumerate(answers) if answer in usual]


def _train(matrix: Any, targets: np.ndarray, c: float) -> Any:
    from sklearn.svm import LinearSVC

    return fit_quietly(LinearSVC(C=c, tol=1e-2, max_iter=300, random_state=0), matrix, targets.astype(str))


def _margins(model: Any, matrix: Any, labels: Texts) -> Floats:
    raw = model.decision_function(matrix)
    if raw.ndim == 1:
        raw = np.column_stack([-raw, raw])
    return spread(raw, columns_of(model.classes_.tolist(), labels), len(labels))


def columns_of(learned: Texts, labels: Texts) -> list[int]:
    column = {label: i for i, label in enumerate(labels)}
    return [column[label] for label in learned]


def log_loss(probabilities: Floats, codes: np.ndarray) -> float:
    return float(-np.mean(np.log(probabilities[np.arange(len(codes)), codes] + 1e-12)))


def assign_folds(answers: Texts, groups: Texts, seed: int) -> np.ndarray:
    """Distribute the groups per label over the folds; -1 for the rows beyond `MAX_CV_ROWS`.

    A group belongs to the label of its first row.
    """
    rng = np.random.default_rng(seed)
    first: dict[str, int] = {}
    for i, group in enumerate(groups):
        first.setdefault(group, i)
    order = [list(first)[i] for i in rng.permutation(len(first))]
    by_label = sorted(
        order[: max(1, round(len(order) * min(1.0, MAX_CV_ROWS / len(answers))))],
        key=lambda group: answers[first[group]],
    )
    fold_of = {group: i % N_FOLDS for i, group in enumerate(by_label)}
    return np.array([fold_of.get(group, -1) for group in groups])


def group_of(row: QuestionAnswer) -> str:
    return " ".join(row.question.casefold().split())


def fit_words(rows: Sequence[QuestionAnswer], seed: int) -> tuple[TextFeatures, Any, LinearSvmClassifier]:
    """Return features, their matrix, ``(n_rows, n_features)``, and the classifier that was fitted on it."""
    features = TextFeatures()
    matrix = features.fit_transform([r.question for r in rows])
    labels, groups = [r.answer.strip() for r in rows], [group_of(row) for row in rows]
    return features, matrix, LinearSvmClassifier(seed).fit(matrix, labels, groups)


@CLASSICAL_MODELS.register("linear")
def fit_linear(rows: Sequence[QuestionAnswer], seed: int) -> LabelPredictor:
    features, _, classifier = fit_words(rows, seed)
    state = {"features": features.state, "labels": classifier.state()}
    return fitted(
        LabelPredictor, state, "linear", rows, seed, **features.parameters, **classifier.parameters, model="LinearSVC"
    )
