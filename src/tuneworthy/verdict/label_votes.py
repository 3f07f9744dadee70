"""Is the label wrong? Models and a classifier vote on the answer.

Invariant: one voter never overrules a label, and a voter that is right by chance only counts for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from tuneworthy.classical.base import CLASSICAL_MODELS, ProbabilisticModel, QuestionAnswer
from tuneworthy.graders.base import accepted
from tuneworthy.ladder.session import Session
from tuneworthy.stats import lower_bound

# The vote for the label as it is.
GIVEN = "\0given"
# The family of the classical model that is cross-validated on the labels.
CLASSIFIER = "classical"
# A family that is right on a smaller share of the cases of a label does not know the label.
KNOWN = 0.4
# Cases from which, and the one-sided error with which, the classifier is shown to side with the models.
MIN_JUDGED, TRUST_ALPHA = 3, 0.1
FEWEST_ROWS = 60
FOLDS = 5
ONE_SIDED = 1.645


@dataclass(slots=True, kw_only=True)
class Voter:
    """A model or classifier.

    Attributes:
        accuracy: Share of dev that it is right on, shrunk so that it is never 0 or 1.
        votes: Case id to `GIVEN`, another answer, or "" for none.
        right: Cases that it gets right.
        stronger: Whether it is shown to be stronger than the variant that is probed.
    """

    accuracy: float
    votes: dict[str, str] = field(default_factory=dict)
    right: set[str] = field(default_factory=set)
    stronger: bool = False


def shown_stronger(fixed: float, broken: float) -> bool:
    """Return whether a model that fixes some failures and breaks some right answers is better; one-sided 5%.

    >>> shown_stronger(30, 3), shown_stronger(12, 10), shown_stronger(0.0, -0.5)
    (True, False, True)
    """
    changed = max(0.0, fixed) + max(0.0, broken)  # estimates from a sample of the cases can fall below 0
    return fixed - broken > ONE_SIDED * sqrt(changed)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Failed cases whose label may be wrong, with the answer of the variant that failed.

    Attributes:
        suspected: Cases whose label is probably wrong.
        doubtful: Cases where the votes cannot tell a wrong label from an error that the voters share.
    """

    suspected: Mapping[str, str]
    doubtful: Mapping[str, str]


def suspect(votes: Mapping[str, Mapping[str, str]], *, subject: str, labels: Mapping[str, str]) -> Suspicion:
    """Return the failures of a family whose label other families contradict with the same answer.

    Models of different makers share errors, so that their agreement alone leaves a case doubtful. The classifier has
    learned from the labels and not from the text of the web. Where it is shown to side with such models in more than
    half of the cases, a label that they contradict is suspected unless the classifier confirms it.

    Args:
        votes: Case to family to `GIVEN` (the label), another answer, or "" for no vote.
        subject: The family whose failures are analysed.
        labels: Case to its label.

    Source: Kim et al. 2025 (https://arxiv.org/abs/2506.07962) for models of different makers that share errors.
    """
    cast = _without_ignorant(votes, labels)
    answers = {case: row.get(subject, "") for case, row in cast.items()}
    failed = [case for case, answer in answers.items() if answer not in {"", GIVEN}]
    backed = {case: {name for name, vote in cast[case].items() if vote == answers[case]} - {subject} for case in failed}
    judged = [
        CLASSIFIER in names for case, names in backed.items() if names - {CLASSIFIER} and cast[case].get(CLASSIFIER)
    ]
    is_trusted = len(judged) >= MIN_JUDGED and lower_bound(sum(judged), len(judged), TRUST_ALPHA) > 0.5
    suspected: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    for case, names in backed.items():
        if names and cast[case].get(CLASSIFIER) != GIVEN:
            sure = is_trusted and names - {CLASSIFIER}
            (suspected if sure else doubtful)[case] = answers[case]
    return Suspicion(suspected, doubtful)


def _without_ignorant(votes: Mapping[str, Mapping[str, str]], labels: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Drop the votes of each family against labels that it mostly gets wrong: it does not know them."""
    right, total = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for case, row in votes.items():
        for name, vote in row.items():
            total[name, labels[case]] += bool(vote)
            right[name, labels[case]] += vote == GIVEN
    ignorant = {key for key, n in total.items() if key[0] != CLASSIFIER and right[key] + 1 < KNOWN * n}
    return {
        case: {name: "" if vote != GIVEN and (name, labels[case]) in ignorant else vote for name, vote in row.items()}
        for case, row in votes.items()
    }


def classifier_votes(session: Session) -> dict[str, str] | None:
    """Return the votes of a linear classifier on dev, out of fold: confident learning.

    It votes only where it is surer of a label than it usually is of that label. None where the task has no labels,
    there are too few rows, or it is not shown to be better than the majority label.

    Source: Northcutt, Jiang and Chuang 2021 (https://arxiv.org/abs/1911.00068), section 3.1.
    """
    cases = [case for case in session.split.dev if case.expected is not None]
    rows = [QuestionAnswer(case.text, "".join(accepted(case.expected)[:1]).strip()) for case in cases]
    rows += [QuestionAnswer(example.question, example.answer.strip()) for example in session.split.shots]
    if session.task.kind != "label" or len(rows) < FEWEST_ROWS:
        return None
    sources = {case.source: index for index, case in enumerate(cases)}
    folds = np.array([*(sources[case.source] for case in cases), *range(len(rows) - len(cases))]) % FOLDS
    labels = sorted({row.answer for row in rows})
    column = {label: index for index, label in enumerate(labels)}
    given = np.array([column[row.answer] for row in rows])
    chances = _out_of_fold(rows, folds, column, session.project.split.seed)
    if chances is None:
        return None
    right = float((chances.argmax(axis=1) == given).mean())
    majority = float(np.bincount(given).max()) / len(rows)
    if right - ONE_SIDED * sqrt(right * (1 - right) / len(rows)) <= majority:
        return None
    own = chances[np.arange(len(rows)), given]
    thresholds = np.array([own[given == index].mean() for index in range(len(labels))])
    sure = np.where(chances >= thresholds, chances, -1.0)[: len(cases)]
    votes = {}
    for case, row in zip(cases, sure, strict=True):
        label = labels[int(row.argmax())] if row.max() >= 0 else ""
        votes[case.id] = GIVEN if label and label in accepted(case.expected) else label
    return votes


def _out_of_fold(
    rows: Sequence[QuestionAnswer], folds: NDArray[np.int64], column: Mapping[str, int], seed: int
) -> NDArray[np.float64] | None:
    chances = np.zeros((len(rows), len(column)))
    for fold in range(FOLDS):
        fitted = CLASSICAL_MODELS.get("linear")([row for row, of in zip(rows, folds, strict=True) if of != fold], seed)
        if not isinstance(fitted, ProbabilisticModel):
            return None
        part = np.flatnonzero(folds == fold)
        if part.size:
            columns = np.array([column[label] for label in fitted.labels])
            chances[np.ix_(part, columns)] = fitted.probabilities([rows[i].question for i in part.tolist()])
    return chances
