"""The gates before training: is the data frozen, reviewed, clean and allowed, and does a pilot show a gain?"""

from typing import Any, Final

from tuneworthy.errors import join_sentences
from tuneworthy.rules import Finding, Status
from tuneworthy.verdict import messages
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.gates import GATES, says

STAGE: Final = "to_train"
NOT_FROZEN: Final = says("unknown", messages.say("not_frozen"), messages.say("build_first"))


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
        message = messages.say("version_changed", version=subject.version, change=subject.broken.rstrip("."))
        return says("fail", message, messages.say("build"), **numbers)
    if subject.failed:
        message = messages.say("frozen_unsafe", version=subject.version, gates="; ".join(subject.failed))
        return says("fail", message, messages.say("fix_rows"), **numbers)
    newer = messages.say("newer_version", version=subject.newer) if subject.newer else ""
    message = messages.say("frozen", version=subject.version, n=subject.n_rows)
    return says("pass", join_sentences(message, newer), **numbers)


@GATES.rule("dataset_review", group=STAGE)
def dataset_review(evidence: Evidence) -> Finding:
    """People reviewed a random sample of the version under a plan, and the share of good rows is shown."""
    subject = evidence.training.dataset
    if subject is None:
        return NOT_FROZEN
    statuses: dict[str, Status] = {"accepted": "pass", "rejected": "fail"}
    status = statuses.get(subject.review, "unknown")
    message = messages.sentence(subject.review_words) or messages.say("not_reviewed")
    fix = "" if status == "pass" else messages.say("review")
    return says(status, message, fix, version=subject.version, review=subject.review, bound=subject.bound)


@GATES.rule("dataset_contamination", group=STAGE)
def dataset_contamination(evidence: Evidence) -> Finding:
    """No row of the version overlaps a case of dev or test, as the cases are now."""
    subject = evidence.training.dataset
    if subject is None:
        return NOT_FROZEN
    numbers = {"version": subject.version, "changed": list(subject.changed), "n_near": subject.n_near}
    if subject.overlaps:
        message = messages.say("version_overlaps", version=subject.version, detail=subject.overlaps.rstrip("."))
        return says("fail", message, messages.say("fix_rows"), **numbers)
    if subject.changed:
        message = messages.say("version_unchecked", changes="; ".join(subject.changed), version=subject.version)
        return says("unknown", message, messages.say("build"), **numbers)
    near = messages.say("near_rows", n=subject.n_near) if subject.n_near else ""
    return says("pass", join_sentences(messages.say("version_clean", version=subject.version), near), **numbers)


@GATES.rule("dataset_effect", group=STAGE)
def dataset_effect(evidence: Evidence) -> Finding:
    """What the build dropped is not shown to cost accuracy: a classical baseline, trained with and without it.

    It fails as well where no row is left of a label that cases expect.
    """
    subject = evidence.training.dataset
    if subject is None:
        return NOT_FROZEN
    effect = subject.effect
    if subject.lost:
        message = messages.say("labels_lost", version=subject.version, labels=", ".join(subject.lost))
        return says("fail", message, messages.say("drop_less"), version=subject.version)
    if effect is None or (effect.status == "unmeasured" and not effect.loss):
        return says("unknown", messages.say("effect_unknown"), messages.say("label_dev"), version=subject.version)
    shown = effect.loss or effect.dev
    numbers = {
        "version": subject.version,
        **({"delta": shown.delta, "ci95": shown.ci95, "n": shown.n} if shown else {}),
    }
    if effect.loss:
        message = messages.say("effect_costs", version=subject.version, effect=subject.effect_words)
        return says("fail", message, messages.say("drop_less"), **numbers)
    message = messages.say("effect_fine", version=subject.version, effect=subject.effect_words)
    return says("pass", message, **numbers)


@GATES.rule("teacher_terms", group=STAGE)
def teacher_terms(evidence: Evidence) -> Finding:
    """Whoever wrote rows allows training on them: each teacher's terms were answered, and none forbids it."""
    subject = evidence.training.dataset
    if subject is None:
        return NOT_FROZEN
    return says(subject.terms, messages.sentence(subject.terms_words), version=subject.version)


@GATES.rule("pilot", group=STAGE)
def pilot(evidence: Evidence) -> Finding:
    """Small trainings on growing parts of the version forecast a gain: its lower bound is above 0."""
    subject, forecast = evidence.training.pilot, evidence.forecast
    numbers: dict[str, Any] = {"gain": forecast.gain, "ci95": forecast.ci95, "n_examples": forecast.n_examples}
    numbers |= {"points": len(forecast.points), "built_gain": subject.built_gain if subject else None}
    if subject is not None and subject.changed:
        message = messages.say("pilot_changed", changes="; ".join(subject.changed))
        return says("unknown", message, messages.say("pilot"), **numbers, changed=list(subject.changed))
    if subject is None or forecast.status == "unknown" or forecast.gain is None or forecast.ci95 is None:
        return says(
            "unknown", messages.say("pilot_missing"), join_sentences(messages.say("pilot"), forecast.cost), **numbers
        )
    low, high = forecast.ci95
    above = messages.say("open_above") if high is None else messages.say("at_most", high=100 * high)
    message = messages.say("forecast", size=forecast.n_examples, low=100 * low, above=above, n=subject.n)
    if low > 0:
        return says("pass", message, **numbers)
    if high is not None and high < evidence.margin:
        return says("fail", f"{message} {messages.say('below_margin', margin=100 * evidence.margin)}", **numbers)
    return says("unknown", f"{message} {messages.say('gain_open')}", messages.say("more_pilot"), **numbers)
