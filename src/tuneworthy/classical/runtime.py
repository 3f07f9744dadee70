"""Classical baselines as they answer, on NumPy and the standard library only: `export` copies this module.

A baseline is made from its `state`, the arguments of its class, which the modules that fit baselines give.
"""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneworthy.classical.encoder import LabelChooser
from tuneworthy.classical.spans import CopyRules, Span, Text
from tuneworthy.classical.tagger import WordTagger
from tuneworthy.retrieval.bert import Floats, SentenceEncoder, softmax

# The arguments of a class: as JSON has it, with arrays in it.
State = Mapping[str, Any]
# Columns of the features that a text has, and their values.
Row = tuple[NDArray[np.int64], NDArray[np.float32]]

CHAR_NGRAMS = (2, 5)
TOKEN_PATTERN = r"(?u)\w+|[^\w\s]"
TIE = 1e-5  # similarities closer than this are equal (float32)
ANSWER = "answer"  # the only field of a short answer
COPIED = "copied"  # no JSON text reads so: the label of rows whose value is copied (or empty)
ABSENT = "absent"  # no JSON text reads so: the mark of a field that a row leaves out
CASES: dict[str, Callable[[str], str]] = {
    "as_written": lambda text: text,
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
}
LEAST = 1e-12  # of a probability, so that it has a logarithm
MAX_NUMBER = 2.0**53  # larger numbers (and nan) lose digits on the way through JSON


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


def clip(text: str, max_chars: int) -> str:
    """Return head and tail of a text that is too long."""
    half = max_chars // 2
    return text if len(text) <= max_chars else f"{text[:half]} {text[-half:]}"


def word_ngrams(text: str) -> list[str]:
    words = re.findall(TOKEN_PATTERN, text)
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]


def character_ngrams(word: str) -> list[str]:
    """Return the n-grams of a word with a blank at each end."""
    ngrams, padded = [], f" {word} "
    for n in range(CHAR_NGRAMS[0], CHAR_NGRAMS[1] + 1):
        ngrams += [padded[i : i + n] for i in range(max(1, len(padded) - n + 1))]
        if len(padded) <= n:  # a short word counts once
            break
    return ngrams


class NgramColumns:
    """Finds the columns of a text's n-grams; words are cut into n-grams once, since texts share their words.

    Args:
        characters: Whether n-grams are of characters inside words, else of words.
        column: Gives the column of an n-gram; None if it has no column.
    """

    def __init__(self, characters: bool, column: Callable[[str], int | None]) -> None:
        self._characters, self._column = characters, column
        self._cached = lru_cache(2**16)(self._of)

    def find(self, text: str) -> NDArray[np.int64]:
        """Return a column for each occurrence of an n-gram in `text`."""
        parts = text.split() if self._characters else [text]
        return np.concatenate([np.empty(0, np.int64), *map(self._cached, parts)])

    def _of(self, part: str) -> NDArray[np.int64]:
        found = map(self._column, character_ngrams(part) if self._characters else word_ngrams(part))
        return np.array([column for column in found if column is not None], np.int64)


class TfidfRows:
    """TF-IDF features of texts: words, pairs of words and character n-grams.

    Values of a block have length 1 or 0, so that the dot product of two texts is the sum of two cosines.

    Args:
        max_chars: Longer texts are clipped.
        blocks: Whether n-grams are of characters, the n-grams, and their inverse document frequencies.
    """

    def __init__(self, max_chars: int, blocks: Sequence[tuple[bool, Sequence[str], NDArray[np.float32]]]) -> None:
        self._max_chars = max_chars
        self._blocks = []
        self.size = 0
        for characters, terms, idf in blocks:
            columns = {term: column for column, term in enumerate(terms)}
            self._blocks.append((NgramColumns(characters, columns.get), idf, self.size))
            self.size += len(terms)

    def row(self, text: str) -> Row:
        text = clip(text, self._max_chars).lower()
        columns, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for ngrams, idf, first in self._blocks:
            own, counts = np.unique(ngrams.find(text), return_counts=True)
            weights = (np.log(counts.astype(np.float32)) + 1) * idf[own]
            columns.append(own + first)
            values.append(weights / (np.linalg.norm(weights) or 1))
        return np.concatenate(columns), np.concatenate(values)


class LinearLabels:
    """A linear model over features, with label probabilities.

    Args:
        labels: All labels.
        columns: Places of the learned labels.
        temperature: Factor on the margins.
        weights: ``(n_features, n_learned)``; None if there is one label.
        intercept: ``(n_learned,)``.
    """

    def __init__(
        self, labels: list[str], columns: list[int], temperature: float, weights: Any = None, intercept: Any = None
    ) -> None:
        self.labels, self._columns, self._temperature = labels, columns, temperature
        self._weights, self._intercept = weights, intercept

    def probabilities(self, row: Row) -> Floats:
        """Return label probabilities, ``(n_labels,)``."""
        if self._weights is None:
            return np.ones(1)
        columns, values = row
        return self._shares(values.astype(np.float64) @ self._weights[columns])

    def of_vectors(self, vectors: NDArray[np.float32]) -> Floats:
        """Return label probabilities, ``(n_rows, n_labels)``, of dense features, ``(n_rows, n_features)``."""
        return self._shares(vectors.astype(np.float64) @ self._weights)

    def _shares(self, raw: Floats) -> Floats:
        return softmax(spread(raw + self._intercept, self._columns, len(self.labels)) * self._temperature)

    def best(self, row: Row) -> str:
        return self.labels[int(self.probabilities(row).argmax())]


def spread(raw: Floats, columns: Sequence[int], n_labels: int) -> Floats:
    """Return the margins of all labels, ``(..., n_labels)``.

    A label that the model was not trained on gets the row's lowest margin, so that it never wins.

    Args:
        raw: Margins of the learned labels, ``(..., n_learned)``.
        columns: Their places among all labels.
        n_labels: Number of all labels.
    """
    margins = np.repeat(raw.min(axis=-1, keepdims=True), n_labels, axis=-1)
    margins[..., columns] = raw
    return margins


def most_frequent(answers: Iterable[str]) -> str:
    """Return the most frequent answer; of equally frequent answers the first in alphabetical order.

    >>> most_frequent(["b", "a", "b", "a"])
    'a'
    """
    counts = Counter(answers)
    return min(counts, key=lambda answer: (-counts[answer], answer))


@dataclass(frozen=True)
class Field:
    """One field of a JSON answer as the examples show it.

    Attributes:
        path: Its keys.
        copied: Whether its values are words of the question.
        many: Whether it is a list.
        number: Whether its values are numbers.
        case: How a copied value is written, a key of `CASES`.
        empty: JSON text of the value if nothing is found, or ABSENT.
    """

    path: tuple[str, ...]
    copied: bool
    many: bool
    number: bool
    case: str
    empty: str

    def render(self, texts: Sequence[str]) -> Any:
        """Return the value of the copied `texts`, or None if they are unfit or empty."""
        values = [v for v in map(self._scalar, texts) if v is not None]
        return values if values and self.many else next(iter(values), None)

    def copy(self, text: Text, found: Sequence[tuple[float, Span]]) -> Any:
        """Return the value from the spans found: all of a list, else the surest; None if there is no span."""
        if found and not self.many:
            found = [max(found, key=lambda f: (f[0], -f[1][0]))]
        return self.render([text.slice(span) for _, span in found])

    def _scalar(self, text: str) -> Any:
        if not self.number:
            return CASES[self.case](text)
        try:
            number = float(text.replace(",", ""))
        except ValueError:
            return None
        exact = abs(number) <= MAX_NUMBER  # nan is not
        return None if not exact else int(number) if number.is_integer() else number


def write(value: Any) -> str:
    """Return the JSON text of `value`; equal values give equal texts."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def unflatten(leaves: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """Return the nested object; where a path is both a leaf and a parent, the parent stays."""
    tree: dict[str, Any] = {}
    for path, value in sorted(leaves.items(), key=lambda item: len(item[0])):
        node = tree
        for key in path[:-1]:
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node = node[key]
        node[path[-1]] = value
    return tree


class Answerer:
    """Answers a question at a time, in `answer`.

    Attributes:
        identity: See `ClassicalModel`.
        state: The arguments that make this model.
        is_json: Whether answers are JSON.
    """

    identity: Mapping[str, Any]
    state: State
    is_json = False

    def predict(self, questions: Sequence[str]) -> list[str]:
        return [self.answer(question) for question in questions]

    def answer(self, question: str) -> str:
        raise NotImplementedError


class MajorityLabel(LabelChooser):
    """The most frequent answer, with the shares of all answers among the examples."""

    def __init__(self, labels: Sequence[str], shares: Sequence[float]) -> None:
        self.labels, self._shares = labels, np.array(shares)

    def _row(self, question: str) -> Floats:
        return self._shares


class ConstantObject(Answerer):
    """The same object for every question."""

    is_json = True

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def answer(self, question: str) -> str:
        return self._answer


class LabelPredictor(LabelChooser):
    """The most probable label by a linear model."""

    def __init__(self, features: State, labels: State) -> None:
        self._features, self._model = TfidfRows(**features), LinearLabels(**labels)
        self.labels = self._model.labels

    def _row(self, question: str) -> Floats:
        return self._model.probabilities(self._features.row(question))


class MixedPredictor(LabelChooser):
    """The most probable label by the words and by the meaning of the question.

    Args:
        linear: Of `LabelPredictor`.
        head: Of `LinearLabels`, over the encoder's vectors.
        encoder: Of `SentenceEncoder`, or one.
        powers: Of both models' probabilities in the product.
    """

    def __init__(self, linear: State, head: State, encoder: Any, powers: Sequence[float]) -> None:
        self._words, self._head, self._powers = LabelPredictor(**linear), LinearLabels(**head), np.array(powers)
        self._encoder = encoder if isinstance(encoder, SentenceEncoder) else SentenceEncoder(**encoder)
        self.labels = self._words.labels

    def probabilities(self, questions: Sequence[str]) -> Floats:
        if not questions:
            return np.zeros((0, len(self.labels)))
        of_meaning = self._head.of_vectors(self._encoder.encode(questions))
        return mixed(np.stack([self._words.probabilities(questions), of_meaning]), self._powers)


def mixed(shares: Floats, powers: Floats) -> Floats:
    """Return the normalised product, ``(n_rows, n_labels)``, of powers, ``(n_models,)``, of probabilities.

    Args:
        shares: ``(n_models, n_rows, n_labels)``.
        powers: ``(n_models,)``.
    """
    return softmax(np.tensordot(powers, np.log(shares + LEAST), 1))


class NearestAnswer(Answerer):
    """The answer of the example whose question is most like the new one (cosine of TF-IDF n-grams).

    Args:
        features: Of `TfidfRows`.
        starts: Where the entries begin, per feature, ``(n_features + 1,)``.
        rows: Example per entry.
        values: Value per entry.
        answers: Of the examples.
        is_json: Whether answers are JSON.
    """

    def __init__(
        self,
        features: State,
        starts: np.ndarray,
        rows: np.ndarray,
        values: np.ndarray,
        answers: Sequence[str],
        *,
        is_json: bool = False,
    ) -> None:
        self._features, self._answers, self.is_json = TfidfRows(**features), answers, is_json
        self._starts, self._rows, self._values = starts, rows.astype(np.int64), values

    def answer(self, question: str) -> str:
        columns, values = self._features.row(question)
        sizes = self._starts[columns + 1] - self._starts[columns]
        places = np.repeat(self._starts[columns] - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        products = self._values[places] * np.repeat(values, sizes)
        similarity = np.bincount(self._rows[places], products, len(self._answers))
        return most_frequent(self._answers[i] for i in np.flatnonzero(similarity >= similarity.max() - TIE).tolist())


class CopiedAnswer(Answerer):
    """The words in typical positions of answers (by neighbours, shape and length), or the nearest example's answer."""

    def __init__(self, nearest: State, field: State, rules: State) -> None:
        self._nearest, self._field, self._rules = NearestAnswer(**nearest), Field(**field), CopyRules(**rules)

    def answer(self, question: str) -> str:
        text = Text(question)
        span = self._rules.best(text)
        return str(self._field.render([text.slice(span)])) if span else self._nearest.answer(question)


class FieldPredictor(Answerer):
    """An object: words of the question that fields copy, and values that classifiers give.

    Args:
        fields: Of `Field`, in the order of the answer.
        tagger: Of `WordTagger`.
        features: Of `TfidfRows`.
        classifiers: Path of a field, and its `LinearLabels`.
    """

    is_json = True

    def __init__(
        self,
        fields: Sequence[State],
        tagger: State,
        features: State,
        classifiers: Sequence[tuple[Sequence[str], State]],
    ) -> None:
        self._fields = [Field(**{**field, "path": tuple(field["path"])}) for field in fields]
        self._tagger, self._features = WordTagger(**tagger), TfidfRows(**features)
        self._classifiers = {tuple(path): LinearLabels(**classifier) for path, classifier in classifiers}

    def answer(self, question: str) -> str:
        """Return the object; a field without a value is as the examples show it (left out, null, "" ...)."""
        text, row = Text(question), self._features.row(question)
        copies = dict(zip((f.path for f in self._fields if f.copied), self._tagger.spans(text), strict=True))
        leaves: dict[tuple[str, ...], Any] = {}
        for field in self._fields:
            classifier = self._classifiers.get(field.path)
            literal = classifier.best(row) if classifier else COPIED
            value = json.loads(literal) if literal not in (COPIED, ABSENT) else None
            if literal == COPIED:
                value = field.copy(text, copies.get(field.path, []))
            if value is not None:
                leaves[field.path] = value
            elif field.empty != ABSENT:
                leaves[field.path] = json.loads(field.empty)
        return write(unflatten(leaves))


class TaggedAnswer(Answerer):
    """The words of the question that are tagged, or the nearest example's answer."""

    def __init__(self, nearest: State, tagger: State | None) -> None:
        self._nearest, self._tagger = NearestAnswer(**nearest), FieldPredictor(**tagger) if tagger else None

    def answer(self, question: str) -> str:
        words: Any = json.loads(self._tagger.answer(question))[ANSWER] if self._tagger else ""
        return words if words and words in question else self._nearest.answer(question)
