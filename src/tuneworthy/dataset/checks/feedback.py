"""Rows whose answer people disliked, corrected or had to take over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from tuneworthy.dataset.base import Context, Finding, check
from tuneworthy.dataset.importing.feedback import WORDS, Scales, settle
from tuneworthy.types import Example, content_hash


@check("feedback")
@dataclass(frozen=True, slots=True)
class Feedback:
    """Rows that production marked as bad: a thumbs-down, a low rating, an escalation, a correction.

    The model's own bad answers must not be trained in. A correction takes the place of the answer (the row is
    repaired); without its text the row is dropped. What a rating means depends on all ratings of its key.

    Bad: `{"messages": [...], "feedback": {"thumbs": "down"}}`.
    """

    code: ClassVar[str]
    reasons: ClassVar = {**WORDS, "correction": "the correction takes the place of the answer"}
    whole: ClassVar = True
    gate: ClassVar = frozenset(WORDS)

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield one finding for each row that is to be dropped or repaired."""
        scales = Scales()
        for row in rows:
            scales.see_row(row.messages, row.meta)
        for number, row in enumerate(rows):
            settled = settle(row.messages, row.meta, scales) if row.messages else None
            if settled and settled.drops:
                yield Finding(number, settled.drops)
            elif settled and settled.repaired:
                yield Finding(number, "correction", action="mask")

    def repair(self, row: Example) -> Example:
        """Return `row` with the correction in the place of the answer."""
        settled = settle(row.messages, row.meta, Scales())
        if not settled.repaired:
            return row
        return replace(row, messages=settled.messages, meta=settled.meta, id=content_hash(settled.messages))
