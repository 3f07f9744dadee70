"""The options of a verdict: everything that could run tomorrow, a row each."""

from collections.abc import Sequence
from typing import Final

from tuneworthy.constraints import ServingLimits, Span, keeps_p95, may_serve
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.cascade import CASCADE
from tuneworthy.ladder.classical_models import IN_PROCESS
from tuneworthy.ladder.record import RungDifference
from tuneworthy.money.results import EconomicsResult
from tuneworthy.money.serving import hardware
from tuneworthy.text import plural
from tuneworthy.verdict import messages
from tuneworthy.verdict.base import TUNED, Option, OptionKind, Verdict
from tuneworthy.verdict.evidence import Evidence, RungEvidence
from tuneworthy.verdict.recommendation import rank

# An option whose recall of a label is at most this, where the label is rare, is marked.
MISSED_RECALL = 0.1
RARE = 0.1
# Labels that are named so, at most; the others are counted.
MOST_RECALLS = 3
# Fewest calls from which the 95% interval of a p95 has an upper end.
FEWEST_TIMED = 72


def options_of(evidence: Evidence) -> list[Option]:
    """Return what was measured on test in the order of the ladder."""
    return [_measured(evidence, rung) for rung in evidence.rungs.values() if rung.tested]


def measured_options(options: Sequence[Option]) -> list[Option]:
    """Return the options that need no training."""
    return [option for option in options if option.kind != "tuned"]


def shown_better(evidence: Evidence, options: Sequence[Option], chosen: Option) -> tuple[Option, float] | None:
    """Return the option that may serve, is shown to be better than the chosen one by most, and by how much.

    Of several that are better by as much it is the cheapest.
    """
    better = [
        (row.delta, option)
        for option in rank(options)
        if option.eligible and option is not chosen and (row := _row(evidence, chosen, option)) and row.ci95[0] > 0
    ]
    delta, option = max(better, key=lambda pair: pair[0], default=(0.0, None))
    return (option, delta) if option else None


def open_latency(limits: ServingLimits, p95: float | None, interval: Span | None) -> str:
    """Say why a measured latency leaves open whether the limit is met; "" if it does not."""
    if p95 is None or interval is None or limits.p95_ms is None or keeps_p95(limits, p95, interval) is not None:
        return ""
    lower, upper = interval
    if upper is None:
        return (
            f"fewer than {FEWEST_TIMED} timed calls cannot show that its p95 latency ({p95:,.0f} ms) is within "
            f"the limit of {limits.p95_ms:,.0f} ms"
        )
    span = f"[{lower:,.0f}, {upper:,.0f}] ms"
    return f"the 95% interval of its p95 latency ({span}) contains the limit of {limits.p95_ms:,.0f} ms"


def _needs(rung: RungEvidence) -> str:
    if rung.model.startswith(IN_PROCESS):
        return "deployment as Python code (`tuneworthy export classifier`)"
    return "deployment as a router (`tuneworthy export router`)" if rung.rung == CASCADE else ""


def _row(evidence: Evidence, a: Option, b: Option) -> RungDifference | None:
    return evidence.difference(evidence.rungs.get(a.rung), evidence.rungs.get(b.rung))


def _measured(evidence: Evidence, rung: RungEvidence) -> Option:
    running, traffic = evidence.bill(rung).running(evidence.economics), evidence.economics.requests_per_month
    kinds: dict[str, OptionKind] = {"baseline": "today", "classical": "classical", CASCADE: "cascade", TUNED: "tuned"}
    return Option(
        option=rung.name,
        rung=rung.rung,
        kind=kinds.get(rung.rung, "variant"),
        model="" if rung.rung == "classical" else rung.model,
        score=rung.score,
        ci95=rung.ci95,
        delta_vs_today=None if rung.rung == "baseline" else rung.delta_today,
        delta_ci=None if rung.rung == "baseline" else rung.delta_today_ci,
        target=evidence.target_of(rung),
        violates=rung.violated or ("" if rung.eligible else rung.reason),
        eligible=_eligible(evidence, rung, running.usd_per_1k_at(traffic)),
        usd_per_1k=running.usd_per_1k_at(traffic),
        usd_per_month=None if traffic is None else running.monthly_usd(traffic),
        running=running,
        unreported=evidence.bill(rung).unreported,
        latency_p50_ms=rung.latency_p50_ms,
        latency_p95_ms=rung.latency_p95_ms,
        latency_p95_ci=rung.latency_p95_ci,
        one_off_usd=0.0,
        share_sent=rung.share_sent,
        needs=_needs(rung),
        notes=_notes(evidence, rung),
    )


def _eligible(evidence: Evidence, rung: RungEvidence, usd_per_1k: float | None) -> bool | None:
    limits = evidence.limits
    fast = keeps_p95(limits, rung.latency_p95_ms, rung.latency_p95_ci)
    if not rung.eligible or not may_serve(limits, hosted=rung.hosted) or fast is False:
        return False
    unpriced = limits.usd_per_1k is not None and usd_per_1k is None
    return None if fast is None or unpriced or rung.may_be_barred(limits) else True


def _notes(evidence: Evidence, rung: RungEvidence) -> list[str]:
    latency = open_latency(evidence.limits, rung.latency_p95_ms, rung.latency_p95_ci)
    notes = [*([latency] if latency else []), *([messages.say("constant")] if rung.constant else [])]
    balance = evidence.balance
    if balance is not None and balance.rarest <= RARE:
        missed = [label for label, recall in rung.recall.items() if recall <= MISSED_RECALL]
        notes += [f"recall of `{label}`: {rung.recall[label]:.1%}" for label in missed[:MOST_RECALLS]]
        if more := len(missed[MOST_RECALLS:]):
            notes.append(
                f"and {more} more {plural(more, 'label', 'labels')} with a recall of at most {MISSED_RECALL:.1%}"
            )
    if rung.beats_majority is False and not rung.constant:
        notes.append("not significantly better than the majority class")
    return notes


def training_option(evidence: Evidence, money: EconomicsResult) -> Option:
    """Return training as an option: its score is the lower bound of the forecast, or unknown.

    Args:
        evidence: What was measured, no tuned model among it.
        money: Training against the option that it would replace.
    """
    bounds, traffic = tuned_score(evidence), evidence.economics.requests_per_month
    return Option(
        option=TUNED,
        rung=TUNED,
        kind="fine_tune",
        score=bounds[0] if bounds else None,
        usd_per_1k=money.usd_per_1k.tuned_served,
        usd_per_month=None if traffic is None else money.monthly_usd,
        running=money.running,
        one_off_usd=money.one_off_usd,
        needs="dataset, training, parity" if bounds else "dataset and pilot",
    )


def tuned_score(evidence: Evidence) -> tuple[float, float] | None:
    """Return the bounds of what a tuned model scores, by the pilot; None before one."""
    ci95, top = evidence.forecast.ci95, evidence.top
    if ci95 is None or top is None or top.score is None:
        return None
    low, high = (1.0 if gain is None else min(1.0, max(0.0, top.score + gain)) for gain in ci95)
    return low, high


SERVER: Final = frozenset({"serve_usd_per_month", "serve_capacity_per_month"})


def serving_sentence(verdict: Verdict) -> str:
    """Name the assumed server of the recommended option, else of training; "" if there is no assumed server."""
    facts = verdict.economics.assumptions
    served = [option for option in verdict.options if option.server]
    chosen = next((one for one in served if one.option == verdict.recommendation), served[-1] if served else None)
    server, machine = chosen.server if chosen else None, facts.get("serve_hardware")
    set_here = {name for name, fact in facts.items() if fact.mark == "project"}
    if chosen is None or server is None or server.params_b is None or machine is None:
        return ""
    if not server.usd_per_month or set_here >= SERVER:
        return ""
    row = hardware(str(machine.value))
    cost = f"{row.cards_for(server.params_b)} {row.name} (${server.usd_per_month:,.0f} a month"
    cost += ", as the project file says)" if "serve_usd_per_month" in set_here else ")"
    requests = facts["requests_per_month"].value
    if isinstance(requests, float | int):
        n = max(1.0, requests / server.capacity)
        several = f", {float(f'{n:.3g}'):,.10g} servers for {chosen.option} at this traffic (counted in parts)"
        cost += several if n > 1 else ", one server at this traffic"
    text = f"Server cost assumes {server.params_b:g}B parameters on {cost}."
    if server.size_from == "file":
        text = f"The model to serve has {server.params_b:.3g}B parameters, as its files say. "
        text += f"Its server cost assumes {cost}."
    elif server.size_from == "assumed":
        text = f"The size of the model to serve is unknown. Its server cost assumes {server.params_b:g}B parameters "
        text += f"on {cost}."
    estimated = "The number of servers is an estimate, because the model reported no token counts."
    is_estimated = isinstance(requests, float | int) and server.tokens_assumed and chosen.score is not None
    assumed = [] if "serve_hardware" in set_here else ["`economics.serve_hardware`"]
    assumed += ["`economics.serve_params_b`"] if server.size_from == "assumed" else []
    change = f"To change this, set {' and '.join(assumed)}." if assumed else ""
    return join_sentences(text, estimated if is_estimated else "", change)
