"""The reasons to train, each measured, refuted or unknown. From measurements only; none is declared."""

from tuneworthy.constraints import keeps_p95, may_serve
from tuneworthy.errors import join_sentences
from tuneworthy.money.economics import (
    FEWEST_SAVED,
    has_smaller,
    least_volume,
    monthly_saving,
    paid_bill,
    required_usd,
    traffic_ends,
)
from tuneworthy.text import count
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import DOMAIN_GAP, ErrorClass, Option, ReasonName, ReasonStatus, TrainingReason
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.facts import DecisionFacts, today_usd

# Lower bound of the share of failures from which a class is a reason.
CLASS_SHARE = 0.2
STATUS: dict[bool | None, ReasonStatus] = {True: "measured", False: "refuted", None: "unknown"}


def reasons_of(evidence: Evidence, facts: DecisionFacts) -> list[TrainingReason]:
    """Return all reasons to train; the one that the team has in mind first."""
    found = [
        _quality(evidence, facts),
        _cost(evidence, facts),
        _latency(evidence, facts),
        _locality(evidence, facts),
        _share(evidence, "format", "format"),
        _style(evidence),
        _domain(evidence),
    ]
    return sorted(found, key=lambda row: row.reason != evidence.motivation)


def _say(reason: ReasonName, value: bool | None, sentence: str) -> TrainingReason:
    return TrainingReason(reason=reason, status=STATUS[value], evidence=sentence)


def _meeting(facts: DecisionFacts, *, eligible: bool) -> list[Option]:
    return [
        option
        for option in facts.options
        if facts.known("meets", option.option) and facts.known("eligible", option.option) is eligible
    ]


def _unsettled(facts: DecisionFacts) -> list[str]:
    """Return the options that may serve and may meet the target."""
    return [
        option.option
        for option in facts.options
        if facts.known("meets", option.option) is None and facts.known("eligible", option.option) is not False
    ]


def _quality(evidence: Evidence, facts: DecisionFacts) -> TrainingReason:
    if evidence.target is None:
        return _say("quality", None, messages.say("no_target"))
    if met := _meeting(facts, eligible=True):
        return _say("quality", False, f"{met[0].option} meets the target of {evidence.target:.1%}.")
    if unsettled := _unsettled(facts):
        return _say("quality", None, messages.say("unresolved_options", names=", ".join(unsettled)))
    return _say("quality", True, f"No eligible option meets the target of {evidence.target:.1%}.")


def _cost(evidence: Evidence, facts: DecisionFacts) -> TrainingReason:
    chosen, settings = facts.recommendation, evidence.economics
    if chosen is None:
        return _say("cost", None, messages.say("nothing_eligible"))
    value = facts.known("cost", chosen.option)
    if evidence.target is None:
        return _say("cost", None, messages.say("no_target"))
    if not facts.known("meets", chosen.option):
        if unsettled := _unsettled(facts):
            return _say("cost", None, messages.say("unresolved_options", names=", ".join(unsettled)))
        return _say("cost", False, "No eligible option meets the target, so there is no bill to reduce.")
    if not chosen.usd_by_answer:
        if chosen.usd_by_answer is None:
            return _say("cost", value, messages.say("price_missing", name=chosen.option))
        free = (
            f"{chosen.option} runs on a server of your own, which another model would need as well."
            if chosen.server
            else f"{chosen.option} costs nothing per call."
        )
        return _say("cost", value, free)
    bill, today = evidence.bill(evidence.rungs[chosen.rung]), today_usd(facts.options)
    saving, required = monthly_saving(bill, settings), required_usd(bill, today, settings)
    share = {"share": FEWEST_SAVED, "bill": paid_bill(bill.usd_with(settings), required)}
    if saving is None:
        volume, enough = least_volume(bill, settings), least_volume(bill, settings, required)
        if volume is None or enough is None:
            return _say("cost", value, messages.say("no_volume_saves", **share))
        return _say(
            "cost",
            value,
            (
                f"Traffic is not set. Do not fine-tune below {volume:,.0f} requests per month, where training saves "
                f"nothing. The required {FEWEST_SAVED:.0%} of the bill is saved above {enough:,.0f} at the earliest."
            ),
        )
    month = chosen.usd_per_month or 0.0
    if value is False:
        most = (traffic_ends(settings) or (0.0, 0.0))[1] * required / FEWEST_SAVED / 1000
        short = messages.say("saves_too_little", usd=most, high=max(0.0, saving[1]), **share)
        return _say("cost", value, short)
    if value is None and not has_smaller(chosen.usd_by_answer, evidence.smaller_usd):
        return _say(
            "cost", value, f"{chosen.option} costs ${month:,.0f} a month, and no smaller model has been measured."
        )
    low, high = map(messages.whole_dollars, saving)
    saves = (
        f"{chosen.option} is good enough at ${month:,.0f} a month. A smaller model within the margin would save "
        f"{low} to {high} a month."
    )
    limit = messages.say("saving_required", **share)
    return _say("cost", value, join_sentences(saves, "" if value else limit))


def _latency(evidence: Evidence, facts: DecisionFacts) -> TrainingReason:
    limits = evidence.limits
    if limits.p95_ms is None:
        return _say("latency", False, "No latency limit is set in `constraints.p95_ms`.")
    if met := _meeting(facts, eligible=True):
        return _say("latency", False, messages.say("kept", p95=met[0].latency_p95_ms or 0.0, limit=limits.p95_ms))
    slow = [
        option
        for option in _meeting(facts, eligible=False)
        if keeps_p95(limits, option.latency_p95_ms, option.latency_p95_ci) is False
    ]
    if not slow:
        return _say(
            "latency", None, f"No option that meets the target exceeds the latency limit of {limits.p95_ms:,.0f} ms."
        )
    option = slow[0]
    value = facts.known("distil", option.option)
    return _say(
        "latency",
        value,
        (
            f"{option.option} meets the target, but its p95 latency is {option.latency_p95_ms or 0.0:,.0f} ms; "
            f"the limit is {limits.p95_ms:,.0f} ms."
        ),
    )


def _locality(evidence: Evidence, facts: DecisionFacts) -> TrainingReason:
    limits = evidence.limits
    if not (limits.on_device or limits.data_stays):
        return _say("locality", False, "The constraints allow hosted models in production.")
    if _meeting(facts, eligible=True):
        return _say("locality", False, "An option that the constraints allow meets the target.")
    hosted = [
        option
        for option in _meeting(facts, eligible=False)
        if not may_serve(limits, hosted=evidence.rungs[option.rung].hosted)
    ]
    if hosted and not limits.data_stays:
        return _say(
            "locality",
            True,
            (
                f"{hosted[0].option} meets the target but is hosted. The constraints allow it as a teacher, not in "
                "production."
            ),
        )
    return _say("locality", None, "No hosted option is shown to meet the target.")


def _style(evidence: Evidence) -> TrainingReason:
    """Style is a reason where a grader of style, or a validated judge, says that answers miss the target."""
    judged = evidence.style_grader or (evidence.judge is not None and evidence.judge.valid)
    if not judged:
        return _say(
            "style", None, "Style has not been measured: the project has no style grader and no validated judge."
        )
    status = evidence.target_of(evidence.top)
    if status == "met":
        return _say(
            "style", False, "According to a style grader or a validated judge, the best option meets the target."
        )
    if status == "missed":
        return _say(
            "style", True, "According to a style grader or a validated judge, the best option misses the target."
        )
    return _say(
        "style", None, "It is still open whether the best option meets the target of the style grader or judge."
    )


def _domain(evidence: Evidence) -> TrainingReason:
    """The base finds the text of the domain strange: shown, and decides nothing alone."""
    text = evidence.domain
    if text.domain is None or text.general is None or text.ci95 is None:
        return _say("domain", None, text.why)
    low, high = text.ci95
    gap = DOMAIN_GAP * text.general
    value = True if low >= gap else False if high < gap else None
    numbers = (
        f"The base model needs {text.domain:.2f} bits per byte for the domain's text and {text.general:.2f} for "
        f"general English of the same length. Difference: {text.domain - text.general:+.2f} (95% interval "
        f"{low:+.2f} to {high:+.2f}, {text.n} texts)."
    )
    left_out = f"{count(text.left_out, 'text')} could not be scored." if text.left_out else ""
    return _say("domain", value, join_sentences(numbers, left_out, messages.domain_gap(value, DOMAIN_GAP)))


def _share(evidence: Evidence, reason: ReasonName, name: ErrorClass) -> TrainingReason:
    """The form of the answer is a reason only where the rung that constrains it was compared and did not fix it."""
    if evidence.errors is None:
        stale = f"The error analysis is out of date. Changed since: {'; '.join(evidence.errors_stale)}."
        return _say(reason, None, stale if evidence.errors_stale else messages.say("errors_unknown"))
    row = next((row for row in evidence.errors if row.name == name), None)
    if row is None or not row.n:
        return _say(reason, None, messages.say("errors_unknown"))
    tried = row.fixed_by in evidence.rungs and evidence.rungs[row.fixed_by].tested
    value = False if row.ci95[1] < CLASS_SHARE else True if tried and row.ci95[0] >= CLASS_SHARE else None
    return _say(reason, value, messages.sentence(messages.error_share(row)))
