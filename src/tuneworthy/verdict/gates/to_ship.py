"""Gates before shipping: parity, improvement, regressions, serving, shadow replay."""

from dataclasses import replace
from functools import partial

from tuneworthy.errors import join_sentences
from tuneworthy.ladder.record import RungDifference
from tuneworthy.money.economics import SET_TRAFFIC
from tuneworthy.rules import Finding, Status
from tuneworthy.types import TextPair
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import TUNED
from tuneworthy.verdict.evidence import Evidence, ProofEvidence, RungEvidence
from tuneworthy.verdict.gates import GATES, says
from tuneworthy.verdict.gates.to_train import dataset_contamination
from tuneworthy.verdict.options import is_saving, option_of

gate = partial(GATES.rule, group="to_ship")
# Measured reasons to train for which a little quality may be given.
EXCUSES = frozenset({"cost", "latency", "locality"})
LESS_FORGETTING = "Increase `rehearsal` in [train] to keep the fine-tuned model closer to its base model."
MORE_REHEARSAL = (
    "Increase `rehearsal` in [train] and train again, or add a larger set in [[regressions]] and run "
    "`tuneworthy run --rung fine_tune`."
)
RUN = f"Run `tuneworthy run --rung {TUNED}`."


@gate("parity")
def parity(evidence: Evidence) -> Finding:
    """Adapter, merged model and exported file are one model: the one that was compared on test.

    A classifier is neither merged nor converted.
    """
    if classifier := _classifier(evidence):
        return says(
            "not_applicable",
            "A classifier is neither merged nor converted. Its export is compared with it on every case.",
            classifier=classifier,
        )
    return _proof(
        evidence.training.parity,
        "The adapter, merged model and exported model have not been compared with each other.",
        "train --only parity",
    )


@gate("improvement")
def improvement(evidence: Evidence) -> Finding:
    """The tuned model is better than what should run without training; or non-inferior by the margin, and at least 20%
    cheaper or faster, or the only one that meets the target. On a test that nothing it was trained on overlaps."""
    tuned, rival = evidence.tuned, evidence.without_training
    if not tuned or tuned.score is None:
        return says("unknown", "No fine-tuned model has been compared on the test set.", RUN)
    row = evidence.difference(rival, tuned)
    numbers = {"score": tuned.score, "delta": row and row.delta, "delta_ci": row and row.ci95}
    compared = (
        "it has not been compared with another variant"
        if not rival or not row
        else messages.difference(rival.label, row.delta, row.ci95)
    )
    message = f"On the test set, {tuned.label} scores {tuned.score:.1%}; {compared}."
    if not tuned.eligible:
        why = f"A constraint rules it out: {tuned.violated or tuned.reason.rstrip('.')}."
        return says("fail", f"{message} {why}", **numbers)
    overlaps = dataset_contamination(evidence)
    if overlaps.status != "pass" and "dataset_contamination" not in evidence.waivers:
        why = f"The training data may overlap the test set. {overlaps.message}"
        return says("unknown", f"{message} {why}", overlaps.fix, **numbers)
    if not rival:
        return says("pass", f"{message} No other measured option meets the constraints.", **numbers)
    if not row:
        return says("unknown", message, RUN, **numbers)
    if lost := [name for name in evidence.critical if evidence.recall_of(tuned, name) != "met"]:
        share, needed = tuned.recall.get(lost[0], 0.0), evidence.critical[lost[0]]
        found = f"It finds {share:.1%} of the critical label `{lost[0]}`; at least {needed:.1%} is needed."
        if all(evidence.recall_of(rival, name) == "met" for name in lost):
            return says(
                "fail" if (evidence.recall_of(tuned, lost[0]) == "missed") else "unknown",
                f"{message} {found}",
                messages.ADD_CASES,
                **numbers,
            )
    # The difference to another rival than the one of the planned comparison is descriptive: it needs both.
    if row.ci95[0] > 0 and tuned.reason_code == "better":
        return says("pass", f"{message} The improvement is significant.", **numbers)
    status, why, fix = _non_inferior(evidence, tuned, rival, row)
    return says(status, f"{message} {why}", fix, **{"more_cases": True} if why == messages.GAIN_OPEN else {}, **numbers)


def _non_inferior(
    evidence: Evidence, tuned: RungEvidence, rival: RungEvidence, row: RungDifference
) -> tuple[Status, str, str]:
    margin, unpriced = f"{100 * evidence.margin:.1f} points", _unpriced(evidence, rival, tuned)
    tested = [other for other in evidence.upstream.values() if other.tested and other.eligible]
    if row.no_worse:
        if tuned.score and not unpriced and _is_saving(evidence, tuned, rival):
            return "pass", f"It is non-inferior at a margin of {margin} and at least 20% cheaper or faster.", ""
        if evidence.target_of(tuned) == "met" and all(evidence.target_of(other) != "met" for other in tested):
            return "pass", f"It is non-inferior at a margin of {margin} and the only option that meets the target.", ""
        if unpriced:
            return "unknown", *unpriced
    if row.ci95[1] < evidence.margin:
        return "fail", f"The interval excludes a gain of {margin}.", ""
    back = evidence.difference(tuned, rival)
    if back and back.no_worse and not unpriced and _is_saving(evidence, rival, tuned):
        return "fail", f"Without training, {rival.label} is non-inferior and at least 20% cheaper or faster.", ""
    return "unknown", messages.GAIN_OPEN, messages.ADD_CASES


def _unpriced(evidence: Evidence, *rungs: RungEvidence) -> TextPair | None:
    costs = [evidence.bill(rung).running(evidence.economics) for rung in rungs]
    for rung, cost in zip(rungs, costs, strict=True):
        if cost.usd_per_1k is None:
            return f"The price of {rung.name} is unknown.", messages.set_price(rung.name)
    if evidence.economics.requests_per_month is None and len({bool(cost.ways) for cost in costs}) > 1:
        return (
            "One option is billed per answer and the other needs a server. Which costs less depends on the "
            "traffic, which is not set."
        ), SET_TRAFFIC
    return None


def _is_saving(evidence: Evidence, rung: RungEvidence, other: RungEvidence) -> bool:
    return is_saving(option_of(evidence, rung), option_of(evidence, other))


@gate("regressions")
def regressions(evidence: Evidence) -> Finding:
    """No regression set is worse: on each the tuned model is no worse than the base that was trained by more than the
    margin of the set. Compared with any other model it shows nothing. A classifier can only answer with labels of the
    task."""
    if classifier := _classifier(evidence):
        return says(
            "not_applicable",
            "The fine-tuned model is a classifier: it can only answer with the labels of this task.",
            classifier=classifier,
        )
    subject, tuned = evidence.training, evidence.training.tuned
    usable = subject.regressions
    numbers = {
        "sets": {row.name: {"status": row.status, "n": row.n, "margin": row.margin} for row in usable},
        "not_asked": list(subject.sets_missing),
    }
    if tuned and usable and not subject.compares_base:
        return says(
            "unknown",
            f"The regression sets compare the fine-tuned model with {subject.rival}, not with its base model.",
            "Run `tuneworthy export gguf --base`, then `tuneworthy run --rung fine_tune`.",
            **numbers,
        )
    failed = [row for row in usable if row.status == "fail"]
    undecided = [row for row in usable if row.status not in {"pass", "fail"}]
    if not failed and (subject.sets_missing or not usable):
        names = ", ".join(subject.sets_missing) or "no set is up to date"
        return says("unknown", f"The run has no usable answers for the regression sets ({names}).", RUN, **numbers)
    details = join_sentences(
        "; ".join(f"{row.name}: {row.detail.rstrip('.')}" for row in failed or undecided or usable)
    )
    if failed:
        return says("fail", details, LESS_FORGETTING, **numbers)
    return says("unknown", details, MORE_REHEARSAL, **numbers) if undecided else says("pass", details, **numbers)


@gate("serving")
def serving(evidence: Evidence) -> Finding:
    """The engine that will answer users was started with this model, and gave its answers.

    The embedded llama.cpp is the engine that answered test, and `parity` runs the same file in it: that is a proof too,
    unless there is one of a server of this very model. A classifier is proven by its export, which compares all cases.
    """
    subject, tuned = evidence.training, evidence.training.tuned
    if _classifier(evidence):
        return _proof(
            subject.serving,
            "The fine-tuned classifier has not been exported and checked.",
            "export classifier fine_tune",
        )
    proven = subject.parity and subject.parity.status == "pass" and not subject.parity.changed
    no_other = not subject.serving or bool(subject.serving.changed)
    if no_other and proven and tuned and tuned.engine == "llama_cpp" and tuned.gguf:
        return says(
            "pass",
            (
                f"The embedded llama.cpp answered the test set with the file {tuned.gguf}, and parity "
                "checked the same file."
            ),
            engine="llama_cpp",
            artifact=tuned.gguf,
        )
    return _proof(
        subject.serving,
        "The fine-tuned model has not been served and checked.",
        "train --only parity --server NAME@URL",
    )


@gate("shadow")
def shadow(evidence: Evidence) -> Finding:
    """Recorded traffic was replayed to the tuned model, and it did no worse than production by the margin. Shown to be
    worse within the margin is enough only where cost, latency or locality is a reason to train."""
    subject = evidence.training.shadow
    if not subject or subject.changed:
        return replace(
            _proof(subject, "No real traffic has been sent to the fine-tuned model.", ""), fix=messages.DO_SHADOW
        )
    reasons = {row.reason for row in evidence.training_reasons if row.status == "measured"}
    if subject.status == "pass" and subject.numbers["below"] and reasons.isdisjoint(EXCUSES):
        why = "No measured saving in cost or latency, and no need to run locally, justifies the lower quality."
        return says("fail", f"{subject.detail} {why}", **subject.numbers)
    return says(subject.status, subject.detail, subject.numbers["fix"], **subject.numbers)


def _classifier(evidence: Evidence) -> str | None:
    tuned = evidence.training.tuned
    return tuned.classifier if tuned else None


def _proof(subject: ProofEvidence | None, missing: str, command: str) -> Finding:
    fix = f"Run `tuneworthy {command}`."
    if not subject:
        return says("unknown", missing, fix)
    numbers = {**subject.numbers, "changed": list(subject.changed)}
    return (
        says("unknown", messages.sentence("; ".join(subject.changed)), fix, **numbers)
        if subject.changed
        else says(subject.status, messages.sentence(subject.detail or subject.status), **numbers)
    )
