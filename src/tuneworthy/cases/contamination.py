"""Decontamination: rows that contain a question of dev or test are dropped and counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from tuneworthy.cases.agreement import answer_of
from tuneworthy.cases.task_kind import guess_kind, parse_object
from tuneworthy.types import Case, CaseOrExample, Example

if TYPE_CHECKING:
    from tuneworthy.cases.contamination_index import ContaminationIndex, OverlapHit

R = TypeVar("R", Case, Example)
# Share of the rows of an answer that stay if all would be dropped, and the minimum number of rows.
KEPT_SHARE: Final = 0.2
_MIN_ROWS: Final = 5
# Share of the rows that may be dropped as near copies without a look at how alike the cases are.
FEW_NEAR: Final = 0.2
# Near copies among the rows against those that are expected, as independent cases resemble each other as well.
MOST_NATURAL: Final = 1.5


@dataclass(frozen=True, slots=True)
class AnswerLoss:
    """What dropping the overlaps costs an answer: a label, or the keys of JSON answers.

    Attributes:
        answer: The answer.
        n_dropped: Its rows that are dropped.
        n_rows: All its rows.
        n_kept: Its rows that overlap and stay, because no row would remain otherwise.
    """

    answer: str
    n_dropped: int
    n_rows: int
    n_kept: int = 0

    @property
    def share(self) -> float:
        return self.n_dropped / self.n_rows


@dataclass(frozen=True, slots=True)
class Overlaps(Generic[R]):
    """The result of a search: remaining rows, dropped rows, and counts.

    Attributes:
        remaining: Rows that overlap no case, in their order.
        dropped: Rows that do, by number.
        prices: By answer, the dearest first; empty for free text.
        kept: Ids of the rows that overlap and stay, as no row of their answer would be left.
    """

    remaining: Sequence[R]
    dropped: tuple[OverlapHit, ...]
    prices: tuple[AnswerLoss, ...] = ()
    kept: frozenset[str] = frozenset()

    @property
    def by_reason(self) -> dict[str, int]:
        counts: Counter[str] = Counter(overlap.reason for overlap in self.dropped)
        return {reason: counts[reason] for reason in ("exact", "prompt", "ngram", "edit", "group")}


def search(
    rows: Sequence[R],
    cases: Iterable[Case],
    *,
    n: int = 8,
    threshold: float = 0.5,
    among: Sequence[R] | None = None,
) -> tuple[list[OverlapHit], tuple[AnswerLoss, ...]]:
    """Return the rows whose question overlaps with one of `cases`, in order, and the rows that each answer loses.

    Near copies are not certain where many examples resemble cases, as often as cases resemble each other: of a small
    language everything is a near copy. Where every row of an answer would be dropped, a share of those that are no
    exact copies is no longer certain.

    Args:
        rows: Examples (or dev cases).
        cases: Cases that no row may overlap.
        n: Words of an n-gram, for cases of at least that many words.
        threshold: Coverage of a case, 0..1, above which a row overlaps.
        among: All rows, whose patterns weigh less, if `rows` is a part.
    """
    from tuneworthy.cases.contamination_index import ContaminationIndex

    index = ContaminationIndex(cases if len(rows) else [], n=n, threshold=threshold)
    index.weigh(rows if among is None else among)
    kind = guess_kind(case.expected for case in index.cases).name
    if kind not in {"label", "json"}:
        return _doubted(index, list(index.find(rows)), rows), ()
    counts: Counter[str] = Counter()
    hits = _doubted(index, list(index.find(_counted(rows, kind, counts))), rows)
    by_answer: dict[str, list[int]] = defaultdict(list)
    for place, hit in enumerate(hits):
        if hit.certain:
            by_answer[_answer_group(rows[hit.row], kind)].append(place)
    prices = []
    for answer, places in by_answer.items():
        near = sorted((hits[place].score, place) for place in places if hits[place].is_near)
        every = len(places) == counts[answer] >= _MIN_ROWS
        stays = near[: max(1, round(KEPT_SHARE * len(places)))] if every else []
        for _, place in stays:
            hits[place] = replace(hits[place], certain=False, kept=True)
        prices.append(AnswerLoss(answer, len(places) - len(stays), counts[answer], len(stays)))
    return hits, tuple(sorted(prices, key=lambda price: (-price.share, price.answer)))


def _doubted(index: ContaminationIndex, hits: Sequence[OverlapHit], rows: Sequence[CaseOrExample]) -> list[OverlapHit]:
    """Return the hits, near copies no longer certain where examples resemble cases as cases resemble each other."""
    n_near, n_rows = sum(hit.certain and hit.is_near for hit in hits), len(rows)
    few = n_near <= FEW_NEAR * n_rows or isinstance(rows[0], Case)
    if few or n_near > MOST_NATURAL * n_rows * index.n_alike() / len(index.cases):
        return list(hits)
    return [replace(hit, certain=hit.certain and not hit.is_near) for hit in hits]


def _counted(rows: Sequence[R], kind: str, counts: Counter[str]) -> Iterator[R]:
    for row in rows:
        counts[_answer_group(row, kind)] += 1
        yield row


def _answer_group(row: CaseOrExample, kind: str) -> str:
    answer = answer_of(row).strip()
    value = parse_object(answer) if kind == "json" else None
    return ", ".join(sorted(value)) if isinstance(value, dict) and value else answer


def find_overlaps(
    rows: Sequence[R],
    cases: Iterable[Case],
    *,
    among: Sequence[R] | None = None,
) -> Overlaps[R]:
    from tuneworthy.cases.example_store import others, some_of

    hits, prices = search(rows, cases, among=among)
    dropped = tuple(hit for hit in hits if hit.certain)
    remaining = some_of(rows, others(rows, (hit.row for hit in dropped)))
    return Overlaps(remaining, dropped, prices, frozenset(rows[hit.row].id for hit in hits if hit.kept))
