"""Answers that too many rows share."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from tuneworthy.cases.task_kind import label_counts, parse_object
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.stats.intervals import wilson
from tuneworthy.types import Examples, canonical, grouped

# In fewer rows, shares say nothing.
MIN_ROWS = 50


@data_check("concentration", whole=True, version=7)
@dataclass(frozen=True, slots=True)
class Concentration:
    """One answer that makes up much of the rows.

    Logs repeat the most frequent answers, and a model trained on them prefers these. An answer is cut to `cap` of the
    rows, or to the upper end of the 95% interval of its share of the cases if that is more, but never below twice the
    even share of an answer. Rows to drop are drawn at random.

    Bad: 30 % of the rows have the answer `{"people": 2}`.
    """

    cap: float = 0.1

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        places = grouped((_same(row.answer), number) for number, row in enumerate(rows))
        cases: dict[str, int] = defaultdict(int)
        for answer, n in label_counts(context.cases).items():
            cases[_same(answer)] += n
        rng, n_cases = np.random.default_rng(context.seed), sum(cases.values())
        n_single = sum(len(own) == 1 for own in places.values())
        n_answers = len(places) - (n_single if n_single < self.cap * len(rows) else 0)
        for answer, own in places.items() if len(rows) >= MIN_ROWS else ():
            share = max(self.cap, 2 / max(1, n_answers), wilson(cases[answer], n_cases)[1] if answer in cases else 0.0)
            stay = int((len(rows) - len(own)) * share / (1 - share)) if share < 1 else len(own)
            for number in rng.permutation(own)[max(1, stay) :].tolist():
                detail = f"{len(own) / len(rows):.1%} of the rows have this answer"
                yield RowFinding(row=number, code="over_cap", message=detail)


def _same(answer: str) -> str:
    value = parse_object(answer)
    return canonical(value).decode() if isinstance(value, dict) else answer.strip()
