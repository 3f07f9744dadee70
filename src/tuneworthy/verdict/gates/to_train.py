"""The gates before training: is the data frozen, reviewed, clean and allowed, and does a pilot show a gain?"""

from __future__ import annotations

from typing import Any, Final

from tuneworthy.errors import join_sentences
from tuneworthy.rules import Finding, Status
from tuneworthy.verdict import messages
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.gates import GATES, says

STAGE: Final = "to_train"
NOT_FROZEN: Final = says("unknown", messages.NOT_FROZEN, messages.BUILD)


@GATES.rule("dataset_frozen", group=STAGE)
def dataset_frozen(evidence: Evidence) -> Finding:
    """A version of the training data is frozen, whole, and passed the gates of its build."""
    subject = evidence.training.dataset
    if subject is None:
        return NOT_FROZEN
    numbers = {
        "version": subject.version,
        "n_rows": subject.n_rows,
        "failed": list(subject.failed),
        "newer": subject.newer,
    }
    if subject.broken:
        message = messages.VERSION_CHANGED.format(version=subject.version, change=subject.broken.rstrip("."))
        return says("fail", message, messages.BUILD, **numbers)
    if subject.failed:
        message = messages.FROZEN_UNSAFE.format(version=subject.version, gates="; ".join(subject.failed))
        return says("fail", message, messages.FIX_ROWS, **numbers)
    newer = messages.NEWER_VERSION.format(version=subject.newer) if subject.newer else ""
    message = messages.FROZEN.format(version=subject.version, n=subject.n_rows)
    return says("pass", join_sentences(message, newer), **numbers)


@GATES.rule("dataset_review", group=STAGE)
def dataset_review(evidence: Evidence) -> Finding:
    """People reviewed a random sample of the version under a plan, and the share of good rows is shown."""
    subject = evidence.training.dataset
    if subject is None:
        return NOT_FROZEN
    statuses: dict[str, Status] = {"accepted": "pass", "rejected": "fail"}
    status = statuses.get(subject.review, "unknown")
    message = messages.sentence(subject.review_words) or messages.NOT_REVIEWED
    fix = "" if status == "pass" else messages.REVIEW
    return says(status, message, fix, version=subject.version, review=subject.review, bound=subject.bound)


@GATES.rule("dataset_contamination", group=STAGE)
def dataset_contamination(evidence: Evidence) -> Finding:
    """No row of the version overlaps a case of dev or test, as the cases are now."""
    subject = evidence.training.dataset
    if subject is None:
        return NOT_FROZEN
    numbers = {"version": subject.version, "changed": list(subject.changed), "n_near": subject.n_near}
    if subject.overlaps:
        message = messages.VERSION_OVERLAPS.format(version=subject.version, detail=subject.overlaps.rstrip("."))
        return says("fail", message, messages.FIX_ROWS, **numbers)
    if subject.changed:
        message = messages.VERSION_UNCHECKED.format(changes="; ".join(subject.changed), version=subject.version)
        return says("unknown", message, messages.BUILD, **numbers)
    near = messages.NEAR_ROWS.format(n=subject.n_near) if subject.n_near else ""
    return says("pass", join_sentences(messages.VERSION_CLEAN.format(version=subject.version), near), **numbers)


@GATES.rule("teacher_terms", group=STAGE)
def teacher_terms(evidence: Evidence) -> Finding:
    """Whoever wrote rows allows training on them: each teacher's terms were answered, and none forbids it."""
    subject = evidence.training.dataset
    if subject is None:
        return NOT_FROZEN
    return says(subject.terms, messages.sentence(subject.terms_words), version=subject.version)


@GATES.rule("pilot", group=STAGE)
def pilot(evidence: Evidence) -> Finding:
    """Small trainings on growing parts of the version forecast a gain: its interval lies above 0."""
    subject, forecast = evidence.training.pilot, evidence.forecast
    numbers: dict[str, Any] = {"gain": forecast.gain, "ci95": forecast.ci95, "n_examples": forecast.n_examples}
    numbers |= {"points": len(forecast.points), "built_gain": subject.built_gain if subject else None}
    if subject is not None and subject.changed:
        message = messages.PILOT_CHANGED.format(changes="; ".join(subject.changed))
        return says("unknown", message, messages.PILOT, **numbers, changed=list(subject.changed))
    if subject is None or forecast.status == "unknown" or forecast.gain is None or forecast.ci95 is None:
        return says("unknown", messages.PILOT_MISSING, join_sentences(messages.PILOT, forecast.cost), **numbers)
    low, high = forecast.ci95
    message = messages.FORECAST.format(
        size=forecast.n_examples, gain=100 * forecast.gain, low=100 * low, high=100 * high, n=subject.n
    )
    if low > 0:
        return says("pass", message, **numbers)
    if high < evidence.margin:
        return says("fail", f"{message} {messages.BELOW_MARGIN.format(margin=100 * evidence.margin)}", **numbers)
    return says("unknown", f"{message} {messages.GAIN_OPEN}", messages.MORE_PILOT, **numbers)
