"""Options of a verdict: everything that could run tomorrow, with its score, price and limits, and which should run."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import field
from math import inf, isinf
from typing import Any, Literal

from tuneworthy.config.ladder import Constraints
from tuneworthy.config.serving import keeps_p95, may_serve
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.cascade import CASCADE
from tuneworthy.ladder.own_models import IN_PROCESS
from tuneworthy.ladder.record import DistinctScore, RungRecord
from tuneworthy.money.serving import SAVING, YOURS, RunningCost, saves
from tuneworthy.money.sources import EconomicsResult
from tuneworthy.stats.intervals import Target
from tuneworthy.text import plural
from tuneworthy.types import Bounds, OpenBounds, TextPair, Texts, frozen
from tuneworthy.verdict.base import TUNED
from tuneworthy.verdict.evidence import Evidence, RungEvidence

OptionKind = Literal["today", "variant", "classical", "cascade", "tuned", "fine_tune"]
KINDS = {
    "baseline": "today",
    "classical": "classical",
    CASCADE: "cascade",
    TUNED: "tuned",
}
# Kinds without a model of their own that training could make smaller.
MADE_UP = frozenset({"classical", "cascade"})
# A cost at most so many times another counts as the same.
ALIKE = 1.05
# Pairs of names: the first option is shown to be better than the second.
Better = Set[TextPair]
# Latencies are compared in steps of so many milliseconds: smaller differences are noise of the measurement.
STEP_MS = 25.0
# An option whose recall of a label is at most this, where the label is rare, is marked.
MISSED_RECALL = 0.1
RARE = 0.1
# Labels that are named so, at most; the others are counted.
MOST_RECALLS = 3
# Fewest calls from which the 95% interval of a p95 has an upper end.
FEWEST_TIMED = 72


@frozen
class Option:
    """A row of the verdict: something that could run tomorrow.

    Attributes:
        option: Name of the variant.
        rung: That measured it.
        kind: Kind of the option.
        model: Key of `[models]` that answers; "" without one.
        score: On test, with its 95% interval; of `fine_tune` the lower bound of the forecast. None if not known.
        on_distinct_cases: Score on the test cases without a near-duplicate in what an option learned from.
        by_origin: Scores on `real` and on `drafted` test cases; empty without drafted cases.
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
        memory_mib: Of the model's file and of its process, where quantised forms are compared.
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
    by_origin: Mapping[str, DistinctScore] = field(default_factory=dict)
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
    latency_p95_ci: OpenBounds | None = None
    memory_mib: Bounds | None = None
    one_off_usd: float | None = None
    share_sent: float | None = None
    needs: str = ""
    notes: Texts = ()

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


Options = Sequence[Option]


def options_of(evidence: Evidence) -> list[Option]:
    """Return the variants measured on test, in the order of the ladder."""
    return [option_of(evidence, rung) for rung in evidence.rungs.values() if rung.tested]


def open_latency(limits: Constraints, p95: float | None, interval: OpenBounds | None) -> str:
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
    return _option(
        rung.name or rung.rung,
        rung.rung,
        running,
        traffic,
        score=rung.score,
        ci95=rung.ci95,
        violates=rung.violated,
        unreported=rung.unreported_share,
    )


def option_of(evidence: Evidence, rung: RungEvidence) -> Option:
    bill, traffic, today = evidence.bill(rung), evidence.economics.requests_per_month, rung.rung == "baseline"
    running = bill.running(evidence.economics)
    router = "deployment as a router (`tuneworthy export router`)" if rung.rung == CASCADE else ""
    is_code = rung.model.startswith(IN_PROCESS)
    limits = evidence.limits
    fast = keeps_p95(limits, rung.latency_p95_ms, rung.latency_p95_ci)
    unpriced = limits.usd_per_1k is not None and running.usd_per_1k_at(traffic) is None
    barred = not rung.eligible or not may_serve(limits, hosted=rung.hosted) or fast is False
    unsure = fast is None or unpriced or rung.may_be_barred(limits)
    return _option(
        rung.name,
        rung.rung,
        running,
        traffic,
        model="" if rung.rung == "classical" else rung.model,
        score=rung.score,
        ci95=rung.ci95,
        on_distinct_cases=rung.on_distinct_cases,
        by_origin=rung.by_origin,
        delta_vs_today=None if today else rung.delta_today,
        delta_ci=None if today else rung.delta_today_ci,
        target=evidence.target_of(rung),
        violates=rung.violated or ("" if rung.eligible else rung.reason),
        eligible=False if barred else None if unsure else True,
        unreported=bill.unreported,
        latency_p50_ms=rung.latency_p50_ms,
        latency_p95_ms=rung.latency_p95_ms,
        latency_p95_ci=rung.latency_p95_ci,
        memory_mib=rung.memory_mib,
        one_off_usd=0.0,
        share_sent=rung.share_sent,
        needs="deployment as Python code (`tuneworthy export classifier`)" if is_code else router,
        notes=_notes(evidence, rung),
    )


def _notes(evidence: Evidence, rung: RungEvidence) -> list[str]:
    latency = open_latency(evidence.limits, rung.latency_p95_ms, rung.latency_p95_ci)
    notes = [latency] * bool(latency) + ["gives every case the same answer"] * rung.constant
    if rung.rung == "classical" and evidence.learned:
        notes.append("learned from {} of {} examples (see `tuneworthy check`)".format(*evidence.learned))
    if evidence.balance and evidence.balance.rarest <= RARE:
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
    return f"{option.option}: {'; '.join(option.notes)}."


def distinct_words(options: Options, chosen: str | None) -> str:
    """Say what the recommended option scores on the distinct test cases; "" if not measured, or if all are distinct."""
    part = next((one.on_distinct_cases for one in options if one.option == chosen and one.on_distinct_cases), None)
    if not part or any(one.option == chosen and one.ci95 == part.ci95 for one in options):
        return ""
    low, high = part.ci95
    return (
        f"On the {part.n} test cases without a near-duplicate in the examples or dev, {chosen} scores {part.score:.1%} "
        f"(95% interval [{low:.1%}, {high:.1%}])."
    )


def origin_words(options: Options, chosen: str | None) -> str:
    """Say what the recommended option, else the first one, scores on real and on drafted cases; "" without drafts."""
    found = [one for one in options if one.by_origin]
    option = next((one for one in found if one.option == chosen), found[0] if found else None)
    if option is None:
        return ""
    parts = [
        f"{part.score:.1%} on {name} test cases (95% interval [{part.ci95[0]:.1%}, {part.ci95[1]:.1%}], n = {part.n})"
        for name in ("real", "drafted")
        if (part := option.by_origin.get(name))
    ]
    return f"{option.option} scores {' and '.join(parts)}. Drafted cases never decide."


def legend(options: Options, target: float | None = None) -> list[str]:
    """Explain the words that replace a number in a table of options, as far as they occur."""
    lines = {
        "unresolved: the test cases do not settle whether the target is met. The bound is stricter than the 95% "
        "interval where several options are compared.": lambda one: one.target == "unresolved",
        "met: the score reaches the target, and its one-sided lower bound is above the target minus the margin. "
        "The 95% interval has two sides and may begin below the target.": (
            lambda one: one.target == "met" and one.ci95 and one.ci95[0] < (target or 0)
        ),
        "missed: the one-sided 95% upper bound of the score is below the target. The 95% interval has two sides and "
        "may end above the target.": lambda one: one.target == "missed" and one.ci95 and one.ci95[1] > (target or 1),
        "server: the cost per answer depends on the traffic. Set `economics.requests_per_month` to see it.": (
            lambda one: one.server and one.usd_per_month is None and one.usd_per_1k is None
        ),
        "upper limit: some answers have no usable token counts from the provider and count at their maximum cost.": (
            lambda one: one.unreported
        ),
        "your server: at a local address, not billed. Set `economics.serve_usd_per_month` to count its price.": (
            lambda one: one.yours
        ),
    }
    return [line for line, occurs in lines.items() if any(map(occurs, options))]


def cost_note(option: Option) -> str:
    """Name the parts of the cost of a month, and whether it is an upper limit; "" where one price is the whole cost."""
    upper = "cost is an upper limit" if option.unreported else ""
    month, running = option.usd_per_month, option.running
    if not month or not option.usd_per_1k or not running or running.usd_per_1k is None:
        return upper
    answers = month * running.usd_per_1k / option.usd_per_1k
    servers = month - answers - running.upkeep_usd
    parts = [
        f"${usd:,.0f} for {what}"
        for what, usd in {
            "answers": answers,
            option.serving or "servers": servers,
            "upkeep and retraining": running.upkeep_usd,
        }.items()
        if usd >= 1
    ]
    is_plain = len(parts) == 1 and running.upkeep_usd < 1 and not option.serving
    made_of = f"Monthly cost: {', '.join(parts)}." if parts and not is_plain else ""
    return join_sentences(made_of, upper)


def rank(options: Options) -> list[Option]:
    """Return the options cheapest first; unknown cost is dearest, ties go to the lower p95, then the earlier rung.

    Where the traffic is known, what counts is the cost of a month, servers of one's own included; of months that cost
    the same, as they do without any traffic, the cost of an answer.
    """
    return sorted(options, key=lambda option: (_usd(option), _by_answer(option), round(_p95(option) / STEP_MS)))


def is_saving(option: Option, other: Option) -> bool:
    """Return whether `option` is at least 20% cheaper than `other`, or is known to be 20% faster and is no dearer.

    >>> small, large = (Option(option=str(usd), rung="model", kind="variant", usd_per_1k=usd) for usd in (0.9, 1.0))
    >>> is_saving(small, large)
    False
    """
    by_answer = option.usd_per_month is None or other.usd_per_month is None
    spares_server = by_answer and not option.server and other.server
    if saves(*(None if isinf(usd) else usd for usd in map(_usd, (option, other))), spares_server=spares_server):
        return True
    faster = _p95(option) <= SAVING * _p95(other) and _p95(option) + STEP_MS < _p95(other)
    return faster and other.latency_p95_ms is not None and costs_at_most(option, other)


def costs_at_most(option: Option, other: Option, factor: float = 1.0) -> bool:
    """Return whether `option` costs at most `factor` times as much as `other`; an unknown cost is the highest.

    Two unknown costs are equal only where one model answers. Without traffic, a server or upkeep costs more than none.
    """
    mine, theirs = _usd(option), _usd(other)
    if isinf(mine):
        return isinf(theirs) and option.model == other.model
    if option.usd_per_month is None and _fixed(option) > _fixed(other):
        return False
    if mine == theirs:  # of months that cost nothing, as without any traffic, the cost of an answer
        mine, theirs = _by_answer(option), _by_answer(other)
    return mine <= factor * theirs


def recommend(options: Options, works: Callable[[Option], bool], better: Better) -> Option | None:
    """Return the option that meets the target and should run; None if no option meets it.

    Where today's option works: the cheapest that works, saves against it, and is not beaten by one that costs no more;
    otherwise today's. If it does not work: the cheapest that works (of equal costs, the highest score; then the first).
    From there it moves once to an option that is shown to be better and costs at most `ALIKE` times as much, of several
    to the highest score; a saving only to another saving. Savings are those against today's option and not against one
    on the way, so that an option that is not chosen hardly ever changes the choice.

    Args:
        options: In any order.
        works: Whether an option may serve and meets the target; asked only where it matters.
        better: From `Evidence.better`.
    """
    ranked = sorted(options, key=lambda one: (_usd(one), _by_answer(one), _minus_score(one)))
    by_score = sorted(ranked, key=_minus_score)

    def ahead_of(mark: Option, among: Options, factor: float) -> list[Option]:
        return [one for one in among if (one.option, mark.option) in better and costs_at_most(one, mark, factor)]

    def stays(option: Option) -> bool:
        return works(option) and not any(works(rival) for rival in ahead_of(option, ranked, 1.0))

    def improved(mark: Option, among: Options) -> Option:
        return next((one for one in ahead_of(mark, among, ALIKE) if stays(one)), mark)

    start = next((one for one in sorted(ranked, key=lambda one: one.kind != "today") if works(one)), None)
    if not start or start.kind != "today":
        return start and improved(start, by_score)
    savings = [one for one in by_score if is_saving(one, start)]
    cheapest = next((one for one in ranked if one in savings and stays(one)), None)
    return improved(cheapest, savings) if cheapest else improved(start, by_score)


def best_unmet(options: Options, eligible: Callable[[Option], bool], better: Better) -> Option | None:
    """Return the option that should run where no option meets the target; None if nothing may.

    Of the eligible options that are shown to be better than today's: the cheapest that no other is shown to beat; else
    today's.
    """
    today = next((option for option in options if option.kind == "today"), None)
    ahead = [one for one in rank(options) if today and (one.option, today.option) in better and eligible(one)]
    unbeaten = (one for one in ahead if not any((other.option, one.option) in better for other in ahead))
    return next(unbeaten, today if today and eligible(today) else None)


def best_within_bill(options: Options, eligible: Callable[[Option], bool], chosen: Option | None) -> Option | None:
    """Return the option with the highest score that costs no more than today's; None if today's cost is unknown.

    Of equal scores, `chosen`, then the cheapest.
    """
    today = next((option for option in options if option.kind == "today"), None)
    if not today or isinf(_usd(today)):
        return None
    within = (one for one in rank(options) if one.score is not None and costs_at_most(one, today) and eligible(one))
    return min(within, key=lambda one: (_minus_score(one), one is not chosen), default=None)


def more_usd(option: Option, other: Option) -> float | None:
    """Return what `other` costs more than `option`, US dollars: a month, else per 1,000 answers."""
    pairs = (option.usd_per_month, other.usd_per_month), (option.usd_per_1k, other.usd_per_1k)
    return next((theirs - mine for mine, theirs in pairs if mine is not None and theirs is not None), None)


def per_point(option: Option, other: Option) -> str:
    """Return the price of a point of the score between two options; "" unless the better one costs more.

    >>> small = Option(option="small", rung="model", kind="variant", usd_per_1k=0.5, score=0.5)
    >>> per_point(small, Option(option="large", rung="model", kind="variant", usd_per_1k=0.7, score=0.7))
    'one more point of score costs $0.01 per 1,000 answers'
    """
    usd, more = more_usd(option, other), 100 * ((other.score or 0.0) - (option.score or 0.0))
    unit = "per 1,000 answers" if None in (option.usd_per_month, other.usd_per_month) else "a month"
    return f"one more point of score costs ${usd / more:,.2f} {unit}" if usd and more and usd / more > 0 else ""


def _minus_score(option: Option) -> float:
    return -(option.score or 0.0)


def _usd(option: Option) -> float:
    return _by_answer(option) if option.usd_per_month is None else option.usd_per_month


def _fixed(option: Option) -> tuple[bool, float]:
    return option.server, option.running.upkeep_usd if option.running else 0.0


def _by_answer(option: Option) -> float:
    return inf if option.usd_by_answer is None else option.usd_by_answer


def _p95(option: Option) -> float:
    return 1e9 if option.latency_p95_ms is None else option.latency_p95_ms
