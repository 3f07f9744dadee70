"""Whether a rung's candidate replaces the best variant so far: a pure rule over measured numbers.

The adoption rule. A candidate is adopted

1. if its score is shown to be higher; or
2. if it is non-inferior by the margin to the highest-scoring variant ever adopted, loses no target that was met, has a
   right answer at all, and saves at least 20 %: of the cost (`RunningCost.saves_against`, by which the verdict too
   compares prices), or of the time, if the project limits the latency and the upper bound of the ratio says so.
"""

from dataclasses import dataclass

from tuneworthy.money.serving import SAVING, RunningCost
from tuneworthy.stats.paired import NonInferiority, PairedResult, p_value
from tuneworthy.types import MOST_UNSCORED, RungStatus, frozen


@frozen
class AdoptionEvidence:
    """All that the rule looks at.

    Attributes:
        gain: Candidate against the best language-model variant so far, at this comparison's alpha; without an alpha if
            the candidate does not lead on dev: the difference is then only described.
        no_creep: Candidate against the highest-scoring variant ever adopted, by the project's margin, at 5 %.
        unscored_share: The larger share of unscored cases of the two.
        sign_flips: Whether the sign of the gain flips when the unscored are filled against it.
        costs: Of running the candidate, and the best so far.
        requests: A month; None if not known: costs are then compared by the answer.
        all_wrong: Whether no answer of the candidate is right.
        time_ratio: Latency, candidate / best so far: (geometric mean, upper bound); None if not measured.
        limited: Whether the project limits the latency: only then does a shorter time count.
        loses_target: Whether the best so far meets the target and the candidate does not.
        violated: A constraint that the candidate breaks, in words; "" without one.
        unvalidated: Why the scores may not decide (a judge that people's verdicts do not correct); "" if they may.
        shown_before: The comparison on fewer cases, at its own alpha, that showed a gain; else None.
        few_groups: Why the test cases share too few sources to show anything; "" if they do not.
    """

    gain: PairedResult
    no_creep: NonInferiority
    unscored_share: float = 0.0
    sign_flips: bool = False
    costs: tuple[RunningCost, RunningCost] | None = None
    requests: float | None = None
    all_wrong: bool = False
    time_ratio: tuple[float, float] | None = None
    limited: bool = False
    loses_target: bool = False
    violated: str = ""
    unvalidated: str = ""
    shown_before: PairedResult | None = None
    few_groups: str = ""

    @property
    def cheaper(self) -> bool:
        return (
            False
            if self.costs is None or self.costs[1].usd_per_1k is None
            else self.costs[0].saves_against(self.costs[1], self.requests)
        )


@dataclass(frozen=True, slots=True)
class Adoption:
    """Outcome of the candidate, with a code for machines and a sentence for people."""

    status: RungStatus
    reason_code: str
    reason: str


def decide_adoption(evidence: AdoptionEvidence, margin: float) -> Adoption:
    """Apply the adoption rule.

    Adopted: as the module says; gains shown before cases were added stay shown. No gain: the 95 % interval excludes
    a gain of `margin`. Else inconclusive; a candidate that does not lead on dev is not compared, and says so.
    Too many unscored answers, or a sign that they could flip, bar adoption; a broken constraint comes first. Scores
    that may not decide neither adopt nor exclude.
    """
    gain, inconclusive = evidence.gain, RungStatus.INCONCLUSIVE
    numbers = _numbers(gain)
    if evidence.violated:
        return Adoption(RungStatus.VIOLATES_CONSTRAINT, "constraint", evidence.violated)
    if evidence.few_groups:
        return Adoption(inconclusive, "few_groups", evidence.few_groups)
    if evidence.unvalidated:
        return Adoption(inconclusive, "judge", f"{evidence.unvalidated}; judge scores alone: {numbers}")
    saving = _saving(evidence)
    cheap_enough = saving != "" and evidence.no_creep.holds and not evidence.all_wrong
    before = evidence.shown_before if gain.delta > 0 else None
    better = gain.better or before is not None
    if better or (cheap_enough and not evidence.loses_target):
        return _bar(evidence, numbers) or _adopted(evidence, before if better else None, better, saving, margin)
    excluded = gain.ci[1] < margin
    if cheap_enough:
        return Adoption(
            RungStatus.NO_GAIN if excluded else inconclusive,
            "loses_target",
            f"non-inferior at {saving}, but no longer meets the target; difference {numbers}",
        )
    if excluded:
        return Adoption(
            RungStatus.NO_GAIN,
            "no_gain",
            f"a gain of {100 * margin:.1f} points or more is ruled out (difference {numbers})",
        )
    return Adoption(
        inconclusive,
        "not_compared" if gain.alpha is None else "unresolved",
        f"a gain of {100 * margin:.1f} points is neither shown nor ruled out (difference {numbers})",
    )


def _numbers(gain: PairedResult) -> str:
    text = f"{100 * gain.delta:+.1f} points [{100 * gain.ci[0]:+.1f}, {100 * gain.ci[1]:+.1f}], n = {gain.n}"
    return (
        f"{text}, no significance test because it is not ahead on dev"
        if gain.alpha is None
        else f"{text}, one-sided {p_value(gain.p_value)} at alpha {gain.alpha:.3g}"
    )


def _bar(evidence: AdoptionEvidence, numbers: str) -> Adoption | None:
    if evidence.unscored_share > MOST_UNSCORED:
        return Adoption(
            RungStatus.INCONCLUSIVE,
            "unscored",
            f"{evidence.unscored_share:.1%} of the answers could not be scored (limit {MOST_UNSCORED:.1%}); "
            f"difference {numbers}",
        )
    if evidence.sign_flips:
        return Adoption(
            RungStatus.INCONCLUSIVE,
            "unscored_flip",
            f"the unscored answers could reverse the result; difference {numbers}",
        )
    return None


def _adopted(
    evidence: AdoptionEvidence, before: PairedResult | None, better: bool, saving: str, margin: float
) -> Adoption:
    numbers = _numbers(evidence.gain)
    if not better:
        return Adoption(
            RungStatus.ADOPTED,
            "cheaper",
            f"non-inferior at {saving} (lower bound {100 * evidence.no_creep.lower:+.1f} points, margin "
            f"{100 * margin:.1f}); difference {numbers}",
        )
    shown = (
        f"; significant at alpha {before.alpha:.4f} on the first {before.n} cases"
        if before is not None and not evidence.gain.better
        else ""
    )
    return Adoption(RungStatus.ADOPTED, "better", f"significantly better; difference {numbers}{shown}")


def _saving(evidence: AdoptionEvidence) -> str:
    if evidence.cheaper and evidence.costs is not None:
        if evidence.requests is not None:
            mine, theirs = (cost.monthly_usd(evidence.requests) for cost in evidence.costs)
            return f"${mine:,.2f} instead of ${theirs:,.2f} a month ({evidence.requests:,.0f} requests)"
        mine, theirs = (cost.usd_per_1k for cost in evidence.costs)
        if evidence.costs[0].ways:
            return "a lower price per answer (its server is not counted)"
        return (
            f"{1 - (mine or 0.0) / theirs:.1%} lower cost per answer"
            if theirs
            else "no cost, because it needs no server (the best variant so far does)"
        )
    if evidence.limited and evidence.time_ratio is not None and evidence.time_ratio[1] <= SAVING:
        return (
            f"{1 - evidence.time_ratio[0]:.1%} lower latency (lower confidence limit: {1 - evidence.time_ratio[1]:.1%})"
        )
    return ""
