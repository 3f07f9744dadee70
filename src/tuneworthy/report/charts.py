"""The charts of a run and its verdict, as values: options, cost against traffic, rungs, causes, fields, the pilot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from math import ceil, floor, log10
from operator import itemgetter
from typing import Final

from tuneworthy.config.ladder import Economics
from tuneworthy.errors import join_sentences
from tuneworthy.ladder.record import RunRecord
from tuneworthy.money.bills import Bill
from tuneworthy.money.economics import Money, money
from tuneworthy.money.serving import RunningCost
from tuneworthy.report.chart import Line, LineChart
from tuneworthy.report.findings import measured
from tuneworthy.report.numbers import dollars, integer, percent, percent_range, points, points_range, rounded
from tuneworthy.report.table import Bar, Bars, Column, Kind, Table, name_column, text_column
from tuneworthy.report.text import clean
from tuneworthy.text import count
from tuneworthy.types import Bounds, RungStatus
from tuneworthy.verdict.base import TUNED, ErrorShare, Forecast
from tuneworthy.verdict.messages import CAUSES, LEVERS
from tuneworthy.verdict.options import Option, Options

# Width of a line chart on the first screen; points of a line per power of ten.
FIRST, POINTS = 660, 8
# Traffic around which costs are drawn if the traffic is unknown, requests a month.
USUAL = 100_000.0
LEAST_DRAWN, MOST_DRAWN = 100.0, 1e9


Monthly = Callable[[float], float]
ENDS: Final = ("best", "estimate", "worst")
# An answer that is dearer is of a damaged record.
MOST_USD = 1e6


@dataclass(frozen=True, slots=True)
class MonthlyCosts:
    """Cost a month by traffic.

    Attributes:
        untrained: Name, colour and cost of options without training.
        trained: Cost of training, one-off costs spread over the horizon: the low end, the estimate, the high end.
        break_even: Requests a month from which training pays, at both ends of the ranges, or at the low one only.
    """

    untrained: Sequence[tuple[str, Kind, Monthly]]
    trained: tuple[Monthly, Monthly, Monthly]
    break_even: Sequence[float]


def monthly_costs(
    today: Option | None,
    best: Option | None,
    settings: Economics,
    bills: Mapping[str, Bill],
    band: Sequence[float | None] | None = None,
) -> MonthlyCosts | None:
    """Return the costs of today's option and of the best without training; None if neither costs anything.

    Args:
        today: Of the options.
        best: The one without training that should run.
        settings: The section `[economics]`.
        bills: By rung.
        band: The break-even of the verdict; None without one, so that training pays by the bill only.
    """
    drawn = [option for option in ([today] if today is best else [today, best]) if option is not None]
    costs = [(option, option.running) for option in drawn if option.running is not None]
    priced = [(option, cost) for option, cost in costs if 0 < (cost.monthly_usd(1.0) or 0.0) < MOST_USD]
    if not priced or best is None:
        return None
    reference = bills.get(best.rung) or Bill(name=best.option, usd_per_1k=None)
    low, middle, high = (money(reference, settings, None, end, bills.get(TUNED)) for end in ENDS)
    volumes = [point.break_even_volume() for point in (low, high)] if band is None else band
    return MonthlyCosts(
        [
            (option.option, "today" if option.kind == "today" else "best", partial(_month, cost))
            for option, cost in priced
        ],
        (partial(_trained, low), partial(_trained, middle), partial(_trained, high)),
        [volume for volume in volumes if volume is not None],
    )


def _month(cost: RunningCost, requests: float) -> float:
    return cost.monthly_usd(requests) or 0.0


def _trained(point: Money, requests: float) -> float:
    return _month(point.tuned, requests) + point.one_off_usd / point.horizon_months


def domain_of(values: Sequence[float]) -> Bounds:
    """Return whole tenths around scores.

    >>> domain_of([0.345, 0.98])
    (0.3, 1.0)
    """
    return max(0.0, floor(10 * (min(values) - 0.02)) / 10), min(1.0, ceil(10 * (max(values) + 0.02)) / 10)


def score_of(option: Option) -> str:
    """Return the score of an option; of training before it is measured, the lower bound of its forecast."""
    if option.score is None:
        return "unknown"
    score = percent(option.score)
    return f"at least {score}" if option.kind == "fine_tune" else score


def price_words(option: Option) -> str:
    """Return the cost of an option: per month where the traffic is known, else per thousand answers.

    With an own server and unknown traffic it is the minimum per month: the server and the upkeep.
    """
    at_most = "at most " if option.unreported else ""
    if option.usd_per_month:
        about = "about " if option.kind == "fine_tune" else at_most
        return f"{about}{dollars(option.usd_per_month)} a month"
    if least := option.running.monthly_usd(0.0) if option.running else None:
        return f"from {dollars(least)} a month"
    if option.usd_per_1k is None:
        return "price unknown" if option.kind != "fine_tune" else "cost depends on traffic"
    if option.usd_per_1k == 0:
        return "your server, not billed" if option.yours else "no cost per call"
    return f"{at_most}{dollars(option.usd_per_1k)} per 1,000 answers"


def target_words(target: float | None) -> str:
    return "" if target is None else f"The dashed line is the target of {target:.1%}."


def options_chart(options: Options, target: float | None, chosen: str | None, where: str) -> Table | None:
    """Return the options with the bars of their scores, best score first; None without a score.

    Args:
        options: Of the verdict.
        target: Of the task.
        chosen: The recommended one.
        where: The cases that they were scored on.
    """
    ranked = sorted(options, key=lambda option: -(option.score or -1.0))
    scored = [option for option in ranked if option.score is not None]
    if not scored:
        return None
    ends = [end for option in scored for end in option.ci95 or (option.score or 0.0,)]
    columns = [
        Column("option", "option", kind="name", most=40),
        Column("score", "score", value=score_of),
        Column("cost", "cost", value=price_words),
        Column("ci95", "95% interval", percent_range),
    ]
    bars = [
        Bar(value=option.score, start=None, interval=option.ci95, kind=_kind(option, chosen))
        if option.score is not None
        else None
        for option in ranked
    ]
    recommended = f"Recommended for deployment now: {clean(chosen, 40)}." if chosen else ""
    return Table.of(
        f"Score of each option on {where}",
        columns,
        ranked,
        join_sentences(recommended, target_words(target)),
        best=next((place for place, option in enumerate(ranked) if option.option == chosen), None),
        bars=Bars.of_scores(bars, domain_of([*ends, *([] if target is None else [target])]), target),
    )


def _kind(option: Option, chosen: str | None) -> Kind:
    if option.option == chosen:
        return "best"
    kinds: dict[str, Kind] = {"today": "today", "tuned": "tuned", "fine_tune": "tuned"}
    return kinds.get(option.kind, "plain" if not option.violates else "lost")


def rungs_chart(record: RunRecord) -> Table | None:
    """Return the gain per rung, as a waterfall; None where nothing was compared on test."""
    rungs = [] if record.quick else [rung for rung in record.rungs if measured(rung)]
    rungs.sort(key=lambda rung: (rung.rung == "classical", rung.rung != "baseline"))
    if not rungs:
        return None
    scores = [rung.score or 0.0 for rung in rungs]
    starts = [score - (rung.delta or 0.0) for rung, score in zip(rungs, scores, strict=True)]
    domain = domain_of([*scores, *starts, *filter(None, [record.target])])
    adopted = [rung for rung in rungs if rung.rung == "baseline" or rung.status is RungStatus.ADOPTED]
    n_steps = sum(rung.rung not in {"classical", "baseline"} for rung in rungs)
    title = f"No rung was adopted ({n_steps} compared on the test set)"
    if len(adopted) > 1:
        first, last = (percent(rung.score or 0.0) for rung in (adopted[0], adopted[-1]))
        title = f"{len(adopted) - 1} of {count(n_steps, 'rung')} adopted: from {first} to {last}"
    columns = [
        name_column("rung", "rung"),
        text_column("name", "variant", most=28),
        Column("score", "score", percent),
        Column("delta", "gain, points", points),
        Column("delta_ci", "95% interval", points_range),
        Column("status", "result", kind="status"),
    ]
    kinds: dict[str, Kind] = {"baseline": "today", "classical": "plain"}
    bars = [
        Bar(
            value=score,
            start=domain[0] if rung.delta is None else start,
            kind=kinds.get(rung.rung, "best" if rung.status is RungStatus.ADOPTED else "lost"),
        )
        for rung, score, start in zip(rungs, scores, starts, strict=True)
    ]
    note = (
        "A bar of a rung starts at the score of the best variant before it. The classical baseline is compared with "
        "the best variant overall."
    )
    target = record.target or None
    words = join_sentences(note, target_words(target))
    return Table.of(title, columns, rungs, words, bars=Bars.of_scores(bars, domain, target))


def causes_table(errors: Sequence[ErrorShare]) -> Table | None:
    rows = sorted((row for row in errors if row.n_failed), key=lambda row: -row.share)
    if not rows:
        return None
    columns = [
        text_column("cause", "cause", lambda row: CAUSES.get(row.fixed_by, CAUSES[row.name])),
        Column("share", "share", percent),
        Column("ci95", "95% interval", percent_range),
        Column("n_failed", "failures", integer),
        text_column("fix", "fix", lambda row: LEVERS.get(row.fixed_by, row.fixed_by) or "no known fix"),
        text_column("probe", "how it is found", lambda row: join_sentences(row.probe, *row.limits), most=0),
    ]
    bars = [Bar(value=row.share, interval=row.ci95, kind="best" if row.fixed_by else "lost") for row in rows]
    return Table.of(
        f"{rows[0].share:.1%} of the wrong dev answers: {CAUSES.get(rows[0].fixed_by, CAUSES[rows[0].name])}",
        columns,
        rows,
        f"Shares are of {rows[0].n} wrong answers on dev. Each counts in the first class that applies.",
        bars=Bars.of_scores(bars, (0.0, 1.0)),
    )


def cost_chart(costs: MonthlyCosts, settings: Economics) -> LineChart:
    """Return cost a month against traffic, with the break-even band.

    Args:
        costs: Of the options without training, and of training.
        settings: The section `[economics]`.
    """
    volumes, traffic = costs.break_even, settings.requests_per_month
    centre = [value for value in (traffic, *volumes) if value] or [USUAL]
    first = floor(log10(min(max(min(centre), LEAST_DRAWN), MOST_DRAWN) / 3))
    last = max(first + 2, ceil(log10(min(max(centre), MOST_DRAWN) * 3)))
    places = [10 ** (first + place / POINTS) for place in range((last - first) * POINTS + 1)]
    lines = [
        Line(label=clean(name, 40), points=[(place, monthly(place)) for place in places], kind=kind)
        for name, kind, monthly in costs.untrained
    ]
    low, middle, high = costs.trained
    band = [(place, low(place), high(place)) for place in places]
    line = [(place, middle(place)) for place in places]
    lines.append(Line(label="fine-tuned model", points=line, band=band, kind="tuned"))
    title, marks = "Training does not break even at any traffic", []
    if volumes:
        few, many = rounded(min(volumes)), rounded(max(volumes))
        is_band = len(volumes) > 1
        title = (
            f"Training breaks even from {few} to {many} requests per month"
            if is_band
            else f"In the best case, training breaks even above {few} requests per month"
        )
        words = f"break-even: {few} to {many}" if is_band else f"break-even: {few} or more"
        marks.append((min(volumes), max(volumes) if is_band else 10.0**last, words))
    if traffic:
        marks.append((traffic, traffic, f"your traffic: {traffic:,.0f}"))
    return LineChart(
        title=title,
        lines=lines,
        ticks=places[::POINTS],
        x_title="requests per month",
        y_title="$ per month",
        y_unit="usd",
        marks=marks,
        note=(
            f"Fine-tuning includes its one-off costs over {settings.horizon_months:g} months. The band spans the "
            "range of assumed costs. Options without a cost per call are not drawn."
        ),
    )


def pilot_chart(forecast: Forecast, beside: Option | None, target: float | None) -> LineChart | None:
    """Return the learning curve of the pilot with the forecast for more data; None before a pilot."""
    if not forecast.points:
        return None
    by_size = {size: [row[2] for row in rows] for size, rows in groupby(sorted(forecast.points), key=itemgetter(0))}
    means = [(float(size), sum(scores) / len(scores)) for size, scores in by_size.items()]
    dots = [(float(size), score) for size, _, score in forecast.points]
    lines = [Line(label="pilot (mean)", points=means, dots=dots, kind="tuned")]
    ticks = [size for size, _ in means]
    if forecast.ci95 is not None and forecast.n_examples and forecast.baseline is not None:
        size = float(forecast.n_examples)
        low = min(1.0, max(0.0, forecast.baseline + forecast.ci95[0]))
        lines.append(
            Line(
                label=f"at least {low:.1%}",
                points=[means[-1], (size, low)],
                kind="plain",
            )
        )
        ticks = sorted({*ticks, size})
    levels = [] if target is None else [(target, f"target {target:.1%}")]
    if beside and beside.score is not None:
        levels.append((beside.score, f"without training {beside.score:.1%}"))
    return LineChart(
        title="Score on dev by number of training examples",
        lines=lines,
        ticks=ticks if len(ticks) > 1 else [ticks[0], 2 * ticks[0]],
        x_title="training examples",
        y_title="score on dev",
        y_unit="percent",
        levels=levels,
        note=(
            "Points are single training runs, and the line is their mean. The dotted line ends at the lower "
            "bound of the forecast."
        ),
    )
