"""The gates of a verdict: rules on the evidence, a file a stage. Waivers are applied here and nowhere else."""

from typing import Any, Final

from tuneworthy.errors import join_sentences
from tuneworthy.rules import Finding, RuleBook, Status
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import GateResult, Stage
from tuneworthy.verdict.evidence import Evidence

NEVER_WAIVED: Final = frozenset({"test_set", "baseline", "contamination", "judge", "parity"})
# Each rule says pass, fail, unknown or not applicable; its group is the stage in which it is needed.
GATES: Final[RuleBook[Finding]] = RuleBook(
    "gates", [f"tuneworthy.verdict.gates.{stage}" for stage in ("to_decide", "to_train", "to_ship")]
)


def says(status: Status, message: str, fix: str = "", /, **numbers: Any) -> Finding:
    """Return what a gate finds."""
    return Finding(status=status, message=message, fix=fix, numbers=numbers)


def stage_gates(stage: Stage) -> list[str]:
    """Return the names of the gates of a stage, in order."""
    return [name for name, rule in GATES.all().items() if rule.group == stage]


def run_gates(evidence: Evidence, stage: Stage = "to_decide") -> list[GateResult]:
    """Run all gates of a stage, and apply the waivers to those that can be waived."""
    return [_waived(finding, stage, evidence) for finding in GATES.run(evidence, only=stage_gates(stage))]


def _waived(finding: Finding, stage: Stage, evidence: Evidence) -> GateResult:
    status, message, fix = finding.status, finding.message, finding.fix
    reason = evidence.waivers.get(finding.rule)
    if reason and finding.rule not in NEVER_WAIVED and status in {"fail", "unknown"}:
        message = messages.say("waived", reason=join_sentences(reason), message=join_sentences(message, fix))
        status, fix = "waived", ""
    return GateResult(gate=finding.rule, stage=stage, status=status, evidence=finding.numbers, message=message, fix=fix)
