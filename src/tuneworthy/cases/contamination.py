"""Decontamination: rows that copy a question of dev or test are dropped; near-duplicates stay and are counted."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from tuneworthy.cases.splits import OverlapHit
from tuneworthy.cases.task_kind import guess_kind, parse_object
from tuneworthy.types import Case, CaseOrExample, Example, Examples, NamedInts, grouped, positional

if TYPE_CHECKING:
    from tuneworthy.cases.contamination_index import Match

R = TypeVar("R", Case, Example)


@positional
class AnswerLoss:
    """Rows of one answer that are dropped as copies: a label, or the keys of JSON answers.

    Attributes:
        answer: The answer.
        n_dropped: Its rows that are dropped.
        n_rows: All its rows.
    """

    answer: str
    n_dropped: int
    n_rows: int

    @property
    def share(self) -> float:
        return self.n_dropped / self.n_rows


@dataclass(frozen=True)
class Overlaps(Generic[R]):
    """The decision about each row: dropped as a copy of a case, a near-duplicate that stays, or (no hit) clean.

    Attributes:
        rows: The rows that were searched.
        hits: Copies and near-duplicates, by row.
    """

    rows: Sequence[R]
    hits: Sequence[OverlapHit]

    @property
    def dropped(self) -> list[OverlapHit]:
        return [hit for hit in self.hits if hit.certain]

    @cached_property
    def remaining(self) -> Sequence[R]:
        """The rows that are no copies, in their order."""
        from tuneworthy.cases.example_store import others, some_of

        return some_of(self.rows, others(self.rows, (hit.row for hit in self.dropped)))

    @property
    def by_reason(self) -> NamedInts:
        counts: Counter[str] = Counter(hit.reason for hit in self.dropped)
        return {reason: counts[reason] for reason in ("exact", "prompt", "ngram", "edit", "group")}


def search(
    rows: Sequence[R], cases: Iterable[Case], *, among: Sequence[CaseOrExample] | None = None
) -> list[OverlapHit]:
    """Return the rows whose question overlaps with one of `cases`, in order.

    Args:
        rows: Examples (or dev cases).
        cases: Cases that no row may overlap.
        among: All rows, which show how frequent words are, if `rows` is a part.
    """
    from tuneworthy.cases.contamination_index import ContaminationIndex

    cases = list(cases)
    if not len(rows) or not cases:
        return []
    return hits_of(ContaminationIndex(cases, rows if among is None else among).matches(rows), cases)


def hits_of(matches: Iterable[tuple[int, "Match"]], cases: Sequence[Case]) -> list[OverlapHit]:
    """Return the decision about each row with matches, in order."""
    from tuneworthy.cases.contamination_index import COMMON, REASONS

    by_row = grouped(matches)
    quotes = Counter(one.case for some in by_row.values() for one in some if REASONS[one.rank] == "prompt")
    shared = {case for case, n in quotes.items() if n > COMMON}  # a prompt of many rows is no copy of a case
    hits = []
    for row, own in sorted(by_row.items()):
        some = sorted(
            one._replace(doubtful=True) if REASONS[one.rank] == "prompt" and one.case in shared else one for one in own
        )
        first = some[0]
        alike = [cases[one.case].id for one in some if first.doubtful or one[:2] == first[:2]]
        hits.append(
            OverlapHit(row, REASONS[first.rank], -first.minus_score, tuple(dict.fromkeys(alike)), not first.doubtful)
        )
    return hits


def find_overlaps(
    rows: Sequence[R], cases: Iterable[Case], *, among: Sequence[CaseOrExample] | None = None
) -> Overlaps[R]:
    return Overlaps(rows, search(rows, cases, among=among))


def answer_losses(rows: Examples, cases: Iterable[Case], hits: Iterable[OverlapHit]) -> list[AnswerLoss]:
    """Return the rows that each answer loses, the largest share first; empty for free text."""
    from tuneworthy.cases.example_store import answer_counts

    kind = guess_kind(case.expected for case in cases).name
    if kind not in {"label", "json"}:
        return []
    n_rows: Counter[str] = Counter()
    for answer, n in answer_counts(rows).items():
        n_rows[_answer_group(answer, kind)] += n
    n_dropped = Counter(_answer_group(rows[hit.row].answer.strip(), kind) for hit in hits if hit.certain)
    losses = [AnswerLoss(answer, n, n_rows[answer]) for answer, n in n_dropped.items() if n_rows[answer]]
    return sorted(losses, key=lambda loss: (-loss.share, loss.answer))


def _answer_group(answer: str, kind: str) -> str:
    value = parse_object(answer) if kind == "json" else None
    return ", ".join(sorted(value)) if isinstance(value, dict) and value else answer
