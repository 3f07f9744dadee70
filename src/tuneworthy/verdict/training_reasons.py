"""The reasons to train, each measured, refuted or unknown. From measurements only; none is declared."""

from tuneworthy.constraints import keeps_p95, may_serve
from tuneworthy.errors import join_sentences
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import DOMAIN_GAP, ErrorClass, Option, ReasonName, ReasonStatus, TrainingReason
from tuneworthy.verdict.economics import (
    FEWEST_SAVED,
    has_smaller,
    least_volume,
    monthly_saving,
    paid_bill,
    required_usd,
    traffic_ends,
)
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
        return _say("quality", False, messages.say("met_by", name=met[0].option, target=evidence.target))
    if unsettled := _unsettled(facts):
        return _say("quality", None, messages.say("unresolved_options", names=", ".join(unsettled)))
    return _say("quality", True, messages.say("none_meets", target=evidence.target))


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
        return _say("cost", False, messages.say("nothing_to_replace"))
    if not chosen.usd_by_answer:
        if chosen.usd_by_answer is None:
            return _say("cost", value, messages.say("price_missing", name=chosen.option))
        free = messages.say("costs_server" if chosen.server else "costs_nothing", name=chosen.option)
        return _say("cost", value, free)
    bill, today = evidence.bill(evidence.rungs[chosen.rung]), today_usd(facts.options)
    saving, required = monthly_saving(bill, settings), required_usd(bill, today, settings)
    share = {"share": FEWEST_SAVED, "bill": paid_bill(bill.usd_with(settings), required)}
    if saving is None:
        volume, enough = least_volume(bill, settings), least_volume(bill, settings, required)
        if volume is None or enough is None:
            return _say("cost", value, messages.say("no_volume_saves", **share))
        return _say("cost", value, messages.say("not_below", volume=volume, enough=enough, share=FEWEST_SAVED))
    month = chosen.usd_per_month or 0.0
    if value is False:
        most = (traffic_ends(settings) or (0.0, 0.0))[1] * required / FEWEST_SAVED / 1000
        short = messages.say("saves_too_little", usd=most, high=max(0.0, saving[1]), **share)
        return _say("cost", value, short)
    if value is None and not has_smaller(chosen.usd_by_answer, evidence.smaller_usd):
        return _say("cost", value, messages.say("no_smaller_model", name=chosen.option, usd=month))
    low, high = map(messages.whole_dollars, saving)
    saves = messages.say("would_save", name=chosen.option, usd=month, low=low, high=high)
    limit = messages.say("saving_required", **share)
    return _say("cost", value, join_sentences(saves, "" if value else limit))


def _latency(evidence: Evidence, facts: DecisionFacts) -> TrainingReason:
    limits = evidence.limits
    if limits.p95_ms is None:
        return _say("latency", False, messages.say("no_limit"))
    if met := _meeting(facts, eligible=True):
        return _say("latency", False, messages.say("kept", p95=met[0].latency_p95_ms or 0.0, limit=limits.p95_ms))
    slow = [
        option
        for option in _meeting(facts, eligible=False)
        if keeps_p95(limits, option.latency_p95_ms, option.latency_p95_ci) is False
    ]
    if not slow:
        return _say("latency", None, messages.say("none_in_question", limit=limits.p95_ms))
    option = slow[0]
    value = facts.known("distil", option.option)
    return _say(
        "latency",
        value,
        messages.say("too_slow_option", name=option.option, p95=option.latency_p95_ms or 0.0, limit=limits.p95_ms),
    )


def _locality(evidence: Evidence, facts: DecisionFacts) -> TrainingReason:
    limits = evidence.limits
    if not (limits.on_device or limits.data_stays):
        return _say("locality", False, messages.say("may_be_hosted"))
    if _meeting(facts, eligible=True):
        return _say("locality", False, messages.say("local_meets"))
    hosted = [
        option
        for option in _meeting(facts, eligible=False)
        if not may_serve(limits, hosted=evidence.rungs[option.rung].hosted)
    ]
    if hosted and not limits.data_stays:
        return _say("locality", True, messages.say("hosted_meets", name=hosted[0].option))
    return _say("locality", None, messages.say("no_hosted_meets"))


def _style(evidence: Evidence) -> TrainingReason:
    """Style is a reason where a grader of style, or a validated judge, says that answers miss the target."""
    judged = evidence.style_grader or (evidence.judge is not None and evidence.judge.valid)
    if not judged:
        return _say("style", None, messages.say("style_unmeasured"))
    status = evidence.target_of(evidence.top)
    if status == "met":
        return _say("style", False, messages.say("style_met"))
    if status == "missed":
        return _say("style", True, messages.say("style_missed"))
    return _say("style", None, messages.say("style_open"))


def _domain(evidence: Evidence) -> TrainingReason:
    """The base finds the text of the domain strange: shown, and decides nothing alone."""
    text = evidence.domain
    if text.domain is None or text.general is None or text.ci95 is None:
        return _say("domain", None, text.why)
    low, high = text.ci95
    gap = DOMAIN_GAP * text.general
    value = True if low >= gap else False if high < gap else None
    numbers = messages.say(
        "domain_bits",
        domain=text.domain,
        general=text.general,
        delta=text.domain - text.general,
        low=low,
        high=high,
        n=text.n,
    )
    left_out = messages.say("domain_left_out", n=text.left_out) if text.left_out else ""
    return _say("domain", value, join_sentences(numbers, left_out, messages.domain_gap(value, DOMAIN_GAP)))


def _share(evidence: Evidence, reason: ReasonName, name: ErrorClass) -> TrainingReason:
    """The form of the answer is a reason only where the rung that constrains it was compared and did not fix it."""
    if evidence.errors is None:
        stale = messages.say("errors_stale", changes="; ".join(evidence.errors_stale))
        return _say(reason, None, stale if evidence.errors_stale else messages.say("errors_unknown"))
    row = next((row for row in evidence.errors if row.name == name), None)
    if row is None or not row.n:
        return _say(reason, None, messages.say("errors_unknown"))
    tried = row.fixed_by in evidence.rungs and evidence.rungs[row.fixed_by].tested
    value = False if row.ci95[1] < CLASS_SHARE else True if tried and row.ci95[0] >= CLASS_SHARE else None
    return _say(reason, value, messages.sentence(messages.error_share(row)))
