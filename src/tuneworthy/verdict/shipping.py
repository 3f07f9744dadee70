"""The decision after training: ship the tuned model or not. Pure; used as soon as one was compared on test."""

from collections.abc import Sequence
from typing import Final

from tuneworthy.errors import join_sentences
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import GateResult, Outcome, Verdict
from tuneworthy.verdict.evidence import Evidence, RungEvidence, target_of
from tuneworthy.verdict.gates import NEVER_WAIVED, run_gates

# Gates that the test itself must pass before any comparison on it counts.
SOUND: Final = frozenset({"test_set", "baseline", "contamination", "judge"})


def decide_shipping(evidence: Evidence) -> Verdict:
    """Decide after training.

    `ship` if the test is sound and every gate of `to_ship` passes or is waived; else `do_not_ship`, named by the first
    gate that failed, or else by the first one that is not known.

    Args:
        evidence: Whose tuned variant was compared on test, by a run that still holds.
    """
    tuned = evidence.tuned
    if tuned is None:
        raise ValueError("no tuned variant was compared on test")
    before, training = run_gates(evidence), run_gates(evidence, "to_train")
    gates = run_gates(evidence, "to_ship")
    needed = [*(result for result in before if result.gate in SOUND), *gates]
    still_open = sorted((result for result in needed if result.is_open), key=lambda result: result.status != "fail")
    return Verdict(
        outcome=Outcome.DO_NOT_SHIP if still_open else Outcome.SHIP,
        stage="to_ship",
        reason_code=f"gate_{still_open[0].gate}" if still_open else _code(tuned),
        reasons=_reasons(evidence, tuned, still_open),
        target=target_of(tuned, evidence.target, evidence.margin),
        gates=[*before, *training, *gates],
        errors=evidence.errors or (),
        forecast=evidence.forecast,
        economics=evidence.economics,
        next_action=_next_action(still_open),
        valid_until=min((date for date, _ in evidence.expires), default=""),
        would_change=[
            messages.say("gates_pass", gates=", ".join(result.gate for result in still_open))
            if still_open
            else messages.say("other_adapter"),
            *expiries(evidence),
        ],
        stale=[*evidence.errors_stale, *_changed(evidence)],
    )


def expiries(evidence: Evidence) -> list[str]:
    """Say what changes in the evidence, and when: the first two dates."""
    return [messages.say("on_date", date=date, what=what) for date, what in sorted(evidence.expires)[:2]]


def _code(tuned: RungEvidence) -> str:
    if tuned.status != "adopted":
        return "tuned_allowed"
    return "tuned_cheaper" if tuned.reason_code == "cheaper" else "tuned_better"


def _reasons(evidence: Evidence, tuned: RungEvidence, still_open: Sequence[GateResult]) -> list[str]:
    """Return at most three sentences: the one that decided, then the scores."""
    n, top = evidence.n_test, evidence.top
    reached = messages.say(
        "tuned_reaches",
        name=tuned.label,
        score=tuned.score_on(n),
        against=messages.say("against", name=top.label, score=top.score_on(n)) if top is not None else "",
    )
    if not still_open:
        return [join_sentences(messages.say("ship"), messages.sentence(tuned.reason)), reached]
    first = messages.say("gate_closed", gate=still_open[0].gate, message=still_open[0].message)
    also = ", ".join(result.gate for result in still_open[1:])
    return [first, reached, *([messages.say("also_closed", gates=also)] if also else [])]


def _next_action(still_open: Sequence[GateResult]) -> str:
    if not still_open:
        return messages.say("serve")
    first = still_open[0]
    waive = "" if first.gate in NEVER_WAIVED else messages.say("or_waive", gate=first.gate)
    return join_sentences(first.fix or first.message, waive)


def _changed(evidence: Evidence) -> list[str]:
    """Say what is about another dataset, adapter or base, and was therefore not used."""
    found = evidence.training
    proofs = [result for proof in (found.pilot, found.parity, found.serving) if proof for result in proof.changed]
    regressions = [messages.say("set_changed", name=result.name) for result in found.regressions if result.changed]
    return [*found.changed, *proofs, *regressions]
