"""The gates of a verdict: rules on the evidence, a file a stage. Waivers are applied here and nowhere else."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from tuneworthy.config import ladder
from tuneworthy.errors import join_sentences
from tuneworthy.rules import Finding, RuleBook, Status
from tuneworthy.verdict.base import GateResult, Stage
from tuneworthy.verdict.evidence import Evidence

# Gates that follow from the result and feed no fact.
READ_OFF = frozenset({"power", "reason", "economics"})
# The gate `contamination` reads its waiver itself: that states that traffic repeats, and excuses no copy.
NEVER_WAIVED = ladder.NEVER_WAIVED | {"contamination"}
# Each rule says pass, fail, unknown or not applicable; its group is the stage in which it is needed.
GATES = RuleBook[Finding](
    "gates", [f"tuneworthy.verdict.gates.{stage}" for stage in ("to_decide", "to_train", "to_ship")]
)


def says(status: Status, message: str, fix: str = "", /, **numbers: Any) -> Finding:
    return Finding(status=status, message=message, fix=fix, numbers=numbers)


@cache
def stage_gates(stage: Stage) -> list[str]:
    """Return the names of the gates of a stage, in order."""
    return [name for name, rule in GATES.all().items() if rule.group == stage]


def run_gates(evidence: Evidence, stage: Stage = "to_decide", known: Sequence[GateResult] = ()) -> list[GateResult]:
    """Run all gates of a stage, and apply the waivers to those that can be waived.

    Args:
        evidence: What was measured.
        stage: Of the gates.
        known: Results of an earlier run on the same measurements: of these only the gates that are read off the result
            are run again.
    """
    names = [name for name in stage_gates(stage) if not known or name in READ_OFF]
    fresh = {name: _waived(found, stage, evidence) for name in names for found in GATES.get(name).run(evidence)}
    return [fresh.get(result.gate, result) for result in known] or list(fresh.values())


def _waived(finding: Finding, stage: Stage, evidence: Evidence) -> GateResult:
    status, message, fix = finding.status, finding.message, finding.fix
    reason = evidence.waivers.get(finding.rule)
    fixed = finding.rule in NEVER_WAIVED or "rolled_back" in finding.numbers  # users met the harm of a roll-back
    if reason and not fixed and status in {"fail", "unknown"}:
        message = f"Waived: {join_sentences(reason)} Result of the gate: {join_sentences(message, fix)}"
        status, fix = "waived", ""
    return GateResult(gate=finding.rule, stage=stage, status=status, evidence=finding.numbers, message=message, fix=fix)
