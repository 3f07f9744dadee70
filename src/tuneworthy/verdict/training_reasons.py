"""Training reasons, each measured, refuted or unknown. From measurements only; no reason is declared."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from tuneworthy.config.serving import keeps_p95, may_serve
from tuneworthy.errors import join_sentences
from tuneworthy.money.economics import (
    FEWEST_SAVED,
    SET_TRAFFIC,
    has_smaller,
    least_volume,
    monthly_saving,
    paid_bill,
    required_usd,
    traffic_ends,
)
from tuneworthy.providers.prices import Price, table_date
from tuneworthy.text import rounded
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import DOMAIN_GAP, ReasonName, ReasonStatus, TrainingReason
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.options import Option
from tuneworthy.verdict.outcome import DecisionFacts, today_usd

# Lower bound of the share of failures from which a class is a reason.
CLASS_SHARE = 0.2
STATUS: Final[Mapping[bool | None, ReasonStatus]] = {True: "measured", False: "refuted", None: "unknown"}
NO_TARGET = "The project sets no target."
ERRORS_UNKNOWN = "The causes of wrong answers have not been analysed."
# Assumed shape of the traffic: days of a month, busy hours of a day, and the busiest minute against their mean.
MONTH_DAYS, BUSY_HOURS, PEAK = 30, 8, 2
# Whether a reason is measured (None: unknown), with its evidence as a sentence.
Reading = tuple[bool | None, str]


def _meeting(facts: DecisionFacts, *, eligible: bool) -> list[Option]:
    return [option for option in facts.options if facts.works(option, eligible=eligible)]


def _unsettled(facts: DecisionFacts) -> str:
    names = [
        option.option
        for option in facts.options
        if facts.known("meets", option.option) is None and facts.known("eligible", option.option) is not False
    ]
    return f"These options may or may not meet the target: {', '.join(names)}." if names else ""


def quality(evidence: Evidence, facts: DecisionFacts) -> Reading:
    if evidence.target is None:
        return None, NO_TARGET
    if met := _meeting(facts, eligible=True):
        return False, f"{met[0].option} meets the target of {evidence.target:.1%}."
    return (
        (None, unsettled)
        if (unsettled := _unsettled(facts))
        else (True, f"No eligible option meets the target of {evidence.target:.1%}.")
    )


def cost(evidence: Evidence, facts: DecisionFacts) -> Reading:
    chosen = facts.recommendation
    if chosen is None:
        return None, messages.NOTHING_ELIGIBLE
    value = facts.known("cost", chosen.option)
    if evidence.target is None:
        return None, NO_TARGET
    if not facts.known("meets", chosen.option):
        return (
            (None, unsettled)
            if (unsettled := _unsettled(facts))
            else (False, "No eligible option meets the target, so there is no bill to reduce.")
        )
    if chosen.usd_by_answer is None:
        return value, f"The price of {chosen.option} is unknown."
    if chosen.usd_by_answer == 0:
        return (
            (value, f"{chosen.option} runs on hardware of your own, which another model would need as well.")
            if chosen.server or chosen.yours
            else (value, f"{chosen.option} costs nothing per call.")
        )
    return value, _saving(evidence, facts, chosen, value)


def _saving(evidence: Evidence, facts: DecisionFacts, chosen: Option, value: bool | None) -> str:
    settings, bill = evidence.economics, evidence.bill(evidence.rungs[chosen.rung])
    required, saving = required_usd(bill, today_usd(facts.options), settings), monthly_saving(bill, settings)
    share = f"{FEWEST_SAVED:.0%} of {paid_bill(bill.usd_with(settings), required)}"
    if saving is None:
        volume, enough = least_volume(bill, settings), least_volume(bill, settings, required)
        if volume is None or enough is None:
            return f"At no traffic volume would training save the required {share}."
        return (
            f"Traffic is not set. Do not fine-tune below about {rounded(volume)} requests per month, where training "
            f"saves nothing. The required {FEWEST_SAVED:.0%} of the bill is saved above {rounded(enough)} at best."
        )
    month, (low, high) = chosen.usd_per_month or 0.0, saving
    if value is False:
        traffic = traffic_ends(evidence.economics) or (0.0, 0.0)
        return (
            f"Training would save at most ${max(0.0, high):,.0f} a month, less than the required {share} "
            f"(${traffic[1] * required / FEWEST_SAVED / 1000:,.0f})."
        )
    if value is None and not has_smaller(chosen.usd_by_answer, evidence.smaller_usd):
        return f"{chosen.option} costs ${month:,.0f} a month, and no smaller model has been measured."
    ends = [f"{'-' if usd <= -0.5 else ''}${abs(usd):,.0f}" for usd in (low, high)]
    saves = (
        f"{chosen.option} is good enough at ${month:,.0f} a month. A smaller model within the margin would save "
        f"{ends[0]} to {ends[1]} a month."
    )
    return saves if value else f"{saves} At least {share} is required."


def latency(evidence: Evidence, facts: DecisionFacts) -> Reading:
    limits = evidence.limits
    if limits.p95_ms is None:
        return False, "No latency limit is set in `constraints.p95_ms`."
    if met := _meeting(facts, eligible=True):
        p95 = met[0].latency_p95_ms or 0.0
        return False, f"The p95 latency is {p95:,.0f} ms, within the limit of {limits.p95_ms:,.0f} ms."
    for option in _meeting(facts, eligible=False):
        if keeps_p95(limits, option.latency_p95_ms, option.latency_p95_ci) is False:
            return facts.known("distil", option.option), (
                f"{option.option} meets the target, but its p95 latency is {option.latency_p95_ms or 0.0:,.0f} ms; "
                f"the limit is {limits.p95_ms:,.0f} ms."
            )
    return None, f"No option that meets the target exceeds the latency limit of {limits.p95_ms:,.0f} ms."


def locality(evidence: Evidence, facts: DecisionFacts) -> Reading:
    limits = evidence.limits
    if not (limits.on_device or limits.data_stays):
        return False, "The constraints allow hosted models in production."
    if _meeting(facts, eligible=True):
        return False, "An option that the constraints allow meets the target."
    for option in _meeting(facts, eligible=False):
        if not limits.data_stays and not may_serve(limits, hosted=evidence.rungs[option.rung].hosted):
            return True, (
                f"{option.option} meets the target but is hosted. The constraints allow it as a teacher, not in "
                "production."
            )
    return None, "No hosted option is shown to meet the target."


def style(evidence: Evidence, facts: DecisionFacts) -> Reading:
    if not evidence.style_grader and (evidence.judge is None or not evidence.judge.valid):
        return None, "Style has not been measured: the project has no style grader and no validated judge."
    status = evidence.target_of(evidence.top)
    if status in {"met", "missed"}:
        verb = "meets" if status == "met" else "misses"
        return (
            status == "missed",
            f"According to a style grader or a validated judge, the best option {verb} the target.",
        )
    return None, "It is still open whether the best option meets the target of the style grader or judge."


def domain(evidence: Evidence, facts: DecisionFacts) -> Reading:
    text = evidence.domain
    if text.domain is None or text.general is None:
        return None, "It is not measured, as an option meets the target." if _meeting(
            facts, eligible=True
        ) else text.why
    is_gap = text.domain >= (1 + DOMAIN_GAP) * text.general
    finding = "a gap: at least" if is_gap else "no gap: less than"
    return is_gap, (
        f"The model needs {text.domain:.2f} bits per byte for the domain's text and {text.general:.2f} for general "
        f"English of the same length ({text.n} texts). This is {finding} {DOMAIN_GAP:.0%} more bits, the threshold "
        "that is assumed."
    )


def wrong_format(evidence: Evidence, facts: DecisionFacts) -> Reading:
    """The format is a reason only where the rung that fixes it was compared and did not."""
    if evidence.errors is None and evidence.errors_stale:
        return None, f"The error analysis is out of date. Changed since: {'; '.join(evidence.errors_stale)}."
    row = next((row for row in evidence.errors or () if row.name == "format"), None)
    if row is None or not row.n:
        return None, ERRORS_UNKNOWN
    sentence = messages.sentence(messages.error_share(row))
    if row.ci95[1] < CLASS_SHARE:
        return False, sentence
    tried = row.fixed_by in evidence.rungs and evidence.rungs[row.fixed_by].tested
    return True if tried and row.ci95[0] >= CLASS_SHARE else None, sentence


def ownership(evidence: Evidence, facts: DecisionFacts) -> Reading:
    """A dependence on the provider is shown, and decides nothing: another hosted model may take its place."""
    chosen = facts.recommendation
    if chosen is None:
        return None, messages.NOTHING_ELIGIBLE
    rung = evidence.rungs[chosen.rung]
    bill, horizon = evidence.bill(rung), timedelta(days=round(evidence.economics.horizon_months * 365 / 12))
    prices = bill.hosted or ([bill.price] if rung.hosted else [])
    if not prices:
        return False, f"{chosen.option} is not hosted: no provider can retire it, limit it or raise its price."
    if None in prices:
        return None, f"The price table lacks a model of {chosen.option}."
    readings = [
        reading
        for price in prices
        if price
        for reading in (_retirement(horizon, price), _rate_limit(evidence, price), _history(horizon, price))
    ]
    values = [value for value, _ in readings]
    shown = True if True in values else None if None in values else False
    return shown, join_sentences(
        *(sentence for value, sentence in readings if value is shown), f"Source: the price table of {table_date()}."
    )


def _retirement(horizon: timedelta, price: Price) -> Reading:
    end = datetime.now(UTC).date() + horizon
    if price.retires is not None:
        where = "in" if price.retires <= end else "after"
        return where == "in", f"The retirement date of the model, {price.retires}, is {where} the horizon."
    if price.retires_from is None:
        return None, "The retirement date is unknown."
    return False if price.retires_from > end else None, (
        f"The provider keeps the model until {price.retires_from} at least, and names no retirement date."
    )


def _rate_limit(evidence: Evidence, price: Price) -> Reading:
    requests = evidence.economics.requests_per_month
    if price.requests_per_minute is None or requests is None:
        return None, f"Traffic is not set. {SET_TRAFFIC}" if price.requests_per_minute else "The rate limit is unknown."
    entry, highest = price.requests_per_minute
    peak = PEAK * requests / (MONTH_DAYS * BUSY_HOURS * 60)
    return True if peak > highest else False if peak <= entry else None, (
        f"The provider allows {entry:,} requests per minute in its entry tier and {highest:,} in its highest standard "
        f"tier. The peak is about {peak:,.0f} (assumed: {BUSY_HOURS} busy hours a day, {PEAK} times their mean)."
    )


def _history(horizon: timedelta, price: Price) -> Reading:
    if price.previous is None:
        return None, "The price history is unknown."
    rise, since = price.last_rise, datetime.now(UTC).date() - horizon
    return bool(rise and rise >= since), f"The price rose on {rise}." if rise else "The price has not risen."


REASONS: Final[Mapping[ReasonName, Callable[[Evidence, DecisionFacts], Reading]]] = {
    "quality": quality,
    "cost": cost,
    "latency": latency,
    "locality": locality,
    "format": wrong_format,
    "style": style,
    "ownership": ownership,
    "domain": domain,
}


def reasons_of(evidence: Evidence, facts: DecisionFacts) -> list[TrainingReason]:
    """Return all reasons to train; the reason that the team has in mind first."""
    return sorted(
        [
            TrainingReason(
                reason=name,
                status=STATUS[None if is_open else value],
                evidence=join_sentences(sentence, messages.FORMS_OPEN) if is_open else sentence,
            )
            for name, read in REASONS.items()
            for value, sentence in [read(evidence, facts)]
            for is_open in [value is True and name in {"latency", "cost"} and evidence.forms_open]
        ],
        key=lambda row: row.reason != evidence.motivation,
    )
