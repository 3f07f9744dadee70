"""What a climb leaves: one record a rung and one for the whole, plain data for `--json`, files and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tuneworthy.types import RungStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class RungRecord:
    """One rung. Scores, intervals and latencies are of test, except `candidates` and `reasons`, which are of dev.

    Attributes:
        rung: Its name.
        status, reason_code, reason: What became of it, for machines and people.
        variant, name: Id and name of what was put to test.
        compared_to: Id of the best language-model variant before this rung.
        candidates_tried: Variants asked on dev (or preregistered).
        n, unscored: Test cases, and how many could not be scored.
        score, ci95: Primary grader on test. bounds95: one-sided 95 % lower and upper bound, each on its own.
        delta, delta_ci, p_value, alpha: Paired difference to `compared_to`; the interval is at 1 - alpha.
        cost_usd: All calls of this rung, stored ones included. usd_per_1k: a thousand test answers.
        latency_p50_ms, latency_p95_ms, latency_n: Single calls at concurrency 1.
        input_tokens, output_tokens: Means of an answer.
        repeats: Answers to each test case.
        graders: Every grader's score on test, by type.
        fields: Per field of a JSON task, on test: precision, recall, F1.
        candidates: On dev, best first: name, variant, n, score, ci95, cost_usd.
        reasons: On dev: why answers of the winner were wrong, with counts.
        notes: What was left out or dropped.
    """

    rung: str
    status: RungStatus
    reason: str = ""
    reason_code: str = ""
    variant: str | None = None
    name: str | None = None
    compared_to: str | None = None
    candidates_tried: int = 0
    n: int = 0
    unscored: int = 0
    score: float | None = None
    ci95: tuple[float, float] | None = None
    bounds95: tuple[float, float] | None = None
    delta: float | None = None
    delta_ci: tuple[float, float] | None = None
    p_value: float | None = None
    alpha: float | None = None
    cost_usd: float = 0.0
    usd_per_1k: float | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_n: int = 0
    input_tokens: float | None = None
    output_tokens: float | None = None
    repeats: int = 1
    graders: Mapping[str, float] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    candidates: Sequence[Mapping[str, Any]] = ()
    calls: int = 0
    calls_full: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClimbRecord:
    """A walk up the ladder.

    Attributes:
        task: Name; kind: of task; target, margin: from the project file.
        quick: Whether test was left alone; then all scores are None and `candidates` hold what was seen.
        n_dev, n_test: Cases. explored: Whether dev was large enough to explore.
        alpha_per_look: Of the looks planned first. test_looks: Looks taken so far.
        cost_usd: All calls of these rungs.
        best: ``{"rung", "variant"}``; the floor where nothing above it is worth its price.
        floor_wins: A sentence if a classifier or rule beats every prompt, else "".
        split: How dev and test were drawn. leaks: What left the examples.
        variants: Id to resolved content, of everything in the table.
        provenance: Versions, seed, hashes.
        notes: What a reader must know.
    """

    task: str
    kind: str
    primary: str
    target: float
    margin: float
    quick: bool
    n_dev: int
    n_test: int
    explored: bool
    alpha_per_look: float | None
    test_looks: int
    cost_usd: float
    rungs: Sequence[RungRecord]
    best: Mapping[str, Any] | None
    floor_wins: str = ""
    split: Mapping[str, Any] = field(default_factory=dict)
    leaks: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)

    def rung(self, name: str) -> RungRecord | None:
        """Return the record of the rung `name`, if it was walked."""
        return next((record for record in self.rungs if record.rung == name), None)
