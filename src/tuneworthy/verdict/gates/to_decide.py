"""Gates before a decision: every cheaper lever is measured, and there is a reason to train."""

from collections.abc import Iterable
from functools import partial
from math import isfinite

from tuneworthy.cases.dataset import DROPPED
from tuneworthy.errors import join_sentences
from tuneworthy.money.economics import money_sentence
from tuneworthy.money.sources import EconomicsStatus
from tuneworthy.rules import Finding, Status
from tuneworthy.stats.intervals import LEVEL, upper_bound
from tuneworthy.stats.power import LOSS, POWER, detectable_gain
from tuneworthy.stats.ratios import LEAST_GROUPS
from tuneworthy.text import count
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import GateResult
from tuneworthy.verdict.evidence import COPIES, FEWEST_SHOTS, STRUCTURE, Evidence, may_need_documents
from tuneworthy.verdict.gates import GATES, says
from tuneworthy.verdict.options import Option, options_of
from tuneworthy.verdict.outcome import winner_of

FEWEST_CASES = 50
# Effective distinct test cases from which they can contradict the answer.
MIN_DISTINCT = 30
# How far today's scores on dev and test must lie apart to show that the two are unlike: 1%, two-sided, normal.
GAP_Z = 2.576
# Reasons that are shown and decide nothing.
SHOWN_ONLY = frozenset({"domain", "ownership"})
gate = partial(GATES.rule, group="to_decide")


@gate("test_set")
def test_set(evidence: Evidence) -> Finding:
    """At least 50 test cases, two labels and 20 effective groups: large groups and near-duplicates count for less.

    Cases that a model drafted do not count: they are scored apart once there are so many real cases. Until then, the
    gate fails.
    """
    numbers = {"n_test": evidence.n_test, "n_groups": evidence.n_groups}
    if evidence.n_test < FEWEST_CASES or evidence.few_groups:
        few = (
            f"The test set has {count(evidence.n_test, 'case')}; at least {FEWEST_CASES} are needed."
            if evidence.n_test < FEWEST_CASES
            else f"The test cases count as {evidence.n_groups:.1f} independent cases; at least {LEAST_GROUPS} are "
            "needed."
        )
        return says("fail", few, messages.ADD_CASES, **numbers)
    if evidence.n_drafted:
        numbers |= {"n_drafted": evidence.n_drafted, "n_real_groups": evidence.n_real_groups}
        n_real = evidence.n_test - evidence.n_drafted
        few = (
            f"A model drafted {evidence.n_drafted} of the {evidence.n_test} test cases. The other {n_real} count as "
            f"{evidence.n_real_groups:.1f} independent cases; at least {FEWEST_CASES} real cases from {LEAST_GROUPS} "
            "groups are needed."
        )
        return says("fail", few, messages.ADD_CASES, **numbers)
    if evidence.one_label:
        return says("fail", "All test cases have the same label.", messages.ADD_CASES, **numbers)
    if evidence.alpha is None:
        return says("pass", f"The test set has {evidence.n_test} cases.", **numbers)
    found = detectable_gain(max(1, evidence.n_test), evidence.alpha)
    message = f"With {evidence.n_test} cases at alpha {evidence.alpha:.3g}, " + (
        f"the smallest detectable difference is {100 * found:.1f} points. This assumes {POWER:.0%} power and that "
        f"{LOSS:.1%} of the cases get worse."
        if isfinite(found)
        else "no difference can be significant."
    )
    numbers |= {"n": evidence.n_test, "alpha": evidence.alpha, "loss": LOSS, "power": POWER, "design_effect": 1.0}
    return says("pass", message, **numbers, detectable=round(found, 3) if isfinite(found) else None)


@gate("baseline")
def baseline(evidence: Evidence) -> Finding:
    """Today's prompt and model were measured on test, and the grader reads right answers in any Unicode form."""
    subject = evidence.rungs.get("baseline")
    if evidence.stale:
        return says(
            "unknown",
            f"The last run cannot be used as it is: {'; '.join(evidence.stale)}.",
            evidence.accept or messages.RUN,
            stale=list(evidence.stale),
        )
    if subject and subject.status == "failed":
        return says("fail", subject.failure, "Fix the cause, then run `tuneworthy run`.")
    if not subject or subject.score is None:
        return says("unknown", "Today's setup has not been measured on the test set.", messages.RUN)
    worst = max(evidence.rungs.values(), key=lambda rung: rung.unread)
    if worst.unread > evidence.margin:
        return says(
            "fail",
            f"The grader cannot read {worst.unread:.1%} of the answers of {worst.label}: they are right, in another "
            "Unicode form.",
            f"{messages.LEVERS[messages.READERS[evidence.kind != 'label']]}, then run `tuneworthy run`.",
            unread=worst.unread,
        )
    agrees = f"agrees with {evidence.agreement} on" if evidence.agreement else "scores"
    return says("pass", f"Today's setup {agrees} {subject.score:.1%}.", score=subject.score)


@gate("dev")
def dev(evidence: Evidence) -> Finding:
    """Today's option scores alike on dev and test, so that the errors found on dev are those of test."""
    today = evidence.rungs.get("baseline")
    # A judge's scores on test are corrected by people, those on dev are not.
    if evidence.judge or not today or today.score is None or today.ci95 is None or not today.candidates:
        return says("not_applicable", "Today's setup was not measured on both dev and test.")
    dev = today.candidates[0]
    numbers = {"dev": dev.score, "n_dev": dev.n, "test": today.score, "n_test": today.n}
    scores = f"Today's setup scores {dev.score:.1%} on dev (n = {dev.n})", f"{today.score:.1%} on test (n = {today.n})."
    width = sum((high - low) ** 2 for low, high in (dev.ci95, today.ci95)) ** 0.5
    if abs(dev.score - today.score) <= GAP_Z * width / (2 * 1.96):
        return says("pass", " and ".join(scores), **numbers)
    return says(
        "unknown",
        (
            f"{' but '.join(scores)} The difference is statistically significant, so the causes of errors on dev may "
            "not apply to test."
        ),
        (
            "Run `tuneworthy label cases --all` as a second person, `tuneworthy label cases --apply --overwrite` to "
            "correct wrong labels, and `tuneworthy run`. Or list `dev` in [[waivers]] of tuneworthy.toml with a reason."
        ),
        **numbers,
    )


@gate("contamination")
def contamination(evidence: Evidence) -> Finding:
    """No copy of a case is in use, and the distinct test cases do not contradict the answer.

    Distinct test cases have no near-duplicate in the examples, the training rows or dev. With at least 30 effective
    ones, the answer is contradicted if, at level 0.05 / number of options, the option that should run misses the target
    there, or another option that meets the target is better there but not on all cases: not higher, or by less than
    the margin compared with the difference there. The user may state that traffic repeats: list `contamination` in
    [[waivers]] with the reason. That excuses no copy.
    """
    copies = ", ".join(f"{name}: {count}" for name, count in evidence.overlaps.items())
    if copies:
        return says(
            "fail",
            f"Copies cross the split ({copies}).",
            "Remove the copied examples or cases, then run `tuneworthy run`.",
            overlaps=dict(evidence.overlaps),
        )
    dropped = f"Copies of cases are dropped and listed in .tuneworthy/{DROPPED}."
    tuned = [one for one in options_of(evidence) if one.kind == "tuned" and one.target == "met"]
    marked = [one for one in (*tuned, winner_of(evidence)) if one]
    if not marked or evidence.target is None:
        return says("pass", dropped, overlaps={})
    findings = [_on_distinct_cases(evidence, option, dropped) for option in marked]
    return next((one for one in findings if one.status != "pass"), findings[-1])


def _on_distinct_cases(evidence: Evidence, winner: Option, dropped: str) -> Finding:
    """Say whether the distinct test cases contradict that an option meets the target and is the one to run."""
    part, target = evidence.rungs[winner.rung].on_distinct_cases, evidence.target or 0.0
    if not part or part.n_effective < MIN_DISTINCT:
        n = part.n_effective if part else 0.0
        message = f"{n:.0f} effective test cases have no near-duplicate in the examples or dev, too few to compare. "
        return says("pass", f"{message}The answer applies to traffic that repeats as these rows do.", overlaps={}, n=n)
    upper = upper_bound(part.score * part.n_effective, part.n_effective, LEVEL / evidence.options)
    level, on_all = LEVEL / evidence.options, {row.b: row for row in evidence.differences if row.a == winner.rung}
    shown = {
        row.b
        for row in evidence.distinct_differences
        if row.a == winner.rung
        and (row.delta - on_all[row.b].delta >= evidence.margin or on_all[row.b].delta <= 0 < row.delta)
        and row.p_value <= level < on_all[row.b].p_value
    }
    better = [
        option.option
        for option in options_of(evidence)
        if option.rung in shown and option.kind != "tuned" and option.target == "met" and option.eligible
    ]
    numbers = {"overlaps": {}, "n": part.n_effective, "score": part.score, "upper": upper, "better": better}
    message = f"{winner.option} scores {part.score:.1%} on the {part.n} test cases without a near-duplicate"
    if upper >= target and not better:
        return says("pass", f"{message}. {dropped}", **numbers)
    why = f"{', '.join(better)} scores higher there" if better else "below the target"
    if reason := evidence.waivers.get("contamination"):
        return says("waived", f"{message}: {why}. Traffic repeats: {join_sentences(reason)}", **numbers)
    return says(
        "fail",
        f"{message}: {why}. The answer applies only to repeated questions.",
        (
            "Add test cases unlike the examples with `tuneworthy cases add`. Or, if traffic repeats as these rows do, "
            "list `contamination` in [[waivers]] of tuneworthy.toml with this reason."
        ),
        **numbers,
    )


@gate("classical")
def classical(evidence: Evidence) -> Finding:
    """What scores without a language model was measured, and the grader does not accept a copied answer."""
    if not evidence.has_examples:
        return says("not_applicable", messages.NO_EXAMPLES)
    subject = evidence.rungs.get("classical")
    if not subject or subject.score is None:
        return says("unknown", "No classical baseline has been measured on the test set.", messages.RUN)
    if evidence.accepts_copies:
        message = (
            f"Copying the answer of the most similar example scores {subject.score:.1%}. The grader therefore does "
            "not check whether an answer fits its question."
            if subject.name == COPIES
            else f"{subject.name} scores {subject.score:.1%} without a language model. The grader judges style and "
            "does not check whether an answer fits its question."
        )
        return says(
            "fail",
            message,
            (
                "In [[graders]], put a grader first that checks whether an answer fits its question, or list "
                "`classical` in [[waivers]] of tuneworthy.toml with a reason."
            ),
            score=subject.score,
        )
    return says("pass", f"The classical baseline scores {subject.score:.1%}.", score=subject.score)


@gate("prompt")
def prompt(evidence: Evidence) -> Finding:
    """Structure and at least 3 shots were tried; a long prompt was also tried short."""
    tried = [name for rung in evidence.rungs.values() for name in rung.names]
    structure = any(name.removeprefix("prompt/") in STRUCTURE for name in tried)
    shots = max(map(_shots, tried), default=0)
    halved = not evidence.long_prompt or "prompt/half" in tried
    numbers = {"structure": structure, "shots": shots, "halved": halved}
    few = shots < FEWEST_SHOTS and evidence.has_examples
    needed = {
        "a structured prompt": structure,
        f"at least {FEWEST_SHOTS} few-shot examples": not few,
        "a prompt of half the length": halved,
    }
    if missing := [change for change, is_tried in needed.items() if not is_tried]:
        fix = (
            f"Set `k` in [few_shot] to {FEWEST_SHOTS} or more examples, then run `tuneworthy run`."
            if few and structure and halved and "few_shot" in evidence.rungs
            else messages.RUN
        )
        return says("unknown", f"These prompt changes have not been tried: {', '.join(missing)}.", fix, **numbers)
    return says(
        "pass",
        f"A structured prompt has been tried. The largest number of few-shot examples tried is {shots}.",
        **numbers,
    )


def lacks_shots(results: Iterable[GateResult]) -> GateResult | None:
    """Return the result of `prompt` if only shots are missing: no run tries more before `few_shot.k` is set."""
    prompt = next((one for one in results if one.gate == "prompt" and one.status == "unknown"), None)
    return prompt if prompt and prompt.evidence["structure"] and prompt.evidence["halved"] else None


def _shots(name: str) -> int:
    """Return the number of shots in a candidate's name, such as `few_shot/per_case-8+choice`."""
    digits = name.partition("-")[2].partition("+")[0]
    return int(digits) if name.startswith("few_shot/") and digits.isdigit() else 0


@gate("few_shot")
def few_shot(evidence: Evidence) -> Finding:
    """The rung `few_shot` was compared on test."""
    return _tested(evidence, "few_shot") if evidence.has_examples else says("not_applicable", messages.NO_EXAMPLES)


@gate("other_models")
def other_models(evidence: Evidence) -> Finding:
    """Another model that the constraints allow was compared on test."""
    if evidence.other_models or (evidence.forms_open and "model" in evidence.rungs):
        return _tested(evidence, "model")
    if evidence.forms_open:
        return says("unknown", messages.FORMS_OPEN, "Run `tuneworthy run --rung model`.", other_models=0)
    return (
        says("not_applicable", "The constraints rule out every other model in the project.", other_models=0)
        if evidence.barred_models
        else says("unknown", messages.NO_OTHER_MODEL, messages.ADD_MODEL, other_models=0)
    )


@gate("retrieval")
def retrieval(evidence: Evidence) -> Finding:
    """Where the answers depend on documents, retrieval was compared on test, and it is not the search that fails.

    It fails where most wrong answers on dev (the lower bound of their share is above half) were not shown a document
    that contains the answer, though one is named: a weak search would make training look good.
    """
    subject, search = _tested(evidence, "retrieval"), evidence.search
    if subject.status != "pass" and not may_need_documents(evidence):
        return says("not_applicable", "Nothing measured suggests that the answers depend on documents.")
    if not evidence.documents:
        return says("unknown", messages.DOCUMENTS_MISSING, messages.GIVE_DOCUMENTS)
    if subject.status != "pass" or not search:
        return subject
    numbers = {
        **subject.numbers,
        "not_retrieved": search.not_retrieved,
        "failed": search.failed,
        "oracle": search.oracle,
    }
    if search.lower > 0.5:
        return says(
            "fail",
            (
                f"Retrieval fails: for {search.not_retrieved} of {search.failed} wrong answers on dev, the search "
                "returned no document that contains the answer."
            ),
            messages.FIX_SEARCH,
            **numbers,
        )
    return says(
        "pass",
        join_sentences(
            subject.message,
            ""
            if search.oracle is None
            else f"With the correct documents in the prompt, the score on dev is {search.oracle:.1%}.",
        ),
        **numbers,
    )


@gate("decoding")
def decoding(evidence: Evidence) -> Finding:
    """Sampling parameters (or effort) were tuned, or need not be: no parameters, greedy or hardly varying answers."""
    subject = evidence.rungs.get("decoding")
    return (
        says("not_applicable", messages.sentence(subject.reason))
        if subject and subject.reason_code in {"no_parameters", "greedy", "stable"}
        else _tested(evidence, "decoding")
    )


def _tested(evidence: Evidence, name: str) -> Finding:
    subject, fix = evidence.rungs.get(name), f"Run `tuneworthy run --rung {name}`."
    if subject and subject.status == "failed":
        return says("fail", subject.failure, fix)
    if not subject or subject.score is None:
        why = f" ({subject.reason.rstrip('.')})" if subject and subject.reason else ""
        return says("unknown", f"The rung {name} has not been compared on the test set{why}.", fix)
    return says(
        "pass",
        f"{subject.name} scores {subject.score:.1%}{evidence.difference_words(subject)}.",
        score=subject.score,
        status=subject.status,
    )


@gate("judge")
def judge(evidence: Evidence) -> Finding:
    """If a model grades, it was validated against people and canaries."""
    subject = evidence.judge
    return (
        says("not_applicable", "The project uses no LLM judge.")
        if not subject
        else says("pass" if subject.valid else "fail", subject.detail, subject.fix, **subject.numbers)
    )


@gate("power")
def power(evidence: Evidence) -> Finding:
    """The intervals settle the facts that decide the outcome."""
    top = evidence.top
    if not top or top.score is None:
        return says("unknown", messages.NOTHING_ELIGIBLE, messages.RUN)
    numbers = {"target": evidence.target_of(top), "ci95": top.ci95, "n_test": evidence.n_test}
    if top.has_holes:
        return says(
            "fail",
            f"{top.unscored} of {top.n} test cases could not be scored, so the score excludes them.",
            "Run `tuneworthy report` to find the cause. Fix it, then run `tuneworthy run`.",
            **numbers,
            unscored=top.unscored,
        )
    unsettled = [subject for kind, subject in evidence.facts_open if kind == "meets"]
    if not unsettled:
        return says("pass", "The test set is large enough to decide the outcome.", **numbers)
    return says(
        "fail",
        f"{evidence.n_test} test cases are too few for a conclusion about {', '.join(unsettled)}.",
        "",
        **numbers,
        options=unsettled,
    )


@gate("reason")
def reason(evidence: Evidence) -> Finding:
    """A reason to train is measured."""
    statuses = {row.reason: row.status for row in evidence.training_reasons}
    measured = [name for name, status in statuses.items() if status == "measured" and name not in SHOWN_ONLY]
    unknown = [name for name, status in statuses.items() if status == "unknown" and name != "ownership"]
    if measured:
        return says("pass", f"Measured reasons to train: {', '.join(measured)}.", **statuses)
    still = f"No reason to train has been measured yet. Still unknown: {', '.join(unknown)}."
    return says(
        "unknown" if unknown else "fail",
        still if unknown else "None of the measurements gives a reason to train.",
        **statuses,
    )


_MONEY_STATUS: dict[EconomicsStatus, Status] = {
    "pays": "pass",
    "never": "fail",
    "unknown": "unknown",
    "not_applicable": "not_applicable",
}


@gate("economics")
def economics(evidence: Evidence) -> Finding:
    """Training pays within the horizon."""
    subject = evidence.money
    return says(
        _MONEY_STATUS[subject.status],
        money_sentence(subject),
        break_even_requests_per_month=subject.break_even_requests_per_month,
        month=subject.break_even_month,
    )
