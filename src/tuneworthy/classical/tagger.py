"""A word tagger: which words of a question a field copies. BIO tags, a log-linear model over windows.

Features of a word: itself, shape, prefixes and suffixes, neighbours two to each side, place, and the
other segments of the question (a rendered template keeps a variable a line, key or element, e.g. an earlier
question).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from tuneworthy.classical.spans import Span, Text, shape
from tuneworthy.retrieval.bert import Floats, SentenceEncoder
from tuneworthy.types import Texts, TokenLists

WINDOW = 3
MAX_OTHERS = 6
SHORT_SEGMENT = 80  # characters: a longer segment is content, not a setting
_BORDER = re.compile(r"\n|(?=\"[^\"\n]{1,40}\"\s*:)|(?=<[A-Za-z][\w-]*>)")
_KEY = re.compile(r"\W{0,3}([^\W\d][\w -]{0,30})[\">]?\s*[:>]")
_WORD = re.compile(r"\w+")
OUTSIDE = 0
IMPOSSIBLE = -30.0  # log probability of a tag that no training row has


def word_features(token: str) -> list[str]:
    low = token.casefold()
    return [
        f"w={low}",
        f"s={shape(token)}",
        f"p2={low[:2]}",
        f"p3={low[:3]}",
        f"e2={low[-2:]}",
        f"e3={low[-3:]}",
    ]


def text_features(text: Text) -> list[list[str]]:
    """Return the features per token of `text`; windows end at the border of the token's segment."""
    segments = split_segments(text.raw)
    settings = _segment_settings([text.raw[a:b] for a, b in segments])
    starts = [start for start, _ in segments]
    numbers = [bisect_right(starts, start) - 1 for start, _ in text.offsets]
    rows: list[list[str]] = []
    for number, tokens in groupby(zip(numbers, text.tokens, strict=True), key=lambda pair: pair[0]):
        rows += _window_features([token for _, token in tokens], settings[number])
    return rows


def _window_features(tokens: Texts, settings: Texts) -> list[list[str]]:
    n, pad = len(tokens), [("<s>", "<s>")] * WINDOW
    around = [*pad, *((t.casefold(), shape(t)) for t in tokens), *pad]
    rows = []
    for i, token in enumerate(tokens):
        at = i + WINDOW
        row = ["bias", *word_features(token), f"first={i == 0}", f"last={i == n - 1}", f"n={min(n, 6)}", *settings]
        for k in range(1, WINDOW + 1):
            row += [f"-{k}w={around[at - k][0]}", f"+{k}w={around[at + k][0]}"]
        for k in range(1, WINDOW):
            row += [f"-{k}s={around[at - k][1]}", f"+{k}s={around[at + k][1]}"]
        (before2, _), (before, _), (own, own_shape), (after, _) = around[at - 2 : at + 2]
        row += [f"-1w0w={before} {own}", f"0w+1w={own} {after}", f"-1w0s={before} {own_shape}"]
        rows.append([*row, f"-2w-1w={before2} {before}"])
    return rows


def split_segments(raw: str) -> list[Span]:
    """Return the segments of a rendered question, in characters: lines, keys of JSON text, XML elements.

    >>> [raw[a:b] for raw in ['{"asked": "date", "text": "on Monday"}'] for a, b in split_segments(raw)]
    ['{', '"asked": "date", ', '"text": "on Monday"}']
    """
    return [(a, b) for a, b in pairwise([0, *(m.end() for m in _BORDER.finditer(raw)), len(raw)]) if a < b]


def _segment_settings(segments: Texts) -> list[list[str]]:
    """Return, for each segment, the features that the other short segments and its own key give its tokens."""
    if len(segments) == 1:
        return [[]]
    short = [(i, " ".join(s.casefold().split())) for i, s in enumerate(segments) if len(s) <= SHORT_SEGMENT]
    short = [(i, words) for i, words in short if words][-MAX_OTHERS - 1 :]
    settings = []
    for number, segment in enumerate(segments):
        others = [words for i, words in short if i != number]
        features = [f"other={words}" for words in others]
        features += [f"ow={word}" for words in others for word in _WORD.findall(words)]
        key = _KEY.match(segment)
        features.append(f"key={key[1].casefold() if key else ''}")
        settings.append(features)
    return settings


class WordTagger:
    """Finds the spans that each copied field takes.

    Args:
        n_fields: Number of fields, numbered from 0.
        kinds: The fields per kind of span: words that several fields copy at once ("now" as date and time) are a kind
            of their own.
        names: The features, in the order of the weights.
        tags: Tags that occurred: 0 outside, 2k+1 the first and 2k+2 a later word of a span of kind k.
        weights: ``(n_features, n_tags)``; None if nothing was learnt.
        intercept: ``(n_tags,)``.
        encoder: Of `SentenceEncoder`, or one; None for words only.
        dense: Weights of the encoder's vectors, ``(width, n_tags)``.
    """

    def __init__(
        self,
        *,
        n_fields: int,
        kinds: TokenLists,
        names: Texts,
        tags: Sequence[int],
        weights: Any = None,
        intercept: Any = None,
        encoder: Any = None,
        dense: Any = None,
    ) -> None:
        self._encoder = SentenceEncoder(**encoder) if isinstance(encoder, dict) else encoder
        self._dense = dense
        self._n_fields, self._kinds, self._tags = n_fields, kinds, tags
        self._columns = {name: column for column, name in enumerate(names)}
        self._weights, self._intercept = weights, intercept
        self._transitions = allowed_transitions(1 + 2 * len(kinds))

    def spans(self, text: Text) -> list[list[tuple[float, Span]]]:
        if self._weights is None or not text.tokens:
            return [[] for _ in range(self._n_fields)]
        rows = [[self._columns[name] for name in dict.fromkeys(row) if name in self._columns]
                for row in text_features(text)]  # fmt: skip
        raw = np.stack([self._weights[row].sum(axis=0, dtype=np.float64) for row in rows]) + self._intercept
        if self._encoder is not None:
            raw += self._encoder.encode_words(text.tokens) @ self._dense
        raw -= raw.max(axis=1, keepdims=True)
        scores = np.full((len(rows), len(self._transitions)), IMPOSSIBLE)
        scores[:, self._tags] = raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))
        return decode(scores, self._transitions, self._kinds, self._n_fields)


def allowed_transitions(n_tags: int) -> Floats:
    """Return log weights ``(n_tags, n_tags)`` from tag to next tag: 0, or -inf where BIO forbids it."""
    weights = np.zeros((n_tags, n_tags))
    for inside in range(2, n_tags, 2):
        weights[:, inside] = -np.inf
        weights[[inside - 1, inside], inside] = 0.0
    return weights


def best_path(scores: Floats, transitions: Floats) -> list[int]:
    """Return the tags of the best path (Viterbi); a path never begins inside a span.

    Args:
        scores: Log probabilities, ``(n_tokens, n_tags)``.
        transitions: Log weights, ``(n_tags, n_tags)``.
    """
    reach = scores[0].copy()
    reach[2::2] = -np.inf
    back = np.zeros(scores.shape, dtype=np.int64)
    for i in range(1, len(scores)):
        ways = reach[:, None] + transitions
        back[i] = ways.argmax(axis=0)
        reach = ways.max(axis=0) + scores[i]
    path = [int(reach.argmax())]
    for i in range(len(scores) - 1, 0, -1):
        path.append(int(back[i, path[-1]]))
    return path[::-1]


def decode(scores: Floats, transitions: Floats, kinds: TokenLists, n_fields: int) -> list[list[tuple[float, Span]]]:
    """Return, for each field, the spans of the best path with their mean log probability.

    Args:
        scores: Log probabilities, ``(n_tokens, n_tags)``.
        transitions: Log weights, ``(n_tags, n_tags)``.
        kinds: The fields per kind of span.
        n_fields: Number of fields.
    """
    found: list[list[tuple[float, Span]]] = [[] for _ in range(n_fields)]
    path = best_path(scores, transitions)
    for start, tag in enumerate(path):
        if tag % 2:  # the first word of a span
            end = next((i for i in range(start + 1, len(path)) if path[i] != tag + 1), len(path))
            sure = float(np.mean(scores[range(start, end), path[start:end]]))
            for number in kinds[tag // 2]:
                found[number].append((sure, (start, end)))
    return found
