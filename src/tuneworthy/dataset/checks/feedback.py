"""Rows whose answer people disliked, corrected or had to take over."""

from dataclasses import replace

from tuneworthy.dataset import messages
from tuneworthy.dataset.base import DATA_CHECKS, CheckContext, RowFinding, RowFindings
from tuneworthy.dataset.corrections import scales_of
from tuneworthy.people.feedback import Scales, settle
from tuneworthy.types import Example, Examples, content_hash


@DATA_CHECKS.rule(
    "feedback",
    codes=messages.REASONS["feedback"] | messages.CORRECTION,
    gate=frozenset(messages.REASONS["feedback"]),
    whole=True,
    certain=True,
    version=2,
)
class FeedbackCheck:
    """Rows that production marked as bad: a thumbs-down, a low rating, an escalation, a correction.

    The model's own bad answers must not be trained on. A correction replaces the answer (the row is repaired); without
    its text the row is dropped. The scale of a rating depends on all ratings of its key.

    Bad: `{"messages": [...], "feedback": {"thumbs": "down"}}`.
    """

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        if not context.rated:
            return
        scales = scales_of(rows)
        for number, row in enumerate(rows):
            settled = settle(row.messages, row.meta, scales) if row.messages else None
            if settled and settled.drops:
                yield RowFinding(row=number, code=settled.drops)
            elif settled and settled.repaired:
                yield RowFinding(row=number, code="correction", action="mask")

    def repair(self, row: Example) -> Example:
        settled = settle(row.messages, row.meta, Scales())
        if not settled.repaired:
            return row
        return replace(row, messages=settled.messages, meta=settled.meta, id=content_hash(settled.messages))
