"""Runtime of exported classifiers: a class per classical baseline, on NumPy and the standard library only.

`bundle` copies a class, and its dependencies in this package, into one file. The keys of a baseline's `state` are the
arguments of its class, which gives its answers (JSON answers as objects, not as text).
"""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneworthy.classical.answers import ANSWER
from tuneworthy.classical.decision import DecisionModel, LabelChooser
from tuneworthy.classical.encoder import EncoderClassifier
from tuneworthy.classical.features import CHAR_NGRAMS, TOKEN_PATTERN, clip
from tuneworthy.classical.fields import Field, unflatten
from tuneworthy.classical.labels import TIE, most_frequent
from tuneworthy.classical.linear import softmax, spread
from tuneworthy.classical.objects import adapt, fill_in, usual_row
from tuneworthy.classical.spans import CopyRules, Span, Text
from tuneworthy.classical.tagger import IMPOSSIBLE, allowed_transitions, decode, text_features

# What `state` returns: as JSON has it, with arrays in it.
State = Mapping[str, Any]
# A state with the path that it belongs to.
StateAt = tuple[Sequence[Any], State]
# Columns of the features that a text has, and their values.
Row = tuple[NDArray[np.int64], NDArray[np.float32]]


def load_state(folder: pathlib.Path) -> Any:
    """Return the contents of `model.json` and `weights.npz`.

    Raises:
        ValueError: The arrays are not those that the JSON file was written with.
    """
    state = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    content = (folder / "weights.npz").read_bytes()
    if hashlib.sha256(content).hexdigest() != state["weights_sha256"]:
        raise ValueError("weights.npz does not belong to model.json: its SHA-256 differs.")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        for name in arrays.files:  # "model/labels/weights": keys and places in lists
            node: Any = state
            *way, last = (int(key) if key.isdigit() else key for key in name.split("/"))
            for key in way:
                node = node[key]
            node[last] = arrays[name]
    return state


def fill_template(pieces: Sequence[str], case: str | Mapping[str, Any]) -> str:
    """Return the question as the classifier was trained on it.

    Args:
        pieces: Text, variable, text, ...; empty if questions come filled in.
        case: The only variable, or all by name; with several variables a text is a question that is filled in.

    Raises:
        TypeError: Questions come filled in, and `case` has variables.
    """
    if not pieces and not isinstance(case, str):
        raise TypeError("pass the filled-in prompt as text: the classifier has no template")
    names = set(pieces[1::2])
    if isinstance(case, str):
        if len(names) != 1:
            return case
        case = dict.fromkeys(names, case)
    return "".join(str(case[piece]) if at % 2 else piece for at, piece in enumerate(pieces))


def word_ngrams(text: str) -> list[str]:
    """Return words and pairs of words."""
    words = re.findall(TOKEN_PATTERN, text)
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]


def character_ngrams(text: str) -> list[str]:
    """Return the n-grams inside words, a blank at each end of a word."""
    ngrams = []
    for word in text.split():
        padded = f" {word} "
        for n in range(CHAR_NGRAMS[0], CHAR_NGRAMS[1] + 1):
            ngrams += [padded[i : i + n] for i in range(max(1, len(padded) - n + 1))]
            if len(padded) <= n:  # a short word counts once
                break
    return ngrams


class TfidfRows:
    """TF-IDF features of texts, as `TextFeatures` gives them."""

    def __init__(self, max_chars: int, blocks: Sequence[tuple[bool, Sequence[str], NDArray[Any]]]) -> None:
        self._max_chars = max_chars
        self._blocks = []
        first = 0
        for characters, terms, idf in blocks:
            columns = {term: column for column, term in enumerate(terms, first)}
            self._blocks.append((character_ngrams if characters else word_ngrams, columns, idf, first))
            first += len(terms)

    def row(self, text: str) -> Row:
        """Return the features of `text`."""
        columns, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for ngrams, places, idf, first in self._blocks:
            counts = Counter(places[ngram] for ngram in ngrams(clip(text, self._max_chars).lower()) if ngram in places)
            own = np.fromiter(counts, np.int64, len(counts))
            weights = (np.log(np.fromiter(counts.values(), np.float32, len(counts))) + 1) * idf[own - first]
            columns.append(own)
            values.append(weights / (np.linalg.norm(weights) or 1))
        return np.concatenate(columns), np.concatenate(values)


class LinearLabels:
    """A linear model over features, with label probabilities."""

    def __init__(
        self, labels: list[str], columns: list[int], temperature: float, weights: Any = None, intercept: Any = None
    ) -> None:
        self.labels, self._columns, self._temperature = labels, columns, temperature
        self._weights, self._intercept = weights, intercept

    def probabilities(self, row: Row) -> NDArray[np.float64]:
        """Return label probabilities, ``(n_labels,)``."""
        if self._weights is None:
            return np.ones(1)
        columns, values = row
        raw = values.astype(np.float64) @ self._weights[columns] + self._intercept
        return softmax(spread(raw, self._columns, len(self.labels)) * self._temperature)

    def best(self, row: Row) -> str:
        """Return the most probable label."""
        return self.labels[int(self.probabilities(row).argmax())]


class NearestRows:
    """Finds the training rows whose question is most like a new one."""

    def __init__(
        self, features: State, n_rows: int, starts: NDArray[Any], rows: NDArray[Any], values: NDArray[Any]
    ) -> None:
        self._features, self._n_rows = TfidfRows(**features), n_rows
        self._starts, self._rows, self._values = starts, rows, values

    def nearest(self, text: str) -> list[int]:
        """Return the numbers of all rows that share the highest similarity."""
        similarity = np.zeros(self._n_rows, np.float32)
        for column, value in zip(*self._features.row(text), strict=True):
            place = slice(self._starts[column], self._starts[column + 1])
            similarity[self._rows[place]] += value * self._values[place]
        return np.flatnonzero(similarity >= similarity.max() - TIE).tolist()


class WordTagger:
    """Finds the spans that each copied field takes."""

    def __init__(
        self,
        *,
        n_fields: int,
        kinds: Any,
        names: list[str],
        tags: list[int],
        weights: Any = None,
        intercept: Any = None,
    ) -> None:
        self._n_fields, self._kinds, self._tags = n_fields, kinds, tags
        self._columns = {name: column for column, name in enumerate(names)}
        self._weights, self._intercept = weights, intercept
        self._transitions = allowed_transitions(1 + 2 * len(kinds))

    def spans(self, text: Text) -> list[list[tuple[float, Span]]]:
        """Return, for each field, the spans found with their mean log probability."""
        if self._weights is None or not text.tokens:
            return [[] for _ in range(self._n_fields)]
        rows = [[self._columns[name] for name in dict.fromkeys(row) if name in self._columns]
                for row in text_features(text)]  # fmt: skip
        raw = np.stack([self._weights[np.array(row, np.int64)].sum(axis=0, dtype=np.float64) for row in rows])
        raw += self._intercept
        raw -= raw.max(axis=1, keepdims=True)
        scores = np.full((len(rows), len(self._transitions)), IMPOSSIBLE)
        scores[:, self._tags] = raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))
        return decode(scores, self._transitions, self._kinds, self._n_fields)


def read_field(path: Sequence[Any], **more: Any) -> Field:
    """Return a field from its state."""
    return Field(path=tuple(path), **more)


def read_rules(contexts: Sequence[Any], lengths: Sequence[Any]) -> CopyRules:
    """Return copy rules from their state."""
    counts = [(tuple(context), hits, places) for context, hits, places in contexts]
    return CopyRules(
        _hits=Counter({context: hits for context, hits, _ in counts}),
        _places=Counter({context: places for context, _, places in counts}),
        _lengths=Counter(dict(map(tuple, lengths))),
    )


class FixedAnswer:
    """The same answer to every question: the majority class, or the most frequent object."""

    def __init__(self, answer: Any, probabilities: Mapping[str, float] | None = None) -> None:
        self._answer, self._shares = answer, probabilities or {}

    def predict(self, question: str) -> Any:
        """Return the answer."""
        return self._answer

    def probabilities(self, question: str) -> dict[str, float]:
        """Return label shares among the examples."""
        return dict(self._shares)


class LabelPredictor:
    """The most probable label."""

    def __init__(self, features: State, labels: State) -> None:
        self._features, self._labels = TfidfRows(**features), LinearLabels(**labels)

    def predict(self, question: str) -> str:
        """Return the label."""
        return self._labels.best(self._features.row(question))

    def probabilities(self, question: str) -> dict[str, float]:
        """Return label probabilities; they sum to 1."""
        shares = self._labels.probabilities(self._features.row(question)).tolist()
        return dict(zip(self._labels.labels, shares, strict=True))


class NearestAnswer:
    """The answer of the nearest example."""

    def __init__(self, index: State, answers: Sequence[str]) -> None:
        self._index, self._answers = NearestRows(**index), answers

    def predict(self, question: str) -> str:
        """Return the answer."""
        return most_frequent(self._answers[i] for i in self._index.nearest(question))


class CopiedAnswer:
    """The words in typical positions of answers, or the nearest example's answer."""

    def __init__(self, nearest: State, field: State, rules: State) -> None:
        self._nearest, self._field, self._rules = NearestAnswer(**nearest), read_field(**field), read_rules(**rules)

    def predict(self, question: str) -> str:
        """Return the answer."""
        text = Text(question)
        span = self._rules.best(text)
        return str(self._field.render([text.slice(span)])) if span else self._nearest.predict(question)


class FieldPredictor:
    """An object: words of the question that fields copy, and values that classifiers give."""

    def __init__(
        self,
        fields: Sequence[State],
        tagger: State,
        features: State,
        classifiers: Sequence[StateAt],
    ) -> None:
        self._fields = [read_field(**field) for field in fields]
        self._tagger, self._features = WordTagger(**tagger), TfidfRows(**features)
        self._classifiers = {tuple(path): LinearLabels(**classifier) for path, classifier in classifiers}

    def predict(self, question: str) -> dict[str, Any]:
        """Return the object."""
        text, row = Text(question), self._features.row(question)
        literals = {path: classifier.best(row) for path, classifier in self._classifiers.items()}
        return unflatten(fill_in(self._fields, text, self._tagger.spans(text), literals))


class TaggedAnswer:
    """The words of the question that are tagged, or the nearest example's answer."""

    def __init__(self, nearest: State, tagger: State | None) -> None:
        self._nearest, self._tagger = NearestAnswer(**nearest), FieldPredictor(**tagger) if tagger else None

    def predict(self, question: str) -> str:
        """Return the answer."""
        words = self._tagger.predict(question)[ANSWER] if self._tagger else ""
        return words if words and words in question else self._nearest.predict(question)


class NearestObject:
    """The object of the nearest example, with its copies made from the new question."""

    def __init__(
        self,
        index: State,
        fields: Sequence[State],
        rules: Sequence[StateAt],
        rows: Any,
        copied: Sequence[Any],
    ) -> None:
        self._index, self._rows = NearestRows(**index), rows
        self._copied = [list(map(tuple, paths)) for paths in copied]
        self._fields = {(made := read_field(**field)).path: made for field in fields}
        self._rules = {tuple(path): read_rules(**own) for path, own in rules}

    def predict(self, question: str) -> dict[str, Any]:
        """Return the object."""
        row = usual_row(self._rows, self._index.nearest(question))
        return unflatten(adapt(self._rows[row], self._copied[row], self._fields, self._rules, Text(question)))


class ChosenLabel:
    """The label that fits best, by a zero-shot decision model."""

    def __init__(self, **state: Any) -> None:
        self._model: LabelChooser = DecisionModel(**state)

    def predict(self, question: str) -> str:
        """Return the label."""
        return self._model.predict([question])[0]

    def probabilities(self, question: str) -> dict[str, float]:
        """Return label probabilities; they sum to 1."""
        return dict(zip(self._model.labels, self._model.probabilities([question])[0].tolist(), strict=True))


class EncodedLabel(ChosenLabel):
    """The most probable label, by a fine-tuned encoder."""

    def __init__(self, **state: Any) -> None:
        self._model = EncoderClassifier(**state)


# The class that answers as a baseline does, by the baseline's name.
PREDICTORS: dict[str, type] = {
    "majority": FixedAnswer,
    "constant": FixedAnswer,
    "linear": LabelPredictor,
    "nearest": NearestAnswer,
    "copy_rules": CopiedAnswer,
    "answer_tagger": TaggedAnswer,
    "field_tagger": FieldPredictor,
    "nearest_copy": NearestObject,
    "decision": ChosenLabel,
    "encoder": EncodedLabel,
}
