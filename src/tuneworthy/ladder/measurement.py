"""One variant on test: answered, measured, and compared with the best so far."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import permutations

import numpy as np

from tuneworthy.cases.dataset import find_overlaps
from tuneworthy.cases.normalize import words
from tuneworthy.config import Project
from tuneworthy.config.serving import violation
from tuneworthy.dataset.freeze import find_version
from tuneworthy.engine.latency import Latency, measure_latency, measure_together, time_calls
from tuneworthy.engine.runner import usage
from tuneworthy.graders.base import accepted
from tuneworthy.graders.json_fields import totals
from tuneworthy.graders.judging import ScoredAnswers
from tuneworthy.graders.text import differs_in_form
from tuneworthy.ladder.adopt import Adoption, AdoptionEvidence, decide_adoption
from tuneworthy.ladder.bills import bill_of
from tuneworthy.ladder.cascade import is_sent, large_of
from tuneworthy.ladder.comparison_plan import options_of, read_comparisons
from tuneworthy.ladder.comparisons import earlier_levels
from tuneworthy.ladder.own_models import IN_PROCESS
from tuneworthy.ladder.record import (
    DistinctScore,
    FieldScores,
    LabelBalance,
    RungDifference,
    RungRecord,
    target_of,
)
from tuneworthy.ladder.rung_details import TunedDetail
from tuneworthy.ladder.session import Session
from tuneworthy.money.serving import RunningCost
from tuneworthy.search.racing import DevScores
from tuneworthy.stats.calibration import LabelCalibration, calibration
from tuneworthy.stats.intervals import effective_n, score_interval
from tuneworthy.stats.paired import NonInferiority, PairedResult, compare, non_inferior, worst_case
from tuneworthy.stats.ratios import LEAST_GROUPS
from tuneworthy.types import (
    MOST_UNSCORED,
    Bounds,
    Case,
    Cases,
    NamedFloats,
    NamedInts,
    Response,
    RungStatus,
    Trace,
    Traces,
    Variant,
)

Pair = tuple[np.ndarray, np.ndarray]
SAMPLED_REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Measurement(ScoredAnswers):
    """Measurement of a variant on test.

    Attributes:
        rung: That proposed it.
        variant: The measured variant.
        unscored: Cases that could not be scored; lost repeats count in proportion, rounded up.
        cost: Of running it, by the answer and by the month.
        latency: Of single calls.
        violated: The constraint that it breaks, in words; "" without one.
        beats_majority: Whether it is shown to beat always giving the most frequent answer; None without a frequent
            answer.
        recall: Of each label, on the cases that were chosen by it as well; empty for other tasks.
        recall_n: As in `RungRecord`.
    """

    rung: str
    variant: Variant
    unscored: int
    cost: RunningCost
    latency: Latency
    violated: str = ""
    beats_majority: bool | None = None
    recall: NamedFloats = field(default_factory=dict)
    recall_n: NamedFloats = field(default_factory=dict)

    @property
    def score(self) -> float:
        scored = ~np.isnan(self.num)
        total = float(self.den[scored].sum())
        return float(self.num[scored].sum()) / total if total else 0.0


def is_sampled(project: Project, variant: Variant) -> bool:
    """Return whether equal requests may get different answers."""
    config = project.models.get(variant.model)
    return not (
        variant.model.startswith(IN_PROCESS)
        or (config is not None and config.repeatable)
        or variant.output.kind == "ranked"
    ) and any(
        float(one.get("temperature", 1.0)) > 0
        for one in (variant.decoding, *(own.decoding for own in variant.by_tag.values()))
    )


def repeats_of(project: Project, variant: Variant) -> int:
    return max(SAMPLED_REPEATS if is_sampled(project, variant) else 1, project.ladder.repeats)


async def measure_on_test(
    session: Session, record: RungRecord, variant: Variant, dev: Cases
) -> tuple[RungRecord, Measurement]:
    """Answer all test cases with `variant`, and time single calls apart, on dev.

    Args:
        session: The opened project.
        record: Of the rung, as far as dev tells.
        variant: The winner on dev.
        dev: Cases to time calls on, before those of test.

    Returns:
        The record with all that was measured, and the measurement.
    """
    test, counted, asked = session.split.test, session.split.counted, session.split.asked
    answers = await session.ask(variant, asked, repeats=repeats_of(session.project, variant))
    repeats = len(answers) // len(asked)
    recall, recall_n, recall_cases = (
        await recall_of(session, counted, answers[: len(counted) * repeats])
        if session.task.kind == "label"
        else ({}, {}, {})
    )
    traces = answers[: len(test) * repeats]
    num, den, scores = await session.score(traces, test)
    n_lost = sum(bool(score.unscored) for score in scores)
    if session.judging:
        await session.judging.learn(test, traces)
    limits, model = session.project.constraints, session.models[variant.model]
    latency = await latency_of(session, variant, dev)
    means = usage(traces)
    record = replace(
        record,
        n=len(test),
        repeats=repeats,
        recall=recall,
        recall_n=recall_n,
        recall_cases=recall_cases,
        **asdict(means),
    )
    trial = Measurement(
        rung=record.rung,
        variant=variant,
        traces=traces,
        num=num,
        den=den,
        unscored=math.ceil(n_lost / repeats),
        recall=recall,
        recall_n=recall_n,
        cost=bill_of(session.project, record, variant).running(session.project.economics),
        latency=latency,
        violated=violation(
            limits,
            model=variant.model,
            hosted=model.hosted,
            p95_ms=latency.quantile_ms(0.95),
            p95_interval=latency.interval_ms(0.95),
            usd_per_1k=means.usd_per_1k,
        ),
    )
    unread = sum(
        (score.value or 0.0) < 1 and differs_in_form(trace.text, case.expected)
        for trace, score, case in zip(traces, scores, (case for case in test for _ in range(repeats)), strict=True)
    )
    score, ci95, size, notes = _score(session, trial, test)
    if 0 < n_lost < len(traces):
        why = next(score.unscored for score in scores if score.unscored)
        notes = [
            *notes,
            (f"{n_lost} of {len(traces)} answers to test cases could not be scored. First reason: {why.rstrip('.')}."),
        ]
    shares: dict[str, float] = {}
    fields: dict[str, FieldScores] = {}
    for kind, grader in session.graders.items():
        num, den, scores = await session.score(traces, test, grader=grader)
        shares[kind] = float(np.nansum(num) / max(np.nansum(den), 1e-12))
        fields = fields or {
            name: FieldScores(precision=one.precision, recall=one.recall, f1=one.f1)
            for name, one in totals(scores).items()
        }
    return replace(
        record,
        unscored=trial.unscored,
        score=score,
        ci95=ci95,
        n_effective=size,
        by_origin=await by_origin(session, trial, answers),
        unread=unread / len(traces),
        constant=len(traces) > 1 and len({" ".join(words(trace.text)) for trace in traces if trace.response}) == 1,
        latency_p50_ms=latency.quantile_ms(0.5),
        latency_p95_ms=latency.quantile_ms(0.95),
        latency_p95_ci=latency.interval_ms(0.95),
        latency_n=len(latency.seconds),
        graders=shares,
        fields=fields,
        calibration=calibration_of(traces, test),
        violated=trial.violated,
        memory_mib=session.memory_mib(variant.model),
        notes=[*record.notes, *notes],
    ), trial


async def latency_of(session: Session, variant: Variant, dev: Cases) -> Latency:
    limits = session.project.constraints
    return await measure_latency(partial(_time, session, variant), [*dev, *session.split.test], limits=limits)


async def _time(session: Session, variant: Variant, cases: Cases) -> Latency:
    """Return the times of single calls; of a cascade, case by case, those of the parts that answer the case."""
    latency = await time_calls(session.runner, large_of(variant), session.models[variant.model], cases)
    if variant.cascade is None:
        return latency
    cascade, large = variant.cascade, latency.seconds
    first = (await _time(session, cascade.first, cases)).seconds
    sent = {trace.case_id for trace in await session.ask(cascade.first, cases) if is_sent(cascade, trace)}
    return Latency({
        case: seconds + (large[case] if case in sent else 0.0)
        for case, seconds in first.items() if case in large or case not in sent
    })  # fmt: skip


async def decide(
    session: Session, best: Measurement, highest: Measurement, trial: Measurement, alpha: float | None
) -> tuple[PairedResult, Adoption]:
    """Compare a trial with the best so far, and with the highest ever adopted.

    If only speed would decide, both are timed again in turn: they were measured at different times, and the load of the
    machine or the server may have changed.

    Args:
        session: The opened project.
        best: The best language-model variant so far.
        highest: The highest-scoring variant ever adopted (so that "no worse" cannot creep down).
        trial: The candidate.
        alpha: Of this comparison; None if the trial is not compared: it may still be non-inferior and cheaper.
    """
    margin, test, effective = session.project.task.margin, session.split.test, session.split.effective_groups
    gain, _, unvalidated = compare_scored(session, test, best, trial, alpha)
    _, no_creep, fault = compare_scored(session, test, highest, trial)
    evidence = AdoptionEvidence(
        gain=gain,
        no_creep=no_creep,
        unscored_share=max(best.unscored, trial.unscored) / len(trial.num),
        sign_flips=_flips(best, trial),
        costs=(trial.cost, best.cost),
        requests=session.project.economics.requests_per_month,
        all_wrong=trial.score == 0,
        limited=session.project.constraints.p95_ms is not None,
        # A cascade is there to save money: its times are put together from those of its parts.
        time_ratio=None if trial.variant.cascade else trial.latency.ratio_to(best.latency),
        loses_target=meets_target(session, best) and not meets_target(session, trial),
        violated=trial.violated,
        unvalidated=unvalidated or fault,
        shown_before=_shown_before(session, best, trial),
        few_groups=f"the test cases count as {effective:.1f} independent cases; at least {LEAST_GROUPS} are needed"
        if effective < LEAST_GROUPS
        else "",
    )
    decision = decide_adoption(evidence, margin)
    if decision.reason_code == "cheaper" and not evidence.cheaper:
        before, after = await measure_together(
            session.runner,
            [(one.variant, session.models[one.variant.model]) for one in (best, trial)],
            session.split.dev or session.split.test,
        )
        decision = decide_adoption(replace(evidence, time_ratio=after.ratio_to(before)), margin)
    return gain, decision


def meets_target(session: Session, one: Measurement) -> bool:
    """Whether a variant meets the target, as the verdict will say.

    Scores of a judge show it once the judge is validated and people's ratings correct them.
    """
    task, split, judging = session.project.task, session.split, session.judging
    score, _, size, corrected = _score(session, one, split.test)
    record = RungRecord(
        rung=one.rung,
        status=RungStatus.INCONCLUSIVE,
        n=len(one.num),
        unscored=one.unscored,
        score=score,
        n_effective=size,
        recall=one.recall,
        recall_n=one.recall_n,
    )
    return (
        session.target is not None
        and (not judging or bool(corrected and judging.validation and judging.validation.status == "pass"))
        and target_of(
            record,
            session.target,
            task.margin,
            options=options_of(read_comparisons(session.folder)),
            additions=len(split.additions),
            groups=split.effective_groups,
            critical=task.critical_recall,
            to_beat=one.beats_majority is False,
        )
        == "met"
    )


def _shown_before(session: Session, best: Measurement, trial: Measurement) -> PairedResult | None:
    """Return the comparison that showed the trial to be better before cases were added, else None.

    A result shown at its own alpha stays shown, however little alpha is left for the same question on more cases.
    """
    if session.judging is not None:
        return None
    for times, alpha in earlier_levels(session, trial.rung, best.variant, trial.variant):
        later = {identity for ids in session.split.additions[times:] for identity in ids}
        first = np.array([case.id not in later for case in session.split.test])
        if not first.any():  # all were drafted, and are set apart by now
            continue
        gain = compare(
            *_common(best, trial, session.groups(session.split.test), first),
            alpha=alpha,
            seed=session.project.split.seed,
        )
        if gain.better:
            return gain
    return None


def compare_scored(
    session: Session, cases: Cases, a: ScoredAnswers, b: ScoredAnswers, alpha: float | None = None
) -> tuple[PairedResult, NonInferiority, str]:
    """Compare `b` with `a`; where a judge grades, corrected by people's verdicts.

    Args:
        session: The opened project.
        cases: That both answered.
        a: What `b` is compared with.
        b: The candidate.
        alpha: One-sided, of "b is better"; None to describe the difference. Non-inferiority is tested at 5 % apart.

    Returns:
        The comparison, the non-inferiority of `b` by the margin, and why they may not decide ("" if they may).
    """
    groups, margin = session.groups(cases), session.project.task.margin
    gain = compare(*_common(a, b, groups), alpha=alpha, seed=session.project.split.seed)
    bound = non_inferior(*_common(a, b, groups), margin=margin)
    return (
        session.judging.correct(cases, a, b, gain, bound, groups=groups)
        if session.judging is not None
        else (gain, bound, "")
    )


async def describe_on_dev(session: Session, today: Variant, variant: Variant, dev: Cases) -> PairedResult:
    """Return the paired difference of a variant to today's on dev; it decides nothing."""
    a, b = [await session.measure(one, dev) for one in (today, variant)]
    return compare(*_common(a, b, session.groups(dev)), alpha=None, seed=session.project.split.seed)


def differences_on_test(
    session: Session, trials: Sequence[Measurement], cases: Cases | None = None
) -> list[RungDifference]:
    """Return the paired difference of every two variants.

    Args:
        session: The opened project.
        trials: Their answers to `cases`.
        cases: Test cases; all if None.
    """
    found = []
    for a, b in permutations(trials, 2):
        if np.isfinite(a.num + b.num).any():
            gain, bound, _ = compare_scored(session, session.split.test if cases is None else cases, a, b)
            found.append(
                RungDifference(
                    a=a.rung,
                    b=b.rung,
                    delta=gain.delta,
                    ci95=gain.ci,
                    no_worse=bound.holds,
                    p_value=gain.p_value,
                )
            )
    return found


def distinct_cases(session: Session, tuned: RungRecord | None) -> list[Case]:
    """Return the test cases without a near-duplicate in the examples, the dev cases or the training rows.

    Args:
        session: The opened project.
        tuned: The rung of a fine-tuned model, if there is one.
    """
    alike = session.data.dataset.contamination.alike
    version = str(tuned.detail.dataset) if tuned and isinstance(tuned.detail, TunedDetail) else ""
    test = [case for case in session.split.test if case.id not in alike]
    if version and test and (rows := find_version(session.folder, version)):
        trained = {case for hit in find_overlaps([*rows.examples()], test).hits for case in hit.cases}
        test = [case for case in test if case.id not in trained]
    return test


def halves_of_test(session: Session) -> list[list[Case]]:
    """Return the first and the second half of the test cases in the order of their file; [] of few cases."""
    ids = {case.id for case in session.split.test}
    test = [case for case in session.data.cases if case.id in ids]
    half = len(test) // 2
    return [test[:half], test[half:]] if half >= LEAST_GROUPS else []


def on_cases(session: Session, trial: Measurement, cases: Cases) -> tuple[Measurement, DistinctScore | None]:
    """Restrict a measurement of all test cases to `cases`; return it with its score, None if that is unknown."""
    ids = {case.id for case in cases}
    chosen = np.array([case.id in ids for case in session.split.test])
    part = replace(
        trial,
        traces=[trace for trace in trial.traces if trace.case_id in ids],
        num=trial.num[chosen],
        den=trial.den[chosen],
    )
    return part, _score_of(session, part, cases)


def _score_of(session: Session, part: Measurement, cases: Cases) -> DistinctScore | None:
    score, ci95, size, corrected = _score(session, part, cases)
    if ci95 is None or size is None or (session.judging and not corrected):
        return None
    return DistinctScore(n=len(cases), score=score, ci95=ci95, n_effective=size)


async def by_origin(session: Session, trial: Measurement, answers: Traces) -> dict[str, DistinctScore]:
    """Return the scores on real and on drafted test cases; empty if a model drafted no case.

    Args:
        session: The opened project.
        trial: The variant on test.
        answers: Of the variant to all test cases, those included that are not compared.
    """
    split, found = session.split, dict[str, DistinctScore]()
    drafted = [case for case in (*split.test, *split.drafted) if case.drafted]
    for name, cases in (("real", split.real), ("drafted", drafted)) if drafted else ():
        ids = {case.id for case in cases}
        traces = [one for one in answers if one.case_id in ids]
        num, den, _ = await session.score(traces, cases)
        if cases and (part := _score_of(session, replace(trial, traces=traces, num=num, den=den), cases)):
            found[name] = part
    return found


def balance_of(session: Session) -> LabelBalance | None:
    """Return the most frequent label of dev (of the examples without dev), and what always answering it scores."""
    if session.task.kind != "label":
        return None
    dev = ["".join(accepted(case.expected)[:1]) for case in session.split.dev if case.expected is not None]
    counts = Counter(dev or [example.answer.strip() for example in session.split.shots])
    if not counts:
        return None
    label, n = counts.most_common(1)[0]
    return LabelBalance(
        label=label,
        share=n / counts.total(),
        n=counts.total(),
        score=float(
            np.mean([case.expected is not None and label in accepted(case.expected) for case in session.split.test])
        ),
        rarest=min(counts.values()) / counts.total(),
    )


async def constant_score(session: Session) -> Pair | None:
    """Return what always giving the most frequent answer of dev (of the examples without dev) scores on test.

    None where that is no bar: outside a label task, most answers differ. A judge is not asked: the expected answers are
    right.
    """
    expected = [case.expected for case in session.split.dev] or [row.answer for row in session.split.shots]
    counts = Counter(None if one is None else accepted(one)[:1] for one in expected)
    answer, n = counts.most_common(1)[0] if counts else (None, 0)
    if not n or (session.task.kind != "label" and n <= len(expected) / 2):
        return None
    test = session.split.test
    if session.project.graders[0].type == "judge":
        wanted = [None if case.expected is None else accepted(case.expected) for case in test]
        right = [one is None if answer is None else answer[0] in (one or ()) for one in wanted]
        return np.array(right, dtype=float), np.ones(len(test))
    response = Response(text="".join(answer or ()), finish_reason="refusal" if answer is None else "stop")
    num, den, _ = await session.score(
        [Trace(case_id=case.id, variant_id="", repeat=0, messages=(), response=response) for case in test], test
    )
    return num, den


def beats_constant(session: Session, trial: Measurement, constant: Pair) -> bool:
    return compare(
        *_common(replace(trial, num=constant[0], den=constant[1]), trial, session.groups(session.split.test)),
        alpha=0.05,
        seed=session.project.split.seed,
    ).better


async def recall_of(session: Session, cases: Cases, traces: Traces) -> tuple[NamedFloats, NamedFloats, NamedInts]:
    """Return, by label, the recall, the independent right/wrong cases that would be as precise, and the cases."""
    labels = ["".join(accepted(case.expected)[:1]) if case.expected is not None else "" for case in cases]
    num, den, _ = await session.score(traces, cases)
    scored, groups = ~np.isnan(num + den), session.groups(cases)
    recall, n, n_cases = dict[str, float](), dict[str, float](), dict[str, int]()
    for label in sorted(set(labels) - {""}):
        rows = scored & np.array([one == label for one in labels])
        if total := float(den[rows].sum()):
            recall[label], n_cases[label] = float(num[rows].sum()) / total, int(rows.sum())
            n[label] = effective_n(num[rows], den[rows], groups[rows])
    return recall, n, n_cases


def _score(session: Session, trial: Measurement, test: Cases) -> tuple[float, Bounds | None, float | None, list[str]]:
    """Return the score on test cases, its interval, its effective n, and notes.

    Where a judge grades and people judged enough, all are corrected by their verdicts.
    """
    scored = ~np.isnan(trial.num)
    if not scored.any():
        return trial.score, None, None, []
    groups = session.groups(test)
    if session.judging and (level := session.judging.level(test, trial, groups=groups)):
        note = f"score corrected with human ratings of {level.n_human} cases (judge alone: {trial.score:.1%})"
        lo, hi = level.interval()
        spread = max(level.b * (1 - level.b), 1e-9)
        size = min(float(level.n), spread / level.error**2) if level.error > 0 else float(level.n_human)
        return level.b, (max(0.0, lo), min(1.0, hi)), max(1.0, size), [note]
    values = (trial.num[scored], trial.den[scored], groups[scored])
    interval = score_interval(*values)
    return trial.score, (interval.lo, interval.hi), effective_n(*values), []


def with_decision(record: RungRecord, against: Variant, gain: PairedResult, decision: Adoption) -> RungRecord:
    return replace(
        record,
        status=decision.status,
        reason=decision.reason,
        reason_code=decision.reason_code,
        compared_to=against.id,
        delta=gain.delta,
        delta_ci=gain.ci,
        p_value=None if gain.alpha is None else gain.p_value,
        alpha=gain.alpha,
    )


def first_error(traces: Traces) -> str:
    error = next((trace.error for trace in traces if trace.error), None)
    return "no case could be scored" + (f": {error.message}" if error else "")


def _common(
    a: ScoredAnswers | DevScores,
    b: ScoredAnswers | DevScores,
    groups: np.ndarray,
    among: np.ndarray | bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Return `num` and `den` of both on the cases `among` all that both have scored, and the groups of these."""
    both = ~(np.isnan(a.num) | np.isnan(b.num)) & among
    return a.num[both], a.den[both], b.num[both], b.den[both], groups[both]


def _flips(a: Measurement, b: Measurement) -> bool:
    scored_a, scored_b = ~np.isnan(a.num), ~np.isnan(b.num)
    return bool(a.unscored or b.unscored) and worst_case(
        a.num[scored_a],
        a.den[scored_a],
        b.num[scored_b],
        b.den[scored_b],
        a_unscored=a.unscored,
        b_unscored=b.unscored,
    )


def calibration_of(traces: Traces, cases: Cases) -> LabelCalibration | None:
    """Return the calibration of the answers to `cases`; None where (nearly) not all carry probabilities.

    Args:
        traces: Of these cases; repeats after the first are left out.
        cases: Labelled.
    """
    expected = {case.id: case.expected for case in cases}
    rows = [
        (trace.response.label_logprobs, [text.strip().casefold() for text in accepted(expected[trace.case_id])])
        for trace in traces
        if trace.repeat == 0 and trace.response and trace.response.label_logprobs
    ]
    if not rows or len(rows) < (1 - MOST_UNSCORED) * len(cases):
        return None
    labels = sorted({label for logprobs, _ in rows for label in logprobs or ()})
    column = {label: number for number, label in enumerate(labels)}
    shares = np.zeros((len(rows), len(labels)))
    right = np.full(len(rows), -1)
    for number, (logprobs, texts) in enumerate(rows):
        for label, value in (logprobs or {}).items():
            shares[number, column[label]] = np.exp(value)
        fitting = [column[label] for label in logprobs or () if label.casefold() in texts]
        if fitting:  # of several right answers the one that the model finds most probable
            right[number] = max(fitting, key=shares[number].__getitem__)
    return calibration(shares / shares.sum(axis=1, keepdims=True), right)
