"""How far the review of a version is and what it says, from the file of reviews alone (see `review`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tuneworthy.cases.labelling import Agreement, Label, agreement
from tuneworthy.dataset.review.log import Drawn, Ledger, Plan, RowVerdict, SecondSample
from tuneworthy.stats.acceptance import is_accepted, is_rejected
from tuneworthy.stats.confusion import stratified_kappa
from tuneworthy.stats.intervals import clopper_pearson

ALPHA: Final = 0.05
CONFIDENCE: Final = 1 - ALPHA
Status = Literal["no_plan", "open", "accepted", "rejected"]
Share = tuple[float, float]
"""An interval, 95 % unless said otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What people say of rejected rows, and so how well the rejecting works.

    Attributes:
        sample: The sample. n_judged: Of its rows. n_good: Of these, good: wrongly rejected.
        wrong: Interval of the share of rejected rows that are good.
        by_reason: Reason to how many were judged, and how many of them were good.
        caught: Interval of the share of all bad rows that were rejected (sensitivity); None without a plan.
        spared: Interval of the share of all good rows that were kept (specificity); None without a plan.
        left: Interval of the share of the kept rows that are bad; None without a plan.
        kappa, kappa_ci95: Of what rejects, against people; None without verdicts on both samples.
        agreement: Of the reviewers.
    """

    sample: SecondSample
    n_judged: int
    n_good: int
    wrong: Share
    by_reason: Mapping[str, tuple[int, int]]
    caught: Share | None
    spared: Share | None
    left: Share | None
    kappa: float | None
    kappa_ci95: Share | None
    agreement: Agreement

    @property
    def words(self) -> str:
        """What people say of what was left out, and what follows for the rows that stay, in a sentence."""
        what = f"left out for {', '.join(self.sample.asked)}" if self.sample.asked else "left out"
        low, high = self.wrong
        words = (
            f"of {self.n_judged} judged rows that were {what}, {self.n_good} are good: [{low:.1%}, {high:.1%}] of all "
            f"{self.sample.n_rows} (rows without a verdict count either way)"
        )
        if self.caught is None or self.spared is None or self.left is None:
            return words
        parts = ((self.caught, "bad rows were left out"), (self.spared, "good rows were kept"),
                 (self.left, "rows that stay are bad"))  # fmt: skip
        words += "".join(f"; [{low:.1%}, {high:.1%}] of the {said}" for (low, high), said in parts)
        if self.kappa is not None and self.kappa_ci95 is not None:
            words += f"; kappa {self.kappa:.2f} [{self.kappa_ci95[0]:.2f}, {self.kappa_ci95[1]:.2f}]"
        return words


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far the review of a version is, and what it says.

    Attributes:
        version: Which. plan: Its last plan. attempts: How many plans there are for all versions.
        n_judged: Rows of the plan's sample with a verdict. n_bad: Of these, bad, whatever sample it was said in.
        n_refuted: Rows that were known as good when the plan was fixed, and of which somebody said since that they are
            bad: with one of them, the plan proves nothing.
        bad_share: Interval of the share of bad rows among those drawn from. Rows without a verdict count as good at
            its lower end and as bad at its upper, so that stopping early cannot bend it.
        bad: What was said of bad rows.
        agreement: Of the reviewers. calibration: Of the second sample, if there is one.
    """

    version: str
    status: Status
    plan: Plan | None
    attempts: int
    n_judged: int
    n_bad: int
    bad_share: Share
    bad: tuple[RowVerdict, ...]
    agreement: Agreement
    calibration: Calibration | None
    n_refuted: int = 0

    @property
    def words(self) -> str:
        """What the review says, in a sentence."""
        plan = self.plan
        if plan is None:
            return "no plan is fixed, so nothing was reviewed"
        if self.status == "accepted":
            return (
                f"at least {plan.bound:.4g} of the {plan.n_rows} rows are good, at {CONFIDENCE:.0%} confidence over "
                f"all attempts (attempt {plan.attempt}: {self.n_bad} bad of {self.n_judged} reviewed, the plan allows "
                f"{plan.max_bad} of {plan.n})"
            )
        if self.status == "rejected" and self.n_refuted and not is_rejected(self.n_bad, plan.max_bad):
            return (
                f"{self.n_refuted} rows that were known as good when the plan was fixed were found bad since: "
                f"it is not shown that at least {plan.bound:.4g} are good"
            )
        if self.status == "rejected":
            return (
                f"{self.n_bad} bad of {self.n_judged} reviewed, the plan allows {plan.max_bad}: "
                f"it is not shown that at least {plan.bound:.4g} are good"
            )
        left = plan.n - self.n_judged
        return (
            f"{self.n_bad} bad of {self.n_judged} reviewed, {left} of {plan.n} left, at most {plan.max_bad} may be bad"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain data for JSON."""
        document = asdict(self)
        for drawn in (document["plan"], (document["calibration"] or {}).get("sample")):
            if drawn:
                drawn["n"] = len(drawn["rows"])
        return {**document, "confidence": CONFIDENCE, "words": self.words}


def state_of(path: Path, version: str) -> State:
    """Return how far the review of a version is; its rows are not needed."""
    return build_state(Ledger.read(path), version)


def build_state(ledger: Ledger, version: str) -> State:
    """Return how far the review of a version is, from a file that was read."""
    plan = ledger.plan_of(version)
    tallied = n_bad, n_judged, n_refuted = tally(ledger, plan) if plan else (0, 0, 0)
    verdicts = ledger.verdicts.get(plan.id, []) if plan else []
    return State(
        version=version,
        status=status_of(plan, n_bad, n_judged, n_refuted),
        plan=plan,
        attempts=len(ledger.plans),
        n_judged=n_judged,
        n_bad=n_bad,
        bad_share=_share(n_bad, n_judged, plan.n if plan else 0),
        bad=_said_bad(ledger, plan),
        agreement=_agreement(verdicts),
        calibration=_calibration(ledger, version, plan, tallied),
        n_refuted=n_refuted,
    )


def tally(ledger: Ledger, plan: Plan) -> tuple[int, int, int]:
    """Return how many rows of a plan are bad, how many have a verdict, and how many known ones were found bad since.

    That a row is good counts if it was said in this sample; that it is bad, in whichever.
    """
    bad = {row for row, good in ledger.known().items() if not good}
    n_bad, n_judged = count(plan, ledger.said(plan) | dict.fromkeys(bad, False))
    n_known_bad = sum(row in bad for row in plan.known)
    return n_bad, n_judged, max(0, n_known_bad - plan.n_known_bad)


def _said_bad(ledger: Ledger, plan: Plan | None) -> tuple[RowVerdict, ...]:
    """Return what was said of bad rows of a plan and of those that it knew, in whichever sample."""
    rows = {*plan.rows, *plan.known} if plan else set()
    return tuple(one for said in ledger.verdicts.values() for one in said if not one.good and one.row in rows)


def count(drawn: Drawn | None, said: Mapping[str, bool]) -> tuple[int, int]:
    """Return how many rows of a sample are bad, and how many have a verdict."""
    rows = [said[row] for row in drawn.rows if row in said] if drawn else []
    return rows.count(False), len(rows)


def status_of(plan: Plan | None, n_bad: int, n_judged: int, n_refuted: int) -> Status:
    """Return what a plan says after so many rows, and so many known ones that were found bad since."""
    if plan is None:
        return "no_plan"
    if n_refuted or is_rejected(n_bad, plan.max_bad):
        return "rejected"
    return "accepted" if is_accepted(n_judged - n_bad, plan.n, plan.max_bad) else "open"


def _share(k: int, judged: int, n: int, alpha: float = 0.05) -> Share:
    """Interval of a share where `n - judged` of a sample are not known: each at its worst for either end."""
    return (clopper_pearson(k, n, alpha)[0], clopper_pearson(k + n - judged, n, alpha)[1]) if n else (0.0, 1.0)


def _agreement(verdicts: Iterable[RowVerdict]) -> Agreement:
    words = {True: "good", False: "bad"}
    return agreement([Label(one.row, one.reviewer, words[one.good], one.time) for one in verdicts])


def _calibration(ledger: Ledger, version: str, plan: Plan | None, tallied: tuple[int, int, int]) -> Calibration | None:
    """Return what the second sample of a version tells; `tallied` is what `tally` says of its plan."""
    n_bad, n_judged, n_refuted = tallied
    sample = ledger.second_of(version)
    if sample is None:
        return None
    said = ledger.said(sample)
    bad, judged = count(sample, said)
    counts: dict[str, list[bool]] = defaultdict(list)
    for row, reason in zip(sample.rows, sample.reasons, strict=True):
        if row in said:
            counts[reason].append(said[row])
    rates: dict[str, Any] = dict.fromkeys(("caught", "spared", "left", "kappa", "kappa_ci95"))
    if plan is not None:
        # each interval at 97.5 %, so that both hold at once at 95 %; what is best has the least of either share
        wrong = _share(judged - bad, judged, len(sample.rows), 0.025)
        missed = _share(n_bad, n_judged, plan.n, 0.025)
        known_bad = plan.n_known_bad + n_refuted
        best, worst = (_Rates.of(plan, sample, known_bad, *shares) for shares in zip(missed, wrong, strict=True))
        rates |= {"caught": (worst.caught, best.caught), "spared": (worst.spared, best.spared)}
        rates["left"] = best.left, worst.left
        if n_judged and judged and best.kappa is not None and worst.kappa is not None:
            rates["kappa"] = _Rates.of(plan, sample, known_bad, n_bad / n_judged, (judged - bad) / judged).kappa
            rates["kappa_ci95"] = worst.kappa, best.kappa
    return Calibration(
        sample=sample,
        n_judged=judged,
        n_good=judged - bad,
        wrong=_share(judged - bad, judged, len(sample.rows)),
        by_reason={reason: (len(rows), sum(rows)) for reason, rows in sorted(counts.items())},
        **rates,
        agreement=_agreement(ledger.verdicts.get(sample.id, ())),
    )


@dataclass(frozen=True, slots=True)
class _Rates:
    """What follows from a share of bad rows among the kept and one of good rows among the rejected."""

    caught: float
    spared: float
    left: float
    kappa: float | None

    @classmethod
    def of(cls, plan: Plan, sample: SecondSample, known_bad: int, missed: float, wrong: float) -> _Rates:
        """Return the share of bad rows that were rejected, of good rows that were kept, of kept rows that are bad."""
        kept_bad = missed * (plan.n_rows - plan.n_known) + known_bad
        gone_good = wrong * sample.n_rows
        kept_good, gone_bad = plan.n_rows - kept_bad, sample.n_rows - gone_good
        left = kept_bad / plan.n_rows
        kappa = stratified_kappa(plan.n_rows, sample.n_rows, bad_kept=left, bad_gone=1 - wrong)
        return cls(_part(gone_bad, kept_bad), _part(kept_good, gone_good), left, kappa)


def _part(one: float, other: float) -> float:
    return one / (one + other) if one + other else 1.0
