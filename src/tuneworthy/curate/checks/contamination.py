"""Rows that give test questions away: the same text, most of the words of a case, or the same meaning.

Words are `cases.leaks` over many rows: a compiled pass over hashes of words says which rows cover a case, and only
those are looked at in full, so that what is found is exactly what `LeakIndex.find` finds row by row.

Meaning needs an encoder, and its threshold is measured, never guessed: cases are questions of the same traffic that do
not repeat each other, so how near a case stands to its nearest other case is how near a row comes without a leak.

Source: Tülu 3 (arXiv 2411.15124) section 3.2 for coverage; Wilks 1941, "Determination of sample sizes for setting
tolerance limits", for the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from tuneworthy.cases.leaks import Gram, LeakIndex, Reason
from tuneworthy.cases.text import normalise, question_of
from tuneworthy.curate.base import WHOLE_SET, Action, Context, Finding, check
from tuneworthy.types import Case, Example

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK: Final = 1024
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)
_PREFIX: Final = 3


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that gives a case away: its number, why, the case that it covers most, and how much of it, 0..1."""

    row: int
    reason: Reason
    case_id: str
    score: float


def find_hits(rows: Sequence[Example], cases: Iterable[Case], *, n: int = 8, threshold: float = 0.5) -> list[Hit]:
    """Return the rows whose question gives a case away by text, by words or by group.

    Args:
        rows: Examples.
        cases: What must not be given away.
        n: Words an n-gram, for cases of at least that many words (see `cases.leaks.gram_size` for shorter ones).
        threshold: Share of the words of a case, 0..1, above which a row leaks.
    """
    if n < 1 or not 0 <= threshold < 1:
        raise ValueError(f"expected n of at least 1 and a threshold in [0, 1), got {n} and {threshold}")
    index = LeakIndex(list(cases), n)
    if not index.cases or not rows:
        return []
    questions = [question_of(row) for row in rows]
    suspects = {i for i, question in enumerate(questions) if normalise(question) in index.exact}
    if index.groups:
        suspects |= {i for i, row in enumerate(rows) if row.group in index.groups}
    suspects.update(_covering(questions, index, threshold))
    return list(_hits(rows, sorted(suspects), index, threshold))


def _hits(rows: Sequence[Example], numbers: Iterable[int], index: LeakIndex, threshold: float) -> Iterator[Hit]:
    for number in numbers:
        if found := index.find(rows[number], threshold):
            reason, leaks = found
            yield Hit(number, reason, *max(leaks, key=lambda leak: leak[1]))


def _covering(questions: Sequence[str], index: LeakIndex, threshold: float) -> list[int]:
    """Return the questions that cover more than `threshold` of a case."""
    from tuneworthy.curate.coverage import covering
    from tuneworthy.curate.minhash import shingles
    from tuneworthy.curate.packed import pack

    kernel: Any = covering
    tables = _Tables(index)
    if not tables.sizes.size:
        return []
    found: list[int] = []
    for packed in pack(questions):
        hashes, starts = shingles(packed, 1)
        out = np.zeros(len(packed), np.bool_)
        kernel(hashes, starts, *tables.arrays, index.n, threshold, out)
        found += (np.flatnonzero(out) + packed.first).tolist()
    return found


class _Tables:
    """The n-grams of the cases as arrays for the kernel (see `coverage.covering`)."""

    def __init__(self, index: LeakIndex) -> None:
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
            _open_table(self._hash(list(index.common), index.n), np.zeros(len(index.common) + 1, np.int64))[0],
        )

    def _hash(self, grams: Sequence[Gram], size: int) -> NDArray[np.uint64]:
        """Return the hashes of n-grams: polynomials in the hashes of their words, modulo 2^64."""
        from tuneworthy.curate.minhash import plain_hash

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


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest case of each row by meaning.

    Attributes:
        case: (n_rows,) the number of the case.
        score: (n_rows,) the cosine.
        threshold: Above it a row is reported; infinite if there are too few cases to measure it.
    """

    case: NDArray[np.int64]
    score: NDArray[np.float32]
    threshold: float

    def rows(self) -> list[int]:
        """Return the rows that are reported."""
        hits: list[int] = np.flatnonzero(self.score > self.threshold).tolist()
        return hits


def nearest_cases(
    rows: NDArray[np.float32],
    cases: NDArray[np.float32],
    *,
    apart: NDArray[np.bool_] | None = None,
    false_alarms: float = 0.02,
) -> Nearest:
    """Compare rows with cases by meaning.

    Args:
        rows, cases: Unit vectors of the questions, ``(n, dim)``.
        apart: Which cases repeat no other one by their words: those that the threshold is measured on; all if None.
        false_alarms: The share of rows without a leak that may be reported, 0..1.
    """
    own, _ = _nearest(cases, cases, skip_self=True)
    score, number = _nearest(rows, cases)
    return Nearest(number, score, alarm_threshold(own if apart is None else own[apart], false_alarms))


def alarm_threshold(null: NDArray[np.float32], false_alarms: float, doubt: float = 0.05) -> float:
    """Return a value that at most a share `false_alarms` of draws like those of `null` exceed, with confidence.

    Infinite if there are too few draws to be sure: for 2 % it takes 149.

    Args:
        null: Draws.
        false_alarms: 0..1.
        doubt: Probability that the true share is higher.

    >>> alarm_threshold(np.arange(148.0), 0.02), alarm_threshold(np.arange(149.0), 0.02)
    (inf, 148.0)
    """
    from scipy.special import bdtr

    allowed = np.arange(int(len(null) * false_alarms) + 1)
    n_above = int((bdtr(allowed, len(null), false_alarms) <= doubt).sum()) - 1
    return float(np.sort(null)[len(null) - 1 - n_above]) if n_above >= 0 and len(null) else math.inf


def apart_by_words(cases: Sequence[Case], n: int, threshold: float) -> NDArray[np.bool_]:
    """Return for each case whether its question covers no other case: those that do would be found by their words."""
    index = LeakIndex(list(cases), n)
    found = [index.coverage(index.tokens(case)) for case in cases]
    return np.array(
        [
            all(other == case.id or share <= threshold for other, share in some)
            for case, some in zip(cases, found, strict=True)
        ],
        np.bool_,
    )


def _nearest(
    rows: NDArray[np.float32], cases: NDArray[np.float32], *, skip_self: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the highest cosine of each row with a case, and that case's number."""
    score, number = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), _BLOCK) if len(cases) > skip_self else ():
        block = rows[start : start + _BLOCK] @ cases.T
        if skip_self:
            block[np.arange(len(block)), np.arange(start, start + len(block))] = -1
        number[start : start + len(block)] = block.argmax(axis=1)
        score[start : start + len(block)] = block.max(axis=1)
    return score, number


@check("contamination")
@dataclass(frozen=True, slots=True)
class Contamination:
    """Rows whose question gives a question of dev or test away.

    A score on test means nothing if the model was trained on its questions. Rows with the same letters and digits,
    rows that hold most words of a case in stretches of `n` words, and rows of a case's group are dropped. Paraphrases
    need an encoder and are reported for a look: the threshold is measured on the cases so that at most `false_alarms`
    of the rows without a leak are reported; at 2 % it takes 149 cases, with fewer none are.

    Bad: a training row "Where's my card?" beside the test question "where is my card".
    """

    n: int = 8
    threshold: float = 0.5
    false_alarms: float = 0.02
    paraphrase: Action = "report"

    code: ClassVar[str]
    reasons: ClassVar = {
        "leak_exact": "the question of a case, letter by letter",
        "leak_ngram": "most words of a case's question",
        "leak_group": "the same source as a case",
        "leak_paraphrase": "a case's question in other words",
        "too_few_cases": "paraphrases were not looked for",
    }
    whole: ClassVar = False

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield one finding for each row that leaks."""
        hits = find_hits(rows, context.cases, n=self.n, threshold=self.threshold)
        for hit in hits:
            yield Finding(hit.row, f"leak_{hit.reason}", f"case {hit.case_id}", score=hit.score)
        if context.encoder is not None:
            yield from self._paraphrases(rows, context, {hit.row for hit in hits})

    def _paraphrases(self, rows: Sequence[Example], context: Context, known: set[int]) -> Iterator[Finding]:
        questions = {normalise(question_of(case)): case for case in context.cases}
        left = [number for number in range(len(rows)) if number not in known]
        if context.encoder is None or not questions or not left:
            return
        cases = list(questions.values())
        vectors = context.encoder.encode([question_of(case) for case in cases])
        own = context.encoder.encode([question_of(rows[number]) for number in left])
        apart = apart_by_words(cases, self.n, self.threshold)
        nearest = nearest_cases(own, vectors, apart=apart, false_alarms=self.false_alarms)
        if math.isinf(nearest.threshold):
            said = f"{int(apart.sum())} different cases are too few to measure from where on a paraphrase is one"
            yield Finding(WHOLE_SET, "too_few_cases", said, action="report")
        for place in nearest.rows():
            case, score = cases[int(nearest.case[place])], float(nearest.score[place])
            yield Finding(left[place], "leak_paraphrase", f"case {case.id}", score=score, action=self.paraphrase)
