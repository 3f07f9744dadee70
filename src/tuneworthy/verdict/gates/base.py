"""What a gate is, and how all gates of a stage are run.

A gate's docstring is its page. Waivers are applied by `run_gates`, in one place; five gates can't be waived.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tuneworthy.registry import Registry
from tuneworthy.verdict.base import GateResult, GateStatus, Stage
from tuneworthy.verdict.evidence import Evidence

PASS, FAIL, UNKNOWN = GateStatus.PASS, GateStatus.FAIL, GateStatus.UNKNOWN
NOT_APPLICABLE = GateStatus.NOT_APPLICABLE
NEVER_WAIVED = frozenset({"test_set", "baseline", "contamination", "judge", "parity"})

Finding = tuple[GateStatus, str, Mapping[str, Any]]
Gate = Callable[[Evidence], Finding]

GATES: Registry[Gate] = Registry("gates", {})
"""Name to gate; the order of registration is the order of `decide`."""

_STAGES: dict[str, Stage] = {}


def gate(name: str, stage: Stage = "to_decide") -> Callable[[Gate], Gate]:
    """Register a gate of a stage."""
    _STAGES[name] = stage
    return GATES.register(name)


def run_gates(evidence: Evidence, stage: Stage = "to_decide") -> list[GateResult]:
    """Run all gates of a stage, and apply the waivers to those that can be waived."""
    results = []
    for name in [name for name, of in _STAGES.items() if of == stage]:
        status, detail, numbers = GATES.get(name)(evidence)
        reason = evidence.waivers.get(name)
        if reason and name not in NEVER_WAIVED and status in {FAIL, UNKNOWN}:
            status, detail = GateStatus.WAIVED, f"waived: {reason} (it said: {detail})"
        results.append(GateResult(gate=name, stage=stage, status=status, evidence=numbers, detail=detail))
    return results
