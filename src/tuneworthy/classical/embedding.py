"""Labels by the meaning of a question: a frozen sentence encoder, and the linear model of words as far as it helps.

A logistic regression learns from the encoder's vectors. Its probabilities are multiplied with those of `linear`, each
to a power. Both powers are chosen by log loss out of fold, so that the model is `linear` where meaning says nothing,
and the encoder's where words say nothing.
"""

from collections.abc import Sequence

import numpy as np

from tuneworthy.arrays import Floats, Floats32, Ints
from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer, fitted
from tuneworthy.classical.features import fit_quietly
from tuneworthy.classical.linear import (
    MAX_CV_WORK,
    MAX_FIT_WORK,
    MIN_CV_ROWS,
    N_FOLDS,
    assign_folds,
    fit_words,
    group_of,
    log_loss,
)
from tuneworthy.classical.runtime import LinearLabels, MixedPredictor, mixed
from tuneworthy.providers.models import pinned
from tuneworthy.retrieval.bert import MAX_PIECES, about_pieces, softmax, split_words
from tuneworthy.retrieval.encoder import AFFORDABLE, SPEC, encode_once, load_encoder
from tuneworthy.types import JsonObject, Texts

C = 10.0
# Powers of `linear` and of the encoder's model before any row is seen, and how far they are from that in a usual task.
USUAL, SPREAD = (0.3, 1.0), 0.3
# The same in a language that the encoder does not know: it cuts words into more pieces than this, on average (English
# sets: 1.0 to 1.23; French, German, Czech, Swahili: 1.55 to 2.3).
FOREIGN, PIECES_A_WORD = (1.0, 0.0), 1.4
SAMPLED = 300


@CLASSICAL_MODELS.register("embedding")
def fit_embedding(rows: Sequence[QuestionAnswer], seed: int) -> MixedPredictor:
    """Learn a head over the vectors of the questions, and how far to trust it."""
    features, matrix, words = fit_words(rows, seed)
    answers = np.array([r.answer.strip() for r in rows], dtype=object)
    places = _affordable([r.question for r in rows], len(words.labels), seed)
    vectors = encode_once([rows[i].question for i in places])
    codes = np.searchsorted(np.array(words.labels, dtype=object), answers[places])
    folds = assign_folds(answers[places].tolist(), [group_of(rows[i]) for i in places], seed)
    judged = np.flatnonzero(folds >= 0)
    judged = judged[: MAX_CV_WORK * len(rows) // max(1, matrix.nnz * len(words.labels))]
    powers = usual = usual_powers([rows[i].question for i in places[:SAMPLED]])
    if len(judged) >= MIN_CV_ROWS:
        known, folds = places[judged], folds[judged]
        of_words = words.out_of_fold(matrix[known], answers[known], folds, words.c) * words.temperature
        of_vectors = _out_of_fold(vectors[judged], codes[judged], folds, words.labels)
        powers = choose_powers(np.stack([softmax(of_words), of_vectors]), codes[judged], usual)
    state = {
        "linear": {"features": features.state, "labels": words.state()},
        "head": fit_head(vectors, codes, words.labels),
        "encoder": load_encoder(),
        "powers": powers.tolist(),
    }
    about = {"encoder": pinned(SPEC).sha256, "C": C, "powers": powers.round(3).tolist(), "encoded": len(places)}
    return fitted(MixedPredictor, state, "embedding", rows, seed, **features.parameters, **words.parameters, head=about)


def _affordable(texts: Texts, n_labels: int, seed: int) -> Ints:
    """Return the places of the rows that are encoded, in a random order: all, or a seeded draw."""
    order = np.random.default_rng(seed).permutation(len(texts))
    pieces = np.cumsum([about_pieces(texts[i]) for i in order])
    most = min(int(np.searchsorted(pieces, AFFORDABLE)), MAX_FIT_WORK // (load_encoder().bert.width * n_labels))
    return order[: max(most, MIN_CV_ROWS)]


def _out_of_fold(vectors: Floats32, codes: Ints, folds: Ints, labels: Texts) -> Floats:
    shares = np.full((len(codes), len(labels)), 1 / len(labels))
    for fold in range(N_FOLDS):
        held_out = folds == fold
        if held_out.any() and not held_out.all():
            head = LinearLabels(**fit_head(vectors[~held_out], codes[~held_out], labels))
            shares[held_out] = head.of_vectors(vectors[held_out])
    return shares


def fit_head(vectors: Floats32, codes: Ints, labels: Texts) -> JsonObject:
    """Fit a logistic regression; return the arguments of `LinearLabels`.

    Args:
        vectors: ``(n_rows, dim)``.
        codes: Places of the labels, ``(n_rows,)``.
        labels: All labels.
    """
    from sklearn.linear_model import LogisticRegression

    columns = np.unique(codes).tolist()
    weights, intercept = np.zeros((len(columns), vectors.shape[1])), np.zeros(len(columns))
    if len(columns) > 1:
        model = fit_quietly(LogisticRegression(C=C, max_iter=200, tol=1e-3), vectors, codes)
        weights, intercept = model.coef_, model.intercept_
        if len(columns) == 2:
            weights, intercept = (np.concatenate([-part, part]) / 2 for part in (weights, intercept))
    return {
        "labels": labels,
        "columns": columns,
        "temperature": 1.0,
        "weights": weights.T.astype(np.float32),
        "intercept": intercept,
    }


def usual_powers(texts: Texts) -> Floats:
    """Return the powers for texts in a language that the encoder knows, or does not."""
    words = [word for text in texts for word in split_words(text[:1000]) if word.isalpha()]
    pieces = load_encoder().pieces
    n_pieces = sum(len(pieces.ids(word, MAX_PIECES)) for word in words)
    return np.array(FOREIGN if n_pieces > PIECES_A_WORD * len(words) else USUAL)


def choose_powers(shares: Floats, codes: Ints, usual: Floats) -> Floats:
    """Return the powers, ``(n_models,)``, with the least log loss; few rows hardly change the usual powers.

    Args:
        shares: Probabilities out of fold, ``(n_models, n_rows, n_labels)``.
        codes: Right labels, ``(n_rows,)``.
        usual: Powers before any row is seen, ``(n_models,)``.
    """
    from scipy.optimize import minimize

    def loss(powers: Floats) -> float:
        unusual = float(((powers - usual) ** 2).sum()) / (2 * SPREAD**2)
        return len(codes) * log_loss(mixed(shares, powers), codes) + unusual

    return np.asarray(minimize(loss, usual, bounds=[(0.0, 20.0)] * len(shares), method="L-BFGS-B").x)
