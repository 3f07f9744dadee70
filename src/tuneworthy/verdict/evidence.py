"""What a verdict rests on: measurements of a project gathered in one value, with what has gone stale named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tuneworthy import constraints
from tuneworthy.config import Project
from tuneworthy.config.ladder import Constraints
from tuneworthy.config.task import Motivation, Problem
from tuneworthy.ladder.record import BestVariant, RungRecord, RunRecord
from tuneworthy.ladder.rung_details import RetrievalDetail
from tuneworthy.types import MOST_UNSCORED
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import EconomicsResult, ErrorShare, Forecast, Target
from tuneworthy.verdict.training_facts import TrainingEvidence

KNOWLEDGE = frozenset({"factual_knowledge", "hallucination"})
STRUCTURE = ("xml", "xml_contract")
FEWEST_SHOTS = 3
# The rung of tuned models.
TUNED = "fine_tune"
# 0.85 - 0.05 is not 0.80 in floating point.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class RungEvidence:
    """What is known of a rung (see `ladder.record.RungRecord`).

    Attributes:
        names: Of all candidates tried on dev, and of the one compared on test.
        score: On test; None if it was not compared there.
        lower: One-sided 95% bound of the score, like `upper`.
        n: Test cases.
        unscored: Those that `score` leaves out as they could not be scored.
        violated: The constraint that the variant breaks, in words; "" if none.
        compared_to: The best language-model variant before it.
        delta: Paired difference to that, with its interval.
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
    n: int = 0
    unscored: int = 0
    latency_p95_ms: float | None = None
    usd_per_1k: float | None = None
    violated: str = ""
    compared_to: str | None = None
    delta: float | None = None
    delta_ci: tuple[float, float] | None = None

    @property
    def tested(self) -> bool:
        """Whether it has a score on test."""
        return self.score is not None

    @property
    def has_holes(self) -> bool:
        """Whether so many test cases could not be scored that the score says nothing of the target."""
        return self.unscored > MOST_UNSCORED * self.n

    @property
    def eligible(self) -> bool:
        """Whether the constraints allow it."""
        return self.status != "violates_constraint" and not self.violated

    @property
    def label(self) -> str:
        """What was measured, in words.

        >>> RungEvidence(rung="few_shot", status="adopted", name="few_shot/per_case-8").label
        'the few-shot prompt (per_case-8)'
        """
        label = ("" if self.rung == "baseline" else "the ") + messages.RUNG_LABELS.get(self.rung, self.rung)
        return f"{label} ({self.name.partition('/')[2] or self.name})"

    def score_on(self, n_test: int) -> str:
        """Return the score in words: `84.0% (90% interval 78.9% to 88.1%, 200 test cases)`.

        Two one-sided 95% bounds make the interval; cases without a score are taken off `n_test`.
        """
        if self.score is None:
            return messages.say("no_score")
        bounds = ""
        if self.lower is not None and self.upper is not None:
            bounds = messages.say("bounds", lower=self.lower, upper=self.upper)
        return messages.say("score", score=self.score, bounds=bounds, n=n_test - self.unscored)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEvidence:
    """How well documents were found for the rung `retrieval`, on dev.

    Attributes:
        failed: Wrong answers to cases that name their documents.
        not_retrieved: Those that were shown none of their documents, or whose documents were not read.
        lower: Lower 95% bound of their share of `failed`, of shared sources; 0 if nothing failed.
        oracle: Score where the right documents are handed over; None if it was not measured.
    """

    failed: int
    not_retrieved: int
    lower: float = 0.0
    oracle: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeEvidence:
    """The validation of a model that grades; None in `AdoptionEvidence` where no model grades.

    Attributes:
        valid: Whether it may decide.
        detail: Why, with kappa, sensitivity and specificity, as a sentence.
        fix: What to do, as a sentence; "" if it may decide.
        numbers: The stored validation.
    """

    valid: bool
    detail: str
    fix: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All measurements that gates and decision look at.

    Attributes:
        target: Of the primary grader, like `margin`.
        kind: Of the task (see `Task`).
        problem: As the project file names it, like `motivation`: claims, which gates hold against measurements.
        waivers: Gate to reason.
        rungs: By name; empty before a run.
        best: Name of the rung that the run calls best (`classical` possible); see `top`.
        alpha: Of a comparison.
        n_test: Test cases.
        n_groups: Groups among them; None if no case names a group.
        overlaps: Rows that still overlap cases, by kind (those that were dropped from the examples are not counted).
        stale: What changed since the run, in words; such evidence is not used.
        errors_stale: What changed since the failures were analysed; `errors` is then None.
        has_examples: Whether there is anything to take shots from.
        other_models: Eligible models beside the baseline's.
        limits: The constraints.
        long_prompt: Whether the baseline's system prompt is long enough to try its half.
        documents: Whether cases name documents or a documents folder is there.
        judge: Its validation; None if no model grades.
        search: How well documents were found; None without the rung `retrieval`.
        errors: Classes of failure on dev; None if not probed.
        forecast: Of the pilot.
        economics: What training costs and saves.
        training: The training data, the pilot, and the proofs of a tuned model.
        expires: Dates on which something in the evidence changes: (ISO date, what).
    """

    target: float
    margin: float
    kind: str = ""
    problem: Problem | None = None
    motivation: Motivation | None = None
    waivers: Mapping[str, str] = field(default_factory=dict)
    rungs: Mapping[str, RungEvidence] = field(default_factory=dict)
    best: str | None = None
    alpha: float | None = None
    n_test: int = 0
    n_groups: int | None = None
    overlaps: Mapping[str, int] = field(default_factory=dict)
    stale: Sequence[str] = ()
    errors_stale: Sequence[str] = ()
    has_examples: bool = True
    other_models: int = 0
    limits: Constraints = field(default_factory=Constraints)
    long_prompt: bool = False
    documents: bool = False
    judge: JudgeEvidence | None = None
    search: SearchEvidence | None = None
    errors: Sequence[ErrorShare] | None = None
    forecast: Forecast = field(default_factory=lambda: Forecast(status="unknown"))
    economics: EconomicsResult = field(default_factory=lambda: EconomicsResult(status="unknown"))
    training: TrainingEvidence = field(default_factory=TrainingEvidence)
    expires: Sequence[tuple[str, str]] = ()

    @property
    def upstream(self) -> Mapping[str, RungEvidence]:
        """What needs no training."""
        return {name: rung for name, rung in self.rungs.items() if name != TUNED}

    @property
    def top(self) -> RungEvidence | None:
        """The best that may be used without training (see `best_eligible`)."""
        return best_eligible(self.upstream, self.best)

    @property
    def tuned(self) -> RungEvidence | None:
        """The tuned variant, if one was compared on test."""
        found = self.rungs.get(TUNED)
        return found if found is not None and found.tested else None

    @property
    def knowledge_task(self) -> bool:
        """Whether the answers depend on documents."""
        return self.documents or self.problem in KNOWLEDGE


def best_eligible(rungs: Mapping[str, RungEvidence], best: str | None) -> RungEvidence | None:
    """Return the best of what was compared on test and breaks no constraint; None if there is nothing.

    That is what the run calls best; where a constraint forbids it, the last variant that was adopted, else the first
    one in the order of the ladder, else the classical baseline. The highest of several scores would flatter.

    Args:
        rungs: By name, in the order of the ladder.
        best: The rung that the run calls best.
    """
    allowed = [rung for rung in rungs.values() if rung.tested and rung.eligible]
    named = next((rung for rung in allowed if rung.rung == best), None)
    if named is not None or best is None:
        return named
    models = [rung for rung in allowed if rung.rung != "classical"]
    adopted = [rung for rung in models if rung.status == "adopted"]
    return adopted[-1] if adopted else next(iter(models or allowed), None)


def target_of(rung: RungEvidence | None, target: float, margin: float) -> Target:
    """Say whether a measured variant meets the target (see `target_status`); one with holes settles nothing."""
    if rung is None or rung.has_holes:
        return "unresolved"
    return target_status(rung.score, rung.lower, rung.upper, target, margin)


def target_status(
    score: float | None, lower: float | None, upper: float | None, target: float, margin: float
) -> Target:
    """Say whether `target` is met.

    Met if the point is at or above it and the one-sided 95% lower bound is above ``target - margin``; missed if
    the upper bound is below it; else unresolved.

    Args:
        score: Of the primary grader on test.
        lower: One-sided 95% bound of it.
        upper: The other one.
        target: Of the project file.
        margin: Of the project file.

    >>> target_status(0.96, 0.93, 0.98, 0.85, 0.05), target_status(0.6, 0.54, 0.66, 0.85, 0.05)
    ('met', 'missed')
    """
    if score is None or lower is None or upper is None:
        return "unresolved"
    if score >= target and lower > target - margin + ROUNDING:
        return "met"
    return "missed" if upper < target else "unresolved"


def rungs_of(record: RunRecord, project: Project) -> dict[str, RungEvidence]:
    """Return the rungs of a run by name, held against the constraints of `project`."""
    return {row.rung: _rung_evidence(row, record, project) for row in record.rungs}


def _rung_evidence(row: RungRecord, record: RunRecord, project: Project) -> RungEvidence:
    lower, upper = row.bounds95 or (None, None)
    variant = record.variant_of(row)
    name = variant.model if variant else ""
    return RungEvidence(
        rung=row.rung,
        status=row.status,
        reason_code=row.reason_code,
        reason=row.reason,
        variant=row.variant,
        name=row.name or "",
        names=[candidate.name for candidate in row.candidates] or ([row.name] if row.name else []),
        score=row.score,
        lower=lower,
        upper=upper,
        n=row.n,
        unscored=row.unscored,
        latency_p95_ms=row.latency_p95_ms,
        usd_per_1k=row.usd_per_1k,
        violated=row.violated
        or constraints.violation(
            project.constraints,
            model=name,
            hosted=name in project.models and project.models[name].hosted,
            p95_ms=row.latency_p95_ms,
            usd_per_1k=row.usd_per_1k,
        ),
        compared_to=row.compared_to,
        delta=row.delta,
        delta_ci=row.delta_ci,
    )


def without_tuned(record: RunRecord, project: Project) -> RunRecord:
    """Return a run as it was before tuned models, with the best of it (see `best_eligible`)."""
    return with_eligible_best(replace(record, rungs=[row for row in record.rungs if row.rung != TUNED]), project)


def search_of(record: RunRecord) -> SearchEvidence | None:
    """Return how well documents were found in a run; None if none were searched."""
    found = record.detail(RetrievalDetail)
    if found is None:
        return None
    counts = found.causes.counts
    return SearchEvidence(
        failed=sum(count for name, count in counts.items() if name != "no_document_named"),
        not_retrieved=counts.get("not_retrieved", 0) + counts.get("not_in_index", 0),
        lower=found.causes.lost_ci95[0] if found.causes.lost_ci95 else 0.0,
        oracle=found.oracle.score if found.oracle else None,
    )


def with_eligible_best(record: RunRecord, project: Project) -> RunRecord:
    """Return a run whose `best` is eligible (see `best_eligible`), so that nothing else is built upon."""
    top = best_eligible(rungs_of(record, project), record.best.rung if record.best else None)
    return replace(record, best=BestVariant(top.rung, top.variant) if top and top.variant else None)
