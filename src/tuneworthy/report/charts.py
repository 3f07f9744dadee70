"""The charts of a run and its verdict, as values: options, cost against traffic, rungs, causes, fields, the pilot.

`lines.html.j2` draws a line chart, and its table has every number that it shows.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import ceil, floor, log10
from operator import itemgetter
from typing import Literal

from tuneworthy.dataset.curve import NAMES, DatasetCurve, finding
from tuneworthy.errors import join_sentences
from tuneworthy.report.names import option_name
from tuneworthy.report.text import (
    NONE,
    Bar,
    Bars,
    Column,
    Kind,
    Table,
    clean,
    dollars,
    integer,
    percent,
    percent_range,
    points,
    short,
    text_column,
)
from tuneworthy.types import Bounds, frozen
from tuneworthy.verdict.base import ErrorShare, Forecast
from tuneworthy.verdict.messages import CAUSES, LEVERS
from tuneworthy.verdict.options import Option, Options

Unit = Literal["percent", "points"]
Points = Sequence[Bounds]
FORMS = {"percent": percent, "points": points}
# Height of the drawing, and the space around its plot, pixels.
LEFT, RIGHT, TOP, BOTTOM = 66, 24, 24, 290
# Distance of two numbers on the horizontal axis, at least, pixels; numbers on the vertical axis, at most.
TICK_WIDTH, TICKS = 52, 6


@frozen
class Line:
    """A line of a line chart.

    Attributes:
        label: Its name in the legend.
        points: From left to right.
        band: (x, lower, upper) around it, from left to right.
        kind: Its colour.
        dots: Single measurements.
    """

    label: str
    points: Points
    band: Sequence[tuple[float, float, float]] = ()
    kind: Kind
    dots: Points = ()

    @property
    def outline(self) -> Points:
        return [(x, high) for x, _, high in self.band] + [(x, low) for x, low, _ in reversed(self.band)]


@frozen
class LineChart:
    """Lines over a logarithmic horizontal axis.

    Attributes:
        title: Its heading.
        lines: Its curves.
        ticks: Of the horizontal axis; each line has a point there, or ends before.
        x_title: Text below, like `y_title` above.
        y_unit: Of the vertical axis.
        levels: (value, name) of lines across.
        note: How to read it.
        width: Of the drawing, pixels.
    """

    title: str
    lines: Sequence[Line]
    ticks: Sequence[float]
    x_title: str
    y_title: str
    y_unit: Unit
    levels: Sequence[tuple[float, str]]
    note: str
    width: int = 1080

    @property
    def table(self) -> Table:
        columns = [Column("x", self.x_title), *(Column(line.label, line.label) for line in self.lines)]
        rows = [[integer(tick), *(self._cell(line, tick) for line in self.lines)] for tick in self.ticks]
        note = " ".join(filter(None, [self.note, *(f"{name}." for _, name in self.levels)]))
        return Table(f"{self.title} ({self.y_title})", columns, rows, note)

    def _cell(self, line: Line, tick: float) -> str:
        form = FORMS[self.y_unit]
        parts = [form(y) for x, y in line.points if x == tick]
        parts += [f"[{form(low)}, {form(high)}]" for x, low, high in line.band if x == tick]
        singles = [form(y) for x, y in line.dots if x == tick]
        return " ".join([*parts, *([f"[{', '.join(singles)}]"] if singles else [])]) or NONE

    def x(self, value: float) -> float:
        """Return the place of a value on the horizontal axis; values outside are drawn at its ends."""
        low, high = log10(self.ticks[0]), log10(self.ticks[-1])
        share = (log10(max(value, self.ticks[0])) - low) / (high - low or 1)
        return LEFT + (self.width - LEFT - RIGHT) * min(share, 1.0)

    def y(self, value: float) -> float:
        """Return the place of a value on the vertical axis."""
        low, high = self._steps()
        return BOTTOM - (BOTTOM - TOP) * min(max((10 * value - low) / (high - low), 0.0), 1.0)

    def path(self, points: Points) -> str:
        return "M" + " L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)

    def x_labels(self) -> Iterator[tuple[float, str]]:
        """Yield the place and text of the numbers on the horizontal axis."""
        last = -float(TICK_WIDTH)
        for tick in self.ticks:
            if (place := self.x(tick)) >= last + TICK_WIDTH:
                yield place, short(tick)
                last = place

    def y_labels(self) -> Iterator[tuple[float, str]]:
        """Yield the place and text of the numbers on the vertical axis."""
        low, high = self._steps()
        for step in range(low, high + 1, ceil((high - low) / TICKS)):
            yield self.y(step / 10), FORMS[self.y_unit](step / 10)

    def _steps(self) -> tuple[int, int]:
        values = [value for value, _ in self.levels]
        for line in self.lines:
            values += [y for _, y in (*line.points, *line.dots, *line.outline)]
        steps = [10 * value for value in values]
        least = -10 if self.y_unit == "points" else 0
        return max(least, floor(min(steps) - 0.2)), min(10, ceil(max(steps) + 0.2))


# Width of a line chart on the first screen, pixels; characters of an option's name.
FIRST, MAX_NAME = 660, 80


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


def options_chart(
    options: Options, target: float | None, chosen: str | None, where: str, measure: str = "score"
) -> Table | None:
    """Return the options with the bars of their scores, best score first; None without a score.

    Args:
        options: Of the verdict.
        target: Of the task.
        chosen: The recommended one.
        where: The cases that they were scored on.
        measure: What the scores are (`RunRecord.measure`).
    """
    ranked = sorted(options, key=lambda option: -(option.score or -1.0))
    scored = [option for option in ranked if option.score is not None]
    if not scored:
        return None
    ends = [end for option in scored for end in option.ci95 or (option.score or 0.0,)]
    columns = [
        text_column("option", "option", option_name, most=MAX_NAME),
        Column("score", measure, value=score_of),
        Column("cost", "cost", value=price_words),
        Column("ci95", "95% interval", percent_range),
    ]
    bars = [
        Bar(value=option.score, start=None, interval=option.ci95, kind=_kind(option, chosen))
        if option.score is not None
        else None
        for option in ranked
    ]
    recommended = f"Recommended for deployment now: {clean(chosen, MAX_NAME)}." if chosen else ""
    return Table.of(
        f"{measure.capitalize()} of each option on {where}",
        columns,
        ranked,
        join_sentences(recommended, "" if target is None else f"The dashed line is the target of {target:.1%}."),
        best=next((place for place, option in enumerate(ranked) if option.option == chosen), None),
        bars=Bars.of_scores(bars, domain_of([*ends, *([] if target is None else [target])]), target),
    )


def _kind(option: Option, chosen: str | None) -> Kind:
    if option.option == chosen:
        return "best"
    kinds: dict[str, Kind] = {"today": "today", "tuned": "tuned", "fine_tune": "tuned"}
    return kinds.get(option.kind, "plain" if not option.violates else "lost")


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
        f"Shares are of {rows[0].n} wrong dev answers of the best language model. Each counts in the "
        "first class that applies.",
        bars=Bars.of_scores(bars, (0.0, 1.0)),
    )


def curve_chart(curve: DatasetCurve | None) -> LineChart | None:
    """Return the learning curves of a version by kind of rows; None where kinds were not compared."""
    if curve is None or not curve.arms:
        return None
    kinds: dict[str, Kind] = {"built": "today", "raw": "lost", "reviewed": "best", "hard": "tuned"}
    lines = [
        Line(
            label=NAMES[name],
            points=[(float(point.size), point.score) for point in points],
            band=[(float(point.size), *point.ci95) for point in points],
            kind=kinds[name],
        )
        for name, points in curve.arms.items()
    ]
    return LineChart(
        title="Quality against quantity: the classical baseline by number of rows",
        lines=lines,
        ticks=sorted({x for line in lines for x, _ in line.points}),
        x_title="rows",
        y_title=f"{curve.metric} on {curve.n_dev} dev cases",
        y_unit="percent",
        levels=[],
        note=join_sentences(finding(curve)),
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
