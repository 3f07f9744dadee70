"""Rows that hold a question of dev or test, dropped and counted."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from tuneworthy.types import Case, Example

R = TypeVar("R", Case, Example)


@dataclass(frozen=True, slots=True)
class Overlap(Generic[R]):
    """A row that overlaps a case.

    Attributes:
        row: The row.
        reason: `exact` (same letters and digits), `ngram` (coverage), `group` (same source).
        score: Share of the case's words that the row covers, 0..1; 1 for `exact` and `group`.
        case_id: The case (of several the one that is covered most).
    """

    row: R
    reason: Literal["exact", "ngram", "group"]
    score: float
    case_id: str


@dataclass(frozen=True, slots=True)
class Overlaps(Generic[R]):
    """What was kept, what was dropped, and the numbers.

    Attributes:
        remaining: Rows that overlap no case, in their order.
        dropped: Rows that do.
        n_rows: Rows that were compared.
        n_cases: Cases that they were compared with.
        n_cases_overlapping: Cases that at least one row overlaps.
        n: Words of an n-gram.
        threshold: Coverage above which a row overlaps.
    """

    remaining: tuple[R, ...]
    dropped: tuple[Overlap[R], ...]
    n_rows: int
    n_cases: int
    n_cases_overlapping: int
    n: int
    threshold: float

    @property
    def by_reason(self) -> dict[str, int]:
        """How many rows were dropped for each reason."""
        counts: Counter[str] = Counter(overlap.reason for overlap in self.dropped)
        return {reason: counts[reason] for reason in ("exact", "ngram", "group")}


def find_overlaps(rows: Sequence[R], cases: Iterable[Case], *, n: int = 8, threshold: float = 0.5) -> Overlaps[R]:
    """Compare the questions of `rows` with those of `cases` by text, by n-grams and by group.

    Args:
        rows: Examples (or dev cases).
        cases: Cases that no row may overlap.
        n: Words of an n-gram, for cases of at least that many words.
        threshold: Coverage of a case, 0..1, above which a row overlaps.
    """
    from tuneworthy.cases.contamination_index import ContaminationIndex

    cases = list(cases)
    index = ContaminationIndex(cases if rows else [], n=n, threshold=threshold)
    dropped: dict[int, Overlap[R]] = {}
    overlapping: set[str] = set()
    for hit in index.find(rows):
        if hit.reason != "edit":
            dropped[hit.row] = Overlap(rows[hit.row], hit.reason, hit.score, hit.case_id)
            overlapping.update(hit.cases)
    remaining = tuple(row for number, row in enumerate(rows) if number not in dropped)
    return Overlaps(remaining, tuple(dropped.values()), len(rows), len(cases), len(overlapping), n, threshold)
