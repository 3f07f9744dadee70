"""Whether as many rows decline as there are questions in real traffic that cannot be answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tuneworthy.dataset import messages
from tuneworthy.dataset.base import DATA_CHECKS, WHOLE_SET, CheckContext, RowFinding
from tuneworthy.graders.declining import Declines
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import Case, Example

MIN_CASES = 30
"""Labelled cases from which their share of unanswerable questions says something."""


@dataclass(frozen=True, slots=True)
class DeclinedShares:
    """Declined answers among the rows, and questions that cannot be answered among the labelled cases."""

    n_declined: int
    n_rows: int
    n_unanswerable: int
    n_cases: int

    @property
    def verdict(self) -> str:
        """`too_many`, `too_few` or "": whether the rows' share lies outside the interval (95 %) of the cases' one."""
        if self.n_cases < MIN_CASES or not self.n_rows:
            return ""
        low, high = clopper_pearson(self.n_unanswerable, self.n_cases)
        share = self.n_declined / self.n_rows
        return "too_many" if share > high else "too_few" if share < low else ""

    def __str__(self) -> str:
        return messages.DECLINED_SHARES.format(
            declined=self.n_declined,
            rows=self.n_rows,
            declined_share=self.n_declined / max(1, self.n_rows),
            unanswerable=self.n_unanswerable,
            cases=self.n_cases,
            unanswerable_share=self.n_unanswerable / max(1, self.n_cases),
        )


def shares(rows: Sequence[Example], cases: Sequence[Case]) -> DeclinedShares:
    """Count declined answers in `rows` and unanswerable questions in the labelled `cases`."""
    declines = Declines()
    labelled = [case for case in cases if case.labelled]
    n_declined = sum(not row.messages[-1].get("tool_calls") and declines.text(row.answer) for row in rows if row.answer)
    return DeclinedShares(n_declined, len(rows), sum(case.expected is None for case in labelled), len(labelled))


@DATA_CHECKS.rule("declined_share", codes=messages.REASONS["declined_share"], whole=True)
def declined_share(rows: Sequence[Example], context: CheckContext) -> Iterator[RowFinding]:
    """More or fewer declined answers among the rows than unanswerable questions in real traffic.

    A model that sees too many "I don't know" declines what it could answer; one that sees none invents answers. No
    share is right everywhere, so it is compared with the labelled cases: a share outside their 95% interval is
    reported.

    Bad: no row declines, and 20 % of the cases have no answer.
    """
    found = shares(rows, context.cases)
    if found.verdict:
        yield RowFinding(row=WHOLE_SET, code=f"{found.verdict}_declined", message=str(found), action="report")
