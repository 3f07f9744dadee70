"""Pairs of a better and a worse answer: what makes them teach nothing, or the wrong thing."""

from dataclasses import dataclass, replace

from tuneworthy.cases.normalize import normalise
from tuneworthy.cases.pairs import REJECTED, rejected_answer
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import Example, Examples


@data_check("pairs", masks=True)
class Pairs:
    """Pairs that say the same twice, or whose worse answer the project's first grader scores higher.

    The row stays, and only its worse answer leaves. A grader that compares with an expected answer only has the
    better answer of the pair, so only graders that judge form or run code find a wrong order. A judge is not called.

    Bad: `{"messages": [...], "rejected": "..."}` with the answer itself as the rejected one.
    """

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        pairs = [(number, row) for number, row in enumerate(rows) if rejected_answer(row)]
        scores = context.scores([row for _, row in pairs]) if context.scores and pairs else [(None, None)] * len(pairs)
        for (number, row), (better, worse) in zip(pairs, scores, strict=True):
            answer, rejected = row.answer, rejected_answer(row)
            if answer.strip() == rejected.strip() or (normalise(answer) and normalise(answer) == normalise(rejected)):
                yield RowFinding(row=number, code="same_answer", action="mask")
            elif better is not None and worse is not None and worse > better:
                message = f"the better answer scores {better:.2f}, the worse one {worse:.2f}"
                yield RowFinding(row=number, code="wrong_order", message=message, action="mask")

    def repair(self, row: Example) -> Example:
        return replace(row, meta={key: value for key, value in row.meta.items() if key != REJECTED})


@data_check("pair_length", whole=True, source="arXiv 2403.19159")
@dataclass(frozen=True, slots=True)
class PairLength:
    """Pairs in which the better answer is mostly the longer one, or mostly the shorter one.

    A model that is trained on such pairs learns the length before anything else. Their share is reported if it is above
    `most` (70% by default), and pairs that differ in nothing but chance would hardly show it.

    Bad: the better answer is the longer one in 19 of 20 pairs.
    """

    most: float = 0.7

    def __call__(self, rows: Examples, context: CheckContext) -> RowFindings:
        gaps = [len(row.answer) - len(worse) for row in rows if (worse := rejected_answer(row))]
        for code, n in (("longer", sum(gap > 0 for gap in gaps)), ("shorter", sum(gap < 0 for gap in gaps))):
            if gaps and n > self.most * len(gaps) and clopper_pearson(n, len(gaps))[0] > 0.5:
                message = f"The better answer is the {code} one in {n / len(gaps):.1%} of pairs ({n} of {len(gaps)})."
                yield RowFinding(code=f"better_is_{code}", message=message)
