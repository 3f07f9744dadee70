"""Whether a teacher's answers changed: a classifier tries to tell weeks, or teachers, apart.

Its skill is the cross-validated area under the ROC curve with its interval: 1/2 is chance. Questions change too, and
the answers with them, so the same classifier is tried on the questions: the teacher drifted if the answers can be
told apart, and better than the questions. All rows of a question stay in one fold.
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuneworthy.arrays import Bools, Floats, Ints
from tuneworthy.cases.normalize import normalise
from tuneworthy.cases.stratified import numbered
from tuneworthy.stats.auroc import fold_areas
from tuneworthy.types import Bounds, Texts

FOLDS = 5
# Least number of rows of a group that is compared with the others.
MIN_ROWS = 40
# Rows of either side that are used, a seeded draw.
MAX_ROWS = 1000
MAX_GROUPS = 6
_STYLE_WEIGHT = 0.5
TextAt = Callable[[int], str]
_SENTENCE = re.compile(r"[.!?…]+(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Drift:
    """One group against all others.

    Attributes:
        group: Its name.
        n: Rows of the group that were used.
        n_others: Rows of the others that were used.
        auc: Of the answers.
        ci95: Its interval, at 95% over all groups together.
        questions_auc: Of the questions.
        questions_ci95: Its interval.
        drifts: Whether the answers drifted.
    """

    group: str
    n: int
    n_others: int
    auc: float
    ci95: Bounds
    questions_auc: float
    questions_ci95: Bounds
    drifts: bool

    def __str__(self) -> str:
        low, high = self.ci95
        questions_low, questions_high = self.questions_ci95
        return (
            f"{self.group} (n = {self.n}) against the other rows (n = {self.n_others}): a classifier distinguishes the "
            f"answers with AUC {self.auc:.2f} [{low:.2f}, {high:.2f}]. For the questions, the AUC is "
            f"{self.questions_auc:.2f} [{questions_low:.2f}, {questions_high:.2f}]."
        )


def tell_apart(question: TextAt, answer: TextAt, groups: Texts, seed: int = 0) -> list[Drift]:
    """Try to tell each group from the others; of two groups once.

    Args:
        question: Number of a row to its question.
        answer: Number of a row to its answer.
        groups: ``(n_rows,)``.
        seed: Of the folds and the draw.

    Returns:
        One entry a group with at least `MIN_ROWS` rows inside and outside, at most `MAX_GROUPS`, the largest first.
    """
    counts = Counter(groups)
    names = [name for name, n in counts.most_common() if min(n, len(groups) - n) >= MIN_ROWS][:MAX_GROUPS]
    names = names[:1] if len(counts) == 2 else names
    return [_drift(name, question, answer, groups, alpha=0.05 / len(names), seed=seed) for name in names]


def _drift(name: str, question: TextAt, answer: TextAt, groups: Texts, *, alpha: float, seed: int) -> Drift:
    inside = np.array([group == name for group in groups])
    rng = np.random.default_rng(seed)
    rows = np.concatenate([np.sort(rng.permutation(np.flatnonzero(side))[:MAX_ROWS]) for side in (inside, ~inside)])
    positive = inside[rows]
    texts = [[text(row) for row in rows.tolist()] for text in (answer, question)]
    folds = _folds(texts[1], positive, seed)
    areas = fold_areas(np.stack([_out_of_fold(side, positive, folds) for side in texts]), positive, folds)
    apart, questions_apart = (areas.interval(side, alpha)[0] > 0.5 for side in (0, 1))
    return Drift(
        group=name,
        n=int(positive.sum()),
        n_others=int((~positive).sum()),
        auc=float(areas.values[0]),
        ci95=areas.interval(0, alpha),
        questions_auc=float(areas.values[1]),
        questions_ci95=areas.interval(1, alpha),
        drifts=apart and (not questions_apart or areas.difference(0, 1, alpha)[0] > 0),
    )


def _folds(questions: Texts, positive: Bools, seed: int) -> Ints:
    """Deal the rows over the folds, those of one question together, both classes evenly."""
    from sklearn.model_selection import StratifiedGroupKFold

    owners = numbered(map(normalise, questions))
    folds = np.zeros(len(questions), np.int64)
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(questions)), positive, owners)):
        folds[held_out] = fold
    return folds


def _out_of_fold(texts: Texts, positive: Bools, folds: Ints) -> Floats:
    """Return for each text the score of a model that has not seen its fold, ``(n_texts,)``."""
    from sklearn.linear_model import LogisticRegression

    features = _features(texts)
    scores = np.zeros(len(texts))
    for fold in range(FOLDS):
        held_out = folds == fold
        if held_out.any() and len(np.unique(positive[~held_out])) == 2:
            model = LogisticRegression(solver="liblinear", class_weight="balanced")
            model.fit(features[~held_out], positive[~held_out])
            scores[held_out] = model.decision_function(features[held_out])
    return scores


def _features(texts: Texts) -> Any:
    from scipy import sparse

    from tuneworthy.classical.features import TextFeatures

    style = np.array([_style(text) for text in texts])
    spread = style.std(axis=0)
    style = np.where(spread > 0, (style - style.mean(axis=0)) / np.where(spread > 0, spread, 1.0), 0.0)
    weighted = style * _STYLE_WEIGHT / math.sqrt(style.shape[1])
    return sparse.hstack([TextFeatures().fit_transform(texts), sparse.csr_matrix(weighted)], format="csr")


def _style(text: str) -> list[float]:
    n, n_words = max(1, len(text)), len(text.split())
    return [
        math.log1p(len(text)),
        math.log1p(n_words / max(1, len(_SENTENCE.findall(text)))),
        sum(char.isupper() for char in text) / n,
        sum(char.isdigit() for char in text) / n,
        sum(not char.isalnum() and not char.isspace() for char in text) / n,
        text.count("\n") / n,
    ]
