"""Rows that give test questions away: the same text, most of the words of a case, or one word apart from it.

Words are `cases.overlaps` over many rows: a compiled pass over hashes of words says which rows cover a case, and only
those are looked at in full, so that what is found is exactly what `LeakIndex.find` finds row by row. One changed word
in the middle of a short question breaks every long n-gram, so rows one word apart from a case are found beside it.

Source: Tülu 3 (arXiv 2411.15124) section 3.2 for coverage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import numpy as np

from tuneworthy.cases.contamination import ContaminationIndex, Gram, Reason
from tuneworthy.cases.normalize import normalise, question_of, words
from tuneworthy.dataset.base import Action, Context, Finding, check
from tuneworthy.types import Case, Example

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK: Final = 1024
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)
_PREFIX: Final = 3
_MIN_WORDS, _MAX_WORDS = 4, 60
"""Words of a case that one changed word does not hide: of fewer, one is too much; of more, n-grams are left whole."""
LONG: Final = 8
"""Words of a question from which another one, one word apart, is dropped and not only reported."""
SHORT_EDIT: Final = "overlap_short_edit"
"""Reason for a row that may well mean something else than the case: no gate bars it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that gives a case away: its number, why, the case that it covers most, and how much of it, 0..1."""

    row: int
    reason: Reason | Literal["edit"]
    case_id: str
    score: float


def find_hits(rows: Sequence[Example], cases: Iterable[Case], *, n: int = 8, threshold: float = 0.5) -> list[Hit]:
    """Return the rows whose question gives a case away by text, by words, by group, or for one word.

    Args:
        rows: Examples.
        cases: What must not be given away.
        n: Words an n-gram, for cases of at least that many words (see `cases.overlaps.gram_size` for shorter ones).
        threshold: Share of the words of a case, 0..1, above which a row overlaps.
    """
    if n < 1 or not 0 <= threshold < 1:
        raise ValueError(f"expected n of at least 1 and a threshold in [0, 1), got {n} and {threshold}")
    index = ContaminationIndex(list(cases), n)
    if not index.cases or not rows:
        return []
    questions = [question_of(row) for row in rows]
    suspects = {i for i, question in enumerate(questions) if normalise(question) in index.exact}
    if index.groups:
        suspects |= {i for i, row in enumerate(rows) if row.group in index.groups}
    covering, edited = _suspects(questions, index, threshold)
    suspects.update(covering)
    hits = []
    for number in sorted(suspects | edited.keys()):
        found = index.find(rows[number], threshold) if number in suspects else None
        if found:
            hits.append(Hit(number, found[0], *max(found[1], key=lambda leak: leak[1])))
        elif (case := edited.get(number)) is not None:
            tokens, own = index.tokens(index.cases[case]), index.tokens(rows[number])
            if one_word_apart(own, tokens):
                hits.append(Hit(number, "edit", index.cases[case].id, 1 - 1 / max(len(own), len(tokens))))
    return hits


def one_word_apart(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two lists of words differ in one word: another one, one more or one less.

    >>> one_word_apart(["where", "is", "it"], ["where", "was", "it"]), one_word_apart(["is", "it"], ["it", "is"])
    (True, False)
    """
    if abs(len(one) - len(other)) > 1:
        return False
    same = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one != other and list(one[same + (len(one) >= len(other)) :]) == list(
        other[same + (len(other) >= len(one)) :]
    )


def _suspects(
    questions: Sequence[str], index: ContaminationIndex, threshold: float
) -> tuple[list[int], dict[int, int]]:
    """Return the questions that cover more than `threshold` of a case, and those one word apart, with the case."""
    from tuneworthy.dataset import coverage
    from tuneworthy.dataset.dedup.minhash import shingles
    from tuneworthy.dataset.dedup.packed import pack

    covering: Any = coverage.covering
    edits: Any = coverage.edits
    tables = _Tables(index)
    keys = tables.edit_keys([index.tokens(case) for case in index.cases])
    covered: list[int] = []
    edited: dict[int, int] = {}
    for packed in pack(questions):
        hashes, starts = shingles(packed, 1)
        if tables.sizes.size:
            out = np.zeros(len(packed), np.bool_)
            covering(hashes, starts, *tables.arrays, tables.common, index.n, threshold, out)
            covered += (np.flatnonzero(out) + packed.first).tolist()
        if keys:
            case = np.empty(len(packed), np.int64)
            edits(hashes, starts, *keys, index.n, tables.common, case)
            edited.update((int(i) + packed.first, int(case[i])) for i in np.flatnonzero(case >= 0))
    return covered, edited


class _Tables:
    """The n-grams of the cases as arrays for the kernel (see `coverage.covering`)."""

    def __init__(self, index: ContaminationIndex) -> None:
        self._numbers: dict[str, int] = {}
        self._hashes: list[int] = []
        self.sizes = np.array(sorted(index.grams), np.int64)
        hashes: list[NDArray[np.uint64]] = []
        places: list[list[tuple[int, int]]] = []
        prefixes = np.zeros(1 << 18, np.uint8)
        for size in self.sizes.tolist():
            grams = index.grams[size]
            hashes.append(self._hash(list(grams), size))
            places += grams.values()
            prefixes[self._hash(list({gram[:_PREFIX] for gram in grams}), _PREFIX) >> np.uint64(46)] = 1
        ends = np.cumsum(np.array([0, *map(len, places)], np.int64))
        lengths = np.array(index.lengths, np.int64)
        self.arrays: tuple[Any, ...] = (
            self.sizes,
            prefixes,
            *_open_table(np.concatenate([np.zeros(0, np.uint64), *hashes]), ends),
            np.array([place for some in places for place in some], np.int64).reshape(-1, 2),
            lengths,
            np.cumsum(lengths) - lengths,
        )
        self.common = _open_table(self._hash(list(index.common), index.n), np.zeros(len(index.common) + 1, np.int64))[0]

    def edit_keys(self, texts: Sequence[list[str]]) -> tuple[Any, ...]:
        """Return the table of cases that can be told from a row one word apart, its flags, and the longest case.

        Cases of fewer than `_MIN_WORDS` or more than `_MAX_WORDS` words are not in it; empty if none is.
        """
        from tuneworthy.dataset.coverage import case_keys

        found: dict[int, int] = {}
        known = [number for number, tokens in enumerate(texts) if _MIN_WORDS <= len(tokens) <= _MAX_WORDS]
        hashes = self._hash([(word,) for number in known for word in texts[number]], 1)
        start = 0
        for number in known:
            stop = start + len(texts[number])
            keys = np.empty(2 * (stop - start) + 1, np.uint64)
            case_keys(hashes[start:stop], keys)
            found.update((key, number) for key in keys.tolist() if key not in found)
            start = stop
        if not found:
            return ()
        keys, cases = np.array(list(found), np.uint64), np.array([*found.values(), 0], np.int64)
        flags = np.zeros(1 << 18, np.uint8)
        flags[keys >> np.uint64(46)] = 1
        return (*_open_table(keys, cases), flags, max(len(texts[number]) for number in known))

    def _hash(self, grams: Sequence[Gram], size: int) -> NDArray[np.uint64]:
        """Return the hashes of n-grams: polynomials in the hashes of their words, modulo 2^64."""
        from tuneworthy.dataset.dedup.minhash import plain_hash

        numbers = self._numbers
        for word in {word for gram in grams for word in gram} - numbers.keys():
            numbers[word] = len(self._hashes)
            self._hashes.append(plain_hash((word,), 1))
        words = np.array([numbers[word] for gram in grams for word in gram], np.int64).reshape(-1, size)
        hashes, total = np.array(self._hashes, np.uint64), np.zeros(len(grams), np.uint64)
        for column in words.T:
            total = total * _BASE + hashes[column]
        return np.maximum(total, np.uint64(1))


def _open_table(hashes: NDArray[np.uint64], ends: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return an open hash table: keys (0 is free), and for each from where to where its `ends` go."""
    size = 1 << math.ceil(math.log2(2 * len(hashes) + 16))
    keys, ranges = np.zeros(size, np.uint64), np.zeros((size, 2), np.int64)
    first: list[int] = ((hashes >> np.uint64(20)) & np.uint64(size - 1)).tolist()
    taken: set[int] = set()
    for number, place in enumerate(first):
        while place in taken:
            place = (place + 1) & (size - 1)  # noqa: PLW2901
        taken.add(place)
        first[number] = place
    keys[first] = hashes
    ranges[first] = np.stack([ends[:-1], ends[1:]], axis=1)
    return keys, ranges


@check("contamination")
@dataclass(frozen=True, slots=True)
class Contamination:
    """Rows whose question gives a question of dev or test away.

    A score on test means nothing if the model was trained on its questions. Rows with the same letters and digits,
    rows that hold most words of a case in stretches of `n` words, rows one word apart from it, and rows of a case's
    group are dropped. A question of fewer than 8 words that is one word apart may well mean something else ("how do I
    block my card", "how do I find my card"): it is reported. What says the same in other words is looked for by
    `paraphrases`.

    Bad: a training row "Where's my card?" beside the test question "where is my card".
    """

    n: int = 8
    threshold: float = 0.5
    short_edit: Action = "report"

    code: ClassVar[str]
    reasons: ClassVar = {
        "overlap_exact": "the question of a case, letter by letter",
        "overlap_ngram": "most words of a case's question",
        "overlap_edit": "a case's question but for one word",
        "overlap_short_edit": "a short question one word apart from a case's",
        "overlap_group": "the same source as a case",
    }
    whole: ClassVar = False
    gate: ClassVar = frozenset({"overlap_exact", "overlap_ngram", "overlap_edit", "overlap_group"})

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield one finding for each row that overlaps."""
        hits = find_hits(rows, context.cases, n=self.n, threshold=self.threshold)
        for hit in hits:
            short = hit.reason == "edit" and len(words(question_of(rows[hit.row]))) < LONG
            reason, action = (SHORT_EDIT, self.short_edit) if short else (f"overlap_{hit.reason}", "drop")
            yield Finding(hit.row, reason, f"case {hit.case_id}", score=hit.score, action=action)
