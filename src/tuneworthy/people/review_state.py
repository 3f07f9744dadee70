"""How far the review of a version is and what it says, from the file of reviews alone (see `review`)."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

from tuneworthy.cases.labelling import Agreement, Label, agreement
from tuneworthy.people.review_log import Ledger, ReviewPlan, RowVerdict
from tuneworthy.stats.acceptance import is_accepted, is_rejected
from tuneworthy.text import plural
from tuneworthy.types import JsonObject, TextTuple, frozen

ALPHA = 0.05
CONFIDENCE = 1 - ALPHA
Status = Literal["no_plan", "open", "accepted", "rejected"]


@frozen
class State:
    """How far the review of a version is, and its result.

    Attributes:
        version: The version.
        status: Of its plan.
        plan: Its last plan.
        attempts: How many plans there are for all versions.
        agreement: Of the reviewers.
        n_judged: Rows of the plan's sample with a verdict.
        n_bad: Of these, bad, in whichever sample.
        bad: The verdicts on bad rows.
        n_refuted: Rows that counted as good when the plan was fixed, and were found bad since: with one of them, the
            plan proves nothing.
        n_caught: Planted bad rows that reviewers rated bad, over all reviewers.
        n_planted: Planted bad rows that reviewers rated, likewise.
        distrusted: Reviewers who missed too many of them, so that their good verdicts do not count.
        n_rated: Rows that someone rated, planted rows included.
    """

    version: str
    status: Status
    plan: ReviewPlan | None
    attempts: int
    agreement: Agreement
    n_judged: int = 0
    n_bad: int = 0
    bad: tuple[RowVerdict, ...] = ()
    n_refuted: int = 0
    n_caught: int = 0
    n_planted: int = 0
    distrusted: TextTuple = ()
    n_rated: int = 0

    @property
    def summary(self) -> str:
        return self._result + self._vigilance

    @property
    def _vigilance(self) -> str:
        if self.plan is None:
            return ""
        # while a reviewer goes on, the number would say which of the last rows was planted
        decided = self.status != "open" and self.n_planted
        text = f". The reviewers caught {self.n_caught} of {self.n_planted} planted bad rows" if decided else ""
        if self.status == "accepted" and not self.plan.planted:
            text = ". No planted bad rows tested the reviewers"
        if self.distrusted:
            text += (
                f". The good ratings of {', '.join(self.distrusted)} do not count, because they missed too many "
                "planted bad rows: other people must rate these rows"
            )
        return text

    @property
    def _result(self) -> str:
        plan = self.plan
        if plan is None:
            return "there is no review plan yet, so no row has been reviewed"
        if self.status == "rejected" and self.n_refuted and not is_rejected(self.n_bad, plan.max_bad):
            return (
                f"the review no longer shows that at least {plan.bound:.1%} of the rows are good. Rows that the plan "
                f"counted as good turned out to be bad (n = {self.n_refuted})"
            )
        bad = f"{self.n_bad} of {self.n_judged} reviewed rows {plural(self.n_bad, 'is', 'are')} bad"
        if self.status == "accepted":
            return (
                f"at least {plan.bound:.1%} of the {plan.n_rows} rows are good, at {CONFIDENCE:.0%} confidence over "
                f"all attempts. In attempt {plan.attempt}, {bad} (at most {plan.max_bad} allowed)"
            )
        if self.status == "rejected":
            return (
                f"the review does not show that at least {plan.bound:.1%} of the rows are good: {bad}, but the plan "
                f"allows at most {plan.max_bad}"
            )
        # with planted rows, and without bad ratings: a difference would say which of the last rows was planted
        return f"{self.n_rated} of {len(plan.shown)} rows are rated, and at most {plan.max_bad} may be bad"

    def to_dict(self) -> JsonObject:
        plan = {**asdict(self.plan), "n": self.plan.n} if self.plan else None
        return {**asdict(self), "plan": plan, "confidence": CONFIDENCE, "words": self.summary}


def state_of(path: Path, version: str) -> State:
    return build_state(Ledger.read(path), version)


def build_state(ledger: Ledger, version: str) -> State:
    plan, attempts = ledger.plan_of(version), len(ledger.plans)
    if plan is None:
        return State(version=version, status="no_plan", plan=None, attempts=attempts, agreement=agreement(()))
    counts, rows, verdicts = tally(ledger, plan), {*plan.rows, *plan.known}, ledger.verdicts.get(plan.id, [])
    n_caught, n_planted = ledger.caught_by(plan)
    return State(
        version=version,
        status=status_of(plan, counts),
        plan=plan,
        attempts=attempts,
        n_judged=counts.n_judged,
        n_bad=counts.n_bad,
        bad=tuple(one for some in ledger.verdicts.values() for one in some if not one.good and one.row in rows),
        agreement=agreement(
            Label(one.row, one.reviewer, "good" if one.good else "bad", one.time) for one in verdicts if one.row in rows
        ),
        n_refuted=counts.n_refuted,
        n_caught=n_caught,
        n_planted=n_planted,
        distrusted=tuple(name for name, trust in ledger.trust_in(plan).items() if trust == "distrusted"),
        n_rated=len({one.row for one in verdicts}),
    )


class Tally(NamedTuple):
    """What the verdicts on the rows of a plan add up to.

    Attributes:
        n_bad: Bad rows.
        n_judged: Rows with a verdict, also a good one of a reviewer who has not judged all planted rows yet.
        n_proven: Rows that are bad, or good as said by a reviewer who noticed the planted rows.
        n_refuted: Rows that were known as good and found bad since.
    """

    n_bad: int
    n_judged: int
    n_proven: int
    n_refuted: int


def tally(ledger: Ledger, plan: ReviewPlan) -> Tally:
    """Add up the verdicts on the rows of a plan.

    A verdict that a row is good counts in its own sample only; one that it is bad counts in all.
    """
    bad = dict.fromkeys((row for row, good in ledger.judged().items() if not good), False)
    n_bad, n_proven = count(plan, ledger.judged_in(plan) | bad)
    _, n_judged = count(plan, ledger.judged_in(plan, unfinished=True) | bad)
    return Tally(n_bad, n_judged, n_proven, max(0, sum(row in bad for row in plan.known) - plan.n_known_bad))


def count(plan: ReviewPlan, judged: Mapping[str, bool]) -> tuple[int, int]:
    verdicts = [judged[row] for row in plan.rows if row in judged]
    return verdicts.count(False), len(verdicts)


def status_of(plan: ReviewPlan, counts: Tally) -> Status:
    if counts.n_refuted or is_rejected(counts.n_bad, plan.max_bad):
        return "rejected"
    return "accepted" if is_accepted(counts.n_proven - counts.n_bad, plan.n, plan.max_bad) else "open"
