"""Rows that a language model calls bad; who asks it, and how, is the business of `curate.audit`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from tuneworthy.dataset.base import WHOLE_SET, Action, Context, Finding, check
from tuneworthy.types import Example


@check("judge_audit")
@dataclass(frozen=True, slots=True)
class JudgeAudit:
    """Rows that a judge, a model of the project named in `[data.judge]`, calls bad.

    It is asked about each row through the store of answers and the budget of the project, says good or bad and nothing
    else, and sees no personal data. Before the first row it is shown worthless answers: a judge that calls one of them
    good is refused. A row without a verdict stays and is reported. A judge is no reviewer: it misses bad rows and drops
    good ones. `tuneworthy data review start` judges a sample of what it kept, `data review rejected --reason judged_bad`
    one of what it dropped; together they tell its kappa, and how many bad rows are left.

    Bad: an answer that is fluent, polite, and not true.
    """

    action: Action = "drop"

    code: ClassVar[str]
    reasons: ClassVar = {
        "judged_bad": "the judge calls the answer bad",
        "not_judged": "the judge gave no verdict",
        "judged": "what the judge says of all rows",
    }
    whole: ClassVar = True

    def find(self, rows: Sequence[Example], context: Context) -> Iterator[Finding]:
        """Yield a finding for each row that is bad or has no verdict, and the shares of the whole set."""
        if context.auditor is None or not rows:
            return
        told = context.auditor.audit(rows)
        for number, opinion in enumerate(told.rows):
            if opinion.good is None:
                yield Finding(number, "not_judged", opinion.why, action="report")
            elif not opinion.good:
                yield Finding(number, "judged_bad", action=self.action)
        yield _summary([one.good for one in told.rows], told.n_canaries)


def _summary(said: Sequence[bool | None], n_canaries: int) -> Finding:
    from tuneworthy.stats.intervals import clopper_pearson

    n_bad, n_missing = said.count(False), said.count(None)
    n = len(said) - n_missing
    low, high = clopper_pearson(n_bad, n) if n else (0.0, 1.0)
    share = n_bad / n if n else 0.0
    words = (
        f"the judge calls {n_bad} of {n} rows bad, {share:.1%} [{low:.1%}, {high:.1%}], and gave no verdict on "
        f"{n_missing}; of {n_canaries} worthless answers it called none good"
    )
    return Finding(WHOLE_SET, "judged", words, score=share, action="report")
