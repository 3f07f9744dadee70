"""Rows whose label may be wrong: confident learning over out-of-fold probabilities.

A class is believed of a row if its probability reaches the mean that the rows of that class get themselves. Rows
believed of another class than their own give the number of errors; the rows with the least probability of their own
label are the candidates.

How likely a candidate's label is wrong is measured: no model that predicts a row has learned from the row's own label,
so labels drawn at random show, without another training, what a wrong one looks like.

Source: Northcutt, Jiang and Chuang 2021, "Confident Learning", sections 3.1 and 3.2 (arXiv 1911.00068); Elkan and Noto
2008, "Learning classifiers from only positive and unlabeled data" (one part of a mixture is known by examples).
"""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from xxhash import xxh3_128_digest

from tuneworthy.arrays import Floats, Ints
from tuneworthy.cases.normalize import normalise, question_of
from tuneworthy.cases.task_kind import parse_object
from tuneworthy.classical.features import TextFeatures, fit_quietly
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import MANY, CheckContext, RowFinding, RowFindings, are_many, as_rows, data_check
from tuneworthy.dataset.columns import first_equal
from tuneworthy.retrieval.bert import about_pieces, softmax
from tuneworthy.retrieval.encoder import AFFORDABLE, Encoder
from tuneworthy.store.own_file import StoredSequence
from tuneworthy.types import Cases, Examples, TextPair, Texts, frozen, positional

# Folds: many where rows are few, as each label then has few rows to learn from; below so many rows.
FOLDS, MANY_FOLDS, FEW_ROWS = 4, 10, 4_000
# Rows that are learned from, at most, and up to which the nearest ones vote as well (with more, seconds become minutes
# and the vote adds little); how many vote; the power of their cosine; the probability of a label that none of them has.
MOST_LEARNED, _VOTES, _POWER, _UNSEEN = 20_000, 12, 3, 1e-4
_BLOCK = 500
# Rows of a label; of rarer ones nothing can be learnt from the other folds.
MIN_OF_A_LABEL = 4
# Answers that are told apart where the task has no labels.
MOST_ANSWERS = 500
# How many times as probable as the given label another one must be for a row to be doubted: of 2,336 rows of banking77
# with poison, 151 of them wrong, 191 are doubted, among them 128 of these.
CLEARLY = 20.0
# Probability that a label is wrong above which its row leaves. With some 25 rows a label, a wrong one costs more than a
# right row teaches (banking77: 0.3 scores best), and less where the doubted rows are rare wordings (0.6 does).
LIKELY_WRONG = 0.4
# Largest share of a label's rows that leave: where more would, the label cannot be told from the text.
MOST_OF_A_LABEL = 0.25
# Share of the rows that must be predicted as given before the model is believed against a row.
PREDICTED = 0.5
# Rows that are compared with the cases at most, and rows and cases needed to do so; standard errors of the difference.
_MOST_COMPARED, _MIN_COMPARED, _SURE = 2_000, 50, 2.6
# Factors on the margins of models of n-grams, and of an encoder's vectors, whose margins are narrower.
_TEMPERATURE, _OF_VECTORS = 4.0, 6.0
_C = 1.0
# Random labels that each row gets; iterations of the model of wrong labels and their share; the share to begin with:
# it stays where the text says nothing of the label, and where the two separate perfectly, which leaves the share
# open, up to that many are found; the least probability whose logarithm is taken; C of that model, hardly
# regularised, so that its odds are not held back where they separate.
_DRAWS, _ROUNDS, _SHARE, _LEAST, _C_OF_ODDS = 2, 20, 0.1, 1e-9, 1e3
# Rows of a neighbourhood; quantile of random agreement of labels up to which theirs is random; how many times that the
# agreement of most neighbourhoods must be, as with few labels random ones agree as well.
_NEAR, _RANDOM, _ABOVE_RANDOM = 11, 0.95, 3
# Share of the usual number of cases nearby below which questions are not those of the cases.
_FEW_CASES = 0.25

# Questions with their labels.
Labelled = Sequence[TextPair]
# Feature rows to the probabilities of the classes that were learned.
Predict = Callable[[Any], Floats]


@positional
class Doubt:
    """A row whose label is doubted.

    Attributes:
        row: Its place.
        score: Probability of its label; of what `find_doubts` returns, that its label is right.
        suggested: The most probable other label.
        likely: Probability of that.
    """

    row: int
    score: float
    suggested: str
    likely: float


def out_of_fold(texts: Texts, labels: Texts, encoder: Encoder | None = None, seed: int = 0) -> tuple[list[str], Floats]:
    """Return the classes, sorted, and the probability of each for each text by models that have not seen it.

    Two models err on different rows where a label has few: a linear classifier of n-grams, and one of an encoder's
    vectors, or a vote of the nearest rows without an encoder. Of more than `MOST_LEARNED` rows, that many are learned
    from, of each label as many where it has them, and no nearest rows vote. Texts that differ in case and punctuation
    only are in one fold.

    Args:
        texts: ``(n_rows,)``.
        labels: ``(n_rows,)``, at least two different ones.
        encoder: Its vectors instead of the vote, where they are affordable.
        seed: Of the folds.

    Returns:
        Classes, and ``(n_models, n_rows, n_classes)`` float64.
    """
    # Objects: in an array of text each answer would take as much room as the longest.
    classes, codes = np.unique(np.array(labels, dtype=object), return_inverse=True)
    n_folds = MANY_FOLDS if len(texts) < FEW_ROWS else FOLDS
    folds = _folds(texts, codes, n_folds, seed)
    learned = _learned(codes, seed)
    features = TextFeatures()
    matrix = features.fit_transform([texts[row] for row in learned])
    views: list[tuple[Any, Callable[[Texts], Any], Callable[..., Predict]]] = [(matrix, features.transform, _fit)]
    if encoder is not None and len(texts) <= MOST_LEARNED and sum(map(about_pieces, texts)) <= AFFORDABLE:
        views.append(
            (encoder.encode([texts[row] for row in learned]), encoder.encode, partial(_fit, temperature=_OF_VECTORS))
        )
    elif len(texts) <= MOST_LEARNED:
        views.append((matrix, features.transform, _vote))
    probabilities = np.zeros((len(views), len(texts), len(classes)))
    for (known, represent, fit), total in zip(views, probabilities, strict=True):
        for fold in range(n_folds):
            others = folds[learned] != fold
            held_out, columns = np.flatnonzero(folds == fold), np.unique(codes[learned[others]])
            if not len(held_out) or len(columns) < 2:
                continue
            predict = fit(known[others], codes[learned[others]], seed)
            for first in range(0, len(held_out), MOST_LEARNED):
                rows = held_out[first : first + MOST_LEARNED]
                own = known[~others] if len(learned) == len(texts) else represent([texts[row] for row in rows])
                total[np.ix_(rows, columns)] = predict(own)
    return classes.tolist(), probabilities


def _folds(texts: Texts, codes: Ints, n_folds: int, seed: int) -> Ints:
    first: dict[str, int] = {}
    owners = np.array([first.setdefault(normalise(text), row) for row, text in enumerate(texts)])
    order = np.random.default_rng(seed).permutation(len(texts))
    order = order[np.argsort(codes[order], kind="stable")]
    folds = np.zeros(len(texts), np.int64)
    folds[order] = np.arange(len(texts)) % n_folds
    return np.asarray(folds[owners])


def _learned(codes: Ints, seed: int) -> Ints:
    drawn = np.random.default_rng(seed).permutation(len(codes))
    drawn = drawn[np.argsort(codes[drawn], kind="stable")]
    sizes = np.bincount(codes)
    ranks = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(drawn[np.argsort(ranks, kind="stable")][:MOST_LEARNED])


def _fit(matrix: Any, codes: Ints, seed: int, temperature: float = _TEMPERATURE) -> Predict:
    from sklearn.svm import LinearSVC

    model = fit_quietly(LinearSVC(C=_C, tol=0.1, max_iter=100, random_state=seed), matrix, codes)

    def predict(rows: Any) -> Floats:
        margins = model.decision_function(rows)
        return softmax((np.stack([-margins, margins], axis=1) if margins.ndim == 1 else margins) * temperature)

    return predict


def _vote(matrix: Any, codes: Ints, seed: int) -> Predict:
    """Return what predicts as `_fit` does, from the nearest rows: each votes with a power of its cosine."""
    learned, places = np.unique(codes, return_inverse=True)
    n = min(_VOTES, len(codes))

    def predict(rows: Any) -> Floats:
        votes = np.full((rows.shape[0], len(learned)), _UNSEEN)
        for start in range(0, rows.shape[0], _BLOCK):
            alike, nearest = _nearest(rows[start : start + _BLOCK], matrix, n)
            own = np.arange(len(alike))[:, None]
            np.add.at(
                votes[start : start + _BLOCK], (own, places[nearest]), np.maximum(alike[own, nearest], 0) ** _POWER
            )
        return np.asarray(votes / votes.sum(axis=1, keepdims=True))

    return predict


def _nearest(rows: Any, matrix: Any, n: int) -> tuple[Floats, Ints]:
    """Return the cosine of some rows to all, and the numbers of the `n` nearest."""
    alike = cosines(rows, matrix)
    return alike, np.argpartition(-alike, n - 1, axis=1)[:, :n]


def cosines(rows: Any, others: Any) -> Floats:
    """Return the inner products of the rows of two matrices, which may be sparse, as a dense one."""
    product: Any = rows @ others.T
    return product if isinstance(product, np.ndarray) else product.toarray()


def vectors_of(texts: Texts, encoder: Encoder | None) -> Any:
    """Return the encoder's vectors where it is affordable, else n-grams; a row of length 1 for each text."""
    if encoder is not None and len(texts) <= MOST_LEARNED and sum(map(about_pieces, texts)) <= AFFORDABLE:
        return encoder.encode(texts)
    return TextFeatures().fit_transform(texts)


def doubts(codes: Ints, probabilities: Floats, classes: Texts) -> list[Doubt]:
    """Return the rows whose label is doubted, the most doubtful first.

    Args:
        codes: The given class of each row, ``(n_rows,)``.
        probabilities: Out of fold, ``(n_rows, n_classes)``.
        classes: Names of the columns.
    """
    own = probabilities[np.arange(len(codes)), codes]
    usual = np.array([own[codes == k].mean() if (codes == k).any() else np.inf for k in range(len(classes))])
    best, likely, n_errors = np.zeros(len(codes), np.int64), np.zeros(len(codes)), 0
    for first in range(0, len(codes), MOST_LEARNED):
        part, given = probabilities[first : first + MOST_LEARNED], codes[first : first + MOST_LEARNED]
        believed = np.where(part >= usual, part, -1.0)
        n_errors += int(((believed.max(axis=1) > 0) & (believed.argmax(axis=1) != given)).sum())
        others = part.copy()
        others[np.arange(len(part)), given] = -1
        best[first : first + len(part)], likely[first : first + len(part)] = others.argmax(axis=1), others.max(axis=1)
    doubted = np.flatnonzero(likely > own)
    ranked = doubted[np.argsort(own[doubted], kind="stable")][:n_errors]
    return [Doubt(int(row), float(own[row]), classes[int(best[row])], float(likely[row])) for row in ranked]


def wrong_shares(codes: Ints, probabilities: Floats, seed: int = 0) -> Floats:
    """Return the probability of each row that its label is wrong, as labels drawn at random are.

    What the models say of a label is compared between the labels as they are and random ones. The labels as they are
    hold a share of wrong ones; it, and what tells them apart, are estimated in turn.

    Args:
        codes: The given class of each row, ``(n_rows,)``.
        probabilities: Out of fold, ``(n_models, n_rows, n_classes)``.
        seed: Of the draws.
    """
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(codes))[:MOST_LEARNED]
    drawn = np.tile(rows, _DRAWS)
    labels = codes[rng.integers(0, len(codes), len(drawn))]
    other = labels != codes[drawn]
    evidence, wrong_ones = _evidence(probabilities, codes), _evidence(probabilities, labels[other], drawn[other])
    both = np.concatenate([evidence[rows], wrong_ones])
    is_drawn = np.arange(len(both)) >= len(rows)
    wrong, share = np.zeros(len(codes)), _SHARE
    for step in range(_ROUNDS if len(wrong_ones) else 0):
        weights = np.where(is_drawn, (1 - wrong[rows]).sum() / len(wrong_ones), 1.0)
        weights[: len(rows)] = 1 - wrong[rows]
        odds = np.exp(
            LogisticRegression(C=_C_OF_ODDS, max_iter=300).fit(both, is_drawn, weights).decision_function(evidence)
        )
        # The first odds are against the labels as they are, wrong ones included; the others against the right ones.
        wrong = share * odds / (share * odds + 1 - share) if step else np.minimum(1, share * odds)
        share = (float(wrong.sum()) + 1) / (len(codes) + 2)  # never 0, from which no step leads away
    return wrong


def _evidence(probabilities: Floats, labels: Ints, rows: Ints | None = None) -> Floats:
    """Return the logarithms of what each model says of these labels of rows (of all by default), and of the best other.

    The result is ``(n_labels, 2 * n_models)``.
    """
    rows, parts = np.arange(len(labels)) if rows is None else rows, []
    for first in range(0, len(rows), MOST_LEARNED):
        part, own_labels = probabilities[:, rows[first : first + MOST_LEARNED]], labels[first : first + MOST_LEARNED]
        own = part[:, np.arange(len(part[0])), own_labels]
        part[:, np.arange(len(part[0])), own_labels] = 0
        parts.append(np.concatenate([own, part.max(axis=2)]).T)
    return np.log(np.concatenate(parts) + _LEAST)


def find_doubts(
    texts: Texts,
    labels: Texts,
    encoder: Encoder | None = None,
    seed: int = 0,
    most: float = LIKELY_WRONG,
) -> tuple[list[Doubt], float]:
    """Return the rows whose label is doubted, the likeliest wrong ones first, and the share that is predicted as given.

    A label is doubted if another is clearly more probable, or if it is wrong with a probability above `most`.
    """
    if len({*labels}) < 2:
        return [], 0.0
    classes, of_models = out_of_fold(texts, labels, encoder, seed)
    probabilities = of_models[0] if len(of_models) == 1 else of_models.mean(axis=0)
    codes = np.unique(np.array(labels, dtype=object), return_inverse=True)[1]
    wrong = wrong_shares(codes, of_models, seed)
    ranked = [one for one in doubts(codes, probabilities, classes) if one.likely >= CLEARLY * one.score]
    for row in np.setdiff1d(np.flatnonzero(wrong > most), [one.row for one in ranked]).tolist():
        others = np.where(np.arange(len(classes)) == codes[row], 0, probabilities[row])
        ranked.append(Doubt(row, 0.0, classes[int(others.argmax())], float(others.max())))
    found = [replace(one, score=1 - float(wrong[one.row])) for one in ranked]
    return sorted(found, key=lambda one: one.score), float((probabilities.argmax(axis=1) == codes).mean())


def find_random(texts: Texts, labels: Texts, cases: Cases, encoder: Encoder | None, seed: int) -> list[int]:
    """Return the rows in whose neighbourhood labels agree no more than random ones, as on topics of another task.

    The neighbourhoods of all its neighbours count, so that a single odd question stays, and so do rare labels, whose
    neighbours have labels in common. Where most neighbourhoods are hardly above chance, no row is found. A question
    stays if `cases` have such questions: its label may follow from earlier turns or from the language.
    """
    if not (cases and _NEAR < len(texts) <= MOST_LEARNED):
        return []
    n, vectors = len(texts), vectors_of([*texts, *map(question_of, cases)], encoder)
    matrix, starts = vectors[:n], range(0, n, _BLOCK)
    nearest = np.concatenate([_nearest(matrix[first : first + _BLOCK], matrix, _NEAR)[1] for first in starts])
    drawn = np.random.default_rng(seed).integers(0, n, nearest.shape)
    codes = np.unique(np.array(labels, dtype=object), return_inverse=True)[1]
    # Equal pairs of each neighbourhood, and of rows drawn at random.
    own, chance = ((some[:, :, None] == some[:, None, :]).sum(axis=(1, 2)) - _NEAR for some in codes[[nearest, drawn]])
    limit = max(1, np.quantile(chance, _RANDOM))
    is_random = (own[nearest].mean(axis=1) <= limit) & (np.median(own) >= _ABOVE_RANDOM * limit)
    near_cases = np.bincount(_nearest(vectors[n:], matrix, _NEAR)[1].ravel(), minlength=n)
    is_random &= near_cases[nearest].mean(axis=1) < near_cases.mean() * _FEW_CASES
    return np.flatnonzero(is_random).tolist()


def shared_answers(answers: Texts) -> set[str]:
    """Return the answers that several rows share, if half of the rows have one."""
    digests = bytearray()
    for answer in answers:
        digests += xxh3_128_digest(answer.encode("utf-8", "surrogatepass"))
    same = first_equal(np.frombuffer(digests, np.uint64).reshape(-1, 2))
    counts = np.bincount(np.where(same < 0, np.arange(len(same)), same))
    most = np.argsort(-counts, kind="stable")[:MOST_ANSWERS]
    texts = {answers[n]: counts[n] for n in most[counts[most] >= MIN_OF_A_LABEL].tolist()}
    shared = {answer: n for answer, n in texts.items() if answer and answer[0] not in "{["}
    return set(shared) if 2 * sum(shared.values()) >= len(answers) else set()


def filled_keys(answers: Texts) -> list[str | None]:
    """Return the keys to which each JSON object gives a value, as a name of its form; [] unless most answers are such.

    >>> filled_keys(['{"time": "8 pm", "people": 2}', '{"time": null, "people": 4}', "none"])
    ['people, time', 'people', None]
    """
    empty: Sequence[Any] = (None, "", [], {})
    names = [
        sys.intern(", ".join(sorted(key for key, value in one.items() if value not in empty)))
        if isinstance(one, dict)
        else None
        for one in map(parse_object, answers)
    ]
    return names if names.count(None) < len(names) / 2 else []


class _Answers(StoredSequence[str]):
    """The answers of rows, read again on access."""

    def __init__(self, rows: Examples) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def item(self, number: int) -> str:
        return self._rows[number].answer.strip()


def _labels_of(answers: Texts, task_labels: Texts) -> tuple[dict[int, str], str]:
    """Return row to label, if frequent, and the message; without labels, shared answers or keys with a value."""
    labels: Sequence[str | None] = answers
    message = messages.MORE_LIKE if task_labels else "rows with similar questions have another answer"
    if not (wanted := set(task_labels) or shared_answers(answers)):
        labels = filled_keys(answers)
        wanted = {name for name, _ in Counter(name for name in labels if name is not None).most_common(MOST_ANSWERS)}
        message = "keys with a value in rows with similar questions: {label}"
    found = {number: sys.intern(label) for number, label in enumerate(labels) if label is not None and label in wanted}
    counts = Counter(found.values())
    return {number: label for number, label in found.items() if counts[label] >= MIN_OF_A_LABEL}, message


def _disagreement(rows: Examples, labelled: Sequence[int], context: CheckContext) -> RowFinding | None:
    """Return a finding if labels of the rows agree clearly less with a model than those of the cases do.

    The model learns from the cases, and then from the rows: either shows labels that the other contradicts.
    """
    known = {*context.labels}.intersection(case.answer for case in as_rows(context.cases))
    drawn = np.random.default_rng(context.seed).permutation(labelled)[:_MOST_COMPARED]
    cases, judged = ([(row.question, answer) for row in some if (answer := row.answer.strip()) in known]
                     for some in (as_rows(context.cases), (rows[number] for number in drawn.tolist())))  # fmt: skip
    if (
        min(len(cases), len(judged)) < _MIN_COMPARED
        or min(len({label for _, label in some}) for some in (cases, judged)) < 2
    ):
        return None
    for of_cases, of_rows in (
        _agreements(cases, judged, context.seed),
        reversed(_agreements(judged, cases, context.seed)),
    ):
        if of_cases[0] - of_rows[0] - _SURE * np.hypot(of_cases[1], of_rows[1]) > MANY * of_cases[0]:
            return RowFinding(
                code="labels_disagree",
                message=messages.say("disagree", rows=of_rows[0], cases=of_cases[0]),
                score=of_cases[0] - of_rows[0],
            )
    return None


def _agreements(own: Labelled, other: Labelled, seed: int) -> list[tuple[float, float]]:
    """Return the agreement of a model of `own` rows with held-out rows of these and with others, and its errors."""
    (questions, given), (others, expected) = (list(zip(*some, strict=True)) for some in (own, other))
    classes, of_models = out_of_fold(questions, given, None, seed)
    numbers = {label: number for number, label in enumerate(classes)}
    features, codes = TextFeatures(), np.array([numbers[label] for label in given])
    predicted = _fit(features.fit_transform(questions), codes, seed)(features.transform(others)).argmax(axis=1)
    targets = np.array([numbers.get(label, -1) for label in expected])
    return [_kappa(of_models[0].argmax(axis=1), codes), _kappa(predicted[targets >= 0], targets[targets >= 0])]


def _kappa(predicted: Ints, given: Ints) -> tuple[float, float]:
    """Return the agreement of two labellings beyond chance (Cohen's kappa), and its standard error."""
    size = 1 + max(predicted.max(), given.max())
    same = float((predicted == given).mean())
    chance = float(np.bincount(predicted, minlength=size) @ np.bincount(given, minlength=size)) / len(given) ** 2
    rest = max(1 - chance, _LEAST)
    return (same - chance) / rest, np.sqrt(same * (1 - same) / len(given)) / rest


@data_check("label_errors", whole=True, version=12,
            asks={"label_error": MANY, "random_label": MANY, "labels_disagree": 0.0})  # fmt: skip
@frozen
class LabelErrors:
    """Rows of a task with few labels whose label disagrees with what all other rows suggest.

    For each row, models trained on the other rows predict its label. How likely a label is wrong is measured on labels
    drawn at random. Rows for which that is above `most` leave; they are reported where the label may not follow from
    the text (over a quarter of their label's rows, or fewer than half of all rows predicted as given). Above 10% of all
    rows, the build asks. Rows with another label that is at least 20 times as probable are reported, the likeliest
    errors first, with the predicted label: a person decides. Labels that people confuse mostly stay. Without labels,
    answers that several rows share are taken for them, and of JSON objects the keys that have a value.

    Rows of another topic leave as well: those whose labels agree no more than random labels among similar questions.

    If rows and cases agree clearly less than cases do with one another, too many labels are wrong to find single rows:
    then the build asks as well.

    Bad: "Where is my card?" with the label `exchange_rate`; "A table for two" with the answer `{}`, where other rows
    name the number of people.
    """

    most: float = LIKELY_WRONG

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        labels, message = _labels_of(_Answers(rows), context.labels)
        numbers, questions = [*labels], [rows[number].question for number in labels]
        random = {
            numbers[n] for n in find_random(questions, [*labels.values()], context.cases, context.encoder, context.seed)
        }
        yield from (RowFinding(row=number, code="random_label") for number in sorted(random))
        labels = {number: label for number, label in labels.items() if number not in random}
        found, predicted = find_doubts(
            [rows[number].question for number in labels],
            list(labels.values()),
            context.encoder,
            context.seed,
            self.most,
        )
        judged, counts = list(labels), Counter(labels.values())
        wrong = Counter(labels[judged[doubt.row]] for doubt in found if 1 - doubt.score > self.most)
        many = are_many(wrong.total(), len(rows))
        if finding := _disagreement(rows, judged, context):
            yield finding
        if not (many or context.labels or predicted >= PREDICTED):
            return
        for doubt in found:
            label = labels[judged[doubt.row]]
            usual = predicted >= PREDICTED and wrong[label] <= MOST_OF_A_LABEL * counts[label]
            yield RowFinding(
                row=judged[doubt.row],
                code="label_error",
                message=message.format(label=doubt.suggested or "none"),
                score=doubt.score,
                action="drop" if 1 - doubt.score > self.most and (many or usual) else "report",
            )
