"""What a verdict rests on: measurements of a project gathered in one value, with what has gone stale named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneworthy.config.task import Motivation, Problem
from tuneworthy.verdict.base import EconomicsResult, Forecast, Headroom, Target

KNOWLEDGE = frozenset({"factual_knowledge", "hallucination"})
STRUCTURE = ("xml", "xml_contract")
FEWEST_SHOTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RungEvidence:
    """What is known of a rung (see `ladder.record.RungRecord`).

    Attributes:
        names: Of all candidates tried on dev, and of the one put to test.
        score, lower, upper: On test, with one-sided 95 % bounds; None if it was not put to test.
        eligible: Whether no constraint forbids what was put to test.
    """

    rung: str
    status: str
    reason_code: str = ""
    reason: str = ""
    variant: str | None = None
    name: str = ""
    names: Sequence[str] = ()
    score: float | None = None
    lower: float | None = None
    upper: float | None = None
    unscored: int = 0
    latency_p95_ms: float | None = None
    usd_per_1k: float | None = None

    @property
    def tested(self) -> bool:
        """Whether it has a score on test."""
        return self.score is not None

    @property
    def eligible(self) -> bool:
        """Whether a constraint allows it."""
        return self.status != "not_eligible"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeEvidence:
    """The validation of a model that grades; None in `Evidence` where no model grades.

    Attributes:
        valid: Whether it may decide. detail: Why, with kappa, sensitivity and specificity.
    """

    valid: bool
    detail: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All measurements that gates and decision look at.

    Attributes:
        target, margin: Of the primary grader.
        problem, motivation: As the project file names them; claims, which gates hold against measurements.
        waivers: Gate to reason.
        rungs: By name; empty before a climb.
        best: Name of the rung whose variant is best (`floor` possible).
        alpha: Of a look.
        n_test, n_groups: Test cases, and groups among them (None if no case names a group).
        leaks: Rows that still leak into cases (those that left are not counted).
        stale: What changed since it was measured, in words; such evidence is not used.
        has_examples: Whether there is anything to take shots from.
        other_models: Eligible models beside the baseline's.
        hosted_forbidden: Whether the task must run on the device.
        p95_limit_ms: Of latency.
        long_prompt: Whether the baseline's system prompt is long enough to try its half.
        documents: Whether cases name documents or a documents folder is there.
        headroom: Classes of failure on dev; None if not probed.
        perplexity: (of the domain's text, of general text) under the base model; None if not measured.
        today: ISO date. expires: Dates on which something in the evidence changes: (ISO date, what).
    """

    target: float
    margin: float
    problem: Problem | None = None
    motivation: Motivation | None = None
    waivers: Mapping[str, str] = field(default_factory=dict)
    rungs: Mapping[str, RungEvidence] = field(default_factory=dict)
    best: str | None = None
    alpha: float | None = None
    n_test: int = 0
    n_groups: int | None = None
    leaks: int = 0
    stale: Sequence[str] = ()
    has_examples: bool = True
    other_models: int = 0
    hosted_forbidden: bool = False
    p95_limit_ms: float | None = None
    long_prompt: bool = False
    documents: bool = False
    judge: JudgeEvidence | None = None
    headroom: Sequence[Headroom] | None = None
    perplexity: tuple[float, float] | None = None
    forecast: Forecast = field(default_factory=lambda: Forecast(status="unknown"))
    economics: EconomicsResult = field(default_factory=lambda: EconomicsResult(status="unknown"))
    today: str = ""
    expires: Sequence[tuple[str, str]] = ()

    @property
    def candidates(self) -> list[RungEvidence]:
        """Everything that was put to test and that the constraints allow, the floor among it."""
        return [rung for rung in self.rungs.values() if rung.tested and rung.eligible]

    @property
    def top(self) -> RungEvidence | None:
        """The variant that the ladder ended with, or the floor."""
        return self.rungs.get(self.best) if self.best else None

    @property
    def knowledge_task(self) -> bool:
        """Whether the answers lie in documents."""
        return self.documents or self.problem in KNOWLEDGE

    @property
    def hard_constraint(self) -> bool:
        """Whether something other than money decides what may serve."""
        return self.hosted_forbidden or self.p95_limit_ms is not None


def target_of(rung: RungEvidence | None, target: float, margin: float) -> Target:
    """Say whether a measured variant meets the target.

    Met if the point is at or above it and the one-sided 95 % lower bound is above ``target - margin``; missed if
    the upper bound is below it; else unresolved.
    """
    if rung is None or rung.score is None or rung.lower is None or rung.upper is None:
        return "unresolved"
    if rung.score >= target and rung.lower > target - margin:
        return "met"
    return "missed" if rung.upper < target else "unresolved"
