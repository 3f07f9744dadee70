"""Whether a rung's candidate replaces the best variant so far: a pure rule over measured numbers."""

from __future__ import annotations

from dataclasses import dataclass

from tuneworthy.stats.paired import NonInferiority, PairedResult
from tuneworthy.types import MOST_UNSCORED, RungStatus

CHEAPER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that the rule looks at.

    Attributes:
        gain: Candidate against the best language-model variant so far, at this look's alpha.
        no_creep: Candidate against the highest-scoring variant ever adopted, by the project's margin.
        unscored_share: The larger share of unscored cases of the two.
        sign_flips: Whether the sign of the gain flips when the unscored are filled against it.
        cost_ratio: Cost of an answer, candidate / best so far; None if not told or free.
        time_ratio: Latency, candidate / best so far: (geometric mean, upper bound); None if not measured.
        violated: A constraint that the candidate breaks, in words; "" if none.
        unvalidated: Why the scores may not decide (a judge that people's verdicts do not correct); "" if they may.
    """

    gain: PairedResult
    no_creep: NonInferiority
    unscored_share: float = 0.0
    sign_flips: bool = False
    cost_ratio: float | None = None
    time_ratio: tuple[float, float] | None = None
    violated: str = ""
    unvalidated: str = ""

    @property
    def cheaper(self) -> bool:
        """Whether an answer costs at least 20 % less."""
        return self.cost_ratio is not None and self.cost_ratio <= CHEAPER

    @property
    def faster(self) -> bool:
        """Whether an answer comes at least 20 % faster."""
        return self.time_ratio is not None and self.time_ratio[0] <= CHEAPER and self.time_ratio[1] < 1


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of the candidate, with a code for machines and a sentence for people."""

    status: RungStatus
    reason_code: str
    reason: str


def decide_adoption(evidence: Evidence, margin: float) -> Decision:
    """Apply the adoption rule.

    Adopted: better at this look's alpha; or non-inferior by `margin` to the highest-scoring variant ever adopted
    and at least 20 % cheaper or faster. Rejected: the interval excludes a gain of `margin`. Else inconclusive.
    Too many unscored answers, or a sign that they could flip, bar adoption; a broken constraint comes first. Scores
    that may not decide neither adopt nor reject.
    """
    gain = evidence.gain
    words = f"{gain.delta:+.3f} [{gain.ci[0]:+.3f}, {gain.ci[1]:+.3f}] at alpha {gain.alpha:.4f}, n = {gain.n}"
    if evidence.violated:
        return Decision(RungStatus.VIOLATES_CONSTRAINT, "constraint", evidence.violated)
    if evidence.unvalidated:
        return Decision(
            RungStatus.INCONCLUSIVE, "judge", f"unknown: {evidence.unvalidated} (by the judge alone {words})"
        )
    saving = _saving(evidence)
    wins = gain.better or (saving != "" and evidence.no_creep.holds)
    if wins and evidence.unscored_share > MOST_UNSCORED:
        share = f"{evidence.unscored_share:.1%} of the answers could not be scored (at most {MOST_UNSCORED:.0%})"
        return Decision(RungStatus.INCONCLUSIVE, "unscored", f"{share}; {words}")
    if wins and evidence.sign_flips:
        return Decision(RungStatus.INCONCLUSIVE, "unscored_flip", f"unscored answers could turn the sign; {words}")
    if gain.better:
        return Decision(RungStatus.ADOPTED, "better", f"better: {words}")
    if wins:
        bound = f"lower bound {evidence.no_creep.lower:+.3f} above -{margin:g}"
        return Decision(RungStatus.ADOPTED, "cheaper", f"no worse by the margin ({bound}) and {saving}; {words}")
    if gain.excludes_gain(margin):
        return Decision(RungStatus.NO_GAIN, "no_gain", f"a gain of {margin:g} is excluded: {words}")
    return Decision(
        RungStatus.INCONCLUSIVE, "unresolved", f"a gain of {margin:g} is neither shown nor excluded: {words}"
    )


def _saving(evidence: Evidence) -> str:
    """Say what is at least 20 % lower, or "" if nothing is."""
    if evidence.cheaper and evidence.cost_ratio is not None:
        return f"{1 - evidence.cost_ratio:.0%} cheaper"
    if evidence.faster and evidence.time_ratio is not None:
        return f"{1 - evidence.time_ratio[0]:.0%} faster"
    return ""
