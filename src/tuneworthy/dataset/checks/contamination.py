"""Rows that hold a test question: the same text, most of the words of a case, or one word apart from it.

`cases.contamination_index` finds them; this check says which of them leave a dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from tuneworthy.cases.contamination_index import ContaminationIndex
from tuneworthy.cases.normalize import question_of, words
from tuneworthy.dataset.base import Action, Context, Finding, check
from tuneworthy.types import Example

LONG: Final = 8
"""Words of a question from which another one, one word apart, is dropped and not only reported."""
SHORT_EDIT: Final = "overlap_short_edit"
"""Reason for a row that may well mean something else than the case: no gate bars it."""


@check("contamination")
@dataclass(frozen=True, slots=True)
class Contamination:
    """Rows whose question gives a question of dev or test away.

    A score on test means nothing if the model was trained on its questions. Rows with the same letters and digits,
    rows that hold most words of a case in stretches of `n` words, rows one word apart from it, and rows of a case's
    group are dropped. A question of fewer than 8 words that is one word apart may well mean something else ("how do I
    block my card", "how do I find my card"): it is reported. What says the same in other words is looked for by
    `paraphrases`.

    Bad: a training row "Where's my card?" beside the test question "where is my card".
    """

    n: int = 8
    threshold: float = 0.5
    short_edit: Action = "report"

    code: ClassVar[str]
    reasons: ClassVar = {
        "overlap_exact": "the question of a case, letter by letter",
        "overlap_ngram": "most words of a case's question",
        "overlap_edit": "a case's question but for one word",
        "overlap_short_edit": "a short question one word apart from a case's",
        "overlap_group": "the same source as a case",
    }
    whole: ClassVar = False
    gate: ClassVar = frozenset({"overlap_exact", "overlap_ngram", "overlap_edit", "overlap_group"})

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield one finding for each row that overlaps."""
        for hit in ContaminationIndex(context.cases, n=self.n, threshold=self.threshold).find(rows):
            short = hit.reason == "edit" and len(words(question_of(rows[hit.row]))) < LONG
            reason, action = (SHORT_EDIT, self.short_edit) if short else (f"overlap_{hit.reason}", "drop")
            yield Finding(hit.row, reason, f"case {hit.case_id}", score=hit.score, action=action)
