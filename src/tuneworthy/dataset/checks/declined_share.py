"""Whether as many rows decline as there are questions in real traffic that cannot be answered."""

from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.graders.declining import Declines
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import Examples, calls_of

# Labelled cases from which their share of unanswerable questions means something.
MIN_CASES = 30


@data_check("declined_share", whole=True)
def declined_share(rows: Examples, context: CheckContext) -> RowFindings:
    """More or fewer declined answers among the rows than unanswerable questions in real traffic.

    A model that sees too many "I don't know" declines answerable questions; without any it invents answers. No
    share is right everywhere, so it is compared with the labelled cases: a share outside their 95% interval is
    reported.

    Bad: no row declines, and 20 % of the cases have no answer.
    """
    declines = Declines()
    expected = [case.expected for case in context.cases if case.labelled]
    if len(expected) < MIN_CASES or not rows:
        return
    n_unanswerable = sum(answer is None for answer in expected)
    n_declined = sum(not calls_of(row.messages[-1]) and declines.text(row.answer) for row in rows if row.answer)
    low, high = clopper_pearson(n_unanswerable, len(expected))
    if not low <= n_declined / len(rows) <= high:
        message = (
            f"The assistant declines to answer in {n_declined / len(rows):.1%} of rows ({n_declined} of "
            f"{len(rows)}). The share of unanswerable cases is {n_unanswerable / len(expected):.1%} "
            f"({n_unanswerable} of {len(expected)})."
        )
        yield RowFinding(
            code="too_many_declined" if n_declined / len(rows) > high else "too_few_declined", message=message
        )
