"""Whether a rung's candidate replaces the best variant so far: a pure rule over measured numbers."""

from dataclasses import dataclass

from tuneworthy.ladder import messages
from tuneworthy.stats.messages import p_value
from tuneworthy.stats.paired import NonInferiority, PairedResult
from tuneworthy.types import MOST_UNSCORED, RungStatus

CHEAPER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionEvidence:
    """All that the rule looks at.

    Attributes:
        gain: Candidate against the best language-model variant so far, at this comparison's alpha; without an alpha if
            the candidate does not lead on dev: the difference is then only described.
        no_creep: Candidate against the highest-scoring variant ever adopted, by the project's margin, at 5 %.
        unscored_share: The larger share of unscored cases of the two.
        sign_flips: Whether the sign of the gain flips when the unscored are filled against it.
        cost_ratio: Cost of an answer, candidate / best so far; None if not told or free.
        served: Whether the candidate needs a server of one's own, whose cost no answer bears.
        time_ratio: Latency, candidate / best so far: (geometric mean, upper bound); None if not measured.
        loses_target: Whether the best so far meets the target and the candidate does not.
        violated: A constraint that the candidate breaks, in words; "" if none.
        unvalidated: Why the scores may not decide (a judge that people's verdicts do not correct); "" if they may.
        shown_before: The comparison on fewer cases, at its own alpha, that showed a gain; else None.
        few_groups: Why the test cases share too few sources to show anything; "" if they do not.
    """

    gain: PairedResult
    no_creep: NonInferiority
    unscored_share: float = 0.0
    sign_flips: bool = False
    cost_ratio: float | None = None
    served: bool = False
    time_ratio: tuple[float, float] | None = None
    loses_target: bool = False
    violated: str = ""
    unvalidated: str = ""
    shown_before: PairedResult | None = None
    few_groups: str = ""

    @property
    def cheaper(self) -> bool:
        """Whether an answer costs at least 20 % less."""
        return self.cost_ratio is not None and self.cost_ratio <= CHEAPER

    @property
    def faster(self) -> bool:
        """Whether an answer comes at least 20 % faster."""
        return self.time_ratio is not None and self.time_ratio[0] <= CHEAPER and self.time_ratio[1] < 1


@dataclass(frozen=True, slots=True)
class Adoption:
    """What became of the candidate, with a code for machines and a sentence for people."""

    status: RungStatus
    reason_code: str
    reason: str


def decide_adoption(evidence: AdoptionEvidence, margin: float) -> Adoption:
    """Apply the adoption rule.

    Adopted: better at this comparison's alpha, or at that of the same comparison before cases were added; or
    non-inferior by `margin` to the highest-scoring variant ever adopted and at least 20 % cheaper or faster, unless
    that loses a target that was met. No gain: the 95 % interval excludes a gain of `margin`. Else inconclusive; one
    that does not lead on dev is not compared, and says so.
    Too many unscored answers, or a sign that they could flip, bar adoption; a broken constraint comes first. Scores
    that may not decide neither adopt nor exclude.
    """
    gain = evidence.gain
    numbers = messages.say("gain", delta=100 * gain.delta, lo=100 * gain.ci[0], hi=100 * gain.ci[1], n=gain.n)
    compared = gain.alpha is not None
    numbers += (
        messages.say("tested", p=p_value(gain.p_value), alpha=gain.alpha) if compared else messages.say("not_tested")
    )
    if evidence.violated:
        return Adoption(RungStatus.VIOLATES_CONSTRAINT, "constraint", evidence.violated)
    if evidence.few_groups:
        return Adoption(RungStatus.INCONCLUSIVE, "few_groups", evidence.few_groups)
    if evidence.unvalidated:
        reason = messages.say("judge_unvalidated", why=evidence.unvalidated, gain=numbers)
        return Adoption(RungStatus.INCONCLUSIVE, "judge", reason)
    saving = _saving(evidence)
    cheap_enough = saving != "" and evidence.no_creep.holds
    before = evidence.shown_before if gain.delta > 0 else None
    better = gain.better or before is not None
    wins = better or (cheap_enough and not evidence.loses_target)
    if wins and evidence.unscored_share > MOST_UNSCORED:
        reason = messages.say("unscored", share=evidence.unscored_share, most=MOST_UNSCORED, gain=numbers)
        return Adoption(RungStatus.INCONCLUSIVE, "unscored", reason)
    if wins and evidence.sign_flips:
        return Adoption(RungStatus.INCONCLUSIVE, "unscored_flip", messages.say("unscored_flip", gain=numbers))
    if better:
        shown = "" if gain.better or before is None else messages.say("shown_before", n=before.n, alpha=before.alpha)
        return Adoption(RungStatus.ADOPTED, "better", messages.say("better", gain=numbers) + shown)
    if wins:
        reason = messages.say(
            "cheaper", lower=100 * evidence.no_creep.lower, margin=100 * margin, saving=saving, gain=numbers
        )
        return Adoption(RungStatus.ADOPTED, "cheaper", reason)
    if cheap_enough:
        status = RungStatus.NO_GAIN if gain.excludes_gain(margin) else RungStatus.INCONCLUSIVE
        return Adoption(status, "loses_target", messages.say("loses_target", saving=saving, gain=numbers))
    if gain.excludes_gain(margin):
        return Adoption(RungStatus.NO_GAIN, "no_gain", messages.say("no_gain", margin=100 * margin, gain=numbers))
    code = "unresolved" if compared else "not_compared"
    return Adoption(RungStatus.INCONCLUSIVE, code, messages.say("unresolved", margin=100 * margin, gain=numbers))


def _saving(evidence: AdoptionEvidence) -> str:
    """Say what is at least 20 % lower, or "" if nothing is."""
    if evidence.cheaper and evidence.cost_ratio is not None:
        if evidence.served:
            return messages.say("charges_less")
        return messages.say("costs_less", share=1 - evidence.cost_ratio)
    if evidence.faster and evidence.time_ratio is not None:
        return messages.say("takes_less", share=1 - evidence.time_ratio[0])
    return ""
