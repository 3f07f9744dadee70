"""Is the label wrong? Models and a classifier vote on the answer, each weighed by how often it is right.

Invariant: one voter alone never overrules a label, and a voter that is right by chance only counts for nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from tuneworthy.arrays import FloatPair, Floats, Ints
from tuneworthy.classical.base import CLASSICAL_MODELS, ProbabilisticModel, QuestionAnswer
from tuneworthy.graders.base import accepted
from tuneworthy.ladder.session import Session
from tuneworthy.types import NamedFloats, NamedInts, NamedTexts, TextPair, Texts, frozen

# The vote for the label as it is.
GIVEN = "\0given"
# The family of the classical model that is cross-validated on the labels.
CLASSIFIER = "classical"
# How often a voter is right before anything is estimated, and how often the estimate is repeated.
FIRST_ACCURACY = 0.8
ROUNDS = 6
# Shares that are averaged over: of wrong labels, of traps, and how likely a trap lures a language model.
NOISE = np.array([0.001, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
TRAPS = np.array([0.0, 0.04, 0.1, 0.2, 0.35, 0.6])
LURES = np.array([0.2, 0.4, 0.6, 0.8, 0.95])
# Mean share of wrong labels before any vote (exponential). Source: Northcutt, Athalye and Mueller 2021
# (https://arxiv.org/abs/2103.14749): 3.3% over the test sets of ten data sets, at most 10%.
USUAL_NOISE = 0.05
# How much less a trap lures the classifier: it learns from labels, and finds what is hard for all hard as well.
CLASSIFIER_PULL = 0.25
# Posterior probability of another answer from which a label is suspected, and from which it is doubtful.
SUSPECTED_FROM = 0.5
DOUBTFUL_FROM = 0.1
# A family that is right on a smaller share of the cases of a label does not know the label.
KNOWN = 0.4
# Most failures with a right label that may be suspected, expected share.
FALSELY_ACCUSED = 0.1
# Wrong answers that voters could coincide on where answers are open; few, as wrong answers are alike.
OPEN_ANSWERS = 20
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
    votes: dict[str, str]
    right: set[str]
    stronger: bool


def shown_stronger(fixed: float, broken: float) -> bool:
    """Return whether a model that fixes some failures and breaks some right answers is better; one-sided 5%.

    >>> shown_stronger(30, 3), shown_stronger(12, 10), shown_stronger(0.0, -0.5)
    (True, False, True)
    """
    changed = max(0.0, fixed) + max(0.0, broken)  # estimates from a sample of the cases can fall below 0
    return fixed - broken > ONE_SIDED * sqrt(changed)


@frozen
class Suspicion:
    """What the votes say of the labels of failed cases.

    Attributes:
        suspected: Case to the answer that is probably right instead of the label: the one of the variant that failed.
        doubtful: The same where the votes cannot tell an error of the label from an error that the voters share.
        most: Probability that wrong labels are more than half of the failures.
    """

    suspected: NamedTexts = field(default_factory=dict)
    doubtful: NamedTexts = field(default_factory=dict)
    most: float = 0.0


def suspect(
    votes: Mapping[str, NamedTexts],
    *,
    subject: str,
    labels: NamedTexts,
    n_answers: int,
    weights: NamedFloats | None = None,
) -> Suspicion:
    """Return whose label is probably wrong, from how voters of different families vote on all cases.

    The label is one more voter. A model of the votes has the share of wrong labels, the accuracy of each voter, the
    share of traps (cases with a wrong answer that lures every language model), and how strongly a trap lures. What a
    third voter says where two agree against the label tells traps from wrong labels. Without one, both
    explain the votes, the posterior stays between, and the case is doubtful. The unknown shares are averaged over a
    grid, so that a case is suspected only if every likely combination says so.

    Args:
        votes: Case to family to `GIVEN` (the label), another answer, or "" for none.
        subject: The family whose failures are analysed.
        labels: Case to its label.
        n_answers: Answers there are; 0 where they are open.
        weights: Case to the number of dev cases that it stands for; 1 each if not given.

    Source: Dawid and Skene 1979 (Applied Statistics 28:20) for votes with unknown accuracies; Kim et al. 2025
    (https://arxiv.org/abs/2506.07962) for models of different makers that share errors.
    """
    weight = weights or {}
    cast = _silenced(votes, labels, weight)
    names = sorted({name for row in cast.values() for name in row})
    patterns: dict[tuple[int, ...], list[str]] = {}
    for case, row in cast.items():
        others = list(dict.fromkeys(row[name] for name in names if row.get(name) not in {None, "", GIVEN}))
        places = {"": -1, GIVEN: 0, **{answer: index + 1 for index, answer in enumerate(others)}}
        patterns.setdefault(tuple(places[row.get(name, "")] for name in names), []).append(case)
    if subject not in names:
        return Suspicion()
    keys = list(patterns.values())
    counts = np.array([sum(weight.get(case, 1.0) for case in cases) for cases in patterns.values()])
    table = np.array(list(patterns))
    likely, chances = _chances(table, counts, names, max((n_answers or OPEN_ANSWERS) - 1, 1))
    votes_of_subject = table[:, names.index(subject)]
    failed = votes_of_subject > 0
    # Of each node and pattern: that the subject is right and the label wrong.
    right = np.where(failed, chances[:, np.arange(len(table)), np.maximum(votes_of_subject, 0)], 0.0)
    share = (right * counts).sum(axis=1) / max(1.0, counts[failed].sum())
    chance = likely @ right
    clean = float(counts[failed] @ (likely @ chances[:, failed, 0]))
    found: dict[str, str] = {}
    doubtful: dict[str, str] = {}
    accused = 0.0
    for index in np.argsort(-chance, kind="stable"):
        agree = failed[index] and (table[index] == votes_of_subject[index]).sum() > 1
        if not agree or chance[index] < DOUBTFUL_FROM:
            continue
        accused += counts[index] * (1 - chance[index])
        sure = chance[index] >= SUSPECTED_FROM and accused <= FALSELY_ACCUSED * clean
        (found if sure else doubtful).update((case, cast[case][subject]) for case in keys[index])
    return Suspicion(suspected=found, doubtful=doubtful, most=float(likely[share > 0.5].sum()))


def _silenced(votes: Mapping[str, NamedTexts], labels: NamedTexts, weights: NamedFloats) -> dict[str, dict[str, str]]:
    """Take the votes of each family against labels that it mostly gets wrong: it does not know them."""
    right: dict[TextPair, float] = defaultdict(float)
    total: dict[TextPair, float] = defaultdict(float)
    for case, row in votes.items():
        for name, vote in row.items():
            if vote:
                total[name, labels[case]] += weights.get(case, 1.0)
                right[name, labels[case]] += weights.get(case, 1.0) * (vote == GIVEN)
    return {
        case: {
            name: vote
            if vote == GIVEN or name == CLASSIFIER or right[name, labels[case]] + 1 >= KNOWN * total[name, labels[case]]
            else ""
            for name, vote in row.items()
        }
        for case, row in votes.items()
    }


def _chances(patterns: Ints, counts: Floats, names: Texts, wrong: int) -> FloatPair:
    """Return how likely each combination of shares is, `(n_nodes,)`, and what is right in each pattern under it.

    The latter is `(n_nodes, n_patterns, n_truths)`: the label, then the other answers named, then any other answer.

    Args:
        patterns: `(n_patterns, n_voters)`: 0 for the label, from 1 on for other answers, -1 for no vote.
        counts: Dev cases by pattern.
        names: Of the voters; the classifier falls into a trap less often than a language model.
        wrong: Wrong answers there are.
    """
    noise, traps, lure = (axis.ravel() for axis in np.meshgrid(NOISE, TRAPS, LURES, indexing="ij"))
    pull = np.array([CLASSIFIER_PULL if name == CLASSIFIER else 1.0 for name in names])
    lured = (lure[:, None] * pull)[:, None, None, :]
    named = patterns.max(axis=1, initial=0)  # other answers in each pattern
    truths = np.arange(int(named.max(initial=0)) + 2)  # the label, the named answers, and last one that no one named
    share = np.where(truths <= named[:, None], 1 / wrong, 0.0)
    share[:, -1] = np.maximum(wrong - named, 0) / wrong
    says = patterns[:, None, :] == truths[:-1, None]
    says = np.concatenate([says, np.zeros_like(says[:, :1])], axis=1)  # (patterns, truths, voters)
    silent = (patterns < 0)[:, None, :]
    of_truth = noise[:, None, None] * share
    of_truth[:, :, 0] = (1 - noise)[:, None]
    error = np.full((noise.size, len(names)), 1 - FIRST_ACCURACY)
    for _ in range(ROUNDS):
        wide = error[:, None, None, :]
        own = np.where(silent, 1.0, np.where(says, 1 - wide, wide / wrong))  # (nodes, patterns, truths, voters)
        joint = of_truth * (1 - traps)[:, None, None] * own.prod(axis=-1)
        truth, votes_of = joint.copy(), joint[..., None] * ~silent
        for trap in truths:
            fell = lured * says[:, trap][:, None, :]
            vote = np.where(silent, 1.0, fell + (1 - lured) * own)
            joint = of_truth * traps[:, None, None] * share[:, trap, None] * vote.prod(axis=-1)
            joint[:, :, trap] = 0.0
            truth += joint
            votes_of += joint[..., None] * ~silent * (1 - lured) * own / vote
        total = truth.sum(axis=2)
        scale = counts / total
        n_own = np.einsum("np,nptv->nv", scale, votes_of)
        error = (np.einsum("np,nptv->nv", scale, votes_of * ~says) + 1) / (n_own + 4)
    score = (counts * np.log(total)).sum(axis=1) - noise / USUAL_NOISE
    weight = np.exp(score - score.max())
    return weight / weight.sum(), truth / total[..., None]


def classifier_votes(session: Session) -> NamedTexts | None:
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
    found = [labels[int(row.argmax())] if row.max() >= 0 else "" for row in sure]
    return {
        case.id: GIVEN if label and label in accepted(case.expected) else label
        for case, label in zip(cases, found, strict=True)
    }


def _out_of_fold(rows: Sequence[QuestionAnswer], folds: Ints, column: NamedInts, seed: int) -> Floats | None:
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
