"""The gates before a decision: was every cheaper lever measured, and is there a reason to train?"""

from collections.abc import Callable
from typing import Final

from tuneworthy.errors import join_sentences
from tuneworthy.rules import Finding, Status
from tuneworthy.stats.sizing import MOST_CASES, cases_for_target, shows
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import EconomicsStatus, ErrorClass, Target
from tuneworthy.verdict.economics import money_sentence
from tuneworthy.verdict.evidence import FEWEST_SHOTS, STRUCTURE, Evidence, target_of
from tuneworthy.verdict.gates import GATES, says

FEWEST_CASES, FEWEST_GROUPS = 50, 10
COPIES = "classical/nearest"
# Lower bound of the share of failures that a class must have to be evidence for a reason to train.
CLASS_SHARE = 0.2
STAGE: Final = "to_decide"


@GATES.rule("test_set", group=STAGE)
def test_set(evidence: Evidence) -> Finding:
    """At least 50 test cases, and at least 10 groups if cases are grouped."""
    numbers = {"n_test": evidence.n_test, "n_groups": evidence.n_groups}
    if evidence.n_test < FEWEST_CASES:
        message = messages.say("too_few_cases", n=evidence.n_test, needed=FEWEST_CASES)
        return says("fail", message, messages.say("add_cases"), **numbers)
    if evidence.n_groups is not None and evidence.n_groups < FEWEST_GROUPS:
        message = messages.say("too_few_groups", n=evidence.n_groups, needed=FEWEST_GROUPS)
        return says("fail", message, messages.say("add_cases"), **numbers)
    if evidence.alpha is None:
        return says("pass", messages.say("n_test", n=evidence.n_test), **numbers)
    size = shows(evidence.n_test, evidence.alpha)
    return says("pass", messages.sentence(size.sentence), **numbers, **size.numbers)


@GATES.rule("baseline", group=STAGE)
def baseline(evidence: Evidence) -> Finding:
    """Prompt and model as they are today were measured on test."""
    subject = evidence.rungs.get("baseline")
    if evidence.stale:
        return says(
            "unknown",
            messages.say("run_stale", changes="; ".join(evidence.stale)),
            messages.say("run"),
            stale=list(evidence.stale),
        )
    if subject is None or subject.score is None:
        return says("unknown", messages.say("baseline_missing"), messages.say("run"))
    return says("pass", messages.say("baseline_score", score=subject.score), score=subject.score)


@GATES.rule("contamination", group=STAGE)
def contamination(evidence: Evidence) -> Finding:
    """No row that shots or training use overlaps a test case."""
    numbers = {"overlaps": dict(evidence.overlaps)}
    if evidence.overlaps:
        counts = ", ".join(f"{name}: {count}" for name, count in evidence.overlaps.items())
        return says("fail", messages.say("overlaps", counts=counts), messages.say("remove_overlaps"), **numbers)
    return says("pass", messages.say("no_overlaps"), **numbers)


@GATES.rule("classical", group=STAGE)
def classical(evidence: Evidence) -> Finding:
    """What scores without a language model was measured, and the grader does not accept a copied answer.

    In a task of free text an answer copied from another question is wrong, whatever a grader of form and tone says.
    """
    if not evidence.has_examples:
        return says("not_applicable", messages.say("no_examples"))
    subject = evidence.rungs.get("classical")
    if subject is None or subject.score is None:
        return says("unknown", messages.say("classical_missing"), messages.say("run"))
    copies = evidence.kind == "free_text" and subject.name == COPIES
    if copies and subject.score > evidence.target - evidence.margin:
        return says(
            "fail", messages.say("copies_score", score=subject.score), messages.say("fix_grader"), score=subject.score
        )
    return says("pass", messages.say("classical_score", score=subject.score), score=subject.score)


@GATES.rule("prompt", group=STAGE)
def prompt(evidence: Evidence) -> Finding:
    """Structure and at least 3 shots were tried; a long prompt was also tried short."""
    tried = [name for rung in evidence.rungs.values() for name in rung.names]
    structure = any(name.removeprefix("prompt/") in STRUCTURE for name in tried)
    shots = max(map(_shots, tried), default=0)
    halved = not evidence.long_prompt or "prompt/half" in tried
    numbers = {"structure": structure, "shots": shots, "halved": halved}
    missing = [] if structure else [messages.say("structure")]
    if shots < FEWEST_SHOTS and evidence.has_examples:
        missing.append(messages.say("at_least_shots", n=FEWEST_SHOTS))
    missing += [] if halved else [messages.say("half_prompt")]
    if missing:
        return says(
            "unknown", messages.say("prompt_untried", missing=", ".join(missing)), messages.say("run"), **numbers
        )
    return says("pass", messages.say("prompt_tried", shots=shots), **numbers)


def _shots(name: str) -> int:
    """Return the number of shots in a candidate's name, such as `few_shot/per_case-8+choice`."""
    digits = name.partition("-")[2].partition("+")[0]
    return int(digits) if name.startswith("few_shot/") and digits.isdigit() else 0


@GATES.rule("few_shot", group=STAGE)
def few_shot(evidence: Evidence) -> Finding:
    """The rung `few_shot` was compared on test."""
    return (
        _tested(evidence, "few_shot") if evidence.has_examples else says("not_applicable", messages.say("no_examples"))
    )


@GATES.rule("other_models", group=STAGE)
def other_models(evidence: Evidence) -> Finding:
    """Another model that the constraints allow was compared on test."""
    if evidence.other_models:
        return _tested(evidence, "model")
    if evidence.limits.on_device:
        return says("not_applicable", messages.say("only_device_model"), other_models=0)
    return says("unknown", messages.say("no_other_model"), messages.say("add_model"), other_models=0)


@GATES.rule("retrieval", group=STAGE)
def retrieval(evidence: Evidence) -> Finding:
    """Where the answers depend on documents, retrieval was compared on test, and it is not the search that fails.

    It fails where most wrong answers on dev (the lower bound of their share is above half) were not shown a document
    that holds the answer, though one is named: a weak search would make training look good.
    """
    if not evidence.knowledge_task:
        return says("not_applicable", messages.say("no_documents"))
    subject, search = _tested(evidence, "retrieval"), evidence.search
    if subject.status != "pass" or search is None:
        return subject
    measured = {"not_retrieved": search.not_retrieved, "failed": search.failed, "oracle": search.oracle}
    numbers = {**subject.numbers, **measured}
    if search.lower > 0.5:
        return says(
            "fail",
            messages.say("search_fails", lost=search.not_retrieved, failed=search.failed),
            messages.say("fix_search"),
            **numbers,
        )
    oracle = "" if search.oracle is None else messages.say("oracle_score", score=search.oracle)
    return says("pass", join_sentences(subject.message, oracle), **numbers)


@GATES.rule("decoding", group=STAGE)
def decoding(evidence: Evidence) -> Finding:
    """Sampling parameters (or effort) were tuned, or it has none: the model takes none, or output is constrained."""
    subject = evidence.rungs.get("decoding")
    if subject is not None and subject.reason_code in {"no_parameters", "constrained"}:
        return says("not_applicable", messages.sentence(subject.reason))
    return _tested(evidence, "decoding")


def _tested(evidence: Evidence, name: str) -> Finding:
    subject, fix = evidence.rungs.get(name), messages.say("run_rung", rung=name)
    if subject is not None and subject.status == "failed":
        return says("fail", messages.say("rung_failed", rung=name, reason=subject.reason), fix)
    if subject is None or subject.score is None:
        why = f" ({subject.reason})" if subject is not None and subject.reason else ""
        return says("unknown", messages.say("rung_missing", rung=name, reason=why), fix)
    return says(
        "pass",
        messages.say("rung_score", name=subject.name, score=subject.score, status=subject.status),
        score=subject.score,
        status=subject.status,
    )


@GATES.rule("judge", group=STAGE)
def judge(evidence: Evidence) -> Finding:
    """If a model grades, it was validated against people and canaries."""
    subject = evidence.judge
    if subject is None:
        return says("not_applicable", messages.say("no_judge"))
    return says("pass" if subject.valid else "fail", subject.detail, subject.fix, **subject.numbers)


@GATES.rule("power", group=STAGE)
def power(evidence: Evidence) -> Finding:
    """The intervals settle whether the target is met."""
    top, status = evidence.top, target_of(evidence.top, evidence.target, evidence.margin)
    if top is None or top.score is None:
        return says("unknown", messages.say("nothing_eligible"), messages.say("run"))
    numbers = {"target": status, "lower": top.lower, "upper": top.upper, "n_test": evidence.n_test}
    if top.has_holes:
        message = messages.say("unscored", unscored=top.unscored, n=top.n)
        return says("fail", message, messages.say("fix_unscored"), **numbers, unscored=top.unscored)
    if status != "unresolved":
        return says("pass", messages.say("target_is", status=status), **numbers)
    needed = cases_for_target(top.score, evidence.target, evidence.margin)
    fix = messages.say("add_about", needed=needed) if needed else messages.say("add_more_than", most=MOST_CASES)
    message = messages.say("target_open", n=evidence.n_test, target=evidence.target)
    return says("fail", message, fix, **numbers, n_needed=needed)


@GATES.rule("reason", group=STAGE)
def reason(evidence: Evidence) -> Finding:
    """The reason to train is one of five, and measurements show it."""
    if evidence.motivation is None:
        return says("fail", messages.say("no_reason"), messages.say("name_reason"))
    return _REASONS[evidence.motivation](evidence)


def _latency(evidence: Evidence) -> Finding:
    """Pass if a variant is too slow, or hosted models may not serve."""
    limit = evidence.limits.p95_ms
    if evidence.limits.on_device:
        return says("pass", messages.say("device_only"), on_device=True)
    if limit is None:
        return says("unknown", messages.say("no_limit"), messages.say("set_limit"))
    slow = {r.rung: r.latency_p95_ms for r in evidence.upstream.values() if (r.latency_p95_ms or 0) > limit}
    if slow:
        rungs = ", ".join(f"{name} {value:.0f} ms" for name, value in slow.items())
        return says("pass", messages.say("slow", limit=limit, rungs=rungs), p95_ms=slow, limit_ms=limit)
    return says("fail", messages.say("fast", limit=limit), limit_ms=limit)


def _share(evidence: Evidence, name: ErrorClass) -> Finding:
    """Pass if a class of failures on dev is shown to be frequent."""
    if evidence.errors is None:
        stale = list(evidence.errors_stale)
        message = messages.say("errors_stale", changes="; ".join(stale)) if stale else messages.say("errors_unknown")
        return says("unknown", message, messages.say("probe"), stale=stale)
    subject = next((row for row in evidence.errors if row.name == name), None)
    if subject is None:
        return says("fail", messages.say("no_such_error", cause=messages.CAUSES[name]), share=0.0)
    message, numbers = (
        messages.sentence(messages.error_share(subject)),
        {"share": subject.share, "ci95": subject.ci95, "n": subject.n},
    )
    if subject.ci95[0] < CLASS_SHARE:
        return says("fail", f"{message} {messages.say('share_too_small', needed=CLASS_SHARE)}", **numbers)
    return says("pass", message, **numbers)


def _distillation(evidence: Evidence) -> Finding:
    """Pass if another model meets the target, so that it can teach."""
    subject = evidence.rungs.get("model")
    if subject is None or subject.score is None:
        return says("unknown", messages.say("no_teacher"), messages.say("run_rung", rung="model"))
    state = target_of(subject, evidence.target, evidence.margin)
    message = messages.say("teacher", name=subject.name, score=subject.score, status=state)
    fix = messages.say("settle_target") if state == "unresolved" else ""
    return says(_TARGET_STATUS[state], message, fix, score=subject.score)


_TARGET_STATUS: Final[dict[Target, Status]] = {"met": "pass", "missed": "fail", "unresolved": "unknown"}
_MONEY_STATUS: Final[dict[EconomicsStatus, Status]] = {
    "pays": "pass",
    "never": "fail",
    "unknown": "unknown",
    "not_applicable": "not_applicable",
}
_REASONS: Final[dict[str, Callable[[Evidence], Finding]]] = {
    "latency_hard_constraint": _latency,
    "strict_format": lambda evidence: _share(evidence, "format"),
    "style_persona": lambda evidence: _share(evidence, "unexplained"),
    "distillation": _distillation,
    "private_domain": lambda _: says("unknown", messages.say("domain_unknown"), messages.say("name_another")),
}


@GATES.rule("economics", group=STAGE)
def economics(evidence: Evidence) -> Finding:
    """Training pays within the horizon, or a hard constraint decides."""
    subject = evidence.economics
    return says(
        _MONEY_STATUS[subject.status],
        money_sentence(subject),
        break_even_requests_per_month=subject.break_even_requests_per_month,
        month=subject.break_even_month,
    )
