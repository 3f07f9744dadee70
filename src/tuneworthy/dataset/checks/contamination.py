"""Rows that hold a test question: the same text, most of the words of a case, or one word apart from it.

`cases.contamination_index` finds them; this check decides which of them leave a dataset.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tuneworthy.cases.contamination_index import ContaminationIndex
from tuneworthy.cases.normalize import question_of, words
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import DATA_CHECKS, Action, CheckContext, RowFinding
from tuneworthy.types import Example

# Words of a question from which another one, one word apart, is dropped and not only reported.
LONG: Final = 8
# Code of a row that may well mean something else than the case: no gate bars it.
SHORT_EDIT: Final = "overlap_short_edit"


@DATA_CHECKS.rule(
    "contamination",
    codes=messages.REASONS["contamination"],
    gate=frozenset(messages.REASONS["contamination"]) - {SHORT_EDIT},
    certain=True,
)
@dataclass(frozen=True, slots=True)
class Contamination:
    """Rows whose question overlaps with a question of dev or test.

    A score on test means nothing if the model was trained on its questions. Rows with the same letters and digits,
    rows that hold most words of a case in stretches of `n` words, rows one word away from it, and rows of a case's
    group are dropped. A question of fewer than 8 words that is one word away may well mean something else ("how do I
    block my card", "how do I find my card"): it is reported. `paraphrases` finds the same question in other words.

    Bad: a training row "Where's my card?" beside the test question "where is my card".
    """

    n: int = 8
    threshold: float = 0.5
    short_edit: Action = "report"

    def __call__(self, rows: Sequence[Example], context: CheckContext) -> Iterator[RowFinding]:
        for hit in ContaminationIndex(context.cases, n=self.n, threshold=self.threshold).find(rows):
            short = hit.reason == "edit" and len(words(question_of(rows[hit.row]))) < LONG
            code, action = (SHORT_EDIT, self.short_edit) if short else (f"overlap_{hit.reason}", "drop")
            yield RowFinding(
                row=hit.row, code=code, message=messages.say("case", case=hit.case_id), score=hit.score, action=action
            )
