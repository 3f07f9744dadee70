"""What-if analysis: the verdict under an assumption. Pure; it is shown and never stored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tuneworthy.constraints import violation
from tuneworthy.errors import UserError, join_sentences
from tuneworthy.ladder.cascade import CASCADE
from tuneworthy.ladder.record import RungDifference
from tuneworthy.money.economics import SET_TRAFFIC, one_off_usd, trained
from tuneworthy.money.serving import size_b
from tuneworthy.verdict.answer import Verdict, answer_of
from tuneworthy.verdict.base import NextAction
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence
from tuneworthy.verdict.next_action import RungCost
from tuneworthy.verdict.options import training_option

OPEN, TRAIN_BIG = "open_7b_matches_api", "train_big_serve_small"
OPEN_MODEL, OPEN_NAME = "open_7b", "what-if/open-7b"
# Sizes in billions of parameters: the open model that matches an API, and the teacher that is trained first.
OPEN_B, TEACHER_B = 7.0, 70.0
# What the teacher would be served on.
TEACHER_HARDWARE: Final = "h100"


def decide_if(name: str, evidence: Evidence, costs: Callable[[], Mapping[str, RungCost]] = dict) -> Verdict:
    """Return the verdict under an assumption; its first sentence names that, and its last one the verdict without.

    Args:
        name: Of the assumption, a key of `ASSUMPTIONS`.
        evidence: What was measured.
        costs: As for `decide`.

    Raises:
        UserError: The assumption says nothing of this project.
    """
    now, verdict = decide(evidence, costs), decide(_within_limits(ASSUMPTIONS[name].change(evidence)), costs)
    known = (
        f"Without this assumption: {answer_of(now)} (recommended: {now.recommendation or '-'}). The "
        "stored verdict is unchanged."
    )
    options = [*verdict.options]
    if name == TRAIN_BIG:
        numbers = evidence.economics
        hours = numbers.train_hours * TEACHER_B / _trained_b(evidence)
        update = {"serve_hardware": TEACHER_HARDWARE, "serve_params_b": TEACHER_B, "train_hours": hours}
        large = numbers.model_copy(update=update | {"serve_usd_per_month": None, "serve_capacity_per_month": None})
        running = trained(large, evidence.bill(evidence.top).tokens if evidence.top else None)
        needs = "dataset, training of a 70B model, and H100 cards to serve it"
        options.append(training_option(evidence, running, one_off_usd(large), needs, "what-if/serve-70b"))
    step = ASSUMPTIONS[name].step
    if name == OPEN and verdict.recommendation != OPEN_NAME and OPEN_NAME not in verdict.reasons[0]:
        step = "Leave the open model out: even with the score of the best API, it would not be recommended."
    return replace(
        verdict,
        reasons=[join_sentences(ASSUMPTIONS[name].sentence, verdict.reasons[0]), *verdict.reasons[1:2], known],
        options=options,
        next_action=NextAction(command="", why=step),
    )


def _within_limits(evidence: Evidence) -> Evidence:
    """Hold all options against the constraints again, as an assumption changes what an answer costs."""
    if evidence.limits.usd_per_1k is None:
        return evidence
    rungs = {}
    for name, one in evidence.rungs.items():
        running, traffic = evidence.bill(one).running(evidence.economics), evidence.economics.requests_per_month
        violated = violation(
            evidence.limits,
            model=one.model,
            hosted=one.hosted,
            p95_ms=one.latency_p95_ms,
            p95_interval=one.latency_p95_ci,
            usd_per_1k=running.usd_per_1k_at(traffic) if running.server else one.usd_per_1k,
        )
        is_freed = one.tested and one.status == "violates_constraint" and not violated
        rungs[name] = replace(one, violated=violated, status="inconclusive" if is_freed else one.status)
    return replace(evidence, rungs=rungs)


def _train_big(evidence: Evidence) -> Evidence:
    """A large model is trained first and teaches the small one that serves: both trainings are paid."""
    numbers = evidence.economics
    update = {
        "train_hours": numbers.train_hours * (1 + TEACHER_B / _trained_b(evidence)),
        "hours_engineering": 2 * numbers.hours_engineering,
    }
    return replace(evidence, economics=numbers.model_copy(update=update))


def _trained_b(evidence: Evidence) -> float:
    return size_b(evidence.economics, evidence.bill(evidence.top).trained_b)


def _open_model(evidence: Evidence) -> Evidence:
    """An open model on a server of one's own scores what the best model scores that is paid by the answer."""
    paid = [
        one
        for one in evidence.upstream.values()
        if one.tested and one.rung != CASCADE and (one.hosted or one.usd_per_1k)
    ]
    if not paid:
        raise UserError(
            "No measured option is a hosted or pay-per-call API, so there is no API to match.",
            hint="Choose another assumption.",
        )
    api = max(paid, key=lambda one: one.score or 0.0)
    model = replace(
        api,
        rung=OPEN_MODEL,
        status="adopted",
        variant=None,
        name=OPEN_NAME,
        names=(OPEN_NAME,),
        hosted=False,
        supposed=True,
        usd_per_1k=0.0,
        violated="",
        latency_p50_ms=None,
        latency_p95_ms=None,
        latency_p95_ci=None,
        delta_today=api.delta_today if api.rung != "baseline" else 0.0,
        delta_today_ci=api.delta_today_ci if api.rung != "baseline" else (0.0, 0.0),
    )
    numbers = evidence.economics.model_copy(update={"serve_params_b": OPEN_B})
    bill = replace(evidence.bill(api), name=model.name, usd_per_1k=0.0, price=None, own_server=True)
    costs = [one.running(numbers).monthly_usd(numbers.requests_per_month or 0.0) for one in (bill, evidence.bill(api))]
    cheaper = costs[0] is not None and costs[1] is not None and costs[0] <= costs[1]
    same = RungDifference(a=api.rung, b=OPEN_MODEL, delta=0.0, ci95=(0.0, 0.0), no_worse=True)
    differences = [*evidence.differences]
    for row in evidence.differences:
        if row.a == api.rung:
            differences.append(replace(row, a=OPEN_MODEL))
        elif row.b == api.rung:
            differences.append(replace(row, b=OPEN_MODEL))
    return replace(
        evidence,
        rungs={**evidence.rungs, OPEN_MODEL: model},
        bills={**evidence.bills, OPEN_MODEL: bill},
        differences=[*differences, same, replace(same, a=OPEN_MODEL, b=api.rung)],
        economics=numbers,
        best=OPEN_MODEL if cheaper or not api.eligible else evidence.best,
    )


def _more_traffic(evidence: Evidence) -> Evidence:
    requests = evidence.economics.requests_per_month
    if not requests:
        raise UserError("The project sets no traffic, so `traffic_x10` has nothing to multiply.", hint=SET_TRAFFIC)
    return replace(evidence, economics=evidence.economics.model_copy(update={"requests_per_month": 10 * requests}))


def _half_price(evidence: Evidence) -> Evidence:
    bills = {}
    for rung, bill in evidence.bills.items():
        usd = bill.usd_with(evidence.economics)
        bills[rung] = replace(bill, usd_per_1k=usd and usd / 2, price=None)
    rungs = {
        name: replace(one, usd_per_1k=one.usd_per_1k and one.usd_per_1k / 2) for name, one in evidence.rungs.items()
    }
    smaller = evidence.smaller_usd
    return replace(evidence, bills=bills, rungs=rungs, smaller_usd=smaller and smaller / 2)


@dataclass(frozen=True, slots=True)
class Assumption:
    """An assumption of `decide --what-if`: its effect on the evidence, and how to make it true."""

    change: Callable[[Evidence], Evidence]
    sentence: str
    step: str


ASSUMPTIONS: Final[Mapping[str, Assumption]] = {
    TRAIN_BIG: Assumption(
        _train_big,
        "Assumption: a 70B model is trained first and teaches the small model that serves.",
        "Train the large model, name it in [models] and [teacher], and run `tuneworthy data distill`.",
    ),
    OPEN: Assumption(
        _open_model,
        "Assumption: an open 7B model on your own server scores the same as the best API.",
        "Add the open model to [models] and measure it: run `tuneworthy run --rung model`.",
    ),
    "traffic_x10": Assumption(
        _more_traffic,
        "Assumption: the traffic is ten times as high.",
        "If the traffic grows, set `economics.requests_per_month` and run `tuneworthy decide`.",
    ),
    "api_half_price": Assumption(
        _half_price,
        "Assumption: every API costs half as much.",
        "If prices fall, set the new prices in [models] and run `tuneworthy decide`.",
    ),
}
