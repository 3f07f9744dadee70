"""What-if analysis: the verdict under an assumption. Pure; it is shown and never stored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tuneworthy.config.serving import violation
from tuneworthy.errors import UserError, join_sentences
from tuneworthy.money.economics import SET_TRAFFIC
from tuneworthy.types import RungStatus
from tuneworthy.verdict.answer import Verdict, answer_of
from tuneworthy.verdict.base import Cost, NextAction
from tuneworthy.verdict.decide import decide
from tuneworthy.verdict.evidence import Evidence


def decide_if(name: str, evidence: Evidence, costs: Callable[[], Mapping[str, Cost]] = dict) -> Verdict:
    """Return the verdict under an assumption; its first sentence names that, and its last one the verdict without.

    Args:
        name: Of the assumption, a key of `ASSUMPTIONS`.
        evidence: The measurements.
        costs: As for `decide`.

    Raises:
        UserError: The assumption says nothing of this project.
    """
    assumption, now = ASSUMPTIONS[name], decide(evidence, costs)
    verdict = decide(assumption.change(evidence), costs)
    known = (
        f"Without this assumption: {answer_of(now)} (recommended: {now.recommendation or '-'}). The "
        "stored verdict is unchanged."
    )
    return replace(
        verdict,
        reasons=[join_sentences(assumption.sentence, verdict.reasons[0]), *verdict.reasons[1:2], known],
        next_action=NextAction(command="", why=assumption.step),
    )


def _more_traffic(evidence: Evidence) -> Evidence:
    requests = evidence.economics.requests_per_month
    if not requests:
        raise UserError("The project sets no traffic, so `traffic_x10` has nothing to multiply.", hint=SET_TRAFFIC)
    return replace(evidence, economics=evidence.economics.model_copy(update={"requests_per_month": 10 * requests}))


def _half_price(evidence: Evidence) -> Evidence:
    """Halve every price, and check the options against the limit of cost again."""
    bills, rungs, limits, smaller = {}, {}, evidence.limits, evidence.smaller_usd
    for rung, bill in evidence.bills.items():
        usd = bill.usd_with(evidence.economics)
        bills[rung] = replace(bill, usd_per_1k=usd and usd / 2, price=None)
    half = replace(evidence, bills=bills, smaller_usd=smaller and smaller / 2)
    for name, one in evidence.rungs.items():
        usd, running = one.usd_per_1k and one.usd_per_1k / 2, half.bill(one).running(evidence.economics)
        violated = one.violated if limits.usd_per_1k is None else violation(
            limits,
            model=one.model,
            hosted=one.hosted,
            p95_ms=one.latency_p95_ms,
            p95_interval=one.latency_p95_ci,
            usd_per_1k=running.usd_per_1k_at(evidence.economics.requests_per_month) if running.ways else usd,
        )  # fmt: skip
        is_freed = one.tested and one.status == "violates_constraint" and not violated
        status = RungStatus.INCONCLUSIVE if is_freed else one.status
        rungs[name] = replace(one, usd_per_1k=usd, violated=violated, status=status)
    return replace(half, rungs=rungs)


@dataclass(frozen=True, slots=True)
class Assumption:
    """An assumption of `decide --what-if`: its effect on the evidence, and how to make it true."""

    change: Callable[[Evidence], Evidence]
    sentence: str
    step: str


ASSUMPTIONS: Final[Mapping[str, Assumption]] = {
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
