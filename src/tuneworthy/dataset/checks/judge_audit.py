"""Rows that a language model calls bad; `dataset.judge_auditor` asks it."""

from tuneworthy.dataset import messages
from tuneworthy.dataset.base import CheckContext, RowFinding, RowFindings, data_check
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.types import Examples


@data_check("judge_audit", whole=True)
def judge_audit(rows: Examples, context: CheckContext) -> RowFindings:
    """Rows that a judge, a model of the project named in `[data.judge]`, calls bad.

    The judge gets each row through the project's store of answers and its budget, says good or bad and nothing else,
    and sees no personal data. Before the first row it is shown worthless answers: a judge that calls such an answer
    good is refused. A row without a verdict stays and is reported. A judge does not replace a reviewer: it misses bad
    rows and drops good rows. Review a sample of the kept rows with `tuneworthy label review`, and read the
    dropped rows in the page of `tuneworthy report data`.

    Bad: an answer that is fluent, polite, and not true.
    """

    if context.auditor is None or not rows:
        return
    audit = context.auditor(rows)
    for number, (good, why) in enumerate(audit.opinions):
        if good is None:
            yield RowFinding(row=number, code="not_judged", message=why, action="report")
        elif not good:
            yield RowFinding(row=number, code="judged_bad")
    verdicts = [good for good, _ in audit.opinions]
    n_bad, n_missing = verdicts.count(False), verdicts.count(None)
    n = len(verdicts) - n_missing
    (low, high), share = (clopper_pearson(n_bad, n), n_bad / n) if n else ((0.0, 1.0), 0.0)
    yield RowFinding(
        code="judged",
        message=messages.say(
            "judged", n=n, share=share, low=low, high=high, missing=n_missing, canaries=audit.n_canaries
        ),
        score=share,
    )
