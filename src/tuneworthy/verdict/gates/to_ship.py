"""The gates before shipping: is it the model that was measured, is it better, was nothing lost, and is it served?"""

from typing import Final

from tuneworthy.errors import join_sentences
from tuneworthy.rules import Finding
from tuneworthy.verdict import messages
from tuneworthy.verdict.evidence import TUNED, Evidence, RungEvidence
from tuneworthy.verdict.gates import GATES, says
from tuneworthy.verdict.gates.to_train import dataset_contamination
from tuneworthy.verdict.training_facts import ProofEvidence

STAGE: Final = "to_ship"
RUN: Final = messages.say("run_rung", rung=TUNED)


@GATES.rule("parity", group=STAGE)
def parity(evidence: Evidence) -> Finding:
    """Adapter, merged model and exported file are one model: the one that was compared on test."""
    return _proof(evidence.training.parity, messages.say("parity_missing"), "parity")


@GATES.rule("improvement", group=STAGE)
def improvement(evidence: Evidence) -> Finding:
    """The tuned model is better than the best without training, or no worse and cheaper, faster, or allowed where that
    is not; on a test that nothing it was trained on overlaps."""
    tuned = evidence.tuned
    if tuned is None or tuned.score is None:
        return says("unknown", messages.say("no_tuned"), RUN)
    numbers = {"score": tuned.score, "status": tuned.status, "delta": tuned.delta, "delta_ci": tuned.delta_ci}
    message = messages.sentence(
        messages.say("tuned_score", name=tuned.label, score=tuned.score, difference=_difference(tuned))
    )
    if not tuned.eligible:
        why = messages.say("may_not_serve", reason=tuned.violated or tuned.reason.rstrip("."))
        return says("fail", f"{message} {why}", **numbers)
    overlaps = dataset_contamination(evidence)
    if overlaps.status != "pass" and "dataset_contamination" not in evidence.waivers:
        why = messages.say("trained_on_cases", detail=overlaps.message)
        return says("unknown", f"{message} {why}", overlaps.fix, **numbers)
    if evidence.best == "classical":
        winner = evidence.rungs.get("classical")
        score = f" ({winner.name}, {winner.score:.1%})" if winner is not None and winner.score is not None else ""
        return says("fail", f"{message} {messages.say('classical_as_good', score=score)}", **numbers)
    rival = _open_classical(evidence, tuned)
    if rival is not None and rival.score is not None:
        why = messages.say("classical_open", name=rival.label, score=rival.score)
        return says("unknown", f"{message} {why}", messages.say("add_cases"), **numbers)
    message_with_reason = join_sentences(message, messages.sentence(tuned.reason))
    if tuned.status == "adopted":
        return says("pass", message_with_reason, **numbers)
    if evidence.best == TUNED and tuned.delta_ci is not None and tuned.delta_ci[0] > -evidence.margin:
        return says(
            "pass", f"{message} {messages.say('no_worse_and_allowed', margin=100 * evidence.margin)}", **numbers
        )
    if tuned.status == "no_gain":
        return says("fail", message_with_reason, **numbers)
    return says("unknown", message_with_reason, messages.say("add_cases"), **numbers)


@GATES.rule("regressions", group=STAGE)
def regressions(evidence: Evidence) -> Finding:
    """No regression set is worse: on each the tuned model is no worse than the base that was trained by more than the
    margin of the set. Compared with any other model it shows nothing."""
    subject = evidence.training
    usable = [row for row in subject.regressions if not row.changed]
    sets = {row.name: {"status": row.status, "n": row.n, "margin": row.margin} for row in usable}
    numbers = {"sets": sets, "not_asked": list(subject.sets_missing)}
    base = subject.tuned.base if subject.tuned else None
    if subject.tuned and usable and (base is None or subject.tuned.compared_base != base):
        message = messages.say("other_base", other=subject.tuned.compared_with or messages.say("another_model"))
        return says("unknown", message, messages.say("compare_base"), **numbers)
    failed = [row for row in usable if row.status == "fail"]
    undecided = [row for row in usable if row.status not in {"pass", "fail"}]
    message = "; ".join(f"{row.name}: {row.detail.rstrip('.')}" for row in failed or undecided or usable)
    if failed:
        return says("fail", join_sentences(message), messages.say("more_rehearsal"), **numbers)
    if subject.sets_missing or not usable:
        names = f" ({', '.join(subject.sets_missing)})" if subject.sets_missing else ""
        return says("unknown", messages.say("sets_missing", names=names), RUN, **numbers)
    return says("unknown" if undecided else "pass", join_sentences(message), **numbers)


@GATES.rule("serving", group=STAGE)
def serving(evidence: Evidence) -> Finding:
    """The engine that will answer users was started with this model, and gave its answers.

    The embedded llama.cpp is the engine that answered test, and `parity` runs the same file in it: that is a proof too,
    unless there is one of a server of this very model.
    """
    subject, tuned = evidence.training, evidence.training.tuned
    proven = subject.parity is not None and subject.parity.status == "pass" and not subject.parity.changed
    no_other = subject.serving is None or bool(subject.serving.changed)
    if no_other and proven and tuned is not None and tuned.engine == "llama_cpp" and tuned.gguf:
        return says("pass", messages.say("embedded_engine", file=tuned.gguf), engine="llama_cpp", artifact=tuned.gguf)
    return _proof(subject.serving, messages.say("serving_missing"), "serve --engine vllm --check")


@GATES.rule("shadow", group=STAGE)
def shadow(evidence: Evidence) -> Finding:
    """Real traffic was sent to the tuned model as well, and it did no worse."""
    return says("unknown", messages.say("no_shadow"), messages.say("do_shadow"))


def _open_classical(evidence: Evidence, tuned: RungEvidence) -> RungEvidence | None:
    """Return the classical baseline if it is the best without training, and the tuned one is not shown to be better."""
    classical = evidence.rungs.get("classical")
    if classical is None or classical.score is None or not classical.eligible or tuned.score is None:
        return None
    behind = classical.score <= tuned.score - (tuned.delta or 0.0)
    shown = classical.compared_to == tuned.variant and classical.delta_ci is not None and classical.delta_ci[1] < 0
    return None if behind or shown else classical


def _proof(subject: ProofEvidence | None, missing: str, command: str) -> Finding:
    fix = messages.say("run_command", command=command)
    if subject is None:
        return says("unknown", missing, fix)
    numbers = {**subject.numbers, "changed": list(subject.changed)}
    if subject.changed:
        return says("unknown", messages.sentence("; ".join(subject.changed)), fix, **numbers)
    return says(subject.status, messages.sentence(subject.detail or subject.status), **numbers)


def _difference(tuned: RungEvidence) -> str:
    if tuned.delta is None or tuned.delta_ci is None:
        return messages.say("no_difference")
    low, high = tuned.delta_ci
    return messages.say("difference", delta=100 * tuned.delta, low=100 * low, high=100 * high)
