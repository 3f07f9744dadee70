"""One variant put to test: answered, measured, and compared with the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tuneworthy.config import Project
from tuneworthy.constraints import violation
from tuneworthy.evaluate.latency import Latency, measure_latency, measure_together
from tuneworthy.evaluate.runner import usage
from tuneworthy.graders.breakdown import breakdown
from tuneworthy.ladder.adopt import Decision, Evidence, decide_adoption
from tuneworthy.ladder.judging import Judged
from tuneworthy.ladder.provenance import CLASSICAL
from tuneworthy.ladder.record import FieldScores, RungRecord
from tuneworthy.ladder.rung import Contender
from tuneworthy.ladder.session import Session
from tuneworthy.stats.intervals import score_bound, score_interval
from tuneworthy.stats.paired import PairedResult, compare, non_inferior, worst_case
from tuneworthy.types import Case, RungStatus, Score, Trace, Variant

Pair = tuple[np.ndarray, np.ndarray]
Span = tuple[float, float]
SAMPLED_REPEATS = 3
DETERMINISTIC = frozenset({"scripted", "python", "http"})
"""Providers whose answers are taken to repeat: what varies in a pipeline of the user's own is not ours to know."""


def repeats_of(project: Project, variant: Variant) -> int:
    """Return how many answers each test case gets: at least 3 where answers vary (temperature above 0)."""
    config = project.models.get(variant.model)
    fixed = variant.model.startswith(CLASSICAL) or (config is not None and config.provider in DETERMINISTIC)
    varies = not fixed and float(variant.decoding.get("temperature", 1.0)) > 0
    return max(SAMPLED_REPEATS, project.ladder.repeats) if varies else project.ladder.repeats


async def answer_test(session: Session, rung: str, variant: Variant, dev: Sequence[Case]) -> Contender:
    """Answer all test cases with `variant`, and measure its latency apart, on dev."""
    test = session.split.test
    traces = await session.ask(variant, test, repeats=repeats_of(session.project, variant))
    num, den, _ = await session.score(traces, test)
    if session.judging:
        await session.judging.learn(test, traces)
    latency = await measure_latency(session.runner, variant, session.models[variant.model], dev or test)
    usd_per_1k = usage(traces)["usd_per_1k"]
    return Contender(
        rung=rung,
        variant=variant,
        traces=traces,
        num=num,
        den=den,
        unscored=int(np.isnan(num).sum()),
        usd_per_1k=usd_per_1k,
        latency=latency,
        violated=violation(
            session.project.constraints,
            model=variant.model,
            hosted=session.models[variant.model].hosted,
            p95_ms=latency.quantile_ms(0.95),
            usd_per_1k=usd_per_1k,
        ),
    )


async def decide(
    session: Session, best: Contender, highest: Contender, trial: Contender, alpha: float
) -> tuple[PairedResult, Decision]:
    """Compare a trial with the best so far, and with the highest ever adopted.

    Where speed alone would decide, both are timed again in turn: they were measured at different times, and the machine
    or the server may have been busier at one of them.

    Args:
        session: The opened project.
        best: The best language-model variant so far.
        highest: The highest-scoring variant ever adopted (so that "no worse" cannot creep down).
        trial: The candidate.
        alpha: Of this look.
    """
    margin = session.project.task.margin
    groups = session.groups(session.split.test)
    left, right, kept = _common(best, trial, groups)
    gain = compare(*left, *right, kept, alpha=alpha, seed=session.project.split.seed)
    top, low, kept = _common(highest, trial, groups)
    no_creep = non_inferior(*top, *low, kept, margin=margin, alpha=alpha)
    unvalidated = ""
    if session.judging:
        judging, test, tried = session.judging, session.split.test, _judged(trial)
        gain, _, unvalidated = judging.correct(test, _judged(best), tried, gain, no_creep, groups=groups)
        _, no_creep, fault = judging.correct(test, _judged(highest), tried, gain, no_creep, groups=groups)
        unvalidated = unvalidated or fault
    evidence = Evidence(
        gain=gain,
        no_creep=no_creep,
        unscored_share=max(best.unscored, trial.unscored) / len(trial.num),
        sign_flips=_flips(best, trial),
        cost_ratio=trial.usd_per_1k / best.usd_per_1k if best.usd_per_1k and trial.usd_per_1k is not None else None,
        time_ratio=trial.latency.ratio_to(best.latency) if trial.latency and best.latency else None,
        violated=trial.violated,
        unvalidated=unvalidated,
    )
    decision = decide_adoption(evidence, margin)
    if decision.reason_code == "cheaper" and not evidence.cheaper:
        evidence = replace(evidence, time_ratio=await _timed_together(session, best, trial))
        decision = decide_adoption(evidence, margin)
    return gain, decision


async def _timed_together(session: Session, best: Contender, trial: Contender) -> Span | None:
    """Return the ratio of latencies, trial / best, and its upper bound, measured in turn."""
    sides = [(one.variant, session.models[one.variant.model]) for one in (best, trial)]
    before, after = await measure_together(session.runner, sides, session.split.dev or session.split.test)
    return after.ratio_to(before)


async def measured(session: Session, trial: Contender, explored: dict[str, Any]) -> RungRecord:
    """Return the record of a trial with all that was measured on test (what it cost is known when the rung ends).

    Args:
        session: The opened project.
        trial: What was answered.
        explored: The fields of the record that come from dev.
    """
    test = session.split.test
    score, ci95, bounds, notes = _score(session, trial)
    shares: dict[str, float] = {}
    fields: dict[str, FieldScores] = {}
    for kind, grader in session.graders.items():
        num, den, scores = await session.score(trial.traces, test, grader=grader)
        shares[kind] = float(np.nansum(num) / max(np.nansum(den), 1e-12))
        fields = fields or _fields(scores)
    means = usage(trial.traces)
    latency = trial.latency or Latency({})
    return RungRecord(
        rung=trial.rung,
        status=RungStatus.REFERENCE,
        variant=trial.variant.id,
        name=trial.variant.name,
        n=len(trial.num),
        unscored=trial.unscored,
        score=score,
        ci95=ci95,
        bounds95=bounds,
        usd_per_1k=trial.usd_per_1k,
        latency_p50_ms=latency.quantile_ms(0.5),
        latency_p95_ms=latency.quantile_ms(0.95),
        latency_n=len(latency.seconds),
        input_tokens=means["input_tokens"],
        output_tokens=means["output_tokens"],
        repeats=len(trial.traces) // len(test),
        graders=shares,
        fields=fields,
        violated=trial.violated,
        **explored | {"notes": [*explored.get("notes", ()), *notes]},
    )


def _score(session: Session, trial: Contender) -> tuple[float, Span | None, Span | None, list[str]]:
    """Return the score on test, its interval, its one-sided bounds, and what a reader must know of them.

    Where a judge grades and people judged enough, all three are corrected by their verdicts.
    """
    test = session.split.test
    scored = ~np.isnan(trial.num)
    if not scored.any():
        return trial.score, None, None, []
    groups = session.groups(test)
    if session.judging and (level := session.judging.level(test, _judged(trial), groups=groups)):
        words = f"score corrected by people's verdicts on {level.n_human} cases; the judge alone says {trial.score:.3f}"
        return level.b, _within(level.interval()), _within(level.interval(0.1)), [words]
    kept = (trial.num[scored], trial.den[scored], None if groups is None else groups[scored])
    interval = score_interval(*kept)
    bounds = score_bound(*kept, side="lower"), score_bound(*kept, side="upper")
    return trial.score, (interval.lo, interval.hi), bounds, []


def with_decision(record: RungRecord, against: Variant, gain: PairedResult, decision: Decision) -> RungRecord:
    """Return the record with what became of it."""
    return replace(
        record,
        status=decision.status,
        reason=decision.reason,
        reason_code=decision.reason_code,
        compared_to=against.id,
        delta=gain.delta,
        delta_ci=gain.ci,
        p_value=gain.p_value,
        alpha=gain.alpha,
    )


def first_error(traces: Sequence[Trace]) -> str:
    """Say why nothing could be scored."""
    error = next((trace.error for trace in traces if trace.error), None)
    return f"nothing could be scored: {error.message}" if error else "nothing could be scored"


def _common(a: Contender, b: Contender, groups: np.ndarray | None) -> tuple[Pair, Pair, np.ndarray | None]:
    """Return the contributions of the cases that both have scored, and their groups."""
    both = ~(np.isnan(a.num) | np.isnan(b.num))
    return (a.num[both], a.den[both]), (b.num[both], b.den[both]), None if groups is None else groups[both]


def _within(interval: Span) -> Span:
    return max(0.0, interval[0]), min(1.0, interval[1])


def _judged(contender: Contender) -> Judged:
    return Judged(contender.traces, contender.num / contender.den)


def _fields(scores: Sequence[Score]) -> dict[str, FieldScores]:
    """Return precision, recall and F1 by field of a JSON task."""
    counts = breakdown(scores).fields
    return {name: FieldScores(precision=c.precision, recall=c.recall, f1=c.f1) for name, c in counts.items()}


def _flips(a: Contender, b: Contender) -> bool:
    """Whether the unscored cases could turn the sign of b - a."""
    if not a.unscored and not b.unscored:
        return False
    kept_a, kept_b = ~np.isnan(a.num), ~np.isnan(b.num)
    return worst_case(
        a.num[kept_a], a.den[kept_a], b.num[kept_b], b.den[kept_b], a_unscored=a.unscored, b_unscored=b.unscored
    )
