"""Pairs of a better and a worse answer: what makes them teach nothing, or the wrong thing."""

from dataclasses import replace

from tuneworthy.cases.normalize import normalise
from tuneworthy.cases.pairs import REJECTED, rejected_answer
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.dataset.rows import rows_with
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import Examples

# Share of the pairs above which the longer, or the shorter, answer is the better one too often.
_MOST = 0.7


@data_check("pairs", calls=True)
def pairs(rows: Examples, context: CheckContext) -> RowFindings:
    """Pairs that say the same twice, or whose worse answer the project's first grader scores higher.

    The row stays, and only its worse answer leaves. A grader that compares with an expected answer only has the
    better answer of the pair, so only graders that judge form or run code find a wrong order. A judge is not called.

    Bad: `{"messages": [...], "rejected": "..."}` with the answer itself as the rejected one.
    """

    numbers = [number for number, row in rows_with(rows, REJECTED) if rejected_answer(row)]
    scores = context.scores([rows[n] for n in numbers]) if context.scores and numbers else [(None, None)] * len(numbers)
    for number, (better, worse) in zip(numbers, scores, strict=True):
        row, code, message = rows[number], "", ""
        answer, rejected = row.answer, rejected_answer(row)
        if answer.strip() == rejected.strip() or (normalise(answer) and normalise(answer) == normalise(rejected)):
            code = "same_answer"
        elif better is not None and worse is not None and worse > better:
            code, message = "wrong_order", f"the better answer scores {better:.2f}, the worse one {worse:.2f}"
        if code:
            yield RowFinding(
                row=number,
                code=code,
                message=message,
                action="mask",
                changed=replace(row, meta={key: value for key, value in row.meta.items() if key != REJECTED}),
            )


@data_check("pair_length", whole=True, source="arXiv 2403.19159")
def pair_length(rows: Examples, context: CheckContext) -> RowFindings:
    """Pairs in which the better answer is mostly the longer one, or mostly the shorter one.

    A model that is trained on such pairs learns the length before anything else. Their share is reported if it is above
    70%, and pairs that differ in nothing but chance would hardly show it.

    Bad: the better answer is the longer one in 19 of 20 pairs.
    """

    gaps = [len(row.answer) - len(worse) for _, row in rows_with(rows, REJECTED) if (worse := rejected_answer(row))]
    for code, n in (("longer", sum(gap > 0 for gap in gaps)), ("shorter", sum(gap < 0 for gap in gaps))):
        if gaps and n > _MOST * len(gaps) and clopper_pearson(n, len(gaps))[0] > 0.5:
            yield RowFinding(
                code=f"better_is_{code}",
                message=f"The better answer is the {code} one in {n / len(gaps):.1%} of pairs ({n} of {len(gaps)}).",
            )
