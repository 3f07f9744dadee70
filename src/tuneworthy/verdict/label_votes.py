"""Is the label wrong? Models and a classifier vote on the answer, each weighed by how often it is right.

Invariant: one voter alone never overrules a label, and a voter that is right by chance only counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from tuneworthy.classical.base import ProbabilisticModel, fit
from tuneworthy.ladder.session import Session
from tuneworthy.types import Case, Example

# The vote for the label as it is.
GIVEN = "\0given"
# The voter that always votes for the label, how often a voter is right before anything is estimated, and how often
# the estimate is repeated.
LABEL = "label"
FIRST_ACCURACY = 0.8
ROUNDS = 20
# Posterior probability of another answer from which a label is suspected.
SUSPECTED_FROM = 0.8
# Wrong answers that voters could coincide on where answers are open; few, as wrong answers are alike.
OPEN_ANSWERS = 20
FEWEST_EXAMPLES = 60
FOLDS = 3
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

    >>> shown_stronger(30, 3), shown_stronger(12, 10)
    (True, False)
    """
    return fixed - broken > ONE_SIDED * sqrt(fixed + broken)


def suspected(votes: Mapping[str, Mapping[str, str]], weights: Mapping[str, float], n_answers: int) -> dict[str, str]:
    """Return the answer that is probably right instead of the label, of each case where there is one.

    The label is a voter like the others: how often each is right is estimated from all votes together, so that wrong
    labels do not make good voters look bad (Dawid and Skene's model with one accuracy a voter). At least two voters
    must agree against the label.

    Args:
        votes: Case to voter to `GIVEN` (the label), another answer, or "" for none.
        weights: Case to the number of dev cases that it stands for.
        n_answers: Answers there are; 0 where they are open.

    Source: Dawid and Skene 1979 (Applied Statistics 28:20).

    >>> clean = {str(i): {"a": GIVEN, "b": GIVEN} for i in range(18)}
    >>> suspected({**clean, "x": {"a": "red", "b": "red"}, "y": {"a": "red", "b": GIVEN}}, {}, 3)
    {'x': 'red'}
    """
    wrong = max((n_answers or OPEN_ANSWERS) - 1, 1)
    cast = {case: {LABEL: GIVEN, **{name: vote for name, vote in row.items() if vote}} for case, row in votes.items()}
    accuracy = dict.fromkeys({name for row in cast.values() for name in row}, FIRST_ACCURACY)
    chances: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for case, row in cast.items():
            shares = {
                truth: prod(
                    accuracy[name] if vote == truth else (1 - accuracy[name]) / wrong for name, vote in row.items()
                )
                for truth in sorted(set(row.values()))
            }
            total = sum(shares.values())
            chances[case] = {truth: value / total for truth, value in shares.items()}
        for name in accuracy:
            rows = [(weights.get(case, 1.0), chances[case][row[name]]) for case, row in cast.items() if name in row]
            accuracy[name] = (sum(w * p for w, p in rows) + 1) / (sum(w for w, _ in rows) + 2)
    found = {}
    for case, row in cast.items():
        best = max(chances[case], key=lambda truth: chances[case][truth])
        agree = sum(vote == best for vote in row.values())
        if best != GIVEN and agree >= 2 and chances[case][best] >= SUSPECTED_FROM:
            found[case] = best
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierVotes:
    """Confident learning: what a linear classifier says where it is surer than it usually is of that label.

    Attributes:
        classical: Fitted on all examples.
        labels: Of its columns.
        thresholds: Mean probability of a label over the examples that have it, out of fold; `(n_labels,)`.
        accuracy: Out of fold.

    Source: Northcutt, Jiang and Chuang 2021 (https://arxiv.org/abs/1911.00068), section 3.1.
    """

    classical: ProbabilisticModel
    labels: Sequence[str]
    thresholds: NDArray[np.float64]
    accuracy: float

    @classmethod
    def fitted(cls, session: Session) -> ClassifierVotes | None:
        """Fit on the session's examples; None where the task has no labels or there are too few examples."""
        examples = list(session.pool.examples)
        if session.task.kind != "label" or len(examples) < FEWEST_EXAMPLES:
            return None
        seed = session.project.split.seed
        classical = fit("linear", examples, seed)
        if not isinstance(classical, ProbabilisticModel) or len(classical.labels) < 2:
            return None
        thresholds, accuracy = _out_of_fold(examples, list(classical.labels), seed)
        return cls(classical=classical, labels=list(classical.labels), thresholds=thresholds, accuracy=accuracy)

    def voter(self, cases: Sequence[Case]) -> Voter:
        """Let it vote on `cases`; no vote where it is sure of no label."""
        voter = Voter(accuracy=self.accuracy)
        if not cases:
            return voter
        found = self.classical.probabilities([case.text for case in cases])
        for case, row in zip(cases, np.where(found >= self.thresholds, found, -1.0), strict=True):
            label = self.labels[int(row.argmax())] if row.max() >= 0 else ""
            expected = case.expected if isinstance(case.expected, list) else [case.expected]
            voter.votes[case.id] = GIVEN if label and label in map(str, expected) else label
        return voter


def _out_of_fold(examples: Sequence[Example], labels: Sequence[str], seed: int) -> tuple[NDArray[np.float64], float]:
    """Return the mean probability of each label where it is the answer, and the accuracy; by cross-validation.

    A label that no fold predicts has the threshold 1: nothing is ever sure of it.
    """
    column = {label: index for index, label in enumerate(labels)}
    total, count, hits = np.zeros(len(labels)), np.zeros(len(labels)), 0
    for fold in range(FOLDS):
        rest = [example for index, example in enumerate(examples) if index % FOLDS != fold]
        part = [example for index, example in enumerate(examples) if index % FOLDS == fold]
        classical = fit("linear", rest, seed)
        assert isinstance(classical, ProbabilisticModel)
        found = classical.probabilities([example.question for example in part])
        columns = {label: index for index, label in enumerate(classical.labels)}
        for example, row in zip(part, found, strict=True):
            answer = example.answer.strip()
            hits += classical.labels[int(row.argmax())] == answer
            if answer in columns:
                total[column[answer]] += row[columns[answer]]
                count[column[answer]] += 1
    return np.where(count > 0, total / np.maximum(count, 1), 1.0), (hits + 1) / (len(examples) + 2)
