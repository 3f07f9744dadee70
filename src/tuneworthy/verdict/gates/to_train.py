"""The gates before training: is the data frozen, reviewed, clean and allowed, and does a pilot show a gain?"""

from __future__ import annotations

from typing import Final

from tuneworthy.verdict.base import GateStatus
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.gates.base import FAIL, PASS, UNKNOWN, Finding, gate

TO_TRAIN: Final = ("dataset_frozen", "dataset_review", "dataset_contamination", "teacher_terms", "pilot")
"""The gates of this stage."""
NOT_FROZEN = "there is no frozen version of the training data; run `tuneworthy data build`"


@gate("dataset_frozen", "to_train")
def dataset_frozen(evidence: Evidence) -> Finding:
    """A version of the training data is frozen, whole, and passed the gates of its build."""
    found = evidence.training.dataset
    if found is None:
        return UNKNOWN, NOT_FROZEN, {}
    numbers = {"version": found.version, "n_rows": found.n_rows, "failed": list(found.failed)}
    if found.broken:
        return FAIL, f"the frozen version {found.version} was changed: {found.broken}", numbers
    if found.failed:
        words = f"the version {found.version} was frozen although gates failed ({'; '.join(found.failed)})"
        return FAIL, f"{words}; mend the rows, then run `tuneworthy data build`", numbers
    newer = f"; {found.newer} was frozen since, and the tuned model does not know it" if found.newer else ""
    return PASS, f"version {found.version}, {found.n_rows:,} rows{newer}", numbers | {"newer": found.newer}


@gate("dataset_review", "to_train")
def dataset_review(evidence: Evidence) -> Finding:
    """People reviewed a random sample of the version under a plan, and the share of good rows is shown."""
    found = evidence.training.dataset
    if found is None:
        return UNKNOWN, NOT_FROZEN, {}
    numbers = {"version": found.version, "review": found.review, "bound": found.bound}
    status = {"accepted": PASS, "rejected": FAIL}.get(found.review, UNKNOWN)
    todo = "" if status is PASS else "; run `tuneworthy data review`"
    return status, f"{found.review_words or 'nothing was reviewed'}{todo}", numbers


@gate("dataset_contamination", "to_train")
def dataset_contamination(evidence: Evidence) -> Finding:
    """No row of the version gives a case of dev or test away, as the cases are now."""
    found = evidence.training.dataset
    if found is None:
        return UNKNOWN, NOT_FROZEN, {}
    numbers = {"version": found.version, "changed": list(found.changed), "n_near": found.n_near}
    if found.overlaps:
        return FAIL, f"rows of the version {found.version} may give cases away: {found.overlaps}", numbers
    if found.changed:
        words = f"{'; '.join(found.changed)} since the version {found.version} was checked"
        return UNKNOWN, f"{words}; run `tuneworthy data build`", numbers
    near = f"; {found.n_near:,} rows one word apart from a short case are still in it: look at them"
    return PASS, f"no row of the version {found.version} gives a case away{near if found.n_near else ''}", numbers


@gate("teacher_terms", "to_train")
def teacher_terms(evidence: Evidence) -> Finding:
    """Whoever wrote rows allows training on them: each teacher's terms were answered, and none forbids it."""
    found = evidence.training.dataset
    if found is None:
        return UNKNOWN, NOT_FROZEN, {}
    return GateStatus(found.terms), found.terms_words, {"version": found.version}


@gate("pilot", "to_train")
def pilot(evidence: Evidence) -> Finding:
    """Small trainings on growing parts of the version forecast a gain: its interval lies above 0."""
    found, told = evidence.training.pilot, evidence.forecast
    numbers = {"gain": told.gain, "ci95": told.ci95, "n_examples": told.n_examples, "points": len(told.points)}
    if found is not None and found.changed:
        words = f"the pilot is about something else: {'; '.join(found.changed)}"
        return UNKNOWN, f"{words}; run `tuneworthy train --pilot`", numbers | {"changed": list(found.changed)}
    if found is None or told.status == "unknown" or told.gain is None or told.ci95 is None:
        return UNKNOWN, f"what training gains was not measured; run `tuneworthy train --pilot`: {told.cost}", numbers
    low, high = told.ci95
    gain = f"at {told.n_examples:,} examples a gain of {told.gain:+.3f} is forecast (95 % interval {low:+.3f} to "
    words = f"{gain}{high:+.3f}, {found.n} trainings)"
    if low > 0:
        return PASS, words, numbers
    if high < evidence.margin:
        return FAIL, f"{words}: not even the margin of {evidence.margin:g}", numbers
    return UNKNOWN, f"{words}: a gain is not shown; add larger sizes or seeds to the pilot", numbers
