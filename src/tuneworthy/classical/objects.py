"""Classical baselines that answer with a JSON object: the most frequent, the nearest example's, a field tagger.

Every answer is the text of a JSON object with fields that occur in training, and no others.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np

from tuneworthy.arrays import Floats32
from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer, fitted
from tuneworthy.classical.features import TextFeatures
from tuneworthy.classical.fields import Path, align, flatten, learn_fields, read_rows
from tuneworthy.classical.linear import LinearSvmClassifier
from tuneworthy.classical.runtime import (
    ABSENT,
    COPIED,
    ConstantObject,
    Field,
    FieldPredictor,
    NearestAnswer,
    most_frequent,
    write,
)
from tuneworthy.classical.spans import Span, Text
from tuneworthy.classical.tagger import OUTSIDE, text_features
from tuneworthy.providers.models import pinned
from tuneworthy.retrieval.bert import SentenceEncoder
from tuneworthy.retrieval.encoder import SPEC, load_encoder
from tuneworthy.types import JsonObject, Texts, grouped

MAX_LITERALS = 200  # values that a field classifier tells apart
MIN_LITERAL = 2  # rows that a value must occur in to be learnt as itself
MAX_TRAIN_TOKENS = 60_000
DEFAULT_C = 3.0


@CLASSICAL_MODELS.register("constant")
def fit_constant(rows: Sequence[QuestionAnswer], seed: int) -> ConstantObject:
    texts, objects = read_rows(rows)
    answer = most_frequent(map(write, objects))
    return fitted(ConstantObject, {"answer": answer}, "constant", rows, seed, unreadable_rows=len(rows) - len(texts))


@CLASSICAL_MODELS.register("nearest_object")
def fit_nearest(rows: Sequence[QuestionAnswer], seed: int) -> NearestAnswer:
    texts, objects = read_rows(rows)
    state, parameters = nearest_state([text.raw for text in texts], list(map(write, objects)))
    parameters["unreadable_rows"] = len(rows) - len(texts)
    return fitted(NearestAnswer, {**state, "is_json": True}, "nearest_object", rows, seed, **parameters)


def nearest_state(questions: Texts, answers: Texts) -> tuple[JsonObject, JsonObject]:
    features = TextFeatures()
    matrix = features.fit_transform(questions).tocsc()
    entries = {"starts": matrix.indptr, "rows": matrix.indices, "values": matrix.data}
    return {"features": features.state, **entries, "answers": answers}, features.parameters


@CLASSICAL_MODELS.register("embedding_tagger")
def fit_embedded(rows: Sequence[QuestionAnswer], seed: int) -> FieldPredictor:
    """Learn as `fit_fields` does, with a sentence encoder's vectors of the words in addition."""
    return _fit_fields(rows, seed, load_encoder())


@CLASSICAL_MODELS.register("field_tagger")
def fit_fields(rows: Sequence[QuestionAnswer], seed: int) -> FieldPredictor:
    return _fit_fields(rows, seed, None)


def _fit_fields(rows: Sequence[QuestionAnswer], seed: int, encoder: SentenceEncoder | None) -> FieldPredictor:
    """Learn to tag the words that fields copy, and classifiers of the values that are not copied.

    A field is *copied* if at least half of its values are words of the question (see `fields`). Rows whose
    copied values cannot be found are left out of the tagger, unless they are the greater part.
    """
    texts, objects = read_rows(rows)
    leaves = [flatten(value) for value in objects]
    fields, features = learn_fields(texts, leaves), TextFeatures()
    aligned = {f.path: align(f, texts, leaves) for f in fields if f.copied}
    kept = usable_rows(texts, list(aligned.values()), seed)
    spans = [[column[i] or [] for column in aligned.values()] for i in kept]
    targets = {f.path: literal_targets(f, leaves, aligned.get(f.path)) for f in fields}
    state = {
        "fields": [asdict(field) for field in fields],
        "tagger": fit_tagger([texts[i] for i in kept], spans, len(aligned), encoder),
        "classifiers": _fit_classifiers([text.raw for text in texts], targets, features, seed),
        "features": features.state,
    }
    parameters = {
        "unreadable_rows": len(rows) - len(texts),
        "tagged_rows": len(kept),
        "copied_fields": list(map(list, aligned)),
        "C": DEFAULT_C,
        **features.parameters,
        **({"encoder": pinned(SPEC).sha256} if encoder else {}),
    }
    return fitted(FieldPredictor, state, "embedding_tagger" if encoder else "field_tagger", rows, seed, **parameters)


def _fit_classifiers(
    questions: Texts, targets: Mapping[Path, Sequence[str | None]], features: TextFeatures, seed: int
) -> list[tuple[Path, JsonObject]]:
    needed = {path: labels for path, labels in targets.items() if set(labels) - {COPIED, None}}
    matrix: Any = features.fit_transform(questions) if needed else None
    states = []
    for path, labels in needed.items():
        known = [i for i, label in enumerate(labels) if label is not None]
        classifier = LinearSvmClassifier(seed, c_grid=(1.0,)).fit(
            matrix[known], [str(labels[i]) for i in known], [questions[i] for i in known]
        )
        states.append((path, classifier.state()))
    return states


def fit_tagger(
    texts: Sequence[Text],
    spans: Sequence[Sequence[Sequence[Span]]],
    n_fields: int,
    encoder: SentenceEncoder | None = None,
) -> JsonObject:
    """Return the arguments of `WordTagger`.

    Args:
        texts: The questions.
        spans: For each question, for each field, its spans.
        n_fields: Number of fields.
        encoder: Gives vectors of the words in addition.
    """
    from scipy.sparse import csr_matrix, hstack
    from sklearn.linear_model import LogisticRegression

    shared = [_fields_by_span(found) for found in spans]
    kinds = sorted({kind for row in shared for kind in row.values()})
    targets = [tag for text, row in zip(texts, shared, strict=True) for tag in _tags(len(text.tokens), row, kinds)]
    if len(set(targets)) < 2:
        return {"n_fields": n_fields, "kinds": [], "names": [], "tags": []}
    columns: dict[str, int] = {}
    indices, starts = [], [0]
    for row in (row for text in texts for row in text_features(text)):
        # in order: a set would number the features anew in each process
        indices += [columns.setdefault(name, len(columns)) for name in dict.fromkeys(row)]
        starts.append(len(indices))
    matrix = csr_matrix((np.ones(len(indices)), indices, starts), shape=(len(targets), len(columns)))
    if encoder is not None:
        vectors = np.concatenate([_vectors_of(encoder, tuple(text.tokens)) for text in texts])
        matrix = hstack([matrix, csr_matrix(vectors)], format="csr")
    model = LogisticRegression(C=DEFAULT_C, tol=1e-3, max_iter=150).fit(matrix, np.array(targets))
    weights, intercept = model.coef_, model.intercept_
    if len(weights) == 1:
        weights, intercept = np.concatenate([0 * weights, weights]), np.concatenate([0 * intercept, intercept])
    return {
        "n_fields": n_fields,
        "kinds": kinds,
        "names": list(columns),
        "tags": model.classes_.tolist(),
        "weights": weights.T[: len(columns)].astype(np.float32),
        "intercept": intercept,
        "encoder": encoder,
        "dense": weights.T[len(columns) :].astype(np.float32),
    }


@lru_cache(maxsize=4096)
def _vectors_of(encoder: SentenceEncoder, words: tuple[str, ...]) -> Floats32:
    return encoder.encode_words(words)


def _tags(n: int, fields_by_span: Mapping[Span, tuple[int, ...]], kinds: Sequence[tuple[int, ...]]) -> list[int]:
    """Return a tag a token: 0 outside, 2k+1 the first and 2k+2 a later word of a span of kind k."""
    tags = [OUTSIDE] * n
    for (start, end), kind in fields_by_span.items():
        if not any(tags[start:end]):  # else a longer span has these words
            number = kinds.index(kind)
            tags[start:end] = [2 * number + 1] + [2 * number + 2] * (end - start - 1)
    return tags


def _fields_by_span(spans: Sequence[Sequence[Span]]) -> dict[Span, tuple[int, ...]]:
    fields = grouped((span, number) for number, of_field in enumerate(spans) for span in dict.fromkeys(of_field))
    return {span: tuple(fields[span]) for span in sorted(fields, key=lambda s: (s[0] - s[1], s))}


def usable_rows(texts: Sequence[Text], aligned: Sequence[list[list[Span] | None]], seed: int) -> list[int]:
    whole = [i for i in range(len(texts)) if all(column[i] is not None for column in aligned)]
    rows = whole if len(whole) * 2 >= len(texts) else list(range(len(texts)))
    kept: list[int] = []
    n_tokens = 0
    for i in Random(seed).sample(rows, len(rows)):
        n_tokens += len(texts[i].tokens)
        if kept and n_tokens > MAX_TRAIN_TOKENS:
            break
        kept.append(i)
    return sorted(kept)


def literal_targets(
    field: Field, leaves: Sequence[Mapping[Path, Any]], spans: Sequence[list[Span] | None] | None
) -> list[str | None]:
    """Return the classifier's label a row: a JSON text, ABSENT, COPIED; None for values too rare to learn.

    Args:
        field: The field.
        leaves: The training objects.
        spans: The spans that a copied field takes a row, None for a field that is not copied.
    """
    texts = [write(row[field.path]) if field.path in row else ABSENT for row in leaves]
    if spans is not None:
        texts = [COPIED if s is not None else t for s, t in zip(spans, texts, strict=True)]
    counts = Counter(texts)
    ranked = sorted(counts, key=lambda t: (-counts[t], t))[:MAX_LITERALS]
    least = MIN_LITERAL if spans is not None else 1
    known = {t for t in ranked if counts[t] >= least or t in (COPIED, ABSENT)}
    return [t if t in known else None for t in texts]
