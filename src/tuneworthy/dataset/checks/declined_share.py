"""Whether as many rows decline as there are questions in real traffic that cannot be answered."""

from typing import Any

import numpy as np

from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.dataset.columns import MappedCheck, Mapper, RowColumns
from tuneworthy.graders.declining import Declines
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import Examples, calls_of

# Labelled cases from which their share of unanswerable questions means something.
MIN_CASES = 30


@data_check("declined_share", whole=True)
class DeclinedShare(MappedCheck):
    """More or fewer declined answers among the rows than unanswerable questions in real traffic.

    A model that sees too many "I don't know" declines answerable questions; without any it invents answers. No
    share is right everywhere, so it is compared with the labelled cases: a share outside their 95% interval is
    reported.

    Bad: no row declines, and 20 % of the cases have no answer.
    """

    def mapper(self, rows: Examples, context: CheckContext) -> Mapper:
        declines = Declines()
        wanted = len(_expected(context)) >= MIN_CASES
        return lambda some: {
            "declined": np.array(
                [
                    bool(row.answer) and not calls_of(row.messages[-1]) and declines.text(row.answer)
                    for row in (some if wanted else ())
                ],
                bool,
            )
        }

    def join(self, columns: RowColumns, rows: Examples, context: CheckContext) -> RowFindings:
        expected = _expected(context)
        if len(expected) < MIN_CASES or not rows:
            return
        n_unanswerable = sum(answer is None for answer in expected)
        n_declined = int(columns.whole("declined").sum())
        low, high = clopper_pearson(n_unanswerable, len(expected))
        if not low <= n_declined / len(rows) <= high:
            yield RowFinding(
                code="too_many_declined" if n_declined / len(rows) > high else "too_few_declined",
                message=f"The assistant declines to answer in {n_declined / len(rows):.1%} of rows ({n_declined} of "
                f"{len(rows)}). The share of unanswerable cases is {n_unanswerable / len(expected):.1%} "
                f"({n_unanswerable} of {len(expected)}).",
            )


def _expected(context: CheckContext) -> list[Any]:
    return [case.expected for case in context.cases if case.labelled]
