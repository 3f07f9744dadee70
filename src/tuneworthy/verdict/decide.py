"""The decision: the first line of the truth table that applies to the evidence. Pure.

Once a tuned variant was compared on test, by a run that still holds, `shipping` decides instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuneworthy.errors import join_sentences
from tuneworthy.stats import upper_bound
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import ErrorShare, GateResult, Outcome, Target, Verdict
from tuneworthy.verdict.evidence import Evidence, RungEvidence, target_of
from tuneworthy.verdict.gates import run_gates
from tuneworthy.verdict.guide import row
from tuneworthy.verdict.shipping import SOUND, decide_shipping, expiries

# One-sided error of "fewer than half of the failures belong to this class".
LEVER_ALPHA = 0.1
# Gates whose failure is an answer, so that they keep from deciding only while they are unknown.
ANSWERS = frozenset({"reason", "economics"})


@dataclass(frozen=True, slots=True)
class Situation:
    """The evidence with what follows from it at once."""

    evidence: Evidence
    gates: Sequence[GateResult]
    target: Target

    @property
    def top_is_classical(self) -> bool:
        return self.evidence.top is not None and self.evidence.top.rung == "classical"

    def gate(self, name: str) -> GateResult:
        return next(result for result in self.gates if result.gate == name)

    @property
    def blocked(self) -> list[GateResult]:
        """Needed gates that are open; where the target is met only those that the answer rests on are needed."""
        classical = {"classical"} if self.top_is_classical or self.gate("classical").status == "fail" else set()
        needed = SOUND | classical if self.target == "met" else {result.gate for result in self.gates}
        return [
            result
            for result in self.gates
            if result.gate in needed and result.is_open and not (result.gate in ANSWERS and result.status == "fail")
        ]

    @property
    def fixable(self) -> list[ErrorShare]:
        """The classes of failures that another lever than training fixes."""
        return [row for row in self.evidence.errors or () if row.fixed_by]

    @property
    def lever(self) -> ErrorShare | None:
        """The class that most failures belong to, if another lever than training fixes it."""
        return next((row for row in self.fixable if row.share > 0.5), None)

    @property
    def open_lever(self) -> ErrorShare | None:
        """A class of at most half of the failures, which another lever fixes, that may be most of them after all."""
        at_most = [row for row in self.fixable if row.share <= 0.5]
        return next((row for row in at_most if upper_bound(row.n_failed, row.n, LEVER_ALPHA) > 0.5), None)

    @property
    def open_rung(self) -> RungEvidence | None:
        """A variant that is not the best, may be used, and is not shown to miss the target."""
        others = [rung for rung in self.evidence.upstream.values() if rung is not self.evidence.top]
        allowed = [rung for rung in others if rung.tested and rung.eligible]
        return next((rung for rung in allowed if (rung.upper or 0.0) >= self.evidence.target), None)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a line of the table says.

    Attributes:
        outcome: For machines, with the code of what decided.
        reason: The sentence that decided.
        action: What to do next, as a sentence.
    """

    outcome: Outcome
    code: str
    reason: str
    action: str


def decide(evidence: Evidence) -> Verdict:
    """Decide, before training or after it.

    Before training, the first that applies: a needed gate is unknown or failed; the best eligible variant or the
    classical baseline meets the target; the guide says that training does not help, or the reason is not measured;
    another lever fixes most failures; it never pays; the target is unresolved, or a variant that was not adopted may
    meet it; whether another lever fixes most failures is unresolved; else training is worth a try.
    """
    if evidence.tuned is not None and not evidence.stale:
        return decide_shipping(evidence)
    gates = run_gates(evidence)
    situation = Situation(evidence, gates, target_of(evidence.top, evidence.target, evidence.margin))
    ruling = next(ruling for line in _TABLE if (ruling := line(situation)))
    following = run_gates(evidence, "to_train") if ruling.outcome is Outcome.FINE_TUNE else []
    return Verdict(
        outcome=ruling.outcome,
        stage="to_decide",
        reason_code=ruling.code,
        reasons=_reasons(situation, ruling.reason),
        target=situation.target,
        gates=[*gates, *following],
        errors=evidence.errors or (),
        forecast=evidence.forecast,
        economics=evidence.economics,
        next_action=_train(evidence, following) if following else ruling.action,
        valid_until=min((date for date, _ in evidence.expires), default=""),
        would_change=_would_change(situation, ruling.outcome),
        stale=[*evidence.stale, *evidence.errors_stale],
    )


def _gates(situation: Situation) -> Ruling | None:
    if not situation.blocked:
        return None
    first = situation.blocked[0]
    return Ruling(Outcome.UNDECIDED, f"gate_{first.gate}", first.message, first.fix or _keep(situation))


def _target_met(situation: Situation) -> Ruling | None:
    top, target = situation.evidence.top, situation.evidence.target
    if situation.target != "met" or top is None:
        return None
    reached = messages.say("reaches", name=top.label, score=top.score_on(situation.evidence.n_test))
    template = messages.say("target_met_classical") if situation.top_is_classical else messages.say("target_met")
    code = "target_met_by_classical" if situation.top_is_classical else "target_met"
    return Ruling(
        Outcome.DO_NOT_FINE_TUNE,
        code,
        template.format(target=target, reached=reached),
        messages.say("serve_best", name=top.label),
    )


def _not_a_training_problem(situation: Situation) -> Ruling | None:
    finding = row(situation.evidence.problem) if situation.evidence.problem is not None else None
    if finding is not None and finding.training == "no" and finding.helps.source:
        sentence = messages.say("guide_says", name=finding.name, lever=finding.primary.value)
        return Ruling(Outcome.DO_NOT_FINE_TUNE, "guide", sentence, _keep(situation))
    gate = situation.gate("reason")
    if gate.status == "fail":
        sentence = messages.say("no_reason_measured", detail=gate.message)
        return Ruling(Outcome.DO_NOT_FINE_TUNE, "reason", sentence, _keep(situation))
    return None


def _another_lever(situation: Situation) -> Ruling | None:
    finding = situation.lever
    if finding is None:
        return None
    lever = messages.LEVERS[finding.fixed_by]
    return Ruling(
        Outcome.DO_NOT_FINE_TUNE,
        f"errors_{finding.name}",
        messages.say("cheaper_lever", share=messages.error_share(finding), lever=lever),
        messages.say("lever_then_run", lever=lever),
    )


def _never_pays(situation: Situation) -> Ruling | None:
    gate = situation.gate("economics")
    if gate.status != "fail":
        return None
    return Ruling(
        Outcome.DO_NOT_FINE_TUNE, "economics", messages.say("never_pays", detail=gate.message), _keep(situation)
    )


def _unresolved(situation: Situation) -> Ruling | None:
    if situation.target != "unresolved":
        return None
    return Ruling(Outcome.UNDECIDED, "target_unresolved", messages.say("unresolved"), messages.say("settle_target"))


def _open_rung(situation: Situation) -> Ruling | None:
    finding = situation.open_rung
    if finding is None:
        return None
    sentence = messages.say(
        "rung_open",
        name=finding.label,
        target=situation.evidence.target,
        score=finding.score_on(situation.evidence.n_test),
    )
    return Ruling(Outcome.UNDECIDED, "rung_unresolved", messages.sentence(sentence), messages.say("settle_target"))


def _open_lever(situation: Situation) -> Ruling | None:
    if situation.evidence.errors is None:
        return Ruling(Outcome.UNDECIDED, "errors_unknown", messages.say("lever_unknown"), messages.say("probe"))
    finding = situation.open_lever
    if finding is None:
        return None
    return Ruling(
        Outcome.UNDECIDED,
        "errors_unresolved",
        messages.say("lever_open", share=messages.error_share(finding)),
        messages.say("lever_or_cases", lever=messages.LEVERS[finding.fixed_by]),
    )


def _fine_tune(situation: Situation) -> Ruling:
    top, best = situation.evidence.top, messages.say("nothing_may_serve")
    if top:
        best = messages.say("best_is", name=top.label, score=top.score_on(situation.evidence.n_test))
    return Ruling(
        Outcome.FINE_TUNE,
        "levers_exhausted",
        messages.say("worth_a_pilot", target=situation.evidence.target, best=best),
        messages.say("train"),
    )


_TABLE: tuple[Callable[[Situation], Ruling | None], ...] = (
    _gates,
    _target_met,
    _not_a_training_problem,
    _another_lever,
    _never_pays,
    _unresolved,
    _open_rung,
    _open_lever,
    _fine_tune,
)


def _keep(situation: Situation) -> str:
    top = situation.evidence.top
    return messages.say("keep_best", best=f", {top.label}," if top else "")


def _reasons(situation: Situation, first: str) -> list[str]:
    """Return at most three sentences: the one that decided, then what else weighs."""
    sentences, n = [first], situation.evidence.n_test
    top, base = situation.evidence.top, situation.evidence.rungs.get("baseline")
    if base is not None and base.tested and not base.eligible:
        sentences.append(messages.say("today_forbidden", reason=base.violated or base.reason.rstrip(".")))
    if top and base and base.tested and top is not base:
        sentences.append(messages.say("today_and_best", today=base.score_on(n), best=top.score_on(n)))
    if top and top is base and situation.target != "met":
        sentences.append(messages.say("today_is_best", score=base.score_on(n)))
    classical = situation.evidence.rungs.get("classical")
    if classical and classical.tested and not situation.top_is_classical:
        sentences.append(messages.say("other_score", name=classical.label, score=classical.score_on(n)))
    reason = situation.gate("reason")
    if reason.status == "pass":
        sentences.append(messages.say("reason_measured", detail=reason.message))
    return sentences[:3]


def _train(evidence: Evidence, gates: Sequence[GateResult]) -> str:
    """Say what comes next where training is worth a try: the gates that are still open, or the training itself."""
    still_open = [result for result in gates if result.is_open]
    names = ", ".join(result.gate for result in still_open)
    if evidence.training.adapter is not None:
        return messages.say("test_tuned")
    if not still_open:
        return messages.say("train")
    if len(still_open) == len(gates):
        return messages.say("build_and_pilot", gates=names)
    return join_sentences(still_open[0].detail, messages.say("still_open", gates=names))


def _would_change(situation: Situation, outcome: Outcome) -> list[str]:
    top = situation.evidence.top
    changes = []
    if outcome is Outcome.DO_NOT_FINE_TUNE and situation.target == "met" and top and top.score is not None:
        changes.append(messages.say("higher_target", score=top.score))
    if outcome is Outcome.FINE_TUNE:
        changes.append(messages.say("new_model"))
    if outcome is Outcome.UNDECIDED:
        gates = ", ".join(result.gate for result in situation.blocked)
        changes.append(messages.say("gates_pass", gates=gates) if gates else messages.say("more_cases"))
    return [*changes, *expiries(situation.evidence)]
