"""Classical baselines that answer with a JSON object: the most frequent, the nearest with copy rules, a field tagger.

Every answer is the text of a JSON object with fields that occur in training, and no others.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar

import orjson

from tuneworthy.classical.base import CLASSICAL_MODELS, QuestionAnswer, TaskKind, make_identity
from tuneworthy.classical.features import TextFeatures
from tuneworthy.classical.fields import (
    ABSENT,
    Field,
    Path,
    align,
    flatten,
    is_filled,
    learn_fields,
    read_rows,
    unflatten,
    write,
)
from tuneworthy.classical.labels import NearestIndex, most_frequent
from tuneworthy.classical.linear import LinearSvmClassifier
from tuneworthy.classical.spans import CopyRules, Span, Text
from tuneworthy.classical.tagger import DEFAULT_C, MAX_TRAIN_TOKENS, Tagger

COPIED = "copied"  # no JSON text reads so: the label of rows whose value is copied (or empty)
MAX_LITERALS = 200  # values that a field classifier tells apart
MIN_LITERAL = 2  # rows that a value must occur in to be learnt as itself


@CLASSICAL_MODELS.register("constant")
class ConstantObject:
    """Answers with the most frequent object."""

    kinds: ClassVar[tuple[TaskKind, ...]] = ("json",)

    def __init__(self, rows: Sequence[QuestionAnswer], seed: int) -> None:
        texts, objects = read_rows(rows)
        self.identity = make_identity("constant", rows, seed, unreadable_rows=len(rows) - len(texts))
        self._answer = most_frequent(write(value) for value in objects)

    def state(self) -> dict[str, Any]:
        """Return what `runtime.FixedAnswer` needs."""
        return {"answer": orjson.loads(self._answer)}

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return the same object for each question."""
        return [self._answer] * len(questions)


@CLASSICAL_MODELS.register("nearest_copy")
class NearestNeighbourWithCopies:
    """Answers with the nearest example's object; values copied from its question are copied from the new one.

    The words to copy are found by `CopyRules`, one set of rules a field.
    """

    kinds: ClassVar[tuple[TaskKind, ...]] = ("json",)

    def __init__(self, rows: Sequence[QuestionAnswer], seed: int) -> None:
        texts, objects = read_rows(rows)
        leaves = [flatten(value) for value in objects]
        self._index = NearestIndex([text.raw for text in texts])
        self._fields = {f.path: f for f in learn_fields(texts, leaves)}
        self._rules: dict[Path, CopyRules] = {}
        self._copied: list[list[Path]] = [[] for _ in leaves]
        for path, field in self._fields.items():
            if field.copied:
                spans = align(field, texts, leaves)
                pairs = [(t, s[0]) for t, s in zip(texts, spans, strict=True) if s]
                self._rules[path] = CopyRules().fit([t for t, _ in pairs], [s for _, s in pairs])
                for i, row in enumerate(leaves):
                    if spans[i] and is_filled(row.get(path)):
                        self._copied[i].append(path)
        self._rows = [write([[list(p), v] for p, v in row.items()]) for row in leaves]
        self.identity = make_identity(
            "nearest_copy", rows, seed, unreadable_rows=len(rows) - len(objects), **self._index.features.parameters
        )

    def state(self) -> dict[str, Any]:
        """Return what `runtime.NearestObject` needs."""
        rules = [[path, rules.state()] for path, rules in self._rules.items()]
        fields = [field.state() for field in self._fields.values()]
        rows = {"rows": self._rows, "copied": self._copied}
        return {"index": self._index.state(), "fields": fields, "rules": rules, **rows}

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return the nearest example's object, with its copies made from the new question."""
        answers = []
        for near, question in zip(self._index.nearest(questions), questions, strict=True):
            row = usual_row(self._rows, near)
            leaves = adapt(self._rows[row], self._copied[row], self._fields, self._rules, Text(question))
            answers.append(write(unflatten(leaves)))
        return answers


@CLASSICAL_MODELS.register("field_tagger")
class FieldTagger:
    """Tags the words that fields copy; a classifier gives the values that are not copied.

    A field is *copied* if at least half of its values are words of the question (see `fields`). Rows whose
    copied values cannot be found are left out of the tagger, unless they are the greater part.
    """

    kinds: ClassVar[tuple[TaskKind, ...]] = ("json",)

    def __init__(self, rows: Sequence[QuestionAnswer], seed: int, name: str = "field_tagger") -> None:
        texts, objects = read_rows(rows)
        leaves = [flatten(value) for value in objects]
        self._fields = learn_fields(texts, leaves)
        self._copied = [f for f in self._fields if f.copied]
        aligned = [align(f, texts, leaves) for f in self._copied]
        kept = usable_rows(texts, aligned, seed)
        self._tagger = Tagger(len(self._copied)).fit(
            [texts[i] for i in kept], [[column[i] or [] for column in aligned] for i in kept]
        )
        self._features = TextFeatures()
        self._classifiers = self._fit_classifiers(texts, leaves, dict(zip(self._copied, aligned, strict=True)), seed)
        self.identity = make_identity(
            name,
            rows,
            seed,
            unreadable_rows=len(rows) - len(texts),
            tagged_rows=len(kept),
            copied_fields=[list(f.path) for f in self._copied],
            C=DEFAULT_C,
            **self._features.parameters,
        )

    def _fit_classifiers(
        self,
        texts: Sequence[Text],
        leaves: Sequence[Mapping[Path, Any]],
        aligned: Mapping[Field, list[list[Span] | None]],
        seed: int,
    ) -> dict[Path, LinearSvmClassifier]:
        questions = [text.raw for text in texts]
        targets = {f.path: literal_targets(f, leaves, aligned.get(f)) for f in self._fields}
        needed = {path: labels for path, labels in targets.items() if set(labels) - {COPIED, None}}
        if not needed:
            return {}
        matrix = self._features.fit_transform(questions)
        fitted = {}
        for path, labels in needed.items():
            known = [i for i, label in enumerate(labels) if label is not None]
            fitted[path] = LinearSvmClassifier(seed, c_grid=(1.0,)).fit(
                matrix[known], [str(labels[i]) for i in known], [questions[i] for i in known]
            )
        return fitted

    def predict(self, questions: Sequence[str]) -> list[str]:
        """Return an object for each question."""
        texts = [Text(q) for q in questions]
        found = self._tagger.spans(texts)
        literals: dict[Path, list[str]] = {}
        if self._classifiers and questions:
            matrix = self._features.transform(questions)
            literals = {path: classifier.predict(matrix) for path, classifier in self._classifiers.items()}
        answers = []
        for i, text in enumerate(texts):
            of_text = {path: values[i] for path, values in literals.items()}
            answers.append(write(unflatten(fill_in(self._fields, text, found[i], of_text))))
        return answers

    def state(self) -> dict[str, Any]:
        """Return what `runtime.FieldPredictor` needs."""
        classifiers = [[path, one.state()] for path, one in self._classifiers.items()]
        fields, tagger = [field.state() for field in self._fields], self._tagger.state()
        return {"fields": fields, "tagger": tagger, "features": self._features.state(), "classifiers": classifiers}


def usable_rows(texts: Sequence[Text], aligned: Sequence[list[list[Span] | None]], seed: int) -> list[int]:
    """Return the rows to tag: those with every copied value found, a sample of `MAX_TRAIN_TOKENS`."""
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


def fill_in(
    fields: Sequence[Field], text: Text, found: Sequence[Sequence[tuple[float, Span]]], literals: Mapping[Path, str]
) -> dict[Path, Any]:
    """Return the leaves of the answer to `text`.

    Args:
        fields: All fields.
        text: The question.
        found: The spans per copied field, in the order of `fields`.
        literals: Answers of the classifiers, by field.
    """
    copies = dict(zip((f.path for f in fields if f.copied), found, strict=True))
    leaves: dict[Path, Any] = {}
    for field in fields:
        literal = literals.get(field.path, COPIED)
        value = json.loads(literal) if literal not in (COPIED, ABSENT) else None
        if literal == COPIED:
            value = copy_value(field, text, copies.get(field.path, []))
        put(leaves, field, value)
    return leaves


def usual_row(rows: Sequence[str], near: Sequence[int]) -> int:
    """Return the first of the equally near rows with their most frequent object."""
    usual = most_frequent(rows[i] for i in near)
    return next(i for i in near if rows[i] == usual)


def adapt(
    row: str, copied: Sequence[Path], fields: Mapping[Path, Field], rules: Mapping[Path, CopyRules], question: Text
) -> dict[Path, Any]:
    """Return the leaves of a training row; values copied from its question are copied from the new question.

    Args:
        row: JSON text of its ``[path, value]`` pairs.
        copied: Paths of the values that it copied.
        fields: By path.
        rules: Of the copied fields.
        question: The new one.
    """
    adapted: dict[Path, Any] = {}
    for path, value in ((tuple(keys), value) for keys, value in json.loads(row)):
        if path not in copied:
            adapted[path] = value
            continue
        span = rules[path].best(question)
        put(adapted, fields[path], fields[path].render([question.slice(span)]) if span else None)
    return adapted


def copy_value(field: Field, text: Text, found: Sequence[tuple[float, Span]]) -> Any:
    """Return the value of a copied field: all spans of a list, else the surest; None if no span was found."""
    if not found:
        return None
    spans = [span for _, span in found] if field.many else [max(found, key=lambda f: (f[0], -f[1][0]))[1]]
    return field.render([text.slice(span) for span in spans])


def put(leaves: dict[Path, Any], field: Field, value: Any) -> None:
    """Set a field in place; where there is no value, as the examples show it (left out, null, "" ...)."""
    if value is not None:
        leaves[field.path] = value
    elif field.empty != ABSENT:
        leaves[field.path] = json.loads(field.empty)
