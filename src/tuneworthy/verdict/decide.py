"""The decision: the first line of the truth table that applies to the evidence. Pure.

Once a tuned variant was put to test, by a run that still holds, `shipping` decides instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuneworthy.stats import upper_bound
from tuneworthy.verdict.base import ErrorShare, GateResult, GateStatus, Outcome, Target, Verdict
from tuneworthy.verdict.evidence import Evidence, RungEvidence, target_of
from tuneworthy.verdict.gates import run_gates
from tuneworthy.verdict.guide import row
from tuneworthy.verdict.shipping import decide_shipping
from tuneworthy.verdict.wording import CLASS_WORDS, LEVER_WORDS, UNDECIDED, named, scored

LEVER_ALPHA = 0.1
"""One-sided error of "fewer than half of the failures belong to this class"."""
_ANSWERING = frozenset({"test_set", "baseline", "contamination", "judge"})
"""Gates that even "the target is met already" needs."""
_BLOCKED = frozenset({GateStatus.FAIL, GateStatus.UNKNOWN})


@dataclass(frozen=True, slots=True)
class _Case:
    """The evidence with what follows from it at once."""

    evidence: Evidence
    gates: Sequence[GateResult]
    target: Target

    @property
    def top_is_classical(self) -> bool:
        """Whether the best is no language model."""
        return self.evidence.top is not None and self.evidence.top.rung == "classical"

    def gate(self, name: str) -> GateResult:
        return next(result for result in self.gates if result.gate == name)

    @property
    def blocked(self) -> list[GateResult]:
        """Needed gates that are unknown or failed; the two whose failure is an answer block only while unknown."""
        classical = (
            {"classical"} if self.top_is_classical or self.gate("classical").status is GateStatus.FAIL else set()
        )
        needed = _ANSWERING | classical if self.target == "met" else None
        return [
            result
            for result in self.gates
            if (needed is None or result.gate in needed)
            and result.status in _BLOCKED
            and not (result.gate in {"reason", "economics"} and result.status is GateStatus.FAIL)
        ]

    @property
    def lever(self) -> ErrorShare | None:
        """The class that most failures belong to, if another lever than training mends it."""
        return next((row for row in self._mended if row.share > 0.5), None)

    @property
    def open_lever(self) -> ErrorShare | None:
        """A class of at most half of the failures, which another lever mends, that may be most of them after all."""
        at_most = [row for row in self._mended if row.share <= 0.5]
        return next((row for row in at_most if upper_bound(row.n_failed, row.n, LEVER_ALPHA) > 0.5), None)

    @property
    def open_rung(self) -> RungEvidence | None:
        """What is not the best, was put to test, may be used, and is not shown to miss the target."""
        others = [rung for rung in self.evidence.upstream.values() if rung is not self.evidence.top]
        allowed = [rung for rung in others if rung.tested and rung.eligible]
        return next((rung for rung in allowed if (rung.upper or 0.0) >= self.evidence.target), None)

    @property
    def _mended(self) -> list[ErrorShare]:
        """The classes that another lever than training mends."""
        return [row for row in self.evidence.errors or () if row.mended_by]


Answer = tuple[Outcome, str, str]


def decide(evidence: Evidence) -> Verdict:
    """Decide, before training or after it.

    Before training, the first that applies: a needed gate is unknown or failed; the best eligible variant or the classical baseline
    meets the target; the matrix says that training does not help, or the motivation is not evidenced; another lever
    mends most failures; it never pays; the target is unresolved, or a variant that was not adopted may meet it; whether
    another lever mends most failures is unresolved; else training is worth a try.
    """
    if evidence.tuned is not None and not evidence.stale:
        return decide_shipping(evidence)
    gates = run_gates(evidence)
    case = _Case(evidence, gates, target_of(evidence.top, evidence.target, evidence.margin))
    outcome, code, reason = next(answer for line in _TABLE if (answer := line(case)))
    following = run_gates(evidence, "to_train") if outcome is Outcome.FINE_TUNE else []
    return Verdict(
        outcome=outcome,
        stage="to_decide",
        reason_code=code,
        reasons=_reasons(case, reason),
        target=case.target,
        gates=[*gates, *following],
        errors=evidence.errors or (),
        forecast=evidence.forecast,
        economics=evidence.economics,
        next_action=_train(evidence, following) if following else _next_action(case, outcome, code),
        valid_until=min(date for date, _ in evidence.expires) if evidence.expires else "",
        would_change=_would_change(case, outcome),
        stale=[*evidence.stale, *evidence.errors_stale],
    )


def _gates(case: _Case) -> Answer | None:
    if not case.blocked:
        return None
    first = case.blocked[0]
    return Outcome.UNDECIDED, f"gate_{first.gate}", f"{UNDECIDED}{first.detail}."


def _target_met(case: _Case) -> Answer | None:
    top = case.evidence.top
    if case.target != "met" or top is None:
        return None
    reached = f"{named(top)} reaches {scored(top, case.evidence.n_test)}"
    goal = f"the target of {case.evidence.target:.1%}"
    if case.top_is_classical:
        return (
            Outcome.DO_NOT_FINE_TUNE,
            "target_met_by_classical",
            f"No model needs training to meet {goal}: {reached}.",
        )
    return Outcome.DO_NOT_FINE_TUNE, "target_met", f"{goal.capitalize()} is met without training: {reached}."


def _not_a_training_problem(case: _Case) -> Answer | None:
    found = row(case.evidence.problem) if case.evidence.problem is not None else None
    if found is not None and found.training == "no" and found.helps.source:
        words = f"Training does not help with this kind of problem ({found.name}): use {found.primary.value} first."
        return Outcome.DO_NOT_FINE_TUNE, "matrix", words
    gate = case.gate("reason")
    if gate.status is GateStatus.FAIL:
        return Outcome.DO_NOT_FINE_TUNE, "reason", f"Nothing measured speaks for training: {gate.detail}."
    return None


def _another_lever(case: _Case) -> Answer | None:
    found = case.lever
    if found is None:
        return None
    words = (
        f"Something cheaper mends most wrong answers: of {found.share:.0%} of {found.n} ({found.ci95[0]:.0%} to "
        f"{found.ci95[1]:.0%}) it is so that {CLASS_WORDS[found.name]}; {LEVER_WORDS[found.mended_by]}."
    )
    return Outcome.DO_NOT_FINE_TUNE, f"errors_{found.name}", words


def _never_pays(case: _Case) -> Answer | None:
    gate = case.gate("economics")
    if gate.status is not GateStatus.FAIL:
        return None
    return Outcome.DO_NOT_FINE_TUNE, "economics", f"It does not pay: {gate.detail}."


def _unresolved(case: _Case) -> Answer | None:
    if case.target != "unresolved":
        return None
    return Outcome.UNDECIDED, "target_unresolved", "The test cases do not settle whether the target is met."


def _open_rung(case: _Case) -> Answer | None:
    found = case.open_rung
    if found is None:
        return None
    words = (
        f"{named(found)} was not shown to be better, nor to miss the target of {case.evidence.target:.1%}: "
        f"{scored(found, case.evidence.n_test)}."
    )
    return Outcome.UNDECIDED, "rung_unresolved", words[0].upper() + words[1:]


def _open_lever(case: _Case) -> Answer | None:
    if case.evidence.errors is None:
        words = "Why answers are wrong was not looked at, so that something cheaper may mend most of them."
        return Outcome.UNDECIDED, "errors_unknown", words
    found = case.open_lever
    if found is None:
        return None
    words = (
        f"Whether something cheaper mends most wrong answers is not settled: of {found.share:.0%} of {found.n} "
        f"({found.ci95[0]:.0%} to {found.ci95[1]:.0%}) it is so that {CLASS_WORDS[found.name]}."
    )
    return Outcome.UNDECIDED, "errors_unresolved", words


def _fine_tune(case: _Case) -> Answer:
    top = case.evidence.top
    best = f"the best, {named(top)}, scores {scored(top, case.evidence.n_test)}" if top else "nothing may be used"
    words = f"Every cheaper way was tried and misses the target of {case.evidence.target:.1%}: {best}."
    return Outcome.FINE_TUNE, "levers_exhausted", words


_TABLE: tuple[Callable[[_Case], Answer | None], ...] = (
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


def _reasons(case: _Case, first: str) -> list[str]:
    """At most three sentences: the one that decided, then what else weighs."""
    sentences, n = [first], case.evidence.n_test
    top, base = case.evidence.top, case.evidence.rungs.get("baseline")
    if base is not None and base.tested and not base.eligible:
        sentences.append(f"What is in use today may not be used: {base.violated or base.reason}.")
    if top and base and base.tested and top is not base:
        sentences.append(
            f"What is in use today scores {scored(base, n)}; without training {scored(top, n)} is reached."
        )
    if top and top is base and case.target != "met":
        sentences.append(f"The best that was tried is what is in use today: {scored(base, n)}.")
    classical = case.evidence.rungs.get("classical")
    if classical and classical.tested and not case.top_is_classical:
        sentences.append(f"With {named(classical)} the score is {scored(classical, n)}.")
    motivation = case.gate("reason")
    if motivation.status is GateStatus.PASS:
        sentences.append(f"The reason to train is measured: {motivation.detail}.")
    return sentences[:3]


def _train(evidence: Evidence, gates: Sequence[GateResult]) -> str:
    """Say what comes next where training is worth a try: the gates that are still closed, or the training itself."""
    closed = [one for one in gates if one.status in _BLOCKED]
    if evidence.training.adapter is not None:
        return "put the tuned model to test: `tuneworthy merge`, `export gguf`, `parity`, `run --rung fine_tune`"
    if not closed:
        return "run `tuneworthy train`: every gate before training holds"
    names = ", ".join(one.gate for one in closed)
    if len(closed) == len(gates):
        return f"build the dataset and run a pilot; gates to pass before training: {names}"
    return f"{closed[0].detail}; gates still to pass before training: {names}"


def _next_action(case: _Case, outcome: Outcome, code: str) -> str:
    if code == "errors_unknown":
        return "run `tuneworthy decide --probe`"
    if code == "errors_unresolved" and case.open_lever:
        return f"{LEVER_WORDS[case.open_lever.mended_by]}, or add development cases and probe again"
    if outcome is Outcome.UNDECIDED:
        return case.blocked[0].detail if case.blocked else "add test cases until the interval settles the target"
    if code.startswith("headroom_") and case.lever:
        return f"{LEVER_WORDS[case.lever.mended_by]}, then `tuneworthy run` and `tuneworthy decide` again"
    if code in {"target_met", "target_met_by_classical"} and case.evidence.top:
        return f"ship {named(case.evidence.top)}"
    best = f" ({named(case.evidence.top)})" if case.evidence.top else ""
    return f"keep what works best so far{best}; come back when the reasons change"


def _would_change(case: _Case, outcome: Outcome) -> list[str]:
    """What would change the answer."""
    changes = [f"{what} on {date}" for date, what in sorted(case.evidence.expires)[:2]]
    if outcome is Outcome.DO_NOT_FINE_TUNE and case.target == "met" and case.evidence.top:
        changes.insert(0, f"a target above {case.evidence.top.score:.1%}, or a constraint that forbids what meets it")
    if outcome is Outcome.FINE_TUNE:
        changes.insert(0, "a new or cheaper model that meets the target; a pilot whose forecast gain is too small")
    if outcome is Outcome.UNDECIDED:
        changes.insert(0, "; ".join(result.detail for result in case.blocked) or "more test cases")
    return changes
