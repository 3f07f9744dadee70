"""Distillation, step by step, on test: today, the teacher, models trained on the original rows, and the student.

Invariant: no model is called. A step that was not compared on test has no numbers.
"""

from collections.abc import Mapping, Sequence

from tuneworthy.dataset.distill.teacher import is_teacher
from tuneworthy.dataset.freeze import find_version
from tuneworthy.dataset.records import TeacherRecord
from tuneworthy.engine.runner import usage
from tuneworthy.errors import TuneworthyError
from tuneworthy.ladder.measurement import Measurement, compare_scored, measure_on_test, on_cases
from tuneworthy.ladder.own_models import add_classifiers, tuned_models
from tuneworthy.ladder.record import RungRecord
from tuneworthy.ladder.session import Session
from tuneworthy.ladder.task_data import shuffled
from tuneworthy.types import Cases, RungStatus, Variant, grouped

# Input tokens of a student as a share of those of a teacher with shots or documents, both beside the question.
MOST_TOKENS = 0.8


def teachers_of_model(session: Session, model: str) -> Sequence[TeacherRecord] | None:
    """Return the teachers of the rows that a tuned model learned; None for any other model, or if its rows are gone."""
    datasets = {name: made.about.dataset for name, made in add_classifiers(session.models, session.folder).items()}
    datasets |= {one.name: one.detail.dataset for one in tuned_models(session.project)}
    version = find_version(session.folder, datasets.get(model) or "")
    return version.recipe.teachers if version else None


async def distillation(
    session: Session, trials: Mapping[str, Measurement], tried: Sequence[Variant]
) -> list[RungRecord]:
    """Return the steps to the student; [] unless a tuned model among `tried` learned from a teacher.

    Args:
        session: The opened project.
        trials: Measurements of this run on test, by rung.
        tried: All candidates of the run.
    """
    order = [*(trial.variant for trial in [*trials.values()][::-1]), *tried]
    taught = {model: teachers_of_model(session, model) for model in {one.model for one in order}}
    pin = next((pins[0] for one in order if (pins := taught[one.model])), None)
    if pin is None or not {"baseline", "fine_tune"} <= trials.keys():
        return []
    roles = {
        one.model: "student" if taught[one.model] else "original rows" for one in order if taught[one.model] is not None
    }
    by_step = grouped(("teacher" if is_teacher(one, pin) else roles.get(one.model, ""), one) for one in order)
    steps = {"today": [trials["baseline"].variant]} | {
        step: by_step.get(step, []) for step in ("teacher", "original rows", "student")
    }
    rows = await distillation_steps(session, steps, trials)
    if not any(row.rung == "teacher" for row in rows):
        is_known = pin.variant in {one.name for one in order}
        why = "changed since it answered the rows: distil again" if is_known else "not a variant of the last run"
        rows.insert(1, RungRecord(rung="teacher", status=RungStatus.FAILED, name=pin.variant, reason=why))
    return rows


async def distillation_steps(
    session: Session, steps: Mapping[str, Sequence[Variant]], trials: Mapping[str, Measurement] = {}
) -> list[RungRecord]:
    """Return the numbers of each step that was compared on test, paired with the teacher.

    Args:
        session: The opened project.
        steps: Step to the variants that may be it; the first that was compared counts.
        trials: See `distillation`.
    """
    by_id = {one.variant.id: one for one in trials.values()}
    found: dict[str, Measurement] = {}
    for step, variant in ((step, one) for step, variants in steps.items() for one in variants if step not in found):
        if measured := by_id.get(variant.id) or await _stored(session, variant):
            found[step] = measured
    return [_step(session, step, one, found.get("teacher")) for step, one in found.items()]


async def _stored(session: Session, variant: Variant) -> Measurement | None:
    """Return the measurement of a variant whose answers to test are all stored; None of any other."""
    runner, dev = session.runner, shuffled(session.split.dev, session.project.split.seed)
    rung = "teacher" if teachers_of_model(session, variant.model) is None else "fine_tune"
    calls, runner.calls = runner.calls, False
    try:
        return (await measure_on_test(session, RungRecord(rung=rung, status=RungStatus.REFERENCE), variant, dev))[1]
    except TuneworthyError:
        return None
    finally:
        runner.calls = calls


def _step(session: Session, step: str, one: Measurement, teacher: Measurement | None) -> RungRecord:
    test, tokens = session.split.test, usage(one.traces).input_tokens
    score = on_cases(session, one, test)[1]
    paired = compare_scored(session, test, teacher, one)[0] if teacher and teacher is not one else None
    is_long = step == "student" and teacher and _is_long(teacher, one, test)
    return RungRecord(
        rung=step,
        status=RungStatus.REFERENCE,
        reason="its prompt is still long: shorten train.system" if is_long else "",
        variant=one.variant.id,
        name=one.variant.name,
        compared_to=teacher.variant.id if teacher else None,
        n=len(test),
        score=score.score if score else None,
        ci95=score.ci95 if score else None,
        delta=paired.delta if paired else None,
        delta_ci=paired.ci if paired else None,
        input_tokens=tokens,
        usd_per_1k=one.cost.usd_per_1k_at(session.project.economics.requests_per_month),
        latency_p50_ms=one.latency.quantile_ms(0.5),
    )


def _is_long(teacher: Measurement, student: Measurement, test: Cases) -> bool:
    """Whether a student reads nearly as many tokens beside the question as a teacher that has shots or documents."""
    tokens, questions = list[float](), {case.id: len(case.text) for case in test}
    for traces in (student.traces, teacher.traces):  # the question has its share of the characters
        size = sum(len(str(turn.get("content") or "")) for trace in traces for turn in trace.messages)
        share = sum(questions.get(trace.case_id, 0) for trace in traces) / max(size, 1)
        tokens.append((usage(traces).input_tokens or 0.0) * (1 - share))
    return bool(teacher.variant.shots or teacher.variant.retrieval) and tokens[0] > MOST_TOKENS * tokens[1]
