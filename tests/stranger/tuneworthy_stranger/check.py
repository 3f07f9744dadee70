"""The data check `shouting`: rows whose answer is written in capitals leave the dataset."""

from tuneworthy.dataset.base import DATA_CHECKS, CheckContext, RowFinding, RowFindings
from tuneworthy.types import Examples


@DATA_CHECKS.rule("shouting", codes={"shouting": "the answer is written in capitals"})
def shouting(rows: Examples, context: CheckContext) -> RowFindings:
    """Rows whose answer is written in capitals.

    Bad: `{"messages": [{"role": "user", ...}, {"role": "assistant", "content": "RED"}]}`.
    """
    for number, row in enumerate(rows):
        if row.answer.isupper():
            yield RowFinding(row=number, code="shouting")
