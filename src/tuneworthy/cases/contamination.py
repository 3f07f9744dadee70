"""Rows that would give test questions away: found by text, by n-grams and by group, and taken out.

Coverage is seen from the case: the share of its words that stand in n-grams it has in common with one
row, its single best one; a long row cannot hide a short case, and many rows do not add up. What many cases
share (a template, instructions) gives none of them away: it is cut out of both sides first.

Source: open-instruct's decontamination; Tülu 3 (arXiv 2411.15124) section 3.2: 8-grams, over 50 % of
tokens, prompts only. For questions of fewer words see `gram_size`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from tuneworthy.cases.normalize import normalise, question_of, words
from tuneworthy.types import Case, Example

R = TypeVar("R", Case, Example)
Reason = Literal["exact", "ngram", "group"]

_PREFIX = 3
_MIN_WORDS = 4
COMMON = 20
"""An n-gram that more cases than this hold is no part of the question (GPT-3's filter draws that line at 10)."""

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overlap(Generic[R]):
    """A row that gives a case away.

    Attributes:
        row: The row.
        reason: `exact` (same letters and digits), `ngram` (coverage), `group` (same source).
        score: Share of the case's words that the row covers, 0..1; 1 for `exact` and `group`.
        case_id: The case (of several the one that is covered most).
    """

    row: R
    reason: Reason
    score: float
    case_id: str


@dataclass(frozen=True, slots=True)
class Overlaps(Generic[R]):
    """What was kept, what was dropped, and the numbers.

    Attributes:
        kept: Rows that give nothing away, in their order.
        dropped: Rows that do.
        n_rows, n_cases: How many were compared.
        n_cases_leaked: Cases that at least one row gives away.
        n, threshold: Words an n-gram; the coverage above which a row overlaps.
    """

    kept: tuple[R, ...]
    dropped: tuple[Overlap[R], ...]
    n_rows: int
    n_cases: int
    n_cases_overlapping: int
    n: int
    threshold: float

    @property
    def by_reason(self) -> dict[str, int]:
        """How many rows were dropped for each reason."""
        counts: Counter[str] = Counter(leak.reason for leak in self.dropped)
        return {reason: counts[reason] for reason in ("exact", "ngram", "group")}

    def __str__(self) -> str:
        parts = ", ".join(f"{count} {reason}" for reason, count in self.by_reason.items())
        return (
            f"{len(self.dropped)} of {self.n_rows} rows overlap into {self.n_cases_overlapping} of {self.n_cases} cases"
            f" ({parts}; {self.n}-grams, coverage above {self.threshold:g})"
        )


def find_overlaps(rows: Sequence[R], cases: Iterable[Case], *, n: int = 8, threshold: float = 0.5) -> Overlaps[R]:
    """Compare the questions of `rows` with those of `cases`.

    Args:
        rows: Examples (or dev cases).
        cases: What must not be given away.
        n: Words an n-gram, for cases of at least that many words.
        threshold: Coverage of a case, 0..1, above which a row overlaps.
    """
    cases = list(cases)
    index = ContaminationIndex(cases if rows else [], n)
    kept: list[R] = []
    dropped: list[Overlap[R]] = []
    overlapping: set[str] = set()
    for row in rows:
        found = index.find(row, threshold)
        if found is None:
            kept.append(row)
            continue
        reason, hits = found
        case_id, score = max(hits, key=lambda hit: hit[1])
        dropped.append(Overlap(row, reason, score, case_id))
        overlapping.update(case for case, _ in hits)
    return Overlaps(tuple(kept), tuple(dropped), len(rows), len(cases), len(overlapping), n, threshold)


def gram_size(n_words: int, n: int) -> int:
    """Return the length of the n-grams of a case of `n_words` words.

    Short questions share their beginnings ("where is my ..."): one of fewer than 6 words must stand in the
    row as a whole, one of 6 or 7 but for a word at an end. (On BANKING77 one word of slack below 6 words
    calls 2.8 % of the training rows overlaps of 308 cases, most of them wrongly; this rule calls 1.0 %.)
    """
    if n_words >= n:
        return n
    return n_words if n_words < 6 else n_words - 1


def common_grams(texts: Iterable[Sequence[str]], n: int) -> set[Gram]:
    """Return the n-grams that more than `COMMON` of `texts` hold; texts that are equal count once.

    Where a template ends, many questions begin alike ("how do I ..."): an n-gram that far more texts hold than
    hold it beside another one, which it overlaps, belongs to the question. "Far more" is twice as many.
    """
    distinct = dict.fromkeys(map(tuple, texts))
    counts: Counter[Gram] = Counter()
    for text in distinct:
        counts.update(set(_grams(text, n)))
    undecided = {gram for gram, count in counts.items() if count > COMMON}
    common: set[Gram] = set()
    for text in distinct if undecided else ():
        grams = list(_grams(text, n))
        for position, gram in enumerate(grams):
            if gram in undecided:
                undecided.remove(gram)
                beside = grams[max(0, position - n + 1) : position + n]
                if 2 * counts[gram] >= max(counts[other] for other in beside):
                    common.add(gram)
    return common


def without(tokens: list[str], common: Set[Gram], n: int) -> list[str]:
    """Return the words of `tokens` that stand in no n-gram of `common`."""
    if not common:
        return tokens
    cut: set[int] = set()
    for position, gram in enumerate(_grams(tokens, n)):
        if gram in common:
            cut.update(range(position, position + n))
    return [word for position, word in enumerate(tokens) if position not in cut] if cut else tokens


def _grams(tokens: Sequence[str], size: int) -> Iterator[Gram]:
    return zip(*(tokens[start:] for start in range(size)), strict=False)


class ContaminationIndex:
    """The cases, findable by text, group and n-gram.

    A row's n-grams are looked up only if one of its 3-grams begins an n-gram of a case, a test that runs
    in C for the whole row: most rows are done with it.
    """

    def __init__(self, cases: list[Case], n: int) -> None:
        self.cases = cases
        self.n = n
        self.exact: dict[str, str] = {}
        self.groups: dict[str, str] = {}
        texts = []
        for case in cases:
            question = question_of(case)
            self.exact.setdefault(normalise(question), case.id)
            if case.group is not None:
                self.groups.setdefault(case.group, case.id)
            texts.append(words(question))
        self.common: set[Gram] = set()
        self._index(texts)
        if any(len(places) > COMMON for places in self.grams.get(n, {}).values()):
            self.common = common_grams(texts, n)
            self._index([without(tokens, self.common, n) for tokens in texts])

    def _index(self, texts: list[list[str]]) -> None:
        """Make `texts`, the words of the cases, findable by n-gram."""
        self.prefixes: set[Gram] = set()
        self.grams: dict[int, dict[Gram, list[tuple[int, int]]]] = {}
        self.lengths = [len(tokens) for tokens in texts]
        for number, tokens in enumerate(texts):
            if len(tokens) < _MIN_WORDS:
                continue
            size = gram_size(len(tokens), self.n)
            grams = self.grams.setdefault(size, defaultdict(list))
            for position, gram in enumerate(_grams(tokens, size)):
                grams[gram].append((number, position))
                self.prefixes.add(gram[:_PREFIX])

    def find(self, row: Case | Example, threshold: float) -> tuple[Reason, list[tuple[str, float]]] | None:
        """Return why `row` overlaps, and into which cases with what score; None if it does not."""
        question = question_of(row)
        if (case_id := self.exact.get(normalise(question))) is not None:
            return "exact", [(case_id, 1.0)]
        if row.group is not None and (case_id := self.groups.get(row.group)) is not None:
            return "group", [(case_id, 1.0)]
        scores = [hit for hit in self.coverage(self.tokens(row)) if hit[1] > threshold]
        return ("ngram", scores) if scores else None

    def tokens(self, row: Case | Example) -> list[str]:
        """Return the words of a row's question, without what many cases share."""
        return without(words(question_of(row)), self.common, self.n)

    def coverage(self, tokens: list[str]) -> list[tuple[str, float]]:
        """Return the cases that share an n-gram with `tokens`, with the share of their words covered."""
        if self.prefixes.isdisjoint(_grams(tokens, _PREFIX)):
            return []
        covered: dict[int, set[int]] = defaultdict(set)
        for size, grams in self.grams.items():
            for gram in set(_grams(tokens, size)):
                for number, position in grams.get(gram, ()):
                    covered[number].update(range(position, position + size))
        return [(self.cases[k].id, len(positions) / self.lengths[k]) for k, positions in sorted(covered.items())]
