"""Options of a verdict: everything that could run tomorrow, with its score, price and limits, and which should run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isinf
from typing import Any, Final, Literal

from tuneworthy.config.ladder import Constraints
from tuneworthy.config.serving import Span, keeps_p95, may_serve
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.cascade import CASCADE
from tuneworthy.ladder.classical_models import IN_PROCESS
from tuneworthy.ladder.record import DistinctScore, RungRecord
from tuneworthy.money.results import EconomicsResult
from tuneworthy.money.serving import SAVING, YOURS, RunningCost, saves
from tuneworthy.text import plural
from tuneworthy.types import Bounds
from tuneworthy.verdict.base import TUNED, Target
from tuneworthy.verdict.evidence import Evidence, RungEvidence

OptionKind = Literal["today", "variant", "classical", "cascade", "tuned", "fine_tune"]
KINDS: Final[Mapping[str, OptionKind]] = {
    "baseline": "today",
    "classical": "classical",
    CASCADE: "cascade",
    TUNED: "tuned",
}
# Kinds that run only where they are shown to be as good, and for a cascade to save, or where nothing else will do.
PROVEN: Final = frozenset({"classical", "cascade"})
# Latencies are compared in steps of so many milliseconds: smaller differences are noise of the measurement.
STEP_MS: Final = 25.0
# An option whose recall of a label is at most this, where the label is rare, is marked.
MISSED_RECALL = 0.1
RARE = 0.1
# Labels that are named so, at most; the others are counted.
MOST_RECALLS = 3
# Fewest calls from which the 95% interval of a p95 has an upper end.
FEWEST_TIMED = 72


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A row of the verdict: something that could run tomorrow.

    Attributes:
        option: Name of the variant.
        rung: That measured it.
        kind: Kind of the option.
        model: Key of `[models]` that answers; "" without one.
        score: On test, with its 95% interval; of `fine_tune` the lower bound of the forecast. None if not known.
        on_distinct_cases: Score on the test cases without a near-duplicate in what an option learned from.
        delta_vs_today: Paired difference to today's option, with its 95% interval.
        target: Whether it meets the target; None without a target.
        violates: The broken constraint; "" without one.
        eligible: Whether the constraints allow it; None if a measured interval contains the limit.
        usd_per_1k: A thousand answers, US dollars, with their share of servers of one's own; None if the price is not
            known, or the traffic where there is such a server.
        usd_per_month: At the project's traffic: answers, servers of one's own, and the upkeep of a tuned model.
        serving: The cheapest way to serve a model of one's own at that traffic, in words; "" without one.
        running: The same at any traffic; None if unknown.
        unreported: Share of its answers whose tokens the provider did not report. These count at their maximum cost, so
            that its prices are upper limits.
        one_off_usd: Once, before it can run.
        share_sent: Of a cascade: share of the test cases that it sends on to the large model; None for all others.
        needs: Missing requirements; "" if it can run tomorrow.
        notes: What marks it, such as a constant answer.
    """

    option: str
    rung: str
    kind: OptionKind
    model: str = ""
    score: float | None = None
    ci95: Bounds | None = None
    on_distinct_cases: DistinctScore | None = None
    delta_vs_today: float | None = None
    delta_ci: Bounds | None = None
    target: Target | None = None
    violates: str = ""
    eligible: bool | None = True
    usd_per_1k: float | None = None
    usd_per_month: float | None = None
    serving: str = ""
    running: RunningCost | None = None
    unreported: float = 0.0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p95_ci: tuple[float, float | None] | None = None
    one_off_usd: float | None = None
    share_sent: float | None = None
    needs: str = ""
    notes: Sequence[str] = ()

    @property
    def usd_by_answer(self) -> float | None:
        """Price per thousand answers: servers of one's own are not in it."""
        return self.running.usd_per_1k if self.running else self.usd_per_1k

    @property
    def server(self) -> bool:
        """Whether it runs on hardware of one's own, which is billed."""
        return self.running is not None and bool(self.running.ways) and not self.yours

    @property
    def yours(self) -> bool:
        """Whether it runs on the user's own server, which is not billed."""
        return self.running is not None and YOURS in self.running.ways


def options_of(evidence: Evidence) -> list[Option]:
    """Return the variants measured on test, in the order of the ladder."""
    return [option_of(evidence, rung) for rung in evidence.rungs.values() if rung.tested]


def open_latency(limits: Constraints, p95: float | None, interval: Span | None) -> str:
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


def _option(name: str, rung: str, running: RunningCost, traffic: float | None, **fields: Any) -> Option:
    """Return an option with its prices at this traffic; `fields` are its other attributes."""
    return Option(
        option=name,
        rung=rung,
        running=running,
        serving=running.title_at(traffic),
        usd_per_1k=running.usd_per_1k_at(traffic),
        usd_per_month=None if traffic is None else running.monthly_usd(traffic),
        **({"kind": KINDS.get(rung, "variant")} | fields),
    )


def recorded_option(rung: RungRecord, running: RunningCost, traffic: float | None) -> Option:
    """Return a rung of a run as an option, without a verdict."""
    fields = {"score": rung.score, "ci95": rung.ci95, "violates": rung.violated, "unreported": rung.unreported_share}
    return _option(rung.name or rung.rung, rung.rung, running, traffic, **fields)


def option_of(evidence: Evidence, rung: RungEvidence) -> Option:
    bill, traffic, today = evidence.bill(rung), evidence.economics.requests_per_month, rung.rung == "baseline"
    running = bill.running(evidence.economics)
    needs = "deployment as a router (`tuneworthy export router`)" if rung.rung == CASCADE else ""
    if rung.model.startswith(IN_PROCESS):
        needs = "deployment as Python code (`tuneworthy export classifier`)"
    limits = evidence.limits
    fast = keeps_p95(limits, rung.latency_p95_ms, rung.latency_p95_ci)
    unpriced = limits.usd_per_1k is not None and running.usd_per_1k_at(traffic) is None
    eligible = None if fast is None or unpriced or rung.may_be_barred(limits) else True
    if not rung.eligible or not may_serve(limits, hosted=rung.hosted) or fast is False:
        eligible = False
    return _option(
        rung.name,
        rung.rung,
        running,
        traffic,
        model="" if rung.rung == "classical" else rung.model,
        score=rung.score,
        ci95=rung.ci95,
        on_distinct_cases=rung.on_distinct_cases,
        delta_vs_today=None if today else rung.delta_today,
        delta_ci=None if today else rung.delta_today_ci,
        target=evidence.target_of(rung),
        violates=rung.violated or ("" if rung.eligible else rung.reason),
        eligible=eligible,
        unreported=bill.unreported,
        latency_p50_ms=rung.latency_p50_ms,
        latency_p95_ms=rung.latency_p95_ms,
        latency_p95_ci=rung.latency_p95_ci,
        one_off_usd=0.0,
        share_sent=rung.share_sent,
        needs=needs,
        notes=_notes(evidence, rung),
    )


def _notes(evidence: Evidence, rung: RungEvidence) -> list[str]:
    latency = open_latency(evidence.limits, rung.latency_p95_ms, rung.latency_p95_ci)
    notes = [*([latency] if latency else []), *(["gives every case the same answer"] if rung.constant else [])]
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


def pilot_option(evidence: Evidence, money: EconomicsResult) -> Option:
    """Return training as an option: its score is the lower bound of the forecast, or unknown.

    Args:
        evidence: Measurements without a fine-tuned model.
        money: Training against the option that it would replace.
    """
    bounds, running = tuned_score(evidence), money.running or RunningCost(usd_per_1k=None)
    fields = {
        "kind": "fine_tune",
        "score": bounds[0] if bounds else None,
        "one_off_usd": money.one_off_usd or 0.0,
        "needs": ", ".join([*evidence.lacking, "dataset, training, parity" if bounds else "dataset and pilot"]),
    }
    return _option(TUNED, TUNED, running, evidence.economics.requests_per_month, **fields)


def tuned_score(evidence: Evidence) -> Bounds | None:
    """Return the bounds of the score of a tuned model, by the pilot: its untrained score and gain; None before one."""
    ci95, untrained = evidence.forecast.ci95, evidence.forecast.baseline
    if ci95 is None or untrained is None:
        return None
    low, high = (1.0 if gain is None else min(1.0, max(0.0, untrained + gain)) for gain in ci95)
    return low, high


def marked(option: Option) -> str:
    """Say what marks an option."""
    return f"{option.option}: {'; '.join(option.notes)}."


def legend(options: Sequence[Option]) -> list[str]:
    """Explain the words that replace a number in a table of options, as far as they occur."""
    lines = []
    if any(one.target == "unresolved" for one in options):
        lines.append("unresolved: the test cases do not settle whether the target is met.")
    if any(one.server and one.usd_per_month is None and one.usd_per_1k is None for one in options):
        lines.append(
            "server: the cost per answer depends on the traffic. Set `economics.requests_per_month` to see it."
        )
    if any(one.yours for one in options):
        lines.append(
            "your server: at a local address, not billed. Set `economics.serve_usd_per_month` to count its price."
        )
    return lines


def cost_note(option: Option) -> str:
    """Name the parts of the cost of a month, and whether it is an upper limit; "" where one price is the whole cost."""
    upper = (
        f"cost is an upper limit: no token counts from the provider for {option.unreported:.1%} of the answers"
        if option.unreported
        else ""
    )
    month, running = option.usd_per_month, option.running
    if not month or not option.usd_per_1k or running is None or running.usd_per_1k is None:
        return upper
    answers = month * running.usd_per_1k / option.usd_per_1k
    servers = month - answers - running.upkeep_usd
    named = {"answers": answers, "servers": servers, "upkeep and retraining": running.upkeep_usd}
    parts = [f"${usd:,.0f} for {what}" for what, usd in named.items() if usd >= 1]
    made_of = f"A month costs {', '.join(parts)}." if len(parts) > 1 or running.upkeep_usd >= 1 else ""
    return join_sentences(made_of, upper)


def rank(options: Sequence[Option]) -> list[Option]:
    """Return the options cheapest first; unknown cost is dearest, ties go to the lower p95, then the earlier rung.

    Where the traffic is known, what counts is the cost of a month, servers of one's own included; of months that cost
    the same, as they do without any traffic, the cost of an answer.
    """
    return sorted(options, key=lambda option: (_usd(option), _by_answer(option), round(_p95(option) / STEP_MS)))


def is_saving(option: Option, other: Option) -> bool:
    """Return whether `option` is at least 20% cheaper than `other`, or 20% faster and no dearer by the answer.

    >>> small, large = (Option(option=str(usd), rung="model", kind="variant", usd_per_1k=usd) for usd in (0.9, 1.0))
    >>> is_saving(small, large)
    False
    """
    by_answer = option.usd_per_month is None or other.usd_per_month is None
    spares_server = by_answer and not option.server and other.server
    if saves(*(None if isinf(usd) else usd for usd in map(_usd, (option, other))), spares_server=spares_server):
        return True
    faster = _p95(option) <= SAVING * _p95(other) and _p95(option) + STEP_MS < _p95(other)
    return faster and _by_answer(option) <= _by_answer(other)


def recommend(
    ranked: Sequence[Option], works: Callable[[Option], bool], as_good: Callable[[Option], bool]
) -> Option | None:
    """Return the option that meets the target and should run; None if no option meets it.

    Today's option if it meets the target and nothing that meets it is a saving; then the cheapest saving; else the
    cheapest that meets it. The classical baseline only if it is as good as the best that was measured, a cascade only
    if it was adopted, or nothing else meets the target.

    Args:
        ranked: From `rank`.
        works: Whether an option may serve and meets the target; asked only as far as it matters.
        as_good: Whether the classical baseline is non-inferior to the best, or a cascade was adopted.
    """
    working = (option for option in ranked if works(option))
    cheapest = first = next(working, None)
    while cheapest is not None and cheapest.kind in PROVEN and not as_good(cheapest):
        cheapest = next(working, None)
    cheapest = cheapest or first
    today = next((option for option in ranked if option.kind == "today"), None)
    if cheapest is None or today is None or today is cheapest or is_saving(cheapest, today) or not works(today):
        return cheapest
    savings = (option for option in ranked if is_saving(option, today) and works(option))
    return next((option for option in savings if option.kind not in PROVEN or as_good(option)), today)


def _usd(option: Option) -> float:
    return _by_answer(option) if option.usd_per_month is None else option.usd_per_month


def _by_answer(option: Option) -> float:
    return inf if option.usd_by_answer is None else option.usd_by_answer


def _p95(option: Option) -> float:
    return 1e9 if option.latency_p95_ms is None else option.latency_p95_ms
