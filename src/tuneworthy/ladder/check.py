"""All faults of a project at once, and the cost of a run, before money is spent.

A check is a rule behind `@check(name, severity=...)`; its docstring is its page in docs/reference/checks.md. It
examines `Facts` and yields a `Finding` for each thing that it finds; `error` means that a run would fail or measure
nothing. Checks never stop one another: an error that is raised on purpose becomes a finding, and a bug stays a bug.
Nothing is asked of a model: servers that the project file names get one GET that costs nothing.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tuneworthy.config import load
from tuneworthy.errors import ConfigError, TuneworthyError
from tuneworthy.ladder.checks import CHECKS, DEAREST
from tuneworthy.ladder.checks.facts import Facts, NoData, Power, attempt
from tuneworthy.ladder.checks.plan import plan_lines
from tuneworthy.ladder.estimate import Estimate
from tuneworthy.rules import SEVERITIES, Finding, Rule, Severity
from tuneworthy.store.shapes import DamagedRecord
from tuneworthy.trust import Untrusted
from tuneworthy.types import JsonObject, Texts, frozen

logger = logging.getLogger(__name__)


@frozen
class CheckReport:
    """The findings of all checks.

    Attributes:
        task: Name of the task; None if the project file cannot be read.
        findings: Errors first, then by cost.
        estimate: Of a run; None if unknown.
        power: What difference the test set can show; None if there is no split.
        plan: Steps and cost of a run, in sentences.
    """

    task: str | None
    findings: tuple[Finding, ...]
    estimate: Estimate | None = None
    power: Power | None = None
    plan: Texts = ()

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def to_dict(self) -> JsonObject:
        return {
            **{f"{severity}s": self.count(severity) for severity in SEVERITIES},
            "task": self.task,
            "findings": [
                {"check": one.rule, "severity": one.severity, "message": one.message, "fix": one.fix}
                for one in self.findings
            ],
            "estimate": asdict(self.estimate) if self.estimate else None,
            "power": self.power.to_dict() if self.power else None,
        }


def check_project(
    root: Path, *, contact: bool = True, checks: Mapping[str, Rule[Finding]] | None = None
) -> CheckReport:
    """Examine the project in `root` with every check.

    Args:
        root: The project folder, or its file.
        contact: Whether servers that the project file names are contacted.
        checks: The checks to use; all if None.
    """
    try:
        project = load(root)
    except ConfigError as error:
        findings = [Finding(message=line, fix=error.hint, severity="error", rule="config") for line in error.faults]
        return CheckReport(task=None, findings=tuple(findings))
    facts = Facts(project, contact=contact)
    findings = []
    for rule in (CHECKS.all() if checks is None else checks).values():
        logger.debug("check %s", rule.name)
        try:
            findings += list(rule.run(facts))
        except (Untrusted, NoData, DamagedRecord):  # other checks report it
            continue
        except TuneworthyError as error:
            findings.append(Finding(message=error.message, fix=error.hint, severity="error", rule=rule.name))
    costs = {name: place for place, name in enumerate(DEAREST)}
    findings.sort(key=lambda one: (SEVERITIES.index(one.severity or "error"), costs.get(one.rule, len(costs))))
    return CheckReport(
        task=project.task.name,
        findings=tuple(findings),
        estimate=attempt(TuneworthyError, lambda: facts.estimate)[0],  # a check has reported the error
        power=attempt(TuneworthyError, lambda: facts.power)[0],
        plan=attempt(TuneworthyError, lambda: plan_lines(facts))[0] or (),
    )
