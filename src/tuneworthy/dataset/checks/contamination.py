"""Rows that hold a test question: the same text, most of the words of a case, or one or two words apart from it.

`cases.contamination_index` finds them; this check decides which of them leave a dataset.
"""

from collections import Counter

import numpy as np

from tuneworthy.cases.contamination_index import ContaminationIndex, Match
from tuneworthy.cases.dataset import answer_losses, hits_of
from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.dataset.columns import Arrays, MappedCheck, Mapper, RowColumns
from tuneworthy.types import Examples

# Code of a row that may well mean something else than the case: no gate bars it.
POSSIBLE = "overlap_possible"
_ON_SET = frozenset({"overlap_price"})
# A `Match` as numbers.
_MATCH = np.dtype([("doubtful", "?"), ("rank", "i1"), ("minus_score", "f8"), ("case", "i4")])
# Answers whose price is shown, the dearest.
_SHOWN = 5


@data_check(
    "contamination",
    gate=frozenset(messages.REASONS["contamination"]) - {POSSIBLE, *_ON_SET},
    whole=True,
    version=8,
    certain=True,
)
class ContaminationCheck(MappedCheck):
    """Rows whose question overlaps with a question of dev or test.

    A score on test means nothing if the model was trained on its questions. Rows with the same letters and digits
    (letters of other scripts count as those that they look like), and rows of a case's group, are always dropped. So
    are rows that contain most words of a case in stretches of `n` words, rows one or two words away from it, and rows
    whose system prompt or earlier turn quotes it; but where the text is not equal and the answer is another one ("how
    do I block my card", "how do I find my card"), they are only reported. So are rows that ask something else about a
    passage which a case has as well, unless they have its answer. A stretch that more than 20 rows contain is a pattern
    and does not count, unless the row contains over 80% of the case. A reworded case is not found.

    Bad: a training row "Where's my card?" and the test question "where is my card".
    """

    def mapper(self, rows: Examples, context: CheckContext) -> Mapper:
        index = ContaminationIndex(context.cases, rows) if context.cases and len(rows) else None

        def read(some: Examples) -> Arrays:
            found = [*index.matches(some)] if index else []
            return {
                "rows": np.array([row for row, _ in found], np.int64),
                "matches": np.array([match for _, match in found], _MATCH),
            }

        return read

    def join(self, columns: RowColumns, rows: Examples, context: CheckContext) -> RowFindings:
        hits = hits_of(
            (
                (number * columns.batch + row, Match(*match))
                for number, part in enumerate(columns.parts)
                for row, match in zip(part["rows"].tolist(), part["matches"].tolist(), strict=True)
            ),
            list(context.cases),
        )
        shared: Counter[str] = Counter()
        for hit in hits:
            if hit.reason == "prompt" and not hit.certain:
                shared[hit.case_id] += 1
                continue
            yield RowFinding(
                row=hit.row,
                code=f"overlap_{hit.reason}" if hit.certain else POSSIBLE,
                message=messages.say("case", case=hit.case_id),
                score=hit.score,
                action="drop" if hit.certain else "report",
            )
        for case, n in shared.items():
            yield RowFinding(
                code=POSSIBLE,
                message=(
                    f"The system prompt or an earlier turn of {n} rows quotes the question of case {case}. Remove the "
                    "question from the prompt. These rows are kept."
                ),
            )
        n_dropped = sum(hit.certain for hit in hits)
        if losses := answer_losses(rows, context.cases, hits):
            dearest = "; ".join(
                f"{one.answer[:60]}: {one.n_dropped} of {one.n_rows} ({one.share:.1%})" for one in losses[:_SHOWN]
            )
            yield RowFinding(
                code="overlap_price",
                message=messages.say("price", n=n_dropped, share=n_dropped / len(rows), dearest=dearest),
            )
