"""The decision after training: ship the tuned model or not. Pure; used as soon as one was put to test."""

from __future__ import annotations

from collections.abc import Sequence

from tuneworthy.verdict.base import GateResult, GateStatus, Outcome, Verdict
from tuneworthy.verdict.evidence import Evidence, RungEvidence, target_of
from tuneworthy.verdict.gates import run_gates
from tuneworthy.verdict.wording import named, scored

BLOCKED = frozenset({GateStatus.FAIL, GateStatus.UNKNOWN})
SOUND = frozenset({"test_set", "baseline", "contamination", "judge"})
"""Gates without which the test that the comparison rests on is none; they can't be waived."""


def decide_shipping(evidence: Evidence) -> Verdict:
    """Decide after training.

    `ship` if the test is sound and every gate of `to_ship` passes or is waived; else `do_not_ship`, named by the first
    gate that failed, or else by the first one that is not known.

    Args:
        evidence: Whose tuned variant was put to test, by a run that still holds.
    """
    tuned = evidence.tuned
    if tuned is None:
        raise ValueError("expected a tuned variant that was put to test, got none")
    before, training = run_gates(evidence), run_gates(evidence, "to_train")
    gates = run_gates(evidence, "to_ship")
    closed = _closed([*(one for one in before if one.gate in SOUND), *gates])
    outcome = Outcome.DO_NOT_SHIP if closed else Outcome.SHIP
    return Verdict(
        outcome=outcome,
        stage="to_ship",
        reason_code=f"gate_{closed[0].gate}" if closed else _code(tuned),
        reasons=_reasons(evidence, tuned, closed),
        target=target_of(tuned, evidence.target, evidence.margin),
        gates=[*before, *training, *gates],
        errors=evidence.errors or (),
        forecast=evidence.forecast,
        economics=evidence.economics,
        next_action=_next_action(closed),
        valid_until=min(date for date, _ in evidence.expires) if evidence.expires else "",
        would_change=_would_change(evidence, closed),
        stale=[*evidence.errors_stale, *_changed(evidence)],
    )


def _closed(gates: Sequence[GateResult]) -> list[GateResult]:
    """Return the gates that keep it from shipping, those that failed first."""
    closed = [one for one in gates if one.status in BLOCKED]
    return sorted(closed, key=lambda one: one.status is not GateStatus.FAIL)


def _code(tuned: RungEvidence) -> str:
    if tuned.status != "adopted":
        return "tuned_allowed"
    return "tuned_cheaper" if tuned.reason_code == "cheaper" else "tuned_better"


def _reasons(evidence: Evidence, tuned: RungEvidence, closed: Sequence[GateResult]) -> list[str]:
    """At most three sentences: the one that decided, then the scores."""
    n, top = evidence.n_test, evidence.top
    reached = f"With {named(tuned)} the score is {scored(tuned, n)}"
    against = f"; without training, {named(top)} reaches {scored(top, n)}." if top is not None else "."
    if not closed:
        first = f"Every gate before shipping holds: {tuned.reason}." if tuned.reason else "Every gate holds."
        return [first, f"{reached}{against}"]
    also = ", ".join(one.gate for one in closed[1:])
    sentences = [f"The gate {closed[0].gate} is closed: {closed[0].detail}.", f"{reached}{against}"]
    return [*sentences, f"Closed as well: {also}."] if also else sentences


def _next_action(closed: Sequence[GateResult]) -> str:
    if not closed:
        return "serve it: run `tuneworthy serve`"
    first = closed[0]
    waive = "" if first.gate == "parity" or first.gate in SOUND else f"; or waive the gate {first.gate} with the reason"
    return f"{first.detail}{waive}"


def _would_change(evidence: Evidence, closed: Sequence[GateResult]) -> list[str]:
    changes = [f"{what} on {date}" for date, what in sorted(evidence.expires)[:2]]
    if closed:
        return [f"the gates {', '.join(one.gate for one in closed)}, once they hold", *changes]
    return ["another adapter, another export, or a cheaper model that is as good", *changes]


def _changed(evidence: Evidence) -> list[str]:
    """Say what is about another dataset, adapter or base, and was therefore not used."""
    found = evidence.training
    proofs = [one for proof in (found.pilot, found.parity, found.serving) if proof for one in proof.changed]
    regressions = [f"the regression set {one.name} changed" for one in found.regressions if one.changed]
    return [*found.changed, *proofs, *regressions]
