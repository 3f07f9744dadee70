"""The gates before a decision: was every cheaper lever measured, and is there a reason to train?"""

from __future__ import annotations

from tuneworthy.stats.sizing import MOST_CASES, cases_for_target, shows
from tuneworthy.verdict.base import ErrorClass
from tuneworthy.verdict.economics import money_words
from tuneworthy.verdict.evidence import FEWEST_SHOTS, STRUCTURE, Evidence, target_of
from tuneworthy.verdict.gates.base import FAIL, NOT_APPLICABLE, PASS, UNKNOWN, Finding, Gate, gate
from tuneworthy.verdict.wording import CLASS_WORDS, RUNG_WORDS

FEWEST_CASES, FEWEST_GROUPS = 50, 10
COPIES = "classical/nearest"
CLASS_SHARE = 0.2
"""Lower bound of the share of failures that a class must have to be evidence for a motivation."""


@gate("test_set")
def test_set(evidence: Evidence) -> Finding:
    """At least 50 test cases, and at least 10 groups if cases are grouped."""
    numbers = {"n_test": evidence.n_test, "n_groups": evidence.n_groups}
    if evidence.n_test < FEWEST_CASES:
        return FAIL, f"there are {evidence.n_test} test cases, at least {FEWEST_CASES} are needed", numbers
    if evidence.n_groups is not None and evidence.n_groups < FEWEST_GROUPS:
        return (
            FAIL,
            f"the test cases come from {evidence.n_groups} sources, at least {FEWEST_GROUPS} are needed",
            numbers,
        )
    if evidence.alpha is None:
        return PASS, f"{evidence.n_test} test cases", numbers
    size = shows(evidence.n_test, evidence.alpha)
    return PASS, size.sentence, {**numbers, **size.numbers}


@gate("baseline")
def baseline(evidence: Evidence) -> Finding:
    """Prompt and model as they are today were measured on test."""
    found = evidence.rungs.get("baseline")
    if evidence.stale:
        changed = "; ".join(evidence.stale)
        return (
            UNKNOWN,
            f"what was measured no longer holds ({changed}); run `tuneworthy run`",
            {"stale": list(evidence.stale)},
        )
    if found is None or not found.tested:
        return UNKNOWN, "today's prompt and model were not measured; run `tuneworthy run`", {}
    return PASS, f"today's prompt and model score {found.score:.3f}", {"score": found.score}


@gate("contamination")
def leak(evidence: Evidence) -> Finding:
    """No row that shots or training use gives a test case away."""
    numbers = {"contamination": dict(evidence.overlaps)}
    if evidence.overlaps:
        found = ", ".join(f"{name}: {count}" for name, count in evidence.overlaps.items())
        return FAIL, f"rows give cases away ({found}); take them out, then run `tuneworthy run`", numbers
    return PASS, "no example gives a case away", numbers


@gate("classical")
def classical(evidence: Evidence) -> Finding:
    """What no language model at all would score was measured, and the grader is not content with a copied answer.

    In a task of free text an answer copied from another question is wrong, whatever a grader of form and tone says.
    """
    if not evidence.has_examples:
        return NOT_APPLICABLE, "there are no examples to learn from", {}
    found = evidence.rungs.get("classical")
    if found is None or not found.tested:
        return UNKNOWN, "what no language model at all would score was not measured; run `tuneworthy run`", {}
    numbers = {"score": found.score}
    if (
        evidence.kind == "free_text"
        and found.name == COPIES
        and (found.score or 0.0) > evidence.target - evidence.margin
    ):
        words = (
            f"an answer copied from the most similar question scores {found.score:.3f}, so the grader does not see "
            "whether the question is answered; put a grader that does first, or waive this"
        )
        return FAIL, words, numbers
    return PASS, f"without a language model: {found.score:.3f}", numbers


@gate("prompt")
def prompt(evidence: Evidence) -> Finding:
    """Structure and at least 3 shots were tried; a long prompt was also tried short."""
    tried = [name for rung in evidence.rungs.values() for name in rung.names]
    structure = any(name.removeprefix("prompt/") in STRUCTURE for name in tried)
    shots = max((_shots(name) for name in tried), default=0)
    halved = not evidence.long_prompt or "prompt/half" in tried
    numbers = {"structure": structure, "shots": shots, "halved": halved}
    missing = [] if structure else ["structure"]
    missing += [] if shots >= FEWEST_SHOTS or not evidence.has_examples else [f"at least {FEWEST_SHOTS} shots"]
    missing += [] if halved else ["half of the long prompt"]
    if missing:
        return UNKNOWN, f"not tried in the prompt: {', '.join(missing)}; run `tuneworthy run`", numbers
    return PASS, f"structure and {shots} shots were tried", numbers


def _shots(name: str) -> int:
    """The number of shots in a candidate's name, such as `few_shot/per_case-8+choice`."""
    digits = name.partition("-")[2].partition("+")[0]
    return int(digits) if name.startswith("few_shot/") and digits.isdigit() else 0


@gate("few_shot")
def few_shot(evidence: Evidence) -> Finding:
    """The rung `few_shot` was put to test."""
    if not evidence.has_examples:
        return NOT_APPLICABLE, "there are no examples to show", {}
    return _tested(evidence, "few_shot")


@gate("other_models")
def other_models(evidence: Evidence) -> Finding:
    """A stronger model that the constraints allow was put to test."""
    if not evidence.other_models and evidence.hosted_forbidden:
        return NOT_APPLICABLE, "no other model may run on the device", {"other_models": 0}
    if not evidence.other_models:
        return (
            UNKNOWN,
            "the project names no other model; add one, or say under `[[waivers]]` why none can be used",
            {"other_models": 0},
        )
    return _tested(evidence, "model")


@gate("retrieval")
def retrieval(evidence: Evidence) -> Finding:
    """Where the answers lie in documents, retrieval was put to test, and it is not the search that fails.

    It fails where most wrong answers on dev (the lower bound of their share is above half) were not shown a document
    that holds the answer, though one is named: a weak search would make training look good.
    """
    if not evidence.knowledge_task:
        return NOT_APPLICABLE, "the answers do not lie in documents", {}
    status, detail, numbers = _tested(evidence, "retrieval")
    search = evidence.search
    if status is not PASS or search is None:
        return status, detail, numbers
    numbers = {**numbers, "not_retrieved": search.not_retrieved, "failed": search.failed, "oracle": search.oracle}
    if search.lower > 0.5:
        words = (
            f"the search fails: {search.not_retrieved} of {search.failed} wrong answers on dev were not shown a "
            "document that holds the answer; mend [retrieval] (chunks, encoder, language), or what `documents` of the "
            "cases name, then run `tuneworthy run`"
        )
        return FAIL, words, numbers
    if search.oracle is not None:
        detail += f"; with the right documents handed over {search.oracle:.3f} on dev"
    return PASS, detail, numbers


@gate("decoding")
def decoding(evidence: Evidence) -> Finding:
    """Sampling parameters (or effort) were tuned, or there are none: the model takes none, or output is constrained."""
    found = evidence.rungs.get("decoding")
    if found is not None and found.reason_code in {"no_parameters", "constrained"}:
        return NOT_APPLICABLE, found.reason, {}
    return _tested(evidence, "decoding")


def _tested(evidence: Evidence, name: str) -> Finding:
    found = evidence.rungs.get(name)
    if found is not None and found.status == "failed":
        return FAIL, f"trying this failed: {RUNG_WORDS[name]}: {found.reason}", {}
    if found is None or not found.tested:
        why = f" ({found.reason})" if found is not None and found.reason else ""
        return UNKNOWN, f"not tried yet: {RUNG_WORDS[name]}{why}; run `tuneworthy run --rung {name}`", {}
    numbers = {"score": found.score, "status": found.status}
    return PASS, f"{found.name}: {found.score:.3f}, {found.status}", numbers


@gate("judge")
def judge(evidence: Evidence) -> Finding:
    """If a model grades, it was validated against people and canaries."""
    if evidence.judge is None:
        return NOT_APPLICABLE, "no model grades", {}
    return PASS if evidence.judge.valid else FAIL, evidence.judge.detail, evidence.judge.numbers


@gate("power")
def resolution(evidence: Evidence) -> Finding:
    """The intervals settle whether the target is met."""
    found = target_of(evidence.top, evidence.target, evidence.margin)
    top = evidence.top
    if top is None or top.score is None:
        return UNKNOWN, "nothing that the constraints allow was measured; run `tuneworthy run`", {}
    numbers = {"target": found, "lower": top.lower, "upper": top.upper, "n_test": evidence.n_test}
    if top.has_holes:
        words = (
            f"{top.unscored} of {top.n} test cases could not be scored, so the score leaves them out; mend what fails"
        )
        return FAIL, f"{words}, then run `tuneworthy run`", {**numbers, "unscored": top.unscored}
    if found != "unresolved":
        return PASS, f"the target is {found}", numbers
    needed = cases_for_target(top.score, evidence.target, evidence.margin)
    settle = f"about {needed:,} would, if the score stays" if needed else f"more than {MOST_CASES:,} would be needed"
    words = f"{evidence.n_test} test cases do not settle whether the target of {evidence.target:g} is met; {settle}"
    return FAIL, f"{words}; add cases", {**numbers, "n_needed": needed}


@gate("reason")
def motivation(evidence: Evidence) -> Finding:
    """The reason to train is one of five, and measurements show it."""
    if evidence.motivation is None:
        return FAIL, "no reason to train is named; set task.motivation", {}
    return _MOTIVATIONS[evidence.motivation](evidence)


def _latency(evidence: Evidence) -> Finding:
    """Everything that meets the target is too slow or may not be used."""
    if evidence.hosted_forbidden:
        return PASS, "the answers must come from the device", {"on_device": True}
    limit = evidence.p95_limit_ms
    if limit is None:
        return UNKNOWN, "no limit is set; set constraints.p95_ms or on_device", {}
    slow = {r.rung: r.latency_p95_ms for r in evidence.upstream.values() if (r.latency_p95_ms or 0) > limit}
    if slow:
        worst = ", ".join(f"{name} {value:.0f} ms" for name, value in slow.items())
        return PASS, f"over the limit of {limit:g} ms: {worst}", {"p95_ms": slow, "limit_ms": limit}
    return FAIL, f"every variant keeps the limit of {limit:g} ms", {"limit_ms": limit}


def _share(name: ErrorClass) -> Gate:
    """A motivation that a class of failures on dev shows."""

    def show(evidence: Evidence) -> Finding:
        if evidence.errors is None:
            changed = f" since a change ({'; '.join(evidence.errors_stale)})" if evidence.errors_stale else ""
            words = f"why answers are wrong was not looked at{changed}; run `tuneworthy decide --probe`"
            return UNKNOWN, words, {"stale": list(evidence.errors_stale)}
        found = next((row for row in evidence.errors if row.name == name), None)
        if found is None:
            return FAIL, f"of no wrong answer it is so that {CLASS_WORDS[name]}", {"share": 0.0}
        words = (
            f"of {found.share:.0%} of {found.n} wrong answers ({found.ci95[0]:.0%} to {found.ci95[1]:.0%}) it is so "
            f"that {CLASS_WORDS[name]}"
        )
        numbers = {"share": found.share, "ci95": found.ci95, "n": found.n}
        if found.ci95[0] < CLASS_SHARE:
            return FAIL, f"{words}; at least {CLASS_SHARE:.0%} must be shown", numbers
        return PASS, words, numbers

    return show


def _distillation(evidence: Evidence) -> Finding:
    """A stronger model meets the target, so that it can teach."""
    found = evidence.rungs.get("model")
    if found is None or not found.tested:
        return UNKNOWN, "no teacher was measured; put a stronger model to test", {}
    state = target_of(found, evidence.target, evidence.margin)
    status = {"met": PASS, "missed": FAIL, "unresolved": UNKNOWN}[state]
    return status, f"the teacher {found.name} scores {found.score:.3f}: target {state}", {"score": found.score}


def _private_domain(evidence: Evidence) -> Finding:
    """Whether the base model finds the domain's text much harder than general text is not measured yet."""
    return UNKNOWN, "the base model's perplexity on the domain's text was not measured", {}


_MOTIVATIONS: dict[str, Gate] = {
    "latency_hard_constraint": _latency,
    "strict_format": _share("format"),
    "style_persona": _share("other"),
    "distillation": _distillation,
    "private_domain": _private_domain,
}


@gate("economics")
def economics(evidence: Evidence) -> Finding:
    """Training pays within the horizon, or a hard constraint decides."""
    found = evidence.economics
    numbers = {"break_even_requests_per_month": found.break_even_requests_per_month, "month": found.break_even_month}
    status = {"pays": PASS, "never": FAIL, "unknown": UNKNOWN, "not_applicable": NOT_APPLICABLE}[found.status]
    return status, money_words(found), numbers
