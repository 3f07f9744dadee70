"""Words of a text and the spans that an answer copies: alignment, and copy rules by context.

Spans are ``(start, end)`` in tokens, end exclusive. Matching is by token and ignores case and spacing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

Span = tuple[int, int]

# Scripts written without spaces give a token a character, so that a span may start anywhere.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_UNSPACED}]|\d+|[^\W\d_{_UNSPACED}]+|[^\s]")

MAX_TOKENS = 4_000  # of a question; what lies beyond is not searched
MAX_RULE_TOKENS = 200_000  # of all questions that copy rules are counted on (about 5 s); every k-th is taken
START, END = "<s>", "</s>"
SMOOTHING = 1.0
MAX_CONTEXT = 3  # neighbours of a span


@dataclass(frozen=True)
class Text:
    """A text and its tokens: digits, letters and signs apart."""

    raw: str

    @cached_property
    def offsets(self) -> list[Span]:
        return [match.span() for match in islice(_TOKEN.finditer(self.raw), MAX_TOKENS)]

    @cached_property
    def tokens(self) -> list[str]:
        return [self.raw[a:b] for a, b in self.offsets]

    @cached_property
    def lower(self) -> list[str]:
        return [token.casefold() for token in self.tokens]

    def slice(self, span: Span) -> str:
        return self.raw[self.offsets[span[0]][0] : self.offsets[span[1] - 1][1]]

    def find(self, value: str) -> list[Span]:
        """Return all spans that read like `value`.

        >>> Text("Table for 2 at 7PM").find("7 pm")
        [(4, 6)]
        """
        wanted = Text(value).lower
        size = len(wanted)
        if not size:
            return []
        lower = self.lower
        return [(i, i + size) for i in range(len(lower) - size + 1) if lower[i : i + size] == wanted]


def shape(token: str) -> str:
    """Return the kind of a token: digits with their number, casing, or the sign itself.

    >>> [shape(t) for t in ("12", "PM", "Anna", "table", "?")]
    ['d2', 'AA', 'Aa', 'a', '?']
    """
    if token.isdigit():
        return f"d{min(len(token), 5)}"
    if not token[0].isalpha():
        return token
    if token.isupper():
        return "AA" if len(token) > 1 else "A"
    return "Aa" if token[0].isupper() else "a"


def choose_occurrences(texts: Sequence[Text], options: Sequence[list[Span]]) -> list[Span | None]:
    """Return one span a text: where a value occurs more than once, the one whose neighbours are most usual.

    Args:
        texts: The questions.
        options: All spans that read like the value, a list a question; empty if it is not copied.
    """
    usual: Counter[tuple[str, str]] = Counter()
    for text, spans in zip(texts, options, strict=True):
        if len(spans) == 1:
            usual.update(_neighbours(text, spans[0]))

    return [
        max(spans, key=lambda span: (sum(usual[one] for one in _neighbours(text, span)), -span[0]), default=None)
        for text, spans in zip(texts, options, strict=True)
    ]


def _neighbours(text: Text, span: Span) -> tuple[tuple[str, str], tuple[str, str]]:
    start, end = span
    before = text.lower[start - 1] if start else START
    after = text.lower[end] if end < len(text.lower) else END
    return ("before", before), ("after", after)


class CopyRules:
    """Finds the span to copy by the n-grams around it, its first and last word's shape and its length.

    Each part is a share with additive smoothing that backs off from longer to shorter contexts; no
    search, no weights: the rules of a careful person, counted from the examples.

    Args:
        contexts: Context, how often a span began or ended there, and how often it could have.
        lengths: Tokens of a span, and how many spans have that many.
    """

    def __init__(
        self, contexts: Sequence[tuple[Sequence[str], int, int]] = (), lengths: Sequence[tuple[int, int]] = ()
    ) -> None:
        self._counts = {tuple(context): (hits, places) for context, hits, places in contexts}
        self._lengths = Counter(dict(lengths))

    def best(self, text: Text) -> Span | None:
        n, total = len(text.tokens), self._lengths.total()
        starts = [self._log_share(start_contexts(text, i)) for i in range(n)]
        ends = [self._log_share(end_contexts(text, i)) for i in range(n)]
        scored = (
            (starts[i] + ends[i + size - 1] + math.log(count / total), -i, -size)
            for size, count in self._lengths.items()
            for i in range(n - size + 1)
        )
        found = max(scored, default=None)
        return None if found is None else (-found[1], -found[1] - found[2])

    def _log_share(self, contexts: Sequence[tuple[str, ...]]) -> float:
        share = 0.01
        for context in contexts:
            hits, places = self._counts.get(context, (0, 0))
            share = (hits + SMOOTHING * share) / (places + SMOOTHING)
        return math.log(share)


def learn_rules(texts: Sequence[Text], spans: Sequence[Span]) -> dict[str, Any]:
    every = 1 + sum(len(text.tokens) for text in texts) // MAX_RULE_TOKENS
    hits, places = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for text, (start, end) in zip(texts[::every], spans[::every], strict=True):
        for i in range(len(text.tokens)):
            for contexts, is_hit in ((start_contexts(text, i), i == start), (end_contexts(text, i), i == end - 1)):
                places.update(contexts)
                hits.update(contexts if is_hit else ())
    lengths = Counter(end - start for start, end in spans[::every])
    return {"contexts": [(context, hits[context], n) for context, n in places.items()], "lengths": [*lengths.items()]}


def start_contexts(text: Text, i: int) -> list[tuple[str, ...]]:
    before = [START, *text.lower[max(0, i - MAX_CONTEXT) : i]][-MAX_CONTEXT:]
    own = shape(text.tokens[i])
    return [("^", own), *(("^", own, *before[-k:]) for k in range(1, len(before) + 1))]


def end_contexts(text: Text, i: int) -> list[tuple[str, ...]]:
    after = [*text.lower[i + 1 : i + 1 + MAX_CONTEXT], END][:MAX_CONTEXT]
    own = shape(text.tokens[i])
    return [("$", own), *(("$", own, *after[:k]) for k in range(1, len(after) + 1))]
