"""The nouns of a verdict: gates with their evidence, error analysis, forecast, economics, the answer.

Values only. Each part is computed in a file of its own and stored or shown as plain data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

Stage = Literal["to_decide", "to_train", "to_ship"]
Target = Literal["met", "missed", "unresolved"]
ErrorClass = Literal["format", "knowledge", "reasoning", "instability", "refusal", "label_or_grader", "other"]


class GateStatus(StrEnum):
    """What a gate says."""

    PASS = "pass"
    FAIL = "fail"
    WAIVED = "waived"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not_applicable"


class Outcome(StrEnum):
    """What a verdict says."""

    FINE_TUNE = "fine_tune"
    DO_NOT_FINE_TUNE = "do_not_fine_tune"
    UNDECIDED = "undecided"
    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """One gate.

    Attributes:
        gate, stage, status: Which, when it is needed, what it says.
        evidence: The measured numbers it rests on, JSON-able.
        detail: One sentence for people: what was found, and what to do if it is not enough.
    """

    gate: str
    stage: Stage
    status: GateStatus
    evidence: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorShare:
    """A class of failures on dev.

    Attributes:
        name: The class. n_failed: Failures of this class; n: all failures that were looked at.
        share, ci95: n_failed / n with its Clopper-Pearson interval.
        mended_by: The rung or step that mends it, e.g. `retrieval`, `few_shot`, `model`, `decoding`, `cases label`.
        probe: What was done to find it, in one sentence.
    """

    name: ErrorClass
    n_failed: int
    n: int
    share: float
    ci95: tuple[float, float]
    mended_by: str
    probe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What training is expected to gain; `unknown` before a pilot (target minus baseline is never called a gain).

    Attributes:
        status: `unknown` or `measured`.
        gain, ci95: Gain of the primary grader at `n_examples`, with its interval.
        n_examples: The size it is forecast for; at most twice the largest pilot.
        points: The pilot: (size, seed, score).
        cost: What a pilot would cost, in words, while unknown.
    """

    status: Literal["unknown", "measured"]
    gain: float | None = None
    ci95: tuple[float, float] | None = None
    n_examples: int | None = None
    points: Sequence[tuple[int, int, float]] = ()
    cost: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EconomicsResult:
    """Whether training pays.

    Attributes:
        status: `pays` (breaks even within the horizon), `never`, `unknown` (no traffic given), or `not_applicable`
            (a hard constraint decides, not money).
        break_even_requests_per_month: Traffic at which training pays within the horizon; None if at none.
        break_even_month: Month in which it has paid back at the project's traffic; None if never or not known.
        usd_per_1k: Cost of a thousand answers by option (`best_upstream`, `cheapest_hosted`, `tuned_served`).
        one_off_usd, monthly_usd: Of the tuned option: data, training, serving, upkeep.
        assumptions: Every number used: name to ``{"value", "source", "mark", "date"}``.
        sensitivity: The assumptions that matter most: name and break-even volume if it is halved and doubled.
        saved: What an answer of the tuned variant that was put to test saves against the best without training, as
            measured: tokens, and US dollars a thousand answers (`verdict.saved`); empty before there is one.
    """

    status: Literal["pays", "never", "unknown", "not_applicable"]
    break_even_requests_per_month: float | None = None
    break_even_month: int | None = None
    usd_per_1k: Mapping[str, float | None] = field(default_factory=dict)
    one_off_usd: float | None = None
    monthly_usd: float | None = None
    assumptions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sensitivity: Sequence[Mapping[str, Any]] = ()
    saved: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer.

    Attributes:
        outcome, stage, reason_code: The answer for machines.
        reasons: At most three sentences for people, the weightiest first.
        target: Whether the best eligible variant (or the classical baseline) meets the target.
        gates: All gates of the stages so far.
        error analysis, forecast, economics: As computed.
        next_action: The next cheapest step, with its cost.
        valid_until: ISO date on which a price, a model or a plan in it changes.
        would_change: What would change the answer, one sentence each.
        stale: What changed since it was measured, and was therefore left out.
    """

    outcome: Outcome
    stage: Stage
    reason_code: str
    reasons: Sequence[str]
    target: Target
    gates: Sequence[GateResult]
    errors: Sequence[ErrorShare]
    forecast: Forecast
    economics: EconomicsResult
    next_action: str
    valid_until: str
    would_change: Sequence[str] = ()
    stale: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; `error analysis` uses the contract's key `class`."""
        content = asdict(self)
        for row in content["errors"]:
            row["class"] = row.pop("name")
        return content
