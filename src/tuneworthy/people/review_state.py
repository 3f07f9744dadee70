"""How far the review of a version is and what it says, from the file of reviews alone (see `review`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from tuneworthy.cases.labelling import Agreement, Label, agreement
from tuneworthy.people.review_log import Ledger, ReviewPlan, ReviewSample, RowVerdict, SecondSample
from tuneworthy.stats.acceptance import is_accepted, is_rejected
from tuneworthy.stats.confusion import stratified_kappa
from tuneworthy.stats.intervals import clopper_pearson
from tuneworthy.text import plural

ALPHA: Final = 0.05
CONFIDENCE: Final = 1 - ALPHA
# Width of an interval of a share that says nothing.
WIDE: Final = 0.8
Status = Literal["no_plan", "open", "accepted", "rejected"]
# An interval, 95 % unless said otherwise.
Share = tuple[float, float]


def _interval(share: Share) -> str:
    return f"[{share[0]:.1%}, {share[1]:.1%}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectCalibration:
    """What people think of rejected rows, and so how well the rejecting works.

    Attributes:
        sample: The sample.
        n_judged: Of its rows.
        n_good: Of these, good: wrongly rejected.
        wrong: Interval of the share of rejected rows that are good.
        by_reason: Reason to how many were judged, and how many of them were good.
        recall: Interval of the share of all bad rows that were rejected; None without a plan.
        specificity: Interval of the share of all good rows that were kept; None without a plan.
        remaining: Interval of the share of the kept rows that are bad; None without a plan.
        kappa: Of what rejects, against people; None without verdicts on both samples.
        kappa_ci95: Its interval.
        agreement: Of the reviewers.
    """

    sample: SecondSample
    n_judged: int
    n_good: int
    wrong: Share
    by_reason: Mapping[str, tuple[int, int]]
    recall: Share | None = None
    specificity: Share | None = None
    remaining: Share | None = None
    kappa: float | None = None
    kappa_ci95: Share | None = None
    agreement: Agreement

    @property
    def summary(self) -> str:
        """What people think of what was left out, and what follows for the rows that stay, in a sentence."""
        dropped = f"rows dropped for {', '.join(self.sample.asked)}" if self.sample.asked else "dropped rows"
        summary = (
            f"{self.n_good} of {self.n_judged} reviewed {dropped} {plural(self.n_good, 'is', 'are')} good. Estimated "
            f"share of good rows among all {self.sample.n_rows}: {_interval(self.wrong)}. The lower end counts every "
            "unrated row as bad, the upper end as good"
        )
        if self.recall is None or self.specificity is None or self.remaining is None:
            return summary
        if max(high - low for low, high in (self.recall, self.specificity)) > WIDE:
            return summary  # too few rows were rated to say anything
        summary += (
            f". The checks dropped {_interval(self.recall)} of the bad rows and kept "
            f"{_interval(self.specificity)} of the good ones. Of the kept rows, "
            f"{_interval(self.remaining)} are bad"
        )
        if self.kappa is None or self.kappa_ci95 is None:
            return summary
        low, high = self.kappa_ci95
        return f"{summary}. Cohen's kappa between checks and reviewers is {self.kappa:.2f} [{low:.2f}, {high:.2f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far the review of a version is, and its result.

    Attributes:
        version: The version.
        status: Of its plan.
        plan: Its last plan.
        attempts: How many plans there are for all versions.
        n_judged: Rows of the plan's sample with a verdict.
        n_bad: Of these, bad, in whichever sample.
        bad_share: Interval of the share of bad rows among those drawn from. Rows without a verdict count as good at
            its lower end and as bad at its upper, so that stopping early cannot bend it.
        bad: The verdicts on bad rows.
        agreement: Of the reviewers.
        calibration: Of the second sample, if there is one.
        n_refuted: Rows that counted as good when the plan was fixed, and were found bad since: with one of them, the
            plan proves nothing.
        n_caught: Planted bad rows that reviewers rated bad, over all reviewers.
        n_planted: Planted bad rows that reviewers rated, likewise.
        distrusted: Reviewers who missed too many of them, so that their good verdicts do not count.
    """

    version: str
    status: Status
    plan: ReviewPlan | None
    attempts: int
    n_judged: int
    n_bad: int
    bad_share: Share
    bad: tuple[RowVerdict, ...]
    agreement: Agreement
    calibration: RejectCalibration | None
    n_refuted: int = 0
    n_caught: int = 0
    n_planted: int = 0
    distrusted: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The result, in a sentence, and how closely the reviewers looked."""
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
        waiting = plan.n - self.n_judged
        return (
            f"{bad} (at most {plan.max_bad} allowed), and {waiting} of {plan.n} rows "
            f"{plural(waiting, 'remains', 'remain')} to be reviewed"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain data for JSON."""
        document = asdict(self)
        for sample in (document["plan"], (document["calibration"] or {}).get("sample")):
            if sample:
                sample["n"] = len(sample["rows"])
        return {**document, "confidence": CONFIDENCE, "words": self.summary}


def state_of(path: Path, version: str) -> State:
    """Return how far the review of a version is; its rows are not needed."""
    return build_state(Ledger.read(path), version)


def build_state(ledger: Ledger, version: str) -> State:
    """Return how far the review of a version is, from a file that was read."""
    plan = ledger.plan_of(version)
    counts = tally(ledger, plan) if plan else Tally(0, 0, 0, 0)
    rows = {*plan.rows, *plan.known} if plan else set()
    verdicts = [each for each in ledger.verdicts.get(plan.id, []) if each.row in rows] if plan else []
    n_caught, n_planted = ledger.caught_by(plan) if plan else (0, 0)
    return State(
        version=version,
        status=status_of(plan, counts),
        plan=plan,
        attempts=len(ledger.plans),
        n_judged=counts.n_judged,
        n_bad=counts.n_bad,
        bad_share=_share(counts.n_bad, counts.n_proven, plan.n if plan else 0),
        bad=tuple(one for some in ledger.verdicts.values() for one in some if not one.good and one.row in rows),
        agreement=_agreement(verdicts),
        calibration=_calibration(ledger, version, plan, counts),
        n_refuted=counts.n_refuted,
        n_caught=n_caught,
        n_planted=n_planted,
        distrusted=tuple(name for name, trust in ledger.trust_in(plan).items() if trust == "distrusted")
        if plan
        else (),
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


def count(sample: ReviewSample, judged: Mapping[str, bool]) -> tuple[int, int]:
    """Return how many rows of a sample are bad, and how many have a verdict."""
    verdicts = [judged[row] for row in sample.rows if row in judged]
    return verdicts.count(False), len(verdicts)


def status_of(plan: ReviewPlan | None, counts: Tally) -> Status:
    """Return the status of a plan with these verdicts."""
    if plan is None:
        return "no_plan"
    if counts.n_refuted or is_rejected(counts.n_bad, plan.max_bad):
        return "rejected"
    return "accepted" if is_accepted(counts.n_proven - counts.n_bad, plan.n, plan.max_bad) else "open"


def _share(k: int, judged: int, n: int, alpha: float = 0.05) -> Share:
    """Interval of a share where `n - judged` of a sample are not known: each at its worst for either end."""
    return (clopper_pearson(k, n, alpha)[0], clopper_pearson(k + n - judged, n, alpha)[1]) if n else (0.0, 1.0)


def _agreement(verdicts: Iterable[RowVerdict]) -> Agreement:
    labels = {True: "good", False: "bad"}
    return agreement([Label(one.row, one.reviewer, labels[one.good], one.time) for one in verdicts])


def _calibration(ledger: Ledger, version: str, plan: ReviewPlan | None, tallied: Tally) -> RejectCalibration | None:
    sample = ledger.second_of(version)
    if sample is None:
        return None
    verdicts = ledger.judged_in(sample)
    n_bad, n_judged = count(sample, verdicts)
    by_reason: dict[str, list[bool]] = defaultdict(list)
    for row, reason in zip(sample.rows, sample.reasons, strict=True):
        if row in verdicts:
            by_reason[reason].append(verdicts[row])
    calibration = RejectCalibration(
        sample=sample,
        n_judged=n_judged,
        n_good=n_judged - n_bad,
        wrong=_share(n_judged - n_bad, n_judged, len(sample.rows)),
        by_reason={reason: (len(rows), sum(rows)) for reason, rows in sorted(by_reason.items())},
        agreement=_agreement(ledger.verdicts.get(sample.id, ())),
    )
    return calibration if plan is None else _with_rates(calibration, plan, tallied)


def _with_rates(calibration: RejectCalibration, plan: ReviewPlan, tallied: Tally) -> RejectCalibration:
    sample, n_good, n_judged = calibration.sample, calibration.n_good, calibration.n_judged
    n_missed, n_kept_judged = tallied.n_bad, tallied.n_proven
    known_bad = plan.n_known_bad + tallied.n_refuted
    # each interval at 97.5 %, so that both hold at once at 95 %; the best case has the least of either share
    wrong = _share(n_good, n_judged, len(sample.rows), 0.025)
    missed = _share(n_missed, n_kept_judged, plan.n, 0.025)
    best, worst = (_RejectRates.of(plan, sample, known_bad, *shares) for shares in zip(missed, wrong, strict=True))
    kappas: dict[str, Any] = {}
    if n_kept_judged and n_judged and best.kappa is not None and worst.kappa is not None:
        rates = _RejectRates.of(plan, sample, known_bad, n_missed / n_kept_judged, n_good / n_judged)
        kappas = {"kappa": rates.kappa, "kappa_ci95": (worst.kappa, best.kappa)}
    return replace(
        calibration,
        recall=(worst.recall, best.recall),
        specificity=(worst.specificity, best.specificity),
        remaining=(best.remaining, worst.remaining),
        **kappas,
    )


@dataclass(frozen=True, slots=True)
class _RejectRates:
    """What follows from a share of bad rows among the kept and one of good rows among the rejected."""

    recall: float
    specificity: float
    remaining: float
    kappa: float | None

    @classmethod
    def of(cls, plan: ReviewPlan, sample: SecondSample, known_bad: int, missed: float, wrong: float) -> _RejectRates:
        """Return the share of bad rows that were rejected, of good rows that were kept, of kept rows that are bad."""
        kept_bad = missed * (plan.n_rows - plan.n_known) + known_bad
        gone_good = wrong * sample.n_rows
        kept_good, gone_bad = plan.n_rows - kept_bad, sample.n_rows - gone_good
        remaining = kept_bad / plan.n_rows
        kappa = stratified_kappa(plan.n_rows, sample.n_rows, bad_kept=remaining, bad_gone=1 - wrong)
        return cls(_part(gone_bad, kept_bad), _part(kept_good, gone_good), remaining, kappa)


def _part(one: float, other: float) -> float:
    return one / (one + other) if one + other else 1.0
