"""The gates before training: is the data frozen, reviewed, clean and allowed, and does a pilot show a gain?"""

from collections.abc import Callable
from functools import partial, wraps

from tuneworthy.errors import join_sentences
from tuneworthy.rules import Finding, Status
from tuneworthy.types import JsonObject
from tuneworthy.verdict import messages
from tuneworthy.verdict.evidence import BASE, RIGHTS, ROWS, DatasetEvidence, Evidence
from tuneworthy.verdict.gates import GATES, says
from tuneworthy.verdict.options import tuned_score

gate = partial(GATES.rule, group="to_train")
NOT_FROZEN = says(
    "unknown",
    "No version of the training data is frozen.",
    "Run `tuneworthy data build` to build the dataset that the pilot and the training need.",
)
# The fix where the terms of a teacher are not known.
SET_TERMS = (
    "Set `teacher.allows_training` after you have read the terms, then run `tuneworthy data distill` and "
    "`tuneworthy data build`."
)


def _of_dataset(examine: Callable[[DatasetEvidence], Finding]) -> Callable[[Evidence], Finding]:
    """Return a gate on the frozen version, which is unknown without one."""

    @wraps(examine)
    def found(evidence: Evidence) -> Finding:
        return examine(evidence.training.dataset) if evidence.training.dataset else NOT_FROZEN

    return found


@gate("dataset_frozen")
def dataset_frozen(evidence: Evidence) -> Finding:
    """A version of the training data is frozen, whole, and passed the gates of its build."""
    subject, lacking = evidence.training.dataset, evidence.lacking
    if not subject and {ROWS, RIGHTS} & {*lacking}:
        return says("unknown", "There are no rows to train on.", lacking.get(RIGHTS) or lacking[ROWS])
    if not subject:
        return NOT_FROZEN
    numbers = {
        "version": subject.version,
        "n_rows": subject.n_rows,
        "failed": list(subject.failed),
        "newer": subject.newer,
    }
    if subject.broken:
        return says(
            "fail",
            f"Files of version {subject.version} have been modified: {subject.broken.rstrip('.')}.",
            messages.BUILD,
            **numbers,
        )
    if subject.failed:
        return says(
            "fail",
            f"Version {subject.version} was frozen although it failed these gates: {'; '.join(subject.failed)}.",
            messages.FIX_ROWS,
            **numbers,
        )
    return says(
        "pass",
        join_sentences(
            f"Version {subject.version} has {subject.n_rows:,} rows.",
            f"Version {subject.newer} is newer; the fine-tuned model was not trained on it." if subject.newer else "",
        ),
        **numbers,
    )


@gate("dataset_review")
@_of_dataset
def dataset_review(subject: DatasetEvidence) -> Finding:
    """People reviewed a random sample of the version under a plan, and the share of good rows is shown."""
    statuses: dict[str, Status] = {"accepted": "pass", "rejected": "fail"}
    status = statuses.get(subject.review, "unknown")
    message = messages.sentence(subject.review_words) or "Nobody has reviewed the training data."
    return says(
        status,
        message,
        "" if status == "pass" else "Run `tuneworthy label review`.",
        version=subject.version,
        review=subject.review,
        bound=subject.bound,
    )


@gate("dataset_contamination")
@_of_dataset
def dataset_contamination(subject: DatasetEvidence) -> Finding:
    """No row of the version overlaps a case of dev or test, as the cases are now."""
    numbers = {"version": subject.version, "changed": list(subject.changed), "n_near": subject.n_near}
    if subject.overlaps:
        return says(
            "fail",
            f"Rows of version {subject.version} may overlap cases ({subject.overlaps.rstrip('.')}).",
            messages.FIX_ROWS,
            **numbers,
        )
    if subject.changed:
        return says(
            "unknown",
            f"{'; '.join(subject.changed)} since version {subject.version} was checked.",
            messages.BUILD,
            **numbers,
        )
    near = (
        f"Rows that resemble a case but answer it differently or are short: {subject.n_near:,}. Review these rows."
        if subject.n_near
        else ""
    )
    return says("pass", join_sentences(f"No row of version {subject.version} overlaps a case.", near), **numbers)


@gate("dataset_effect")
@_of_dataset
def dataset_effect(subject: DatasetEvidence) -> Finding:
    """The dropped rows are not shown to cost accuracy: a classical baseline, trained with and without it.

    It fails as well where no row is left of a label that cases expect.
    """
    effect = subject.effect
    if subject.lost:
        return says(
            "fail",
            f"The build of version {subject.version} dropped every row with these labels: {', '.join(subject.lost)}.",
            messages.DROP_LESS,
            version=subject.version,
        )
    if not effect or effect.status == "unmeasured":
        return says(
            "unknown",
            "What the build does to accuracy has not been measured.",
            "Add rows or labelled cases, then run `tuneworthy data build`.",
            version=subject.version,
        )
    shown = effect.shown
    numbers = {"delta": shown.delta, "ci95": shown.ci95, "n": shown.n} if shown else {}
    costs, fix = ("costs", messages.DROP_LESS) if effect.loss else ("is not shown to cost", "")
    return says(
        "fail" if effect.loss else "pass",
        f"The build of version {subject.version} {costs} accuracy: {subject.effect_words}.",
        fix,
        version=subject.version,
        **numbers,
    )


@gate("teacher_terms")
@_of_dataset
def teacher_terms(subject: DatasetEvidence) -> Finding:
    """Whoever wrote rows allows training on them: each teacher's terms were answered, and they allow it."""
    return says(
        subject.terms,
        messages.sentence(subject.terms_words),
        {"fail": messages.OTHER_TEACHER, "unknown": SET_TERMS}.get(subject.terms, ""),
        version=subject.version,
    )


@gate("pilot")
def pilot(evidence: Evidence) -> Finding:
    """Small trainings on growing parts of the version forecast a score whose lower bound is above that of the best
    option without training; where that option meets the target, the loss is at most the margin."""
    subject, forecast = evidence.training.pilot, evidence.forecast
    curve = join_sentences(evidence.training.dataset.curve) if evidence.training.dataset else ""
    numbers: JsonObject = {"gain": forecast.gain, "ci95": forecast.ci95, "n_examples": forecast.n_examples}
    numbers |= {"points": len(forecast.points), "built_gain": subject.built_gain if subject else None}
    if subject and subject.changed:
        return says(
            "unknown",
            f"The pilot does not match the current data and base model: {'; '.join(subject.changed)}.",
            messages.PILOT,
            **numbers,
            changed=list(subject.changed),
        )
    if not subject or forecast.status == "unknown" or forecast.gain is None or forecast.ci95 is None:
        return says(
            "unknown",
            join_sentences("The gain from training has not been measured.", curve),
            join_sentences(evidence.lacking.get(BASE) or messages.PILOT, forecast.cost),
            **numbers,
        )
    best, bounds = evidence.top, tuned_score(evidence)
    score = best.score if best and best.score is not None else forecast.baseline
    if bounds is None or score is None:
        return says("unknown", messages.GAIN_OPEN, messages.PILOT, **numbers)
    low, high = (bound - score for bound in bounds)
    above = (
        "there is no upper bound, because the curve has not flattened"
        if forecast.ci95[1] is None
        else f"it is at most {100 * high:+.1f} points, because the curve has flattened"
    )
    message = (
        f"With {forecast.n_examples:,} training examples, the forecast gain over the best option is at least "
        f"{100 * low:+.1f} points (training runs: {subject.n}); {above}. {curve}"
    ).rstrip()
    if low > (-evidence.margin if evidence.target_of(best) == "met" else 0.0):
        return says("pass", message, **numbers)
    if high < evidence.margin:
        message += f" Even the upper bound is below the margin of {100 * evidence.margin:.1f} points."
        return says("fail", message, **numbers)
    return says(
        "unknown",
        f"{message} {messages.GAIN_OPEN}",
        "Add training examples, then run `tuneworthy train --pilot`.",
        **numbers,
    )
