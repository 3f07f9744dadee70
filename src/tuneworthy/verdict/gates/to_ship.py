"""The gates before shipping: is it the model that was measured, is it better, was nothing lost, and is it served?"""

from dataclasses import replace
from typing import Final

from tuneworthy.errors import join_sentences
from tuneworthy.ladder.record import RungDifference
from tuneworthy.rules import Finding
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import TUNED, Option
from tuneworthy.verdict.evidence import Evidence, RungEvidence
from tuneworthy.verdict.gates import GATES, says
from tuneworthy.verdict.gates.to_train import dataset_contamination
from tuneworthy.verdict.recommendation import is_saving
from tuneworthy.verdict.training_facts import ProofEvidence

STAGE: Final = "to_ship"
RUN: Final = messages.say("run_rung", rung=TUNED)


@GATES.rule("parity", group=STAGE)
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
        "parity",
    )


@GATES.rule("improvement", group=STAGE)
def improvement(evidence: Evidence) -> Finding:
    """The tuned model is better than what should run without training; or non-inferior by the margin, and at least 20%
    cheaper or faster, or the only one that meets the target. On a test that nothing it was trained on overlaps."""
    tuned, rival = evidence.tuned, evidence.without_training
    if tuned is None or tuned.score is None:
        return says("unknown", "No fine-tuned model has been compared on the test set.", RUN)
    row = evidence.difference(rival, tuned)
    numbers = {"score": tuned.score, "delta": row and row.delta, "delta_ci": row and row.ci95}
    message = f"On the test set, {tuned.label} scores {tuned.score:.1%}; {_difference(rival, row)}."
    if not tuned.eligible:
        why = f"A constraint rules it out: {tuned.violated or tuned.reason.rstrip('.')}."
        return says("fail", f"{message} {why}", **numbers)
    overlaps = dataset_contamination(evidence)
    if overlaps.status != "pass" and "dataset_contamination" not in evidence.waivers:
        why = f"The training data may overlap the test set. {overlaps.message}"
        return says("unknown", f"{message} {why}", overlaps.fix, **numbers)
    if rival is None:
        return says("pass", f"{message} {messages.say('nothing_else_may')}", **numbers)
    if row is None:
        return says("unknown", message, RUN, **numbers)
    # The difference to another rival than the one of the planned comparison is descriptive: it needs both.
    if row.ci95[0] > 0 and tuned.reason_code == "better":
        return says("pass", f"{message} {messages.say('shown_better')}", **numbers)
    margin = 100 * evidence.margin
    unpriced = _unpriced(evidence, rival, tuned)
    if row.no_worse and tuned.score > 0 and not unpriced and _is_saving(evidence, tuned, rival):
        return says("pass", f"{message} {messages.say('no_worse_and_saving', margin=margin)}", **numbers)
    newly_met = evidence.target_of(tuned) == "met" and not any(
        other.eligible and evidence.target_of(other) == "met" for other in evidence.upstream.values() if other.tested
    )
    if row.no_worse and newly_met:
        return says("pass", f"{message} {messages.say('no_worse_and_met', margin=margin)}", **numbers)
    if row.no_worse and unpriced:
        why, fix = unpriced
        return says("unknown", f"{message} {why}", fix, **numbers)
    back = evidence.difference(tuned, rival)
    if row.ci95[1] < evidence.margin:
        return says("fail", f"{message} {messages.say('gain_excluded', margin=margin)}", **numbers)
    if back is not None and back.no_worse and not unpriced and _is_saving(evidence, rival, tuned):
        return says("fail", f"{message} {messages.say('rival_saves', name=rival.label)}", **numbers)
    return says(
        "unknown", f"{message} {messages.say('gain_open')}", messages.say("add_cases"), more_cases=True, **numbers
    )


def _unpriced(evidence: Evidence, *rungs: RungEvidence) -> tuple[str, str] | None:
    """Say why it is not known which of two costs less, and what settles it; None if it is known."""
    costs = [evidence.bill(rung).running(evidence.economics) for rung in rungs]
    for rung, cost in zip(rungs, costs, strict=True):
        if cost.usd_per_1k is None:
            return messages.say("price_missing", name=rung.name), messages.say("set_price", name=rung.name)
    if evidence.economics.requests_per_month is None and len({cost.server is None for cost in costs}) > 1:
        return (
            "One option is billed per answer and the other needs a server. Which costs less depends on the "
            "traffic, which is not set."
        ), messages.say("set_traffic")
    return None


def _is_saving(evidence: Evidence, rung: RungEvidence, other: RungEvidence) -> bool:
    return is_saving(_costs(evidence, rung), _costs(evidence, other))


def _costs(evidence: Evidence, rung: RungEvidence) -> Option:
    running, traffic = evidence.bill(rung).running(evidence.economics), evidence.economics.requests_per_month
    return Option(
        option=rung.name,
        rung=rung.rung,
        kind="variant",
        usd_per_1k=running.usd_per_1k,
        usd_per_month=None if traffic is None else running.monthly_usd(traffic),
        running=running,
        latency_p95_ms=rung.latency_p95_ms,
    )


@GATES.rule("regressions", group=STAGE)
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
    subject = evidence.training
    usable = [row for row in subject.regressions if not row.changed]
    sets = {row.name: {"status": row.status, "n": row.n, "margin": row.margin} for row in usable}
    numbers = {"sets": sets, "not_asked": list(subject.sets_missing)}
    base = subject.tuned.base if subject.tuned else None
    if subject.tuned and usable and (base is None or subject.tuned.compared_base != base):
        message = (
            "The regression sets compare the fine-tuned model with "
            f"{subject.tuned.compared_with or 'a different model'}, not with its base model."
        )
        return says(
            "unknown",
            message,
            "Run `tuneworthy export gguf --base`, then `tuneworthy run --rung fine_tune`.",
            **numbers,
        )
    failed = [row for row in usable if row.status == "fail"]
    undecided = [row for row in usable if row.status not in {"pass", "fail"}]
    message = "; ".join(f"{row.name}: {row.detail.rstrip('.')}" for row in failed or undecided or usable)
    if failed:
        return says(
            "fail",
            join_sentences(message),
            "Increase `rehearsal` in [train] to keep the fine-tuned model closer to its base model.",
            **numbers,
        )
    if subject.sets_missing or not usable:
        names = f" ({', '.join(subject.sets_missing)})" if subject.sets_missing else ""
        return says("unknown", f"The run has no usable answers for the regression sets{names}.", RUN, **numbers)
    if undecided:
        return says(
            "unknown",
            join_sentences(message),
            (
                "Increase `rehearsal` in [train] and train again, or add a larger set in [[regressions]] and run "
                "`tuneworthy run --rung fine_tune`."
            ),
            **numbers,
        )
    return says("pass", join_sentences(message), **numbers)


@GATES.rule("serving", group=STAGE)
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
    proven = subject.parity is not None and subject.parity.status == "pass" and not subject.parity.changed
    no_other = subject.serving is None or bool(subject.serving.changed)
    if no_other and proven and tuned is not None and tuned.engine == "llama_cpp" and tuned.gguf:
        return says(
            "pass",
            (
                f"The embedded llama.cpp answered the test set with the file {tuned.gguf}, and `tuneworthy parity` "
                "checked the same file."
            ),
            engine="llama_cpp",
            artifact=tuned.gguf,
        )
    return _proof(
        subject.serving, "The fine-tuned model has not been served and checked.", "parity --url URL --served-model NAME"
    )


@GATES.rule("shadow", group=STAGE)
def shadow(evidence: Evidence) -> Finding:
    """Recorded traffic was replayed to the tuned model, and it did no worse than production by the margin. Shown to be
    worse within the margin is enough only where cost, latency or locality is a reason to train."""
    subject = evidence.training.shadow
    if subject is None or subject.changed:
        return replace(
            _proof(subject, "No real traffic has been sent to the fine-tuned model.", ""), fix=messages.say("do_shadow")
        )
    finding = says(subject.status, subject.detail, subject.numbers["fix"], **subject.numbers)
    if finding.status == "pass" and subject.numbers["below"] and not _excuses(evidence):
        return says("fail", f"{subject.detail} {messages.say('below_for_nothing')}", **subject.numbers)
    return finding


def _excuses(evidence: Evidence) -> bool:
    """Whether a reason to train is measured for which a little quality may be given."""
    return any(
        row.status == "measured" and row.reason in {"cost", "latency", "locality"} for row in evidence.training_reasons
    )


def _classifier(evidence: Evidence) -> str | None:
    """Return the id of the classifier that was compared on test; None if that is another kind of model."""
    tuned = evidence.training.tuned
    return tuned.classifier if tuned else None


def _proof(subject: ProofEvidence | None, missing: str, command: str) -> Finding:
    fix = f"Run `tuneworthy {command}`."
    if subject is None:
        return says("unknown", missing, fix)
    numbers = {**subject.numbers, "changed": list(subject.changed)}
    if subject.changed:
        return says("unknown", messages.sentence("; ".join(subject.changed)), fix, **numbers)
    return says(subject.status, messages.sentence(subject.detail or subject.status), **numbers)


def _difference(rival: RungEvidence | None, row: RungDifference | None) -> str:
    if rival is None or row is None:
        return "it has not been compared with another variant"
    low, high = row.ci95
    return messages.say("difference", name=rival.label, delta=100 * row.delta, low=100 * low, high=100 * high)
